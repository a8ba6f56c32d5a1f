#include "sidecar-proxy/proxy/connect_head.h"

#include "tests/unit/cmocka_all.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define UUID "0123456789abcdef0123456789abcdef"
#define HOST "Host: " UUID ".balena:22\r\n"

struct row {
    const char *head;
    int result; /* 0: the whole of head */
    const char *host;
    uint16_t port;
};

static const struct row rows[] = {
    {"CONNECT " UUID ".balena:22 HTTP/1.1\r\n" HOST "\r\n", 0, UUID ".balena", 22},
    {"CONNECT " UUID ".balena:22 HTTP/1.0\r\n\r\n", 0, UUID ".balena", 22},
    {"\r\n\r\nCONNECT x:1 HTTP/1.0\r\n\r\n", 0, "x", 1},
    {"CONNECT x:65535 HTTP/1.0\r\n\r\n", 0, "x", 65535},
    {"CONNECT x:00080 HTTP/1.0\r\n\r\n", 0, "x", 80},
    {"CONNECT x HTTP/1.0\r\n\r\n", 0, "x", 0},
    {"CONNECT [::1]:80 HTTP/1.0\r\n\r\n", 0, "[::1]", 80},
    {"CONNECT x:1 HTTP/1.9\r\nHost: x\r\n\r\n", 0, "x", 1},
    {"CONNECT x:1 HTTP/1.0\r\nA:\r\nB:\t c \t\r\n\r\n", 0, "x", 1},
    {"CONNECT x:1 HTTP/1.0\r\nA: \xff\xfe\r\n\r\n", 0, "x", 1},
    /* malformed */
    {"CONNECT x: HTTP/1.0\r\n\r\n", -EPROTO, NULL, 0},
    {"CONNECT x:0 HTTP/1.0\r\n\r\n", -EPROTO, NULL, 0},
    {"CONNECT x:65536 HTTP/1.0\r\n\r\n", -EPROTO, NULL, 0},
    {"CONNECT x:99999 HTTP/1.0\r\n\r\n", -EPROTO, NULL, 0},
    {"CONNECT x:000080 HTTP/1.0\r\n\r\n", -EPROTO, NULL, 0},
    {"CONNECT x:-1 HTTP/1.0\r\n\r\n", -EPROTO, NULL, 0},
    {"CONNECT x:2x HTTP/1.0\r\n\r\n", -EPROTO, NULL, 0},
    {"CONNECT :80 HTTP/1.0\r\n\r\n", -EPROTO, NULL, 0},
    {"CONNECT x:1:2 HTTP/1.0\r\n\r\n", -EPROTO, NULL, 0},
    {"CONNECT [::1 HTTP/1.0\r\n\r\n", -EPROTO, NULL, 0},
    {"CONNECT http://x/ HTTP/1.0\r\n\r\n", -EPROTO, NULL, 0},
    {"CONNECT u@x:1 HTTP/1.0\r\n\r\n", -EPROTO, NULL, 0},
    {"CONNECT  HTTP/1.0\r\n\r\n", -EPROTO, NULL, 0},
    {"CONNECT x:1\r\n\r\n", -EPROTO, NULL, 0},
    {"CONNECT x:1 HTTP/1.1 \r\nHost: x\r\n\r\n", -EPROTO, NULL, 0},
    {"CONNECT  x:1 HTTP/1.0\r\n\r\n", -EPROTO, NULL, 0},
    {"CONNECT x:1 http/1.0\r\n\r\n", -EPROTO, NULL, 0},
    {"CONNECT x:1 HTTP/2.0\r\n\r\n", -EPROTO, NULL, 0},
    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", -EPROTO, NULL, 0},
    {"CONN(CT x:1 HTTP/1.0\r\n\r\n", -EPROTO, NULL, 0},
    {"CONNECT x:1 HTTP/1.0\n\n", -EPROTO, NULL, 0},
    {"CONNECT x:1 HTTP/1.0\r\nA: b\n\r\n", -EPROTO, NULL, 0},
    {"CONNECT x:1 HTTP/1.0\r\nA: b\rc\r\n\r\n", -EPROTO, NULL, 0},
    {"CONNECT x:1 HTTP/1.0\r\nA : b\r\n\r\n", -EPROTO, NULL, 0},
    {"CONNECT x:1 HTTP/1.0\r\nA: b\r\n c\r\n\r\n", -EPROTO, NULL, 0},
    {"CONNECT x:1 HTTP/1.0\r\n A: b\r\n\r\n", -EPROTO, NULL, 0},
    {"CONNECT x:1 HTTP/1.0\r\nA\r\n\r\n", -EPROTO, NULL, 0},
    {"CONNECT x:1 HTTP/1.0\r\n: b\r\n\r\n", -EPROTO, NULL, 0},
    {"CONNECT x:1 HTTP/1.0\r\nA: b\x01\r\n\r\n", -EPROTO, NULL, 0},
    {"CONNECT x\x7f:1 HTTP/1.0\r\n\r\n", -EPROTO, NULL, 0},
    {"CONNECT x:1 HTTP/1.1\r\n\r\n", -EPROTO, NULL, 0},
    {"CONNECT x:1 HTTP/1.1\r\nHost: x\r\nhost: x\r\n\r\n", -EPROTO, NULL, 0},
    {"CONNECT x:1 HTTP/1.0\r\nHost: x\r\nHost: x\r\n\r\n", -EPROTO, NULL, 0},
    {"CONNECT x:1 HTTP/1.1\r\nHost: a b\r\n\r\n", -EPROTO, NULL, 0},
    {"CONNECT x:1 HTTP/1.1\r\nHost:\r\n\r\n", -EPROTO, NULL, 0},
    {"CONNECT x:1 HTTP/1.1\r\nHost: x:0\r\n\r\n", -EPROTO, NULL, 0},
    {"GET http://x/ HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n", -EPROTO,
     NULL, 0},
    {"GET http://x/ HTTP/1.1\r\nHost: x\r\nContent-Length: -3\r\n\r\n", -EPROTO, NULL, 0},
    {"GET http://x/ HTTP/1.1\r\nHost: x\r\nContent-Length: 3, 3\r\n\r\n", -EPROTO, NULL, 0},
    {"GET http://x/ HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\n", -EPROTO, NULL, 0},
    {"GET http://x/ HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n"
     "Transfer-Encoding: chunked\r\n\r\n",
     -EPROTO, NULL, 0},
    /* another method, whatever else is wrong with it */
    {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", -EOPNOTSUPP, NULL, 0},
    {"GET / HTTP/1.1\r\n\r\n", -EOPNOTSUPP, NULL, 0},
    {"POST https://x/ HTTP/1.0\r\n\r\n", -EOPNOTSUPP, NULL, 0},
    {"GET http:// HTTP/1.0\r\n\r\n", -EOPNOTSUPP, NULL, 0},
    {"GET http:///path HTTP/1.0\r\n\r\n", -EPROTO, NULL, 0},
    {"GET http://x:0/ HTTP/1.0\r\n\r\n", -EPROTO, NULL, 0},
    {"GET http://user@x/ HTTP/1.0\r\n\r\n", -EPROTO, NULL, 0},
    {"GET http://x/#y HTTP/1.0\r\n\r\n", -EPROTO, NULL, 0},
    {"connect x:1 HTTP/1.0\r\n\r\n", -EOPNOTSUPP, NULL, 0},
};

static void test_connect_head_answers_each_row_of_the_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct connect_head head = {.port = 4711};
        size_t len = strlen(rows[i].head);
        int r = connect_head_parse(rows[i].head, len, &head, NULL);
        if (r != (rows[i].result != 0 ? rows[i].result : (int)len)) {
            fail_msg("row %zu: %d for %s", i, r, rows[i].head);
        }
        if (rows[i].result == 0) {
            assert_int_equal(head.host.len, strlen(rows[i].host));
            assert_memory_equal(head.host.at, rows[i].host, head.host.len);
            assert_int_equal(head.port, rows[i].port);
        }
    }
}

static const struct {
    const char *head;
    const char *sent;
} forwards[] = {
    {"GET http://x.balena:8080/a?b=c HTTP/1.1\r\nHost: other\r\nAccept: */*\r\n\r\n",
     "GET /a?b=c HTTP/1.1\r\nHost: x.balena:8080\r\nAccept: */*\r\nVia: 1.1 me\r\n"
     "Connection: close\r\n\r\n"},
    {"POST HTTP://x.balena HTTP/1.0\r\nContent-Length: 3\r\n\r\n",
     "POST / HTTP/1.0\r\nHost: x.balena\r\nContent-Length: 3\r\nVia: 1.1 me\r\n"
     "Connection: close\r\n\r\n"},
    {"POST http://x.balena/ HTTP/1.1\r\nHost: x\r\nConnection: content-length\r\n"
     "Content-Length: 3\r\n\r\n",
     "POST / HTTP/1.1\r\nHost: x.balena\r\nContent-Length: 3\r\nVia: 1.1 me\r\n"
     "Connection: close\r\n\r\n"},
    {"GET http://x.balena?q HTTP/1.0\r\nProxy-Authorization: Basic OnNlY3JldA==\r\n"
     "Proxy-Connection: keep-alive\r\nConnection: x-hop, Keep-Alive\r\nX-Hop: 1\r\n"
     "Keep-Alive: 5\r\nTE: trailers\r\nUpgrade: h2c\r\nVia: 1.0 them\r\nX-Stays: 2\r\n\r\n",
     "GET /?q HTTP/1.0\r\nHost: x.balena\r\nX-Stays: 2\r\nVia: 1.1 me\r\n"
     "Connection: close\r\n\r\n"},
};

static void test_connect_head_sends_absolute_form_on_in_origin_form(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(forwards); i++) {
        AUTO(buf) struct buf out;
        struct connect_head head;
        size_t len = strlen(forwards[i].head);
        assert_int_equal(connect_head_parse(forwards[i].head, len, &head, NULL), len);
        assert_true(head.forward);
        buf_init(&out, 4096);
        assert_int_equal(connect_head_forward(&head, "1.1 me", &out), 0);
        assert_string_equal(buf_str(&out), forwards[i].sent);
    }
}

static void test_connect_head_takes_no_byte_behind_the_blank_line(void **state)
{
    static const char bytes[] = "CONNECT x:1 HTTP/1.0\r\n\r\nSSH-2.0\r\n\r\n";
    struct connect_head head;

    (void)state;
    assert_int_equal(connect_head_parse(bytes, strlen(bytes), &head, NULL), 24);
}

/* However a head is cut, it is incomplete until its last byte; one byte more changes nothing. */
static void test_connect_head_waits_for_the_last_byte(void **state)
{
    static const char bytes[] = "\r\nCONNECT x:1 HTTP/1.1\r\nHost: x\r\nA: b\r\n\r\n";
    struct connect_head head;

    (void)state;
    for (size_t len = 0; len < strlen(bytes); len++) {
        char *cut = malloc(len + 1); /* so that a sanitizer sees a read too far */
        memcpy(cut, bytes, len);
        char *exact = realloc(cut, len > 0 ? len : 1);
        assert_int_equal(connect_head_parse(exact, len, &head, NULL), 0);
        free(exact);
    }
    assert_int_equal(connect_head_parse(bytes, strlen(bytes), &head, NULL), strlen(bytes));
}

static size_t long_head(char *out, size_t want)
{
    size_t len = (size_t)sprintf(out, "CONNECT x:1 HTTP/1.0\r\nA: ");

    memset(out + len, 'a', want - len - 4);
    memcpy(out + want - 4, "\r\n\r\n", 4);
    return want;
}

static void test_connect_head_accepts_8192_bytes_and_refuses_8193(void **state)
{
    char bytes[CONNECT_HEAD_MAX + 64];
    struct connect_head head;

    (void)state;
    size_t len = long_head(bytes, CONNECT_HEAD_MAX);
    assert_int_equal(connect_head_parse(bytes, len, &head, NULL), CONNECT_HEAD_MAX);
    len = long_head(bytes, CONNECT_HEAD_MAX + 1);
    assert_int_equal(connect_head_parse(bytes, len, &head, NULL), -EMSGSIZE);
}

static void test_connect_head_says_which_version_to_answer_in(void **state)
{
    struct connect_head head;
    static const struct {
        const char *bytes;
        int minor;
    } table[] = {
        {"CONNECT x:0 HTTP/1.0\r\n\r\n", 0},
        {"CONNECT x:0 HTTP/1.1\r\n\r\n", 1},
        {"GET / HTTP/1.0\r\n\r\n", 0},
        {"rubbish\r\n\r\n", 1},
        {"rubbish\n", 1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        head.minor = 7;
        assert_true(connect_head_parse(table[i].bytes, strlen(table[i].bytes), &head, NULL) < 0);
        assert_int_equal(head.minor, table[i].minor);
    }
}

static bool closes(const char *version, const char *fields)
{
    char bytes[256];
    struct connect_head head;
    int len =
        snprintf(bytes, sizeof(bytes), "CONNECT x:1 HTTP/%s\r\nHost: x\r\n%s\r\n", version, fields);

    assert_int_equal(connect_head_parse(bytes, (size_t)len, &head, NULL), len);
    return head.close;
}

static void test_connect_head_knows_when_the_client_wants_it_closed(void **state)
{
    (void)state;
    assert_true(closes("1.0", ""));
    assert_false(closes("1.1", ""));
    assert_true(closes("1.1", "Connection: close\r\n"));
    assert_true(closes("1.1", "connection: upgrade , Close\r\n"));
    assert_false(closes("1.1", "Connection: closed\r\n"));
    assert_false(closes("1.1", "Proxy-Connection: Keep-Alive\r\n"));
}

static void test_connect_head_field_finds_each_of_a_name(void **state)
{
    static const char bytes[] =
        "CONNECT x:1 HTTP/1.0\r\nVia: 1.1 a\r\nOther: 1\r\nvia:1.0 b \r\nViaduct: no\r\n\r\n";
    struct connect_head head;
    struct text value;
    size_t pos = 0;

    (void)state;
    assert_true(connect_head_parse(bytes, strlen(bytes), &head, NULL) > 0);
    assert_true(connect_head_field(&head, "via", &pos, &value));
    assert_int_equal(value.len, 5);
    assert_memory_equal(value.at, "1.1 a", 5);
    assert_true(connect_head_field(&head, "via", &pos, &value));
    assert_memory_equal(value.at, "1.0 b", value.len);
    assert_false(connect_head_field(&head, "via", &pos, &value));
}

static void test_connect_head_notes_a_body(void **state)
{
    static const char bytes[] = "CONNECT x:1 HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx";
    struct connect_head head;

    (void)state;
    assert_int_equal(connect_head_parse(bytes, strlen(bytes), &head, NULL), strlen(bytes) - 1);
    assert_true(head.has_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connect_head_answers_each_row_of_the_table),
        cmocka_unit_test(test_connect_head_sends_absolute_form_on_in_origin_form),
        cmocka_unit_test(test_connect_head_takes_no_byte_behind_the_blank_line),
        cmocka_unit_test(test_connect_head_waits_for_the_last_byte),
        cmocka_unit_test(test_connect_head_accepts_8192_bytes_and_refuses_8193),
        cmocka_unit_test(test_connect_head_says_which_version_to_answer_in),
        cmocka_unit_test(test_connect_head_knows_when_the_client_wants_it_closed),
        cmocka_unit_test(test_connect_head_field_finds_each_of_a_name),
        cmocka_unit_test(test_connect_head_notes_a_body),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
