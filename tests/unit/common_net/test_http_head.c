#include "common/http_head.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct http_head head;

static int parse(const char *text)
{
    return http_head_parse(text, strlen(text), &head);
}

static void test_head_takes_request_line_and_headers(void **state)
{
    (void)state;
    const char *text = "GET /v1/devices/abc?x=%41&y HTTP/1.1\r\nhost: a\r\n"
                       "AUTHORIZATION: \t Bearer  k \r\n\r\nrest";
    assert_int_equal(parse(text), strlen(text) - 4);
    assert_string_equal(head.method, "GET");
    assert_string_equal(head.path, "/v1/devices/abc");
    assert_string_equal(head.query, "x=%41&y");
    assert_string_equal(head.authorization, "Bearer  k");
    assert_true(head.keep_alive);
    assert_false(head.is_websocket);
    assert_int_equal(head.content_length, 0);
}

static void test_head_is_incomplete_at_every_shorter_length(void **state)
{
    (void)state;
    const char *text = "\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
    for (size_t len = 0; len < strlen(text); len++) {
        assert_int_equal(http_head_parse(text, len, &head), 0);
    }
    assert_int_equal(parse(text), strlen(text));
    assert_int_equal(head.content_length, 3);
}

static void test_head_decodes_the_path(void **state)
{
    (void)state;
    static const struct {
        const char *target, *path, *query;
    } cases[] = {
        {"/a%20b", "/a b", ""},
        {"/a%2fb%2F", "/a/b/", ""},
        {"/a%3Fb?c%3F?d", "/a?b", "c%3F?d"},
        {"/%25%32%35", "/%25", ""},
        {"/../%2e%2e//x", "/../..//x", ""}, /* a path is a name here: nothing is folded away */
        {"/a+b", "/a+b", ""},
        {"/?", "/", ""},
        {"http://host:80/x?y", "/x", "y"},
        {"HTTP://host", "/", ""},
        {"http://host?q", "/", "q"},
        {"/%ff", "/\xff", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(str) char *text = xasprintf("GET %s HTTP/1.1\r\nHost: a\r\n\r\n", cases[i].target);
        assert_int_equal(parse(text), strlen(text));
        assert_string_equal(head.path, cases[i].path);
        assert_string_equal(head.query, cases[i].query);
    }
}

static void test_head_refuses(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *text;
    } cases[] = {
        {400, "GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "GET /% HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "GET /%4 HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "GET /%4g HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "GET a HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "GET http:// HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "GET /\r\nHost: a\r\n\r\n"},
        {400, "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, " GET / HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "G(T / HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "GET / HTTP/1.1 \r\nHost: a\r\n\r\n"},
        {400, "GET / HTTX/1.1\r\nHost: a\r\n\r\n"},
        {400, "GET / HTTP/1\r\nHost: a\r\n\r\n"},
        {505, "GET / HTTP/2.0\r\nHost: a\r\n\r\n"},
        {505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
        {501, "ABCDEFGHIJKLMNOP / HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\n\r\n"}, /* no Host */
        {400, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost : a\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: a\x01\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: x\r\nAuthorization: y\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"},
        {413, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1234567890123456789\r\n\r\n"},
        {501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"},
        {501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n"},
        {400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
              "Content-Length: 1\r\n\r\n"},
        {417, "POST / HTTP/1.1\r\nHost: a\r\nExpect: something\r\n\r\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int r = parse(cases[i].text);
        if (r != -cases[i].status) {
            fail_msg("%d, not %d: %s", r, -cases[i].status, cases[i].text);
        }
    }
    assert_int_equal(http_head_parse("GET / HTTP/1.1\r\nHost: \0\r\n\r\n", 28, &head), -400);
}

/* A head of exactly len bytes. */
static char *head_of(size_t len, bool in_target)
{
    const char *begin = in_target ? "GET /" : "GET / HTTP/1.1\r\nHost: a\r\nX: ";
    const char *end = in_target ? " HTTP/1.1\r\nHost: a\r\n\r\n" : "\r\n\r\n";
    char *text = xmalloc(len + 1);

    memset(text, 'a', len);
    memcpy(text, begin, strlen(begin));
    strcpy(text + len - strlen(end), end);
    return text;
}

static void test_head_of_the_greatest_length(void **state)
{
    (void)state;
    AUTO(str) char *longest = head_of(HTTP_HEAD_MAX, false);
    AUTO(str) char *longer = head_of(HTTP_HEAD_MAX + 1, false);
    AUTO(str) char *longest_target = head_of(HTTP_HEAD_MAX, true);
    AUTO(str) char *longer_target = head_of(HTTP_HEAD_MAX + 40, true);

    assert_int_equal(parse(longest), HTTP_HEAD_MAX);
    assert_int_equal(parse(longer), -431);
    assert_int_equal(http_head_parse(longer, HTTP_HEAD_MAX, &head), 0);
    assert_int_equal(parse(longest_target), HTTP_HEAD_MAX);
    assert_int_equal(parse(longer_target), -414);
    assert_int_equal(http_head_parse(longer_target, HTTP_HEAD_MAX + 1, &head), -414);
}

static void test_head_knows_when_the_connection_ends(void **state)
{
    (void)state;
    parse("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_false(head.keep_alive);
    parse("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, CLOSE\r\n\r\n");
    assert_false(head.keep_alive);
    parse("GET / HTTP/1.0\r\n\r\n");
    assert_false(head.keep_alive);
    parse("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
    assert_true(head.keep_alive);
}

static void test_head_recognises_a_websocket(void **state)
{
    (void)state;
    parse("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c, WebSocket\r\nConnection: keep-alive, "
          "Upgrade\r\n"
          "Sec-WebSocket-Key: k\r\nSec-WebSocket-Version: 13\r\n"
          "Sec-WebSocket-Protocol: a, b.v1\r\n\r\n");
    assert_true(head.is_websocket);
    assert_int_equal(head.ws_version, 13);
    assert_string_equal(head.ws_key, "k");
    assert_true(http_list_has(head.ws_protocols, "b.v1"));
    assert_true(http_list_has(head.ws_protocols, "a"));
    assert_false(http_list_has(head.ws_protocols, "b"));
    assert_false(http_list_has(head.ws_protocols, "B.V1"));
    parse("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: keep-alive\r\n\r\n");
    assert_false(head.is_websocket);
}

/* Feeds text in pieces of step bytes; the status, or bytes taken. */
static long feed_body(const char *text, size_t step, size_t max, struct buf *out)
{
    struct http_body body;
    size_t len = strlen(text);
    long taken = 0;

    parse("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    http_body_init(&body, &head);
    buf_clear(out);
    buf_init(out, max);
    for (size_t at = 0; at < len && !http_body_is_done(&body); at += step) {
        long n = http_body_feed(&body, text + at, step < len - at ? step : len - at, out);
        if (n < 0) {
            return n;
        }
        taken += n;
    }
    return http_body_is_done(&body) ? taken : 0;
}

static void test_body_joins_chunks_however_they_come(void **state)
{
    (void)state;
    const char *text = "5\r\nhello\r\n00a;x=\"y\"\r\n, chunked \r\n5 \r\nworld\r\n0\r\n"
                       "Trailer: x\r\n\r\nNEXT";
    AUTO(buf) struct buf out;
    buf_init(&out, 0);
    for (size_t step = 1; step <= strlen(text); step++) {
        assert_int_equal(feed_body(text, step, 100, &out), strlen(text) - 4);
        assert_string_equal(buf_str(&out), "hello, chunked world");
    }
    assert_int_equal(feed_body(text, 7, 20, &out), strlen(text) - 4);
    assert_int_equal(feed_body(text, 7, 19, &out), -413);
}

static void test_body_refuses_bad_chunks(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "\r\n",         "x\r\n", "-1\r\n",          "5\nhello", "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n", "1\rx",  "0\r\nA: b\n\r\n", "0\r\n\n",
    };
    AUTO(buf) struct buf out;
    buf_init(&out, 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(feed_body(cases[i], 100, 100, &out), -400);
    }
    assert_int_equal(feed_body("1000000000000000\r\n", 100, 100, &out), -413);
    assert_int_equal(feed_body("fffffffff\r\nx", 100, 100, &out), 0); /* incomplete, not refused */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_head_takes_request_line_and_headers),
        cmocka_unit_test(test_head_is_incomplete_at_every_shorter_length),
        cmocka_unit_test(test_head_decodes_the_path),
        cmocka_unit_test(test_head_refuses),
        cmocka_unit_test(test_head_of_the_greatest_length),
        cmocka_unit_test(test_head_knows_when_the_connection_ends),
        cmocka_unit_test(test_head_recognises_a_websocket),
        cmocka_unit_test(test_body_joins_chunks_however_they_come),
        cmocka_unit_test(test_body_refuses_bad_chunks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
