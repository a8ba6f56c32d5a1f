#include "sidecar-proxy/session/feed_message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define UUID_A "0123456789abcdef0123456789abcdef"

static struct sessions sessions;
static struct verdicts verdicts;
static struct buf out;

static int set_up(void **state)
{
    sessions_init(&sessions, 5000);
    verdicts_init(&verdicts, "service key", 5000);
    buf_init(&out, FEED_MESSAGE_MAX);
    return 0;
}

static int tear_down(void **state)
{
    sessions_clear(&sessions);
    verdicts_clear(&verdicts);
    buf_clear(&out);
    return 0;
}

static const struct session *add(uint64_t cid, const char *uuid)
{
    struct session_claim c = {
        .id = {1, cid}, .uuid = uuid, .address = 0x64400003, .since_ms = 1764000000000};

    assert_int_equal(sessions_up(&sessions, &c), SESSIONS_UP);
    return sessions_find_id(&sessions, c.id);
}

static void test_feed_messages_are_the_protocols(void **state)
{
    const struct feed_identity me = {"fleet", 1, "e\"1", "127.0.0.1:21001", "100.64.0.0/20"};
    const struct session *s = add(7, UUID_A);
    struct fingerprint f = {"ab"};

    feed_put_hello(&out, &me, 12, "ready");
    assert_string_equal(buf_str(&out),
                        "{\"type\":\"hello\",\"pool\":\"fleet\",\"index\":1,\"epoch\":\"e\\\"1\","
                        "\"serviceId\":12,\"proxy\":\"127.0.0.1:21001\","
                        "\"subnet\":\"100.64.0.0/20\",\"phase\":\"ready\"}");
    buf_clear(&out);
    feed_put_up(&out, 2, s);
    assert_string_equal(buf_str(&out),
                        "{\"type\":\"up\",\"seq\":2,\"session\":{\"id\":\"1.7\",\"uuid\":\"" UUID_A
                        "\",\"address\":\"100.64.0.3\",\"since\":1764000000000}}");
    buf_clear(&out);
    feed_put_down(&out, 3, s, 1764000000123);
    assert_string_equal(buf_str(&out), "{\"type\":\"down\",\"seq\":3,\"uuid\":\"" UUID_A
                                       "\",\"id\":\"1.7\",\"at\":1764000000123}");
    buf_clear(&out);
    feed_put_verdict(&out, 4, verdicts_add(&verdicts, UUID_A, &f, 5, 5));
    assert_string_equal(buf_str(&out), "{\"type\":\"verdict\",\"seq\":4,\"verdict\":{\"uuid\":"
                                       "\"" UUID_A "\",\"fingerprint\":\"ab\",\"at\":5}}");
    buf_clear(&out);
    feed_put_info(&out, 5, 0, "draining");
    assert_string_equal(buf_str(&out),
                        "{\"type\":\"info\",\"seq\":5,\"serviceId\":null,\"phase\":\"draining\"}");
}

static void test_feed_snapshot_of_nothing_is_one_part(void **state)
{
    struct feed_snapshot at;

    feed_snapshot_begin(&at, &sessions, &verdicts);
    assert_false(feed_put_part(&out, 1, &at));
    assert_string_equal(
        buf_str(&out),
        "{\"type\":\"snapshot\",\"seq\":1,\"more\":false,\"sessions\":[],\"verdicts\":[]}");
}

static size_t count(const char *text, const char *what)
{
    size_t n = 0;

    while ((text = strstr(text, what)) != NULL) {
        n++;
        text++;
    }
    return n;
}

static void test_feed_snapshot_comes_in_parts_of_a_thousand(void **state)
{
    struct feed_snapshot at;
    const size_t expected[] = {1000, 1000, 500};
    char uuid[UUID_TEXT_MAX + 1];

    for (uint64_t cid = 0; cid < 2500; cid++) {
        snprintf(uuid, sizeof(uuid), "%032llu", (unsigned long long)cid);
        add(cid, uuid);
    }
    feed_snapshot_begin(&at, &sessions, &verdicts);
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        buf_clear(&out);
        assert_int_equal(feed_put_part(&out, i + 1, &at), i < 2);
        assert_int_equal(count(buf_str(&out), "\"since\""), expected[i]);
    }
}

static int parse(const char *text, struct feed_downward *m)
{
    return feed_parse(text, strlen(text), m, NULL);
}

static void test_feed_understands_what_comes_down(void **state)
{
    struct feed_downward m;

    assert_int_equal(parse("{\"type\":\"ack\",\"seq\":5}", &m), 0);
    assert_int_equal(m.kind, FEED_ACK);
    assert_int_equal(m.seq, 5);
    assert_int_equal(parse("{\"type\":\"stale\",\"uuid\":\"" UUID_A "\",\"id\":\"1.7\"}", &m), 0);
    assert_int_equal(m.kind, FEED_STALE);
    assert_string_equal(m.uuid, UUID_A);
    assert_int_equal(m.id.cid, 7);
    assert_int_equal(parse("{\"type\":\"news\"}", &m), 0);
    assert_int_equal(m.kind, FEED_OTHER);
}

static void test_feed_refuses_what_is_not_the_protocol(void **state)
{
    static const char *const bad[] = {
        "",
        "null",
        "{}",
        "{\"type\":7}",
        "{\"type\":\"ack\"}",
        "{\"type\":\"ack\",\"seq\":-1}",
        "{\"type\":\"ack\",\"seq\":\"1\"}",
        "{\"type\":\"stale\"}",
        "{\"type\":\"stale\",\"uuid\":\"x\",\"id\":\"1.7\"}",
        "{\"type\":\"stale\",\"uuid\":\"" UUID_A "\",\"id\":\"7\"}",
        "{\"type\":\"ack\",\"seq\":1}x",
    };
    struct feed_downward m;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_true(parse(bad[i], &m) < 0);
    }
}

int main(void)
{
#define WITH_TABLES(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_TABLES(test_feed_messages_are_the_protocols),
        WITH_TABLES(test_feed_snapshot_of_nothing_is_one_part),
        WITH_TABLES(test_feed_snapshot_comes_in_parts_of_a_thousand),
        cmocka_unit_test(test_feed_understands_what_comes_down),
        cmocka_unit_test(test_feed_refuses_what_is_not_the_protocol),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
