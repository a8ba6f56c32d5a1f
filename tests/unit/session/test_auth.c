#include "sidecar-proxy/session/auth.h"

#include "tests/unit/session/fakes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define UUID_A "0123456789abcdef0123456789abcdef"
#define UUID_B "fedcba9876543210fedcba9876543210"

/* In place of verdict_query.c: one question at a time, answered by the test. */
struct verdict_query {
    verdict_query_fn on_done;
    void *arg;
};
static struct verdict_query *query;
static size_t queries;

struct verdict_query *verdict_query_start(struct verdict_asker *a, const char *uuid,
                                          const struct fingerprint *f, verdict_query_fn on_done,
                                          void *arg)
{
    query = xcalloc(1, sizeof(*query));
    *query = (struct verdict_query){on_done, arg};
    queries++;
    return query;
}

void verdict_query_cancel(struct verdict_query *q)
{
    free(q);
    query = q == query ? NULL : query;
}

static void vouch(int64_t at_ms)
{
    struct verdict_query *q = query;

    assert_non_null(q);
    query = NULL;
    q->on_done(q->arg, at_ms);
    free(q);
}

struct fixture {
    struct loop *loop;
    struct sessions sessions;
    struct verdicts verdicts;
    struct auth *auth;
    struct auth_options options;
    int published;
};

static void on_verdict(void *arg, const struct verdict *v)
{
    ((struct fixture *)arg)->published++;
}

static void open_auth(struct fixture *f)
{
    f->auth = auth_new(&f->options);
    auth_set_link(f->auth, fake_link());
    auth_set_generation(f->auth, 1);
}

static int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));

    assert_int_equal(loop_new(&f->loop, NULL), 0);
    sessions_init(&f->sessions, 16);
    verdicts_init(&f->verdicts, "service key", 16);
    f->options = (struct auth_options){
        .loop = f->loop,
        .api = fake_api(),
        .sessions = &f->sessions,
        .verdicts = &f->verdicts,
        .cache_s = 60,
        .grace_s = 3600,
        .max_in_flight = 2,
        .max_waiting = 2,
        .on_verdict = on_verdict,
        .arg = f,
    };
    open_auth(f);
    fake_link_live = true;
    fake_link_take();
    queries = 0;
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    auth_close(f->auth);
    sessions_clear(&f->sessions);
    verdicts_clear(&f->verdicts);
    loop_free(f->loop);
    fake_api_reset();
    free(f);
    return 0;
}

static void ask(struct fixture *f, uint64_t cid, const char *uuid, const char *key)
{
    struct link_client c = {
        .cid = cid, .kid = 1, .username = uuid, .password = key, .remote = "192.0.2.1:1"};

    auth_ask(f->auth, &c, false);
}

static void ask_again(struct fixture *f, uint64_t cid, const char *uuid, const char *key)
{
    struct link_client c = {
        .cid = cid, .kid = 3, .username = uuid, .password = key, .remote = "192.0.2.1:1"};

    auth_ask(f->auth, &c, true);
}

static void session_up(struct fixture *f, uint64_t cid, const char *uuid)
{
    struct session_claim c = {.id = {1, cid}, .uuid = uuid, .address = 1, .since_ms = 1};

    sessions_up(&f->sessions, &c);
}

/* The credential was good age_s ago. */
static void known(struct fixture *f, const char *uuid, const char *key, int age_s)
{
    struct fingerprint print = verdicts_fingerprint(&f->verdicts, uuid, key);
    int64_t age_ms = (int64_t)age_s * 1000;

    verdicts_add(&f->verdicts, uuid, &print, clock_realtime_ms() - age_ms,
                 clock_monotonic_ms() - age_ms);
}

static void expect_link(const char *expected)
{
    assert_string_equal(fake_link_take(), expected);
}

static void test_auth_yes_is_allowed_published_and_cached(void **state)
{
    struct fixture *f = *state;

    ask(f, 0, UUID_A, "key");
    assert_string_equal(fake_api_waiting(), "auth " UUID_A " key");
    expect_link("");
    fake_api_answer(API_YES);
    expect_link("allow 0 1\n");
    assert_int_equal(f->published, 1);
    ask(f, 1, UUID_A, "key");
    expect_link("allow 1 1\n");
    assert_string_equal(fake_api_waiting(), "");
}

static void test_auth_cache_is_of_one_key_and_device(void **state)
{
    struct fixture *f = *state;

    known(f, UUID_A, "key", 0);
    ask(f, 0, UUID_A, "other");
    ask(f, 1, UUID_B, "key");
    expect_link("");
    assert_int_equal(fake_api_waiting_count(), 2);
}

static void test_auth_no_is_refused_and_forgotten(void **state)
{
    struct fixture *f = *state;

    known(f, UUID_A, "key", 100);
    ask(f, 0, UUID_A, "key");
    fake_api_answer(API_NO);
    expect_link("deny 0 1\n");
    assert_int_equal(verdicts_count(&f->verdicts), 0);
}

static void test_auth_rubbish_never_reaches_the_api(void **state)
{
    static const char *const names[] = {"",
                                        "../../etc/passwd",
                                        "..%2e",
                                        "0123456789ABCDEF0123456789ABCDEF",
                                        "0123456789abcdef0123456789abcde",
                                        UUID_A "/",
                                        UUID_A " ",
                                        "\x01\x02"};
    static const char *const keys[] = {"", " key", "key ", "k\ney", "k\xff", "k\x7f", "k ey"};
    struct fixture *f = *state;
    char text[32];
    AUTO(str) char *long_name = xcalloc(1, 301);
    AUTO(str) char *long_key = xcalloc(1, AUTH_KEY_MAX + 2);

    memset(long_name, 'a', 300);
    memset(long_key, 'k', AUTH_KEY_MAX + 1);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        ask(f, i, names[i], "key");
        snprintf(text, sizeof(text), "deny %zu 1\n", i);
        expect_link(text);
    }
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        ask(f, i, UUID_A, keys[i]);
        snprintf(text, sizeof(text), "deny %zu 1\n", i);
        expect_link(text);
    }
    ask(f, 7, long_name, "key");
    ask(f, 8, UUID_A, long_key);
    expect_link("deny 7 1\ndeny 8 1\n");
    assert_string_equal(fake_api_waiting(), "");
}

static void test_auth_equal_questions_share_one_call(void **state)
{
    struct fixture *f = *state;

    ask(f, 0, UUID_A, "key");
    ask(f, 1, UUID_A, "key");
    assert_int_equal(fake_api_waiting_count(), 1);
    fake_api_answer(API_YES);
    expect_link("allow 0 1\nallow 1 1\n");
}

static void test_auth_calls_are_bounded_and_so_is_the_queue(void **state)
{
    struct fixture *f = *state;
    char key[8];

    for (uint64_t cid = 0; cid < 5; cid++) {
        snprintf(key, sizeof(key), "key%d", (int)cid);
        ask(f, cid, UUID_A, key);
    }
    assert_int_equal(fake_api_waiting_count(), 2);
    expect_link("temp 4 1\n");
    fake_api_answer(API_YES);
    assert_int_equal(fake_api_waiting_count(), 2);
    fake_api_answer(API_YES);
    fake_api_answer(API_YES);
    fake_api_answer(API_YES);
    expect_link("allow 0 1\nallow 1 1\nallow 2 1\nallow 3 1\n");
}

static void test_auth_unknown_lets_in_who_was_good_lately(void **state)
{
    struct fixture *f = *state;

    known(f, UUID_A, "key", 100);
    ask(f, 0, UUID_A, "key");
    fake_api_answer(API_UNKNOWN);
    expect_link("allow 0 1\n");
    assert_int_equal(queries, 0);
}

static void test_auth_unknown_does_not_let_in_who_was_good_long_ago(void **state)
{
    struct fixture *f = *state;

    known(f, UUID_A, "key", 3601);
    ask(f, 0, UUID_A, "key");
    fake_api_answer(API_UNKNOWN);
    vouch(0);
    expect_link("temp 0 1\n");
}

static void test_auth_unknown_asks_the_state_services(void **state)
{
    struct fixture *f = *state;

    ask(f, 0, UUID_A, "key");
    fake_api_answer(API_UNKNOWN);
    expect_link("");
    vouch(clock_realtime_ms() - 1000000);
    expect_link("allow 0 1\n");
    assert_int_equal(f->published, 0);
}

static void test_auth_state_service_that_vouches_for_long_ago_is_not_heard(void **state)
{
    struct fixture *f = *state;

    ask(f, 0, UUID_A, "key");
    fake_api_answer(API_UNKNOWN);
    vouch(clock_realtime_ms() - 3601000);
    expect_link("temp 0 1\n");
}

static void test_auth_refused_key_is_not_helped_by_others_memory(void **state)
{
    struct fixture *f = *state;

    ask(f, 0, UUID_A, "key");
    fake_api_answer(API_NO);
    ask(f, 1, UUID_A, "key");
    fake_api_answer(API_UNKNOWN);
    assert_int_equal(queries, 0);
    expect_link("deny 0 1\ntemp 1 1\n");
}

static bool is_answered(void *arg)
{
    const char *text = fake_link_take();

    snprintf(arg, 64, "%s", text);
    return text[0] != '\0';
}

static void test_auth_silent_api_is_not_waited_for_long(void **state)
{
    struct fixture *f = *state;
    char text[64];

    auth_close(f->auth);
    f->options.known_patience_ms = 5;
    open_auth(f);
    known(f, UUID_A, "key", 100);
    ask(f, 0, UUID_A, "key");
    fake_run_until(f->loop, is_answered, text);
    assert_string_equal(text, "allow 0 1\n");
    assert_int_equal(fake_api_cancelled(), 1);
}

static void test_auth_waiting_in_the_queue_is_bounded_in_time(void **state)
{
    struct fixture *f = *state;
    char text[64];

    auth_close(f->auth);
    f->options.max_in_flight = 1;
    open_auth(f);
    ask(f, 0, UUID_B, "key");
    fake_api_set_sane(false);
    auth_close(f->auth);
    f->options.ill_patience_ms = 5;
    open_auth(f);
    known(f, UUID_A, "key", 100);
    ask(f, 1, UUID_B, "other");
    ask(f, 2, UUID_A, "key");
    fake_run_until(f->loop, is_answered, text);
    assert_non_null(strstr(text, "allow 2 1\n"));
}

static void test_auth_repeated_bad_key_costs_the_api_nothing(void **state)
{
    struct fixture *f = *state;

    for (uint64_t cid = 0; cid < 3; cid++) {
        ask(f, cid, UUID_A, "bad");
        fake_api_answer(API_NO);
    }
    expect_link("deny 0 1\ndeny 1 1\ndeny 2 1\n");
    ask(f, 3, UUID_A, "bad");
    expect_link("deny 3 1\n");
    assert_string_equal(fake_api_waiting(), "");
}

static void test_auth_strangers_do_not_shut_out_a_good_key(void **state)
{
    struct fixture *f = *state;
    char key[16];

    known(f, UUID_A, "good", 100);
    for (int i = 0; i < 25; i++) {
        snprintf(key, sizeof(key), "guess%d", i);
        ask(f, 0, UUID_A, key);
        if (fake_api_waiting_count() > 0) {
            fake_api_answer(API_NO);
        }
    }
    fake_link_take();
    ask(f, 1, UUID_A, "unseen");
    expect_link("temp 1 1\n");
    ask(f, 2, UUID_A, "good");
    fake_api_answer(API_YES);
    expect_link("allow 2 1\n");
}

static void test_auth_draining_puts_off_newcomers_only(void **state)
{
    struct fixture *f = *state;

    known(f, UUID_A, "key", 0);
    session_up(f, 9, UUID_A);
    ask(f, 0, UUID_B, "key");
    auth_set_draining(f->auth);
    expect_link("temp 0 1\n");
    fake_api_answer(API_YES);
    expect_link("");
    ask(f, 1, UUID_A, "key");
    expect_link("temp 1 1\n");
    ask_again(f, 9, UUID_A, "key");
    expect_link("allow 9 3\n");
}

static void test_auth_flapping_device_is_to_come_again_in_a_minute(void **state)
{
    struct fixture *f = *state;

    known(f, UUID_A, "key", 0);
    session_up(f, 0, UUID_A);
    for (uint64_t cid = 1; cid <= 6; cid++) {
        ask(f, cid, UUID_A, "key");
    }
    fake_link_take();
    ask(f, 7, UUID_A, "key");
    expect_link("temp 7 1 60\n");
}

static void test_auth_live_session_is_kept_while_nobody_knows(void **state)
{
    struct fixture *f = *state;

    session_up(f, 4, UUID_A);
    ask_again(f, 4, UUID_A, "key");
    fake_api_answer(API_UNKNOWN);
    vouch(0);
    expect_link("allow 4 3\n");
}

static void test_auth_reauth_of_another_uuid_is_not_kept(void **state)
{
    struct fixture *f = *state;

    session_up(f, 4, UUID_A);
    ask_again(f, 4, UUID_B, "key");
    fake_api_answer(API_UNKNOWN);
    vouch(0);
    expect_link("temp 4 3\n");
}

static void test_auth_reauth_with_a_bad_key_is_refused(void **state)
{
    struct fixture *f = *state;

    session_up(f, 4, UUID_A);
    ask_again(f, 4, UUID_A, "key");
    fake_api_answer(API_NO);
    expect_link("deny 4 3\n");
}

static void test_auth_who_has_gone_is_not_answered(void **state)
{
    struct fixture *f = *state;

    ask(f, 0, UUID_A, "key");
    ask(f, 1, UUID_A, "key");
    auth_disconnect(f->auth, 0);
    fake_api_answer(API_YES);
    expect_link("allow 1 1\n");
}

static void test_auth_forgotten_questions_are_not_answered_but_learnt_from(void **state)
{
    struct fixture *f = *state;

    ask(f, 0, UUID_A, "key");
    auth_forget(f->auth);
    fake_api_answer(API_YES);
    expect_link("");
    ask(f, 0, UUID_A, "key");
    expect_link("allow 0 1\n");
}

int main(void)
{
#define WITH_AUTH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_AUTH(test_auth_yes_is_allowed_published_and_cached),
        WITH_AUTH(test_auth_cache_is_of_one_key_and_device),
        WITH_AUTH(test_auth_no_is_refused_and_forgotten),
        WITH_AUTH(test_auth_rubbish_never_reaches_the_api),
        WITH_AUTH(test_auth_equal_questions_share_one_call),
        WITH_AUTH(test_auth_calls_are_bounded_and_so_is_the_queue),
        WITH_AUTH(test_auth_unknown_lets_in_who_was_good_lately),
        WITH_AUTH(test_auth_unknown_does_not_let_in_who_was_good_long_ago),
        WITH_AUTH(test_auth_unknown_asks_the_state_services),
        WITH_AUTH(test_auth_state_service_that_vouches_for_long_ago_is_not_heard),
        WITH_AUTH(test_auth_refused_key_is_not_helped_by_others_memory),
        WITH_AUTH(test_auth_silent_api_is_not_waited_for_long),
        WITH_AUTH(test_auth_waiting_in_the_queue_is_bounded_in_time),
        WITH_AUTH(test_auth_repeated_bad_key_costs_the_api_nothing),
        WITH_AUTH(test_auth_strangers_do_not_shut_out_a_good_key),
        WITH_AUTH(test_auth_draining_puts_off_newcomers_only),
        WITH_AUTH(test_auth_flapping_device_is_to_come_again_in_a_minute),
        WITH_AUTH(test_auth_live_session_is_kept_while_nobody_knows),
        WITH_AUTH(test_auth_reauth_of_another_uuid_is_not_kept),
        WITH_AUTH(test_auth_reauth_with_a_bad_key_is_refused),
        WITH_AUTH(test_auth_who_has_gone_is_not_answered),
        WITH_AUTH(test_auth_forgotten_questions_are_not_answered_but_learnt_from),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
