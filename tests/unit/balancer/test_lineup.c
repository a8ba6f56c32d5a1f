/* Lists as text: "a@1 ready 3" is server a at address 1 with 3 connections. */
#include "controller/balancer/lineup.h"

#include "common/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define GONE_MS 1000

struct fixture {
    struct lineup lineup;
    struct server_list endpoints, observed, desired;
};

static void read_list(const char *text, struct server_list *ret)
{
    AUTO(str) char *copy = xstrdup(text);

    ret->count = 0;
    for (char *rest = copy, *item; (item = strsep(&rest, ",")) != NULL;) {
        struct server *s = &ret->items[ret->count];
        char mode[16] = "";
        *s = (struct server){0};
        if (sscanf(item, " %63[^@]@%63s %15s %u", s->name, s->address, mode, &s->sessions) < 3) {
            continue;
        }
        s->mode = strcmp(mode, "ready") == 0   ? SERVER_READY
                  : strcmp(mode, "drain") == 0 ? SERVER_DRAIN
                                               : SERVER_MAINT;
        ret->count++;
    }
}

static void expect_of(struct fixture *f, const char *endpoints, const char *observed, bool fresh,
                      int64_t now_ms, const char *desired)
{
    AUTO(buf) struct buf out;

    buf_init(&out, 4096);
    read_list(endpoints, &f->endpoints);
    read_list(observed, &f->observed);
    lineup_plan(&f->lineup, &f->endpoints, &f->observed, fresh, now_ms, &f->desired);
    for (size_t i = 0; i < f->desired.count; i++) {
        const struct server *s = &f->desired.items[i];
        buf_printf(&out, "%s%s@%s %s", i > 0 ? ", " : "", s->name, s->address,
                   s->mode == SERVER_READY ? "ready" : "drain");
    }
    assert_string_equal(buf_str(&out), desired);
}

/* haproxy was asked after the plan before. */
static void expect(struct fixture *f, const char *endpoints, const char *observed, int64_t now_ms,
                   const char *desired)
{
    expect_of(f, endpoints, observed, true, now_ms, desired);
}

static int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));

    f->lineup.gone_ms = GONE_MS;
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    free(*state);
    return 0;
}

static void test_lineup_is_the_endpoints(void **state)
{
    struct fixture *f = *state;

    expect(f, "a@1 ready, b@2 drain", "", 0, "a@1 ready, b@2 drain");
    expect(f, "a@1 drain, b@2 ready", "a@1 ready 5, b@2 drain 0", 1, "a@1 drain, b@2 ready");
    assert_int_equal(f->lineup.leaving, 0);
}

static void test_lineup_who_is_gone_drains_until_nobody_is_connected(void **state)
{
    struct fixture *f = *state;

    expect(f, "a@1 ready, b@2 ready", "", 0, "a@1 ready, b@2 ready");
    expect(f, "a@1 ready", "a@1 ready 3, b@2 ready 2", 10, "a@1 ready, b@2 drain");
    assert_int_equal(f->lineup.leaving, 1);
    expect(f, "a@1 ready", "a@1 ready 3, b@2 drain 1", 900, "a@1 ready, b@2 drain");
    expect(f, "a@1 ready", "a@1 ready 3, b@2 drain 0", 901, "a@1 ready");
    expect(f, "a@1 ready", "a@1 ready 3, b@2 drain 0", 902, "a@1 ready"); /* not adopted again */
    assert_int_equal(f->lineup.cut, 0);
}

static void test_lineup_a_count_of_a_server_that_still_takes_newcomers_is_worth_nothing(
    void **state)
{
    struct fixture *f = *state;

    expect(f, "a@1 ready", "", 0, "a@1 ready");
    expect(f, "", "a@1 ready 0", 10, "a@1 drain");
    expect(f, "", "a@1 ready 0", 11, "a@1 drain"); /* haproxy has yet to do it */
    expect(f, "", "a@1 drain 0", 12, "");
}

/* A look at haproxy from before it was told: somebody may have come since. */
static void test_lineup_believes_no_count_of_before(void **state)
{
    struct fixture *f = *state;

    expect(f, "a@1 ready", "", 0, "a@1 ready");
    expect(f, "", "a@1 maint 0", 10, "a@1 drain"); /* as it was born; it is ready by now */
    expect_of(f, "", "a@1 drain 0", false, 11, "a@1 drain");
    expect(f, "", "a@1 drain 1", 12, "a@1 drain");
    expect(f, "", "a@1 drain 0", 13, "");
}

static void test_lineup_cuts_who_is_connected_when_the_time_is_over(void **state)
{
    struct fixture *f = *state;

    expect(f, "a@1 ready", "", 0, "a@1 ready");
    expect(f, "", "a@1 ready 7", 10, "a@1 drain");
    expect(f, "", "a@1 drain 7", 10 + GONE_MS - 1, "a@1 drain");
    expect(f, "", "a@1 drain 7", 10 + GONE_MS, "");
    assert_int_equal(f->lineup.cut, 7);
}

static void test_lineup_who_returns_is_as_ever(void **state)
{
    struct fixture *f = *state;

    expect(f, "a@1 ready", "", 0, "a@1 ready");
    expect(f, "", "a@1 ready 7", 10, "a@1 drain");
    expect(f, "a@1 ready", "a@1 drain 7", 20, "a@1 ready");
    expect(f, "", "a@1 ready 7", 2000, "a@1 drain"); /* its time begins anew */
    expect(f, "", "a@1 drain 7", 2500, "a@1 drain");
}

static void test_lineup_another_address_waits_for_the_connections_to_the_old(void **state)
{
    struct fixture *f = *state;

    expect(f, "a@1 ready", "", 0, "a@1 ready");
    expect(f, "a@2 ready", "a@1 ready 3", 10, "a@1 drain");
    expect(f, "a@2 ready", "a@1 drain 1", 20, "a@1 drain");
    expect(f, "a@2 ready", "a@1 drain 0", 30, "a@2 ready");
    expect(f, "a@2 ready", "a@1 maint 0", 31, "a@2 ready");
    expect(f, "a@2 ready", "a@2 ready 0", 32, "a@2 ready");
}

static void test_lineup_another_address_is_taken_when_the_time_is_over(void **state)
{
    struct fixture *f = *state;

    expect(f, "a@1 ready", "", 0, "a@1 ready");
    expect(f, "a@2 drain", "a@1 ready 3", 10, "a@1 drain");
    expect(f, "a@2 drain", "a@1 drain 3", 10 + GONE_MS, "a@2 drain");
    assert_int_equal(f->lineup.cut, 3);
}

static void test_lineup_another_address_is_taken_when_haproxy_has_none(void **state)
{
    struct fixture *f = *state;

    expect(f, "a@1 ready", "", 0, "a@1 ready");
    expect(f, "a@2 ready", "", 10, "a@1 drain"); /* it was restarted */
    expect(f, "a@2 ready", "", 11, "a@2 ready");
}

static void test_lineup_begins_with_what_haproxy_has(void **state)
{
    struct fixture *f = *state;

    expect(f, "a@1 ready", "a@1 ready 5, b@2 ready 4, c@3 maint 0", 500,
           "a@1 ready, b@2 drain, c@3 drain");
    expect(f, "a@1 ready", "a@1 ready 5, b@2 drain 4, c@3 drain 0", 510, "a@1 ready, b@2 drain");
    expect(f, "a@1 ready", "a@1 ready 5, b@2 drain 4", 500 + GONE_MS, "a@1 ready");
}

static void test_lineup_after_a_restart_of_haproxy_is_who_is_there(void **state)
{
    struct fixture *f = *state;

    expect(f, "a@1 ready, b@2 ready", "", 0, "a@1 ready, b@2 ready");
    expect(f, "a@1 ready", "a@1 ready 3, b@2 ready 2", 10, "a@1 ready, b@2 drain");
    expect(f, "a@1 ready", "", 20, "a@1 ready");
}

static void test_lineup_what_somebody_added_by_hand_is_not_kept(void **state)
{
    struct fixture *f = *state;

    expect(f, "a@1 ready", "", 0, "a@1 ready");
    expect(f, "a@1 ready", "a@1 ready 0, x@9 ready 0", 10, "a@1 ready");
}

static void test_lineup_is_bounded(void **state)
{
    struct fixture *f = *state;

    f->endpoints.count = SERVERS_MAX;
    f->observed.count = 0;
    for (size_t i = 0; i < SERVERS_MAX; i++) {
        f->endpoints.items[i].mode = SERVER_READY;
        snprintf(f->endpoints.items[i].name, SERVER_NAME_MAX, "p%zu", i);
    }
    lineup_plan(&f->lineup, &f->endpoints, &f->observed, true, 0, &f->desired);
    assert_int_equal(f->desired.count, SERVERS_MAX);
    f->observed = f->desired;
    strcpy(f->endpoints.items[5].name, "new");
    lineup_plan(&f->lineup, &f->endpoints, &f->observed, true, 1, &f->desired);
    assert_int_equal(f->desired.count, SERVERS_MAX); /* p5 leaves, new has no room yet */
    assert_null(servers_find(&f->desired, "new"));
    f->observed.items[5].mode = SERVER_DRAIN;
    lineup_plan(&f->lineup, &f->endpoints, &f->observed, true, 2, &f->desired);
    assert_non_null(servers_find(&f->desired, "new"));
    assert_null(servers_find(&f->desired, "p5"));
}

int main(void)
{
#define WITH_LINEUP(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_LINEUP(test_lineup_is_the_endpoints),
        WITH_LINEUP(test_lineup_who_is_gone_drains_until_nobody_is_connected),
        WITH_LINEUP(test_lineup_a_count_of_a_server_that_still_takes_newcomers_is_worth_nothing),
        WITH_LINEUP(test_lineup_believes_no_count_of_before),
        WITH_LINEUP(test_lineup_cuts_who_is_connected_when_the_time_is_over),
        WITH_LINEUP(test_lineup_who_returns_is_as_ever),
        WITH_LINEUP(test_lineup_another_address_waits_for_the_connections_to_the_old),
        WITH_LINEUP(test_lineup_another_address_is_taken_when_the_time_is_over),
        WITH_LINEUP(test_lineup_another_address_is_taken_when_haproxy_has_none),
        WITH_LINEUP(test_lineup_begins_with_what_haproxy_has),
        WITH_LINEUP(test_lineup_after_a_restart_of_haproxy_is_who_is_there),
        WITH_LINEUP(test_lineup_what_somebody_added_by_hand_is_not_kept),
        WITH_LINEUP(test_lineup_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
