#include "sidecar-proxy/proxy/answer.h"

#include "tests/unit/cmocka_all.h"

#include <errno.h>
#include <string.h>

static void expect(struct answer answer, const char *wanted)
{
    AUTO(buf) struct buf out;

    buf_init(&out, 4096);
    answer_format(&answer, &out);
    assert_string_equal(buf_str(&out), wanted);
}

static void test_answer_heads_are_these_bytes(void **state)
{
    (void)state;
    expect((struct answer){.status = 200}, "HTTP/1.0 200 Connection Established\r\n\r\n");
    expect((struct answer){.status = 200, .minor = 1},
           "HTTP/1.1 200 Connection Established\r\n\r\n");
    expect((struct answer){.status = 407, .minor = 1},
           "HTTP/1.1 407 Proxy Authorization Required\r\n"
           "Proxy-Authenticate: Basic realm=\"open-balena-vpn\"\r\nContent-Length: 0\r\n\r\n");
    expect((struct answer){.status = 503, .close = true, .retry_after_s = 2},
           "HTTP/1.0 503 Service Unavailable\r\nRetry-After: 2\r\nConnection: close\r\n"
           "Content-Length: 0\r\n\r\n");
    expect((struct answer){.status = 405, .minor = 1, .close = true},
           "HTTP/1.1 405 Method Not Allowed\r\nAllow: CONNECT\r\nConnection: close\r\n"
           "Content-Length: 0\r\n\r\n");
}

static void test_answer_phrases_are_those_that_users_know(void **state)
{
    static const struct {
        int status;
        const char *phrase;
    } rows[] = {
        {400, "Bad Request"},
        {403, "Forbidden"},
        {407, "Proxy Authorization Required"},
        {431, "Request Header Fields Too Large"},
        {503, "Service Unavailable"},
        {508, "Loop Detected"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_string_equal(answer_phrase(rows[i].status), rows[i].phrase);
    }
}

static void test_hop_request_is_these_bytes(void **state)
{
    AUTO(buf) struct buf out;
    struct hop_request request = {
        .uuid = "abc",
        .port = 22,
        .authorization = "Vpn-Ticket v1.1.ab",
        .via = "1.1 a, 1.1 me",
        .self = "me",
        .client = "192.0.2.7",
        .traceparent = "00-x",
    };

    (void)state;
    buf_init(&out, 4096);
    hop_request_format(&request, &out);
    assert_string_equal(buf_str(&out),
                        "CONNECT abc.balena:22 HTTP/1.1\r\nHost: abc.balena:22\r\n"
                        "Proxy-Authorization: Vpn-Ticket v1.1.ab\r\nVia: 1.1 a, 1.1 me\r\n"
                        "Forwarded: for=192.0.2.7;by=_me\r\ntraceparent: 00-x\r\n\r\n");
}

static void test_hop_request_quotes_an_ipv6_caller(void **state)
{
    AUTO(buf) struct buf out;
    struct hop_request request = {
        .uuid = "abc", .port = 22, .via = "1.1 me", .self = "me", .client = "2001:db8::7"};

    (void)state;
    buf_init(&out, 4096);
    hop_request_format(&request, &out);
    assert_non_null(strstr(buf_str(&out), "\r\nForwarded: for=\"[2001:db8::7]\";by=_me\r\n"));
}

static void test_answer_of_a_limit_names_it(void **state)
{
    AUTO(buf) struct buf out;
    struct answer answer = {
        .status = 429, .minor = 1, .retry_after_s = 2, .limit = "too many tunnels of this caller"};

    (void)state;
    buf_init(&out, 1024);
    answer_format(&answer, &out);
    assert_string_equal(buf_str(&out),
                        "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 2\r\n"
                        "Proxy-Status: open-balena-vpn; error=connection_limit_reached; "
                        "details=\"too many tunnels of this caller\"\r\n"
                        "Content-Length: 0\r\n\r\n");
}

static void test_hop_answer_answers_each_row_of_the_table(void **state)
{
    static const struct {
        const char *bytes;
        int result;
        int status;
    } rows[] = {
        {"HTTP/1.0 200 Connection Established\r\n\r\nSSH", 39, 200},
        {"HTTP/1.1 503\r\n\r\n", 16, 503},
        {"HTTP/1.1 407 x\r\nA: b\r\n\r\n", 24, 407},
        {"HTTP/1.1 200 x\r\n", 0, 0},
        {"HTTP/2 200 x\r\n\r\n", -EPROTO, 0},
        {"HTTP/1.1 2000 x\r\n\r\n", -EPROTO, 0},
        {"HTTP/1.1 20\r\n\r\n", -EPROTO, 0},
        {"SSH-2.0-x\r\n\r\n", -EPROTO, 0},
        {"\r\n\r\n", -EPROTO, 0},
        {"", 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int status = 0;
        assert_int_equal(hop_answer_parse(rows[i].bytes, strlen(rows[i].bytes), &status),
                         rows[i].result);
        assert_int_equal(status, rows[i].status);
    }
}

static void test_hop_answer_without_an_end_is_too_long_at_some_point(void **state)
{
    char bytes[ANSWER_HEAD_MAX];
    int status = 0;

    (void)state;
    memset(bytes, 'a', sizeof(bytes));
    assert_int_equal(hop_answer_parse(bytes, sizeof(bytes) - 1, &status), 0);
    assert_int_equal(hop_answer_parse(bytes, sizeof(bytes), &status), -EMSGSIZE);
}

static void test_traceparent_is_checked_before_it_is_passed_on(void **state)
{
    static const struct {
        const char *value;
        bool valid;
    } rows[] = {
        {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", true},
        {"00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false},
        {"01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false},
        {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0", false},
        {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x", false},
        {"", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(traceparent_valid(rows[i].value, strlen(rows[i].value)), rows[i].valid);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answer_heads_are_these_bytes),
        cmocka_unit_test(test_answer_phrases_are_those_that_users_know),
        cmocka_unit_test(test_hop_request_is_these_bytes),
        cmocka_unit_test(test_hop_request_quotes_an_ipv6_caller),
        cmocka_unit_test(test_answer_of_a_limit_names_it),
        cmocka_unit_test(test_hop_answer_answers_each_row_of_the_table),
        cmocka_unit_test(test_hop_answer_without_an_end_is_too_long_at_some_point),
        cmocka_unit_test(test_traceparent_is_checked_before_it_is_passed_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
