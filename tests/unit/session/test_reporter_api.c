#include "sidecar-proxy/session/reporter_api.h"

#include "tests/unit/session/fakes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define UUID_A "0123456789abcdef0123456789abcdef"
#define UUID_B "fedcba9876543210fedcba9876543210"

struct fixture {
    struct loop *loop;
    struct sessions sessions;
    struct reporter_api *reporter;
    struct reporter_api_options options;
    int64_t told_id;
};

static void on_service_id(void *arg, int64_t id)
{
    ((struct fixture *)arg)->told_id = id;
}

static int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));

    assert_int_equal(loop_new(&f->loop, NULL), 0);
    sessions_init(&f->sessions, 16);
    f->options = (struct reporter_api_options){
        .loop = f->loop,
        .api = fake_api(),
        .sessions = &f->sessions,
        .max_devices = 16,
        .register_address = "192.0.2.1",
        .on_service_id = on_service_id,
        .arg = f,
    };
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    reporter_api_close(f->reporter);
    sessions_clear(&f->sessions);
    loop_free(f->loop);
    fake_api_reset();
    free(f);
    return 0;
}

static void start(struct fixture *f, int64_t service_id)
{
    f->options.service_id = service_id;
    f->reporter = reporter_api_new(&f->options);
}

static bool call_waits(void *arg)
{
    return fake_api_waiting()[0] != '\0';
}

static void expect_call(struct fixture *f, const char *expected)
{
    fake_run_until(f->loop, call_waits, NULL);
    assert_string_equal(fake_api_waiting(), expected);
}

static void expect_none(struct fixture *f)
{
    fake_settle(f->loop);
    assert_string_equal(fake_api_waiting(), "");
}

static struct session_claim claim(uint64_t cid, const char *uuid)
{
    return (struct session_claim){.id = {1, cid}, .uuid = uuid, .address = 1, .since_ms = 1};
}

static void up(struct fixture *f, uint64_t cid, const char *uuid)
{
    struct session_claim c = claim(cid, uuid);

    sessions_up(&f->sessions, &c);
}

static void adopt(struct fixture *f, uint64_t cid, const char *uuid)
{
    struct session_claim c = claim(cid, uuid);

    sessions_adopt(&f->sessions, &c);
}

static void down(struct fixture *f, uint64_t cid)
{
    sessions_down(&f->sessions, (struct session_id){1, cid}, 2);
}

static void register_as(struct fixture *f, int64_t id)
{
    expect_call(f, "register 192.0.2.1");
    fake_api_answer_id(id);
}

static void test_reporter_registers_then_reports(void **state)
{
    struct fixture *f = *state;

    start(f, 0);
    up(f, 1, UUID_A);
    register_as(f, 7);
    assert_int_equal(f->told_id, 7);
    expect_call(f, "connect 7 " UUID_A);
    assert_int_equal(reporter_api_unreported(f->reporter), 1);
    fake_api_answer(API_YES);
    assert_int_equal(reporter_api_unreported(f->reporter), 0);
    down(f, 1);
    expect_call(f, "disconnect 7 " UUID_A);
    fake_api_answer(API_YES);
    expect_none(f);
}

static void test_reporter_registration_is_tried_again(void **state)
{
    struct fixture *f = *state;

    start(f, 0);
    expect_call(f, "register 192.0.2.1");
    fake_api_answer(API_UNKNOWN);
    register_as(f, 8);
    assert_int_equal(reporter_api_service_id(f->reporter), 8);
}

static void test_reporter_new_registration_has_nothing_to_compare(void **state)
{
    struct fixture *f = *state;

    start(f, 0);
    register_as(f, 7);
    reporter_api_settle(f->reporter);
    expect_none(f);
}

static void test_reporter_gathers_events_into_one_call(void **state)
{
    struct fixture *f = *state;

    start(f, 0);
    register_as(f, 7);
    up(f, 1, UUID_A);
    up(f, 2, UUID_B);
    expect_call(f, "connect 7 " UUID_A "," UUID_B);
}

static void test_reporter_holds_the_order_of_one_device(void **state)
{
    struct fixture *f = *state;

    start(f, 0);
    register_as(f, 7);
    up(f, 1, UUID_A);
    expect_call(f, "connect 7 " UUID_A);
    down(f, 1);
    fake_settle(f->loop);
    assert_int_equal(fake_api_waiting_count(), 1);
    fake_api_answer(API_YES);
    expect_call(f, "disconnect 7 " UUID_A);
}

static void test_reporter_repeats_what_is_not_acknowledged(void **state)
{
    struct fixture *f = *state;

    start(f, 0);
    register_as(f, 7);
    up(f, 1, UUID_A);
    expect_call(f, "connect 7 " UUID_A);
    fake_api_answer(API_UNKNOWN);
    expect_call(f, "connect 7 " UUID_A);
}

static void test_reporter_end_of_an_outage_ends_the_wait(void **state)
{
    struct fixture *f = *state;

    start(f, 0);
    register_as(f, 7);
    up(f, 1, UUID_A);
    for (int i = 0; i < 2; i++) {
        expect_call(f, "connect 7 " UUID_A);
        fake_api_answer(API_UNKNOWN);
    }
    fake_api_set_sane(true);
    reporter_api_sanity(f->reporter);
    expect_call(f, "connect 7 " UUID_A);
}

static void test_reporter_silent_ill_api_is_asked_anew(void **state)
{
    struct fixture *f = *state;

    start(f, 0);
    register_as(f, 7);
    fake_api_set_sane(false);
    up(f, 1, UUID_A);
    expect_call(f, "connect 7 " UUID_A);
    size_t before = fake_api_cancelled();
    while (fake_api_cancelled() == before) {
        fake_settle(f->loop);
    }
    expect_call(f, "connect 7 " UUID_A);
}

static void test_reporter_forgotten_instance_registers_once_and_reports_all(void **state)
{
    struct fixture *f = *state;

    start(f, 0);
    register_as(f, 7);
    up(f, 1, UUID_A);
    expect_call(f, "connect 7 " UUID_A);
    fake_api_answer(API_YES);
    up(f, 2, UUID_B);
    expect_call(f, "connect 7 " UUID_B);
    fake_api_answer(API_GONE);
    assert_int_equal(f->told_id, 0);
    register_as(f, 8);
    fake_run_until(f->loop, call_waits, NULL);
    assert_non_null(strstr(fake_api_waiting(), "connect 8 "));
    assert_non_null(strstr(fake_api_waiting(), UUID_A));
    assert_non_null(strstr(fake_api_waiting(), UUID_B));
    fake_api_answer(API_YES);
    expect_none(f);
}

static void test_reporter_restart_reports_differences_only(void **state)
{
    struct fixture *f = *state;
    const char *const listed[] = {UUID_A, "00000000000000000000000000000009"};

    start(f, 7);
    expect_none(f);
    adopt(f, 1, UUID_A);
    adopt(f, 2, UUID_B);
    expect_none(f);
    reporter_api_settle(f->reporter);
    expect_call(f, "list 7");
    fake_api_answer_list(listed, 2);
    fake_run_until(f->loop, call_waits, NULL);
    const char *first = fake_api_waiting();
    bool connect_first = strcmp(first, "connect 7 " UUID_B) == 0;
    assert_true(connect_first ||
                strcmp(first, "disconnect 7 00000000000000000000000000000009") == 0);
    fake_api_answer(API_YES);
    expect_call(f, connect_first ? "disconnect 7 00000000000000000000000000000009"
                                 : "connect 7 " UUID_B);
    fake_api_answer(API_YES);
    expect_none(f);
}

static void test_reporter_says_nobody_left_before_it_is_settled(void **state)
{
    struct fixture *f = *state;

    start(f, 7);
    for (int i = 0; i < 20; i++) {
        expect_none(f);
    }
    reporter_api_settle(f->reporter);
    expect_call(f, "list 7");
}

static void test_reporter_new_session_is_reported_before_the_comparison(void **state)
{
    struct fixture *f = *state;

    start(f, 7);
    up(f, 3, UUID_A);
    expect_call(f, "connect 7 " UUID_A);
}

static void test_reporter_comparison_is_tried_again(void **state)
{
    struct fixture *f = *state;

    start(f, 7);
    reporter_api_settle(f->reporter);
    expect_call(f, "list 7");
    fake_api_answer(API_UNKNOWN);
    expect_call(f, "list 7");
}

static void test_reporter_compares_soon_after_trouble(void **state)
{
    struct fixture *f = *state;

    start(f, 0);
    register_as(f, 7);
    reporter_api_settle(f->reporter);
    up(f, 1, UUID_A);
    expect_call(f, "connect 7 " UUID_A);
    fake_api_answer(API_UNKNOWN);
    expect_call(f, "connect 7 " UUID_A);
    fake_api_answer(API_YES);
    expect_call(f, "list 7");
}

static void test_reporter_heartbeat_begins_with_the_id(void **state)
{
    struct fixture *f = *state;

    fake_api_heartbeats = true;
    start(f, 7);
    expect_call(f, "heartbeat 7");
    fake_api_answer(API_UNKNOWN);
    expect_call(f, "heartbeat 7");
}

int main(void)
{
#define WITH_REPORTER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_REPORTER(test_reporter_registers_then_reports),
        WITH_REPORTER(test_reporter_registration_is_tried_again),
        WITH_REPORTER(test_reporter_new_registration_has_nothing_to_compare),
        WITH_REPORTER(test_reporter_gathers_events_into_one_call),
        WITH_REPORTER(test_reporter_holds_the_order_of_one_device),
        WITH_REPORTER(test_reporter_repeats_what_is_not_acknowledged),
        WITH_REPORTER(test_reporter_end_of_an_outage_ends_the_wait),
        WITH_REPORTER(test_reporter_silent_ill_api_is_asked_anew),
        WITH_REPORTER(test_reporter_forgotten_instance_registers_once_and_reports_all),
        WITH_REPORTER(test_reporter_restart_reports_differences_only),
        WITH_REPORTER(test_reporter_says_nobody_left_before_it_is_settled),
        WITH_REPORTER(test_reporter_new_session_is_reported_before_the_comparison),
        WITH_REPORTER(test_reporter_comparison_is_tried_again),
        WITH_REPORTER(test_reporter_compares_soon_after_trouble),
        WITH_REPORTER(test_reporter_heartbeat_begins_with_the_id),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
