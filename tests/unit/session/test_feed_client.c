#include "sidecar-proxy/session/feed_client.h"

#include "common/ws_client.h"
#include "tests/unit/session/fakes.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define UUID_A "0123456789abcdef0123456789abcdef"

/* In place of ws_client.c: one socket, whose other end is the test. */
struct ws_client {
    struct ws_client_options o;
    bool closing;
    bool full;
};
static struct ws_client *socket_now;
static struct buf sent = {.max = 1 << 20};

int ws_client_open(struct loop *loop, const struct ws_client_options *options,
                   struct ws_client **ret, struct err *err)
{
    assert_null(socket_now);
    socket_now = xcalloc(1, sizeof(*socket_now));
    socket_now->o = *options;
    *ret = socket_now;
    return 0;
}

int ws_client_send(struct ws_client *client, const char *text, size_t len)
{
    if (client->full) {
        return -EMSGSIZE;
    }
    buf_append(&sent, text, len);
    buf_append_str(&sent, "\n");
    return 0;
}

void ws_client_close(struct ws_client *client)
{
    client->closing = true;
}

static void hang_up(void)
{
    struct ws_client *s = socket_now;

    socket_now = NULL;
    s->o.on_closed(s->o.arg, "test");
    free(s);
}

struct fixture {
    struct loop *loop;
    struct sessions sessions;
    struct verdicts verdicts;
    struct feed_client *feed;
    int stale;
    int changes;
    bool closed;
};

static void on_stale(void *arg, const char *uuid, struct session_id id)
{
    assert_string_equal(uuid, UUID_A);
    assert_int_equal(id.cid, 7);
    ((struct fixture *)arg)->stale++;
}

static void on_change(void *arg)
{
    ((struct fixture *)arg)->changes++;
}

static void on_closed(void *arg)
{
    ((struct fixture *)arg)->closed = true;
}

static int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    struct feed_client_options options = {
        .address = "127.0.0.1",
        .port = 8090,
        .host = "state",
        .token = "aa",
        .me = {"fleet", 1, "e", "127.0.0.1:21001", "100.64.0.0/20"},
        .on_stale = on_stale,
        .on_change = on_change,
        .on_closed = on_closed,
        .arg = f,
    };

    assert_int_equal(loop_new(&f->loop, NULL), 0);
    sessions_init(&f->sessions, 16);
    verdicts_init(&f->verdicts, "key", 16);
    options.loop = f->loop;
    options.sessions = &f->sessions;
    options.verdicts = &f->verdicts;
    f->feed = feed_client_open(&options);
    buf_clear(&sent);
    *state = f;
    return 0;
}

static bool is_closed(void *arg)
{
    return ((struct fixture *)arg)->closed;
}

static void close_feed(struct fixture *f, bool orderly)
{
    feed_client_close(f->feed, orderly);
    if (socket_now != NULL) {
        assert_true(socket_now->closing);
        hang_up();
    }
    fake_run_until(f->loop, is_closed, f);
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    if (!f->closed) {
        close_feed(f, false);
    }
    sessions_clear(&f->sessions);
    verdicts_clear(&f->verdicts);
    loop_free(f->loop);
    buf_clear(&sent);
    free(f);
    return 0;
}

static bool has_socket(void *arg)
{
    return socket_now != NULL;
}

static void connect_feed(struct fixture *f)
{
    fake_run_until(f->loop, has_socket, NULL);
    socket_now->o.on_open(socket_now->o.arg);
}

static bool has_sent(void *arg)
{
    return strstr(buf_str(&sent), arg) != NULL;
}

static void expect_sent(struct fixture *f, const char *text)
{
    fake_run_until(f->loop, has_sent, (void *)text);
    buf_clear(&sent);
}

static void say(const char *text)
{
    socket_now->o.on_message(socket_now->o.arg, text, strlen(text));
}

static void make_live(struct fixture *f)
{
    feed_client_sync(f->feed);
    connect_feed(f);
    expect_sent(f, "\"snapshot\",\"seq\":1");
    say("{\"type\":\"ack\",\"seq\":1}");
    assert_true(feed_client_is_acked(f->feed));
}

static void up(struct fixture *f, uint64_t cid)
{
    struct session_claim c = {.id = {1, cid}, .uuid = UUID_A, .address = 1, .since_ms = 1};

    sessions_up(&f->sessions, &c);
}

static void test_feed_greets_and_tells(void **state)
{
    struct fixture *f = *state;

    up(f, 7);
    feed_client_info(f->feed, 12, "ready");
    fake_run_until(f->loop, has_socket, NULL);
    assert_string_equal(socket_now->o.address, "127.0.0.1");
    assert_string_equal(socket_now->o.host, "state");
    assert_string_equal(socket_now->o.path, "/v1/feed");
    assert_string_equal(socket_now->o.protocol, "vpn-state.v1");
    assert_string_equal(socket_now->o.bearer, "aa");
    make_live(f);
    assert_int_equal(f->changes, 1);
    sessions_down(&f->sessions, (struct session_id){1, 7}, 5);
    expect_sent(f, "\"down\",\"seq\":2");
    up(f, 8);
    expect_sent(f, "\"up\",\"seq\":3");
    feed_client_info(f->feed, 12, "draining");
    expect_sent(f, "\"info\",\"seq\":4,\"serviceId\":12,\"phase\":\"draining\"");
}

static void test_feed_says_nothing_of_sessions_before_we_are_in_step(void **state)
{
    struct fixture *f = *state;

    connect_feed(f);
    expect_sent(f, "\"hello\"");
    up(f, 7);
    fake_settle(f->loop);
    assert_string_equal(buf_str(&sent), "");
    feed_client_sync(f->feed);
    expect_sent(f, UUID_A);
}

static void test_feed_begins_anew_after_a_loss(void **state)
{
    struct fixture *f = *state;

    make_live(f);
    hang_up();
    assert_false(feed_client_is_acked(f->feed));
    up(f, 7);
    connect_feed(f);
    expect_sent(f, "\"seq\":1,\"more\":false,\"sessions\":[{\"id\":\"1.7\"");
}

static bool is_leaving(void *arg)
{
    return socket_now->closing;
}

static void test_feed_full_queue_begins_anew(void **state)
{
    struct fixture *f = *state;

    make_live(f);
    socket_now->full = true;
    up(f, 7);
    fake_run_until(f->loop, is_leaving, NULL);
    hang_up();
    connect_feed(f);
    expect_sent(f, "\"id\":\"1.7\"");
}

static void test_feed_hands_on_what_is_stale(void **state)
{
    struct fixture *f = *state;

    make_live(f);
    say("{\"type\":\"stale\",\"uuid\":\"" UUID_A "\",\"id\":\"1.7\"}");
    assert_int_equal(f->stale, 1);
    say("{\"type\":\"something new\"}");
}

static void test_feed_leaves_who_talks_rubbish(void **state)
{
    struct fixture *f = *state;

    make_live(f);
    say("rubbish");
    fake_run_until(f->loop, is_leaving, NULL);
    hang_up();
    connect_feed(f);
}

static void test_feed_orderly_end_says_bye(void **state)
{
    struct fixture *f = *state;

    make_live(f);
    close_feed(f, true);
    assert_string_equal(buf_str(&sent), "{\"type\":\"bye\"}\n");
}

static void test_feed_end_of_the_sidecar_alone_does_not(void **state)
{
    struct fixture *f = *state;

    make_live(f);
    close_feed(f, false);
    assert_string_equal(buf_str(&sent), "");
}

static void test_feed_ends_at_once_when_not_connected(void **state)
{
    struct fixture *f = *state;

    close_feed(f, true);
    assert_true(f->closed);
}

static void test_feed_verdicts_are_told(void **state)
{
    struct fixture *f = *state;
    struct fingerprint print = verdicts_fingerprint(&f->verdicts, UUID_A, "key");

    make_live(f);
    feed_client_verdict(f->feed, verdicts_add(&f->verdicts, UUID_A, &print, 5, 5));
    expect_sent(f, print.text);
}

int main(void)
{
#define WITH_FEED(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_FEED(test_feed_greets_and_tells),
        WITH_FEED(test_feed_says_nothing_of_sessions_before_we_are_in_step),
        WITH_FEED(test_feed_begins_anew_after_a_loss),
        WITH_FEED(test_feed_full_queue_begins_anew),
        WITH_FEED(test_feed_hands_on_what_is_stale),
        WITH_FEED(test_feed_leaves_who_talks_rubbish),
        WITH_FEED(test_feed_orderly_end_says_bye),
        WITH_FEED(test_feed_end_of_the_sidecar_alone_does_not),
        WITH_FEED(test_feed_ends_at_once_when_not_connected),
        WITH_FEED(test_feed_verdicts_are_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
