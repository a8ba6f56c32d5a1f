#include "sidecar-proxy/session/ledger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define UUID_A "0123456789abcdef0123456789abcdef"
#define UUID_B "fedcba9876543210fedcba9876543210"
#define UUID_C "00000000000000000000000000000001"

static const struct session_id first = {1, 1};
static const struct session_id second = {1, 2};

static int set_up(void **state)
{
    struct ledger *l = xcalloc(1, sizeof(*l));

    ledger_init(l, 8);
    *state = l;
    return 0;
}

static int tear_down(void **state)
{
    ledger_clear(*state);
    free(*state);
    return 0;
}

/* What the next report would say: "+A-" ... as text: sign and the uuids' first digits. */
static const char *next_report(struct ledger *l)
{
    static char text[64];
    const char *uuids[8];
    bool connected = false;
    size_t count = ledger_begin(l, 8, &connected, uuids);

    snprintf(text, sizeof(text), "%s", count == 0 ? "" : (connected ? "+" : "-"));
    for (size_t i = 0; i < count; i++) {
        const char *name = strcmp(uuids[i], UUID_A) == 0   ? "A"
                           : strcmp(uuids[i], UUID_B) == 0 ? "B"
                                                           : "C";
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s", name);
    }
    return text;
}

static void end(struct ledger *l, enum ledger_outcome outcome)
{
    ledger_end(l, outcome, NULL, NULL);
}

static void deliver(struct ledger *l, const char *expected)
{
    assert_string_equal(next_report(l), expected);
    if (expected[0] != '\0') {
        end(l, LEDGER_DELIVERED);
    }
}

static struct ledger_difference compare(struct ledger *l, const char *uuid, bool trusted)
{
    return ledger_compare(l, &uuid, uuid != NULL ? 1 : 0, trusted, 1);
}

static void test_ledger_reports_start_and_end(void **state)
{
    struct ledger *l = *state;

    ledger_set(l, UUID_A, &first, 1);
    assert_int_equal(ledger_unreported(l), 1);
    deliver(l, "+A");
    assert_int_equal(ledger_unreported(l), 0);
    ledger_set(l, UUID_A, NULL, 2);
    deliver(l, "-A");
    deliver(l, "");
    assert_int_equal(l->by_uuid.count, 0);
}

static void test_ledger_session_too_short_to_report_is_not(void **state)
{
    struct ledger *l = *state;

    ledger_set(l, UUID_A, &first, 1);
    ledger_set(l, UUID_A, NULL, 1);
    deliver(l, "");
    assert_int_equal(ledger_unreported(l), 0);
}

static void test_ledger_reports_again_after_leaving_and_coming_back(void **state)
{
    struct ledger *l = *state;

    ledger_set(l, UUID_A, &first, 1);
    deliver(l, "+A");
    ledger_set(l, UUID_A, NULL, 2);
    ledger_set(l, UUID_A, &second, 3);
    deliver(l, "+A");
}

static void test_ledger_end_during_the_report_of_the_start_follows_it(void **state)
{
    struct ledger *l = *state;

    ledger_set(l, UUID_A, &first, 1);
    assert_string_equal(next_report(l), "+A");
    ledger_set(l, UUID_A, NULL, 2);
    end(l, LEDGER_DELIVERED);
    deliver(l, "-A");
}

static void test_ledger_unheard_start_is_repeated_while_true(void **state)
{
    struct ledger *l = *state;

    ledger_set(l, UUID_A, &first, 1);
    assert_string_equal(next_report(l), "+A");
    end(l, LEDGER_UNKNOWN);
    assert_int_equal(ledger_unreported(l), 1);
    deliver(l, "+A");
}

static void test_ledger_perhaps_heard_start_is_undone(void **state)
{
    struct ledger *l = *state;

    ledger_set(l, UUID_A, &first, 1);
    assert_string_equal(next_report(l), "+A");
    ledger_set(l, UUID_A, NULL, 2);
    end(l, LEDGER_UNKNOWN);
    deliver(l, "-A");
}

static void test_ledger_refused_start_is_not_undone(void **state)
{
    struct ledger *l = *state;

    ledger_set(l, UUID_A, &first, 1);
    assert_string_equal(next_report(l), "+A");
    ledger_set(l, UUID_A, NULL, 2);
    end(l, LEDGER_REFUSED);
    deliver(l, "");
}

static void test_ledger_batches_one_kind_longest_waiting_first(void **state)
{
    struct ledger *l = *state;

    ledger_set(l, UUID_A, &first, 1);
    deliver(l, "+A");
    ledger_set(l, UUID_B, &first, 2);
    ledger_set(l, UUID_A, NULL, 3);
    ledger_set(l, UUID_C, &first, 4);
    deliver(l, "+BC");
    deliver(l, "-A");
}

static void test_ledger_batch_is_no_longer_than_asked(void **state)
{
    struct ledger *l = *state;
    const char *uuids[1];
    bool connected = false;

    ledger_set(l, UUID_A, &first, 1);
    ledger_set(l, UUID_B, &first, 1);
    assert_int_equal(ledger_begin(l, 1, &connected, uuids), 1);
    end(l, LEDGER_DELIVERED);
    deliver(l, "+B");
}

static void test_ledger_reset_reports_all_again(void **state)
{
    struct ledger *l = *state;

    ledger_set(l, UUID_A, &first, 1);
    deliver(l, "+A");
    ledger_adopt(l, UUID_B, &first, 2);
    ledger_reset(l);
    deliver(l, "+BA");
}

static void test_ledger_adopted_and_listed_is_not_reported(void **state)
{
    struct ledger *l = *state;

    ledger_adopt(l, UUID_A, &first, 1);
    deliver(l, "");
    assert_int_equal(ledger_unreported(l), 0);
    compare(l, UUID_A, false);
    deliver(l, "");
}

static void test_ledger_adopted_and_not_listed_is_reported(void **state)
{
    struct ledger *l = *state;

    ledger_adopt(l, UUID_A, &first, 1);
    assert_int_equal(compare(l, NULL, false).missing, 1);
    deliver(l, "+A");
}

static void test_ledger_adopted_that_ends_is_reported_at_once(void **state)
{
    struct ledger *l = *state;

    ledger_adopt(l, UUID_A, &first, 1);
    ledger_set(l, UUID_A, NULL, 2);
    deliver(l, "-A");
}

static void test_ledger_listed_without_session_is_reported_gone(void **state)
{
    struct ledger *l = *state;

    assert_int_equal(compare(l, UUID_C, false).extra, 1);
    deliver(l, "-C");
    assert_int_equal(l->by_uuid.count, 0);
}

static void test_ledger_delivered_but_missing_needs_two_comparisons(void **state)
{
    struct ledger *l = *state;

    ledger_set(l, UUID_A, &first, 1);
    deliver(l, "+A");
    assert_int_equal(compare(l, NULL, true).suspects, 1);
    deliver(l, "");
    assert_int_equal(compare(l, NULL, true).missing, 1);
    deliver(l, "+A");
}

static void test_ledger_missing_is_left_alone_when_we_may_be_wrong(void **state)
{
    struct ledger *l = *state;

    ledger_set(l, UUID_A, &first, 1);
    deliver(l, "+A");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(compare(l, NULL, false).suspects, 1);
        deliver(l, "");
    }
}

static void test_ledger_suspicion_is_of_one_session(void **state)
{
    struct ledger *l = *state;

    ledger_set(l, UUID_A, &first, 1);
    deliver(l, "+A");
    compare(l, NULL, true);
    ledger_set(l, UUID_A, &second, 2);
    deliver(l, "+A");
    assert_int_equal(compare(l, NULL, true).suspects, 1);
    deliver(l, "");
}

static void test_ledger_unheard_start_that_is_listed_is_done(void **state)
{
    struct ledger *l = *state;

    ledger_set(l, UUID_A, &first, 1);
    next_report(l);
    end(l, LEDGER_UNKNOWN);
    compare(l, UUID_A, true);
    deliver(l, "");
}

static void test_ledger_is_bounded(void **state)
{
    struct ledger *l = *state;
    char uuid[UUID_TEXT_MAX + 1];

    for (int i = 0; i < 8; i++) {
        snprintf(uuid, sizeof(uuid), "%032d", i);
        assert_true(ledger_set(l, uuid, &first, 1));
    }
    assert_false(ledger_set(l, UUID_A, &first, 1));
    assert_true(ledger_set(l, UUID_A, NULL, 1));
}

static void count_lag(void *arg, int64_t since_ms)
{
    *(int64_t *)arg += since_ms;
}

static void test_ledger_tells_the_lag_of_what_is_still_true(void **state)
{
    struct ledger *l = *state;
    int64_t sum = 0;

    ledger_set(l, UUID_A, &first, 10);
    ledger_set(l, UUID_B, &first, 5);
    assert_int_equal(ledger_oldest(l), 10);
    next_report(l);
    ledger_set(l, UUID_B, NULL, 7);
    ledger_end(l, LEDGER_DELIVERED, count_lag, &sum);
    assert_int_equal(sum, 10);
}

int main(void)
{
#define WITH_LEDGER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_LEDGER(test_ledger_reports_start_and_end),
        WITH_LEDGER(test_ledger_session_too_short_to_report_is_not),
        WITH_LEDGER(test_ledger_reports_again_after_leaving_and_coming_back),
        WITH_LEDGER(test_ledger_end_during_the_report_of_the_start_follows_it),
        WITH_LEDGER(test_ledger_unheard_start_is_repeated_while_true),
        WITH_LEDGER(test_ledger_perhaps_heard_start_is_undone),
        WITH_LEDGER(test_ledger_refused_start_is_not_undone),
        WITH_LEDGER(test_ledger_batches_one_kind_longest_waiting_first),
        WITH_LEDGER(test_ledger_batch_is_no_longer_than_asked),
        WITH_LEDGER(test_ledger_reset_reports_all_again),
        WITH_LEDGER(test_ledger_adopted_and_listed_is_not_reported),
        WITH_LEDGER(test_ledger_adopted_and_not_listed_is_reported),
        WITH_LEDGER(test_ledger_adopted_that_ends_is_reported_at_once),
        WITH_LEDGER(test_ledger_listed_without_session_is_reported_gone),
        WITH_LEDGER(test_ledger_delivered_but_missing_needs_two_comparisons),
        WITH_LEDGER(test_ledger_missing_is_left_alone_when_we_may_be_wrong),
        WITH_LEDGER(test_ledger_suspicion_is_of_one_session),
        WITH_LEDGER(test_ledger_unheard_start_that_is_listed_is_done),
        WITH_LEDGER(test_ledger_is_bounded),
        WITH_LEDGER(test_ledger_tells_the_lag_of_what_is_still_true),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
