/* The small pure modules: verdicts, refusals, flaps, pace, backoff, record. */
#include "common/backoff.h"
#include "common/secret.h"
#include "sidecar-proxy/session/flaps.h"
#include "sidecar-proxy/session/pace.h"
#include "sidecar-proxy/session/record.h"
#include "sidecar-proxy/session/refusals.h"
#include "sidecar-proxy/session/verdicts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define UUID_A "0123456789abcdef0123456789abcdef"
#define UUID_B "fedcba9876543210fedcba9876543210"
#define MINUTE 60000

static struct verdicts verdicts;

static int set_up_verdicts(void **state)
{
    verdicts_init(&verdicts, "service key", 2);
    return 0;
}

static int tear_down_verdicts(void **state)
{
    verdicts_clear(&verdicts);
    return 0;
}

static struct fingerprint print_of(const char *uuid, const char *key)
{
    return verdicts_fingerprint(&verdicts, uuid, key);
}

static void test_verdicts_fingerprint_is_the_contracts(void **state)
{
    uint8_t key[SECRET_BYTES];
    uint8_t hash[SECRET_BYTES];
    char expected[SECRET_HEX_LEN + 1];

    secret_derive("service key", "vpn-verdict", key);
    secret_hmac(key, UUID_A "\nsecret", strlen(UUID_A "\nsecret"), hash);
    secret_hex(hash, expected);
    assert_string_equal(print_of(UUID_A, "secret").text, expected);
}

static void test_verdicts_are_of_one_device_and_key(void **state)
{
    struct fingerprint f = print_of(UUID_A, "k");
    struct fingerprint other_key = print_of(UUID_A, "l");
    struct fingerprint other_device = print_of(UUID_B, "k");

    verdicts_add(&verdicts, UUID_A, &f, 1, 1);
    assert_non_null(verdicts_find(&verdicts, &f, 1, MINUTE));
    assert_null(verdicts_find(&verdicts, &other_key, 1, MINUTE));
    assert_null(verdicts_find(&verdicts, &other_device, 1, MINUTE));
}

static void test_verdicts_grow_old(void **state)
{
    struct fingerprint f = print_of(UUID_A, "k");

    verdicts_add(&verdicts, UUID_A, &f, 1, 1000);
    assert_non_null(verdicts_find(&verdicts, &f, 1000 + MINUTE - 1, MINUTE));
    assert_null(verdicts_find(&verdicts, &f, 1000 + MINUTE, MINUTE));
    verdicts_expire(&verdicts, 1000 + MINUTE, MINUTE);
    assert_int_equal(verdicts_count(&verdicts), 0);
}

static void test_verdicts_full_table_forgets_the_least_recent(void **state)
{
    struct fingerprint one = print_of(UUID_A, "1");
    struct fingerprint two = print_of(UUID_A, "2");
    struct fingerprint three = print_of(UUID_A, "3");

    verdicts_add(&verdicts, UUID_A, &one, 1, 1);
    verdicts_add(&verdicts, UUID_A, &two, 2, 2);
    verdicts_add(&verdicts, UUID_A, &one, 3, 3);
    verdicts_add(&verdicts, UUID_A, &three, 4, 4);
    assert_null(verdicts_find(&verdicts, &two, 4, MINUTE));
    assert_non_null(verdicts_find(&verdicts, &one, 4, MINUTE));
}

static void test_verdicts_refused_key_is_forgotten(void **state)
{
    struct fingerprint f = print_of(UUID_A, "k");

    verdicts_add(&verdicts, UUID_A, &f, 1, 1);
    verdicts_remove(&verdicts, &f);
    verdicts_remove(&verdicts, &f);
    assert_null(verdicts_find(&verdicts, &f, 1, MINUTE));
}

static void test_refusals_same_key_is_answered_without_asking(void **state)
{
    struct refusals r;
    struct fingerprint f = print_of(UUID_A, "bad");

    refusals_init(&r, 8);
    for (int i = 0; i < REFUSALS_SAME_KEY; i++) {
        assert_int_equal(refusals_advise(&r, UUID_A, &f, 1000), REFUSALS_ASK);
        refusals_add(&r, UUID_A, &f, 1000);
    }
    assert_int_equal(refusals_advise(&r, UUID_A, &f, 1001), REFUSALS_REFUSE);
    assert_int_equal(refusals_advise(&r, UUID_B, &f, 1001), REFUSALS_ASK);
    assert_int_equal(refusals_advise(&r, UUID_A, &f, 1000 + REFUSALS_WINDOW_MS), REFUSALS_ASK);
    assert_true(refusals_has(&r, UUID_A, &f));
    refusals_forget(&r, UUID_A);
    assert_int_equal(refusals_advise(&r, UUID_A, &f, 1001), REFUSALS_ASK);
    refusals_clear(&r);
}

static void test_refusals_strangers_keys_never_make_another_key_bad(void **state)
{
    struct refusals r;
    struct fingerprint own = print_of(UUID_A, "own");

    refusals_init(&r, 8);
    for (int i = 0; i < REFUSALS_ANY_KEY; i++) {
        char key[16];
        snprintf(key, sizeof(key), "guess %d", i);
        struct fingerprint f = print_of(UUID_A, key);
        assert_int_equal(refusals_advise(&r, UUID_A, &own, 1000), REFUSALS_ASK);
        refusals_add(&r, UUID_A, &f, 1000);
    }
    assert_int_equal(refusals_advise(&r, UUID_A, &own, 1000), REFUSALS_LATER);
    refusals_clear(&r);
}

static void test_refusals_table_is_bounded(void **state)
{
    struct refusals r;
    struct fingerprint f = print_of(UUID_A, "bad");
    char uuid[UUID_TEXT_MAX + 1];

    refusals_init(&r, 4);
    for (int i = 0; i < 100; i++) {
        snprintf(uuid, sizeof(uuid), "%032d", i);
        refusals_add(&r, uuid, &f, i);
    }
    assert_int_equal(refusals_count(&r), 4);
    assert_true(refusals_has(&r, uuid, &f));
    refusals_clear(&r);
}

static void test_flaps_after_more_than_five_a_minute(void **state)
{
    struct flaps f;

    flaps_init(&f, 2);
    for (int i = 0; i < FLAPS_MAX; i++) {
        flaps_add(&f, UUID_A, i * 1000);
        assert_false(flaps_is(&f, UUID_A, i * 1000));
    }
    flaps_add(&f, UUID_A, 6000);
    assert_true(flaps_is(&f, UUID_A, 6000));
    assert_false(flaps_is(&f, UUID_B, 6000));
    assert_false(flaps_is(&f, UUID_A, FLAPS_WINDOW_MS));
    flaps_clear(&f);
}

static void test_flaps_slow_replacement_is_none(void **state)
{
    struct flaps f;

    flaps_init(&f, 2);
    for (int i = 0; i < 50; i++) {
        flaps_add(&f, UUID_A, i * 15000);
        assert_false(flaps_is(&f, UUID_A, i * 15000));
    }
    flaps_clear(&f);
}

static void test_pace_follows_the_rate_when_time_allows(void **state)
{
    struct pace p = {.start_ms = 1000, .total = 100, .rate_per_minute = 60, .timeout_s = 600};

    assert_int_equal(pace_due(&p, 1000), 1);
    assert_int_equal(pace_due(&p, 11000), 11);
    assert_int_equal(pace_due(&p, 100000), 100);
}

static void test_pace_is_faster_when_time_is_short(void **state)
{
    struct pace p = {.start_ms = 0, .total = 1000, .rate_per_minute = 60, .timeout_s = 10};

    assert_int_equal(pace_due(&p, 5000), 501);
    assert_int_equal(pace_due(&p, 10000), 1000);
}

static void test_pace_without_time_or_devices(void **state)
{
    struct pace at_once = {.total = 7, .rate_per_minute = 1, .timeout_s = 0};
    struct pace nobody = {.total = 0, .rate_per_minute = 1, .timeout_s = 10};

    assert_int_equal(pace_due(&at_once, 0), 7);
    assert_int_equal(pace_due(&nobody, 5000), 0);
}

static void test_backoff_doubles_up_to_its_maximum(void **state)
{
    struct backoff b = {.first_ms = 100, .last_ms = 1000};
    const uint32_t full[] = {100, 200, 400, 800, 1000, 1000};

    for (size_t i = 0; i < ARRAY_LEN(full); i++) {
        uint32_t wait = backoff_next_ms(&b);
        assert_in_range(wait, full[i] / 2, full[i]);
    }
    b.attempts = 1000000;
    assert_in_range(backoff_next_ms(&b), 500, 1000);
    backoff_reset(&b);
    assert_in_range(backoff_next_ms(&b), 50, 100);
}

/* --- record --- */

static char folder[] = "/tmp/test-record-XXXXXX";

static int make_folder(void **state)
{
    return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state)
{
    return rmdir(folder);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void test_record_goes_both_ways(void **state)
{
    AUTO(str) char *path = xasprintf("%s/r.json", folder);
    struct record r = {.epoch = "e1",
                       .service_id = 12,
                       .generation = 3,
                       .openvpn_pid = 4711,
                       .drain_rate = 500,
                       .drain_timeout_s = 120};
    struct record back;
    struct err err = {0};

    assert_int_equal(record_save(path, &r, &err), 0);
    assert_int_equal(record_load(path, "e1", &back, &err), 0);
    assert_string_equal(back.epoch, r.epoch);
    assert_int_equal(back.service_id, r.service_id);
    assert_int_equal(back.generation, r.generation);
    assert_int_equal(back.openvpn_pid, r.openvpn_pid);
    assert_int_equal(back.drain_rate, r.drain_rate);
    assert_int_equal(back.drain_timeout_s, r.drain_timeout_s);
    unlink(path);
}

static void test_record_of_another_epoch_is_empty(void **state)
{
    AUTO(str) char *path = xasprintf("%s/r.json", folder);
    struct record r = {.epoch = "e1", .service_id = 12};
    struct record back;

    assert_int_equal(record_save(path, &r, NULL), 0);
    assert_int_equal(record_load(path, "e2", &back, NULL), 0);
    assert_string_equal(back.epoch, "e2");
    assert_int_equal(back.service_id, 0);
    unlink(path);
}

static void test_record_without_file_is_empty(void **state)
{
    struct record back;

    assert_int_equal(record_load("/nonexistent/r.json", "e", &back, NULL), 0);
    assert_int_equal(back.service_id, 0);
}

static void test_record_refuses_rubbish(void **state)
{
    static const char *const bad[] = {
        "",
        "{",
        "[]",
        "{\"serviceId\":1}",
        "{\"epoch\":7}",
        "{\"epoch\":\"e\",\"serviceId\":\"x\"}",
        "{\"epoch\":\"e\",\"serviceId\":-1}",
        "{\"epoch\":\"e\",\"drain\":{\"ratePerMinute\":true}}",
    };
    AUTO(str) char *path = xasprintf("%s/r.json", folder);
    struct record back;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        write_file(path, bad[i]);
        assert_true(record_load(path, "e", &back, NULL) < 0);
        assert_int_equal(back.service_id, 0);
    }
    unlink(path);
}

static void test_record_says_when_it_can_not_be_written(void **state)
{
    struct record r = {.epoch = "e"};
    struct err err = {0};

    assert_true(record_save("/nonexistent/r.json", &r, &err) < 0);
    assert_non_null(strstr(err.text, "/nonexistent/r.json"));
}

int main(void)
{
#define WITH_VERDICTS(test) \
    cmocka_unit_test_setup_teardown(test, set_up_verdicts, tear_down_verdicts)
    const struct CMUnitTest tests[] = {
        WITH_VERDICTS(test_verdicts_fingerprint_is_the_contracts),
        WITH_VERDICTS(test_verdicts_are_of_one_device_and_key),
        WITH_VERDICTS(test_verdicts_grow_old),
        WITH_VERDICTS(test_verdicts_full_table_forgets_the_least_recent),
        WITH_VERDICTS(test_verdicts_refused_key_is_forgotten),
        WITH_VERDICTS(test_refusals_same_key_is_answered_without_asking),
        WITH_VERDICTS(test_refusals_strangers_keys_never_make_another_key_bad),
        WITH_VERDICTS(test_refusals_table_is_bounded),
        cmocka_unit_test(test_flaps_after_more_than_five_a_minute),
        cmocka_unit_test(test_flaps_slow_replacement_is_none),
        cmocka_unit_test(test_pace_follows_the_rate_when_time_allows),
        cmocka_unit_test(test_pace_is_faster_when_time_is_short),
        cmocka_unit_test(test_pace_without_time_or_devices),
        cmocka_unit_test(test_backoff_doubles_up_to_its_maximum),
        cmocka_unit_test(test_record_goes_both_ways),
        cmocka_unit_test(test_record_of_another_epoch_is_empty),
        cmocka_unit_test(test_record_without_file_is_empty),
        cmocka_unit_test(test_record_refuses_rubbish),
        cmocka_unit_test(test_record_says_when_it_can_not_be_written),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
