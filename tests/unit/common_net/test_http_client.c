#include "tests/unit/common_net/net_test.h"

#include <errno.h>

/* The client against a server that the test plays. */
static struct http_client *client;
static int listener;
static char address[32];
static char url[64];

static void new_client(size_t max_in_flight, size_t max_queued, size_t max_response)
{
    struct http_client_options options = {
        .max_in_flight = max_in_flight,
        .max_queued = max_queued,
        .max_response = max_response,
    };
    assert_int_equal(http_client_new(loop, &options, &client, NULL), 0);
}

static int setup(void **state)
{
    net_setup(state);
    listener = raw_listen(address);
    snprintf(url, sizeof(url), "http://%s/x", address);
    new_client(0, 0, 0);
    return 0;
}

static int teardown(void **state)
{
    http_client_close(client);
    client = NULL;
    close(listener);
    return net_teardown(state);
}

#define client_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* The next request, on a connection of its own. */
static struct raw accept_request(void)
{
    struct raw peer;

    RUN_UNTIL(raw_accept(listener, &peer));
    RUN_UNTIL(raw_has(&peer, "\r\n\r\n"));
    return peer;
}

static void get(struct result *r)
{
    struct http_request request = request_for(r, "GET", url, NULL);

    send_request(client, &request);
}

static void test_client_returns_the_answer(void **state)
{
    (void)state;
    struct result r;
    struct http_request request = request_for(&r, "POST", url, "{\"a\":1}");
    static const char *const headers[] = {"X-One: 1", "X-Two: 2", NULL};
    request.headers = headers;
    request.bearer = "sec.ret=~";
    send_request(client, &request);
    assert_int_equal(http_client_in_flight(client), 1);

    struct raw peer = accept_request();
    RUN_UNTIL(raw_has(&peer, "{\"a\":1}"));
    assert_true(raw_has(&peer, "POST /x HTTP/1.1\r\n"));
    assert_true(raw_has(&peer, "\r\nAuthorization: Bearer sec.ret=~\r\n"));
    assert_true(raw_has(&peer, "\r\nContent-Type: application/json\r\n"));
    assert_true(raw_has(&peer, "\r\nContent-Length: 7\r\n"));
    assert_true(raw_has(&peer, "\r\nX-One: 1\r\nX-Two: 2\r\n"));
    assert_false(raw_has(&peer, "Expect"));
    raw_send(&peer, "HTTP/1.1 503 Sorry\r\nContent-Type: text/x\r\nRetry-After: 17\r\n"
                    "Content-Length: 4\r\n\r\nbusy");
    RUN_UNTIL(r.done);
    assert_int_equal(r.code, 0);
    assert_int_equal(r.status, 503);
    assert_int_equal(r.retry_after_s, 17);
    assert_string_equal(r.body, "busy");
    assert_int_equal(r.body_len, 4);
    assert_string_equal(r.content_type, "text/x");
    assert_int_equal(http_client_in_flight(client), 0);
    raw_close(&peer);
}

static void test_client_sends_each_method_as_it_should(void **state)
{
    (void)state;
    static const struct {
        const char *method, *body, *has, *has_not;
    } cases[] = {
        {"GET", NULL, "GET /x HTTP/1.1\r\n", "Content-"},
        {"DELETE", NULL, "DELETE /x HTTP/1.1\r\n", "Content-"},
        {"POST", NULL, "\r\nContent-Length: 0\r\n", "Content-Type"},
        {"PUT", "b", "PUT /x HTTP/1.1\r\n", "Expect"},
        {"PATCH", "", "\r\nContent-Length: 0\r\n", "Expect"},
        {"HEAD", NULL, "HEAD /x HTTP/1.1\r\n", "Content-"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct result r;
        struct http_request request = request_for(&r, cases[i].method, url, cases[i].body);
        send_request(client, &request);
        struct raw peer = accept_request();
        assert_true(raw_has(&peer, cases[i].has));
        assert_false(raw_has(&peer, cases[i].has_not));
        raw_send(&peer, "HTTP/1.1 204 No\r\nConnection: close\r\n\r\n");
        RUN_UNTIL(r.done);
        assert_int_equal(r.status, 204);
        assert_int_equal(r.retry_after_s, -1);
        raw_close(&peer);
    }
}

static void test_client_head_has_no_body_whatever_its_length(void **state)
{
    (void)state;
    struct result r;
    struct http_request request = request_for(&r, "HEAD", url, NULL);
    send_request(client, &request);
    struct raw peer = accept_request();
    raw_send(&peer, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
    RUN_UNTIL(r.done);
    assert_int_equal(r.status, 200);
    assert_int_equal(r.body_len, 0);
    raw_close(&peer);
}

static void test_client_joins_chunks(void **state)
{
    (void)state;
    struct result r;
    get(&r);
    struct raw peer = accept_request();
    raw_send(&peer, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel");
    net_step(__FILE__, __LINE__, "a round");
    assert_int_equal(r.done, 0);
    raw_send(&peer, "lo\r\n3\r\n ab\r\n0\r\n\r\n");
    RUN_UNTIL(r.done);
    assert_string_equal(r.body, "hello ab");
    raw_close(&peer);
}

static void test_client_tells_a_cut_answer_from_a_whole_one(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "",
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct result r;
        get(&r);
        struct raw peer = accept_request();
        raw_send(&peer, cases[i]);
        raw_close(&peer);
        RUN_UNTIL(r.done);
        assert_true(r.code == -EIO || r.code == -EPROTO);
        assert_non_null(strstr(r.error, url));
    }
}

static void test_client_refuses_what_is_not_http(void **state)
{
    (void)state;
    struct result r;
    get(&r);
    struct raw peer = accept_request();
    raw_send(&peer, "SSH-2.0-OpenSSH_9.2\r\n\r\n");
    RUN_UNTIL(r.done);
    assert_int_equal(r.code, -EPROTO);
    raw_close(&peer);
}

static void test_client_ends_a_body_over_the_limit(void **state)
{
    (void)state;
    http_client_close(client);
    new_client(0, 0, 10);
    struct result r;
    get(&r);
    struct raw peer = accept_request();
    raw_send(&peer, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789");
    RUN_UNTIL(r.done);
    assert_int_equal(r.body_len, 10);
    get(&r);
    RUN_UNTIL(raw_count(&peer, "\r\n\r\n") == 2);
    raw_send(&peer, "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n0123456789A");
    RUN_UNTIL(r.done);
    assert_int_equal(r.code, -EMSGSIZE);
    RUN_UNTIL(raw_ended(&peer));
    raw_close(&peer);
}

static void test_client_reports_a_refused_connection(void **state)
{
    (void)state;
    char nobody[32];
    unused_address(nobody);
    AUTO(str) char *nobodys_url = xasprintf("http://%s/secret?query", nobody);
    struct result r;
    struct http_request request = request_for(&r, "GET", nobodys_url, NULL);
    send_request(client, &request);
    RUN_UNTIL(r.done);
    assert_int_equal(r.code, -ECONNREFUSED);
    assert_non_null(strstr(r.error, nobody));
    assert_null(strstr(r.error, "query"));
}

static void test_client_speaks_through_a_unix_socket(void **state)
{
    (void)state;
    struct result r;
    struct http_request request = request_for(&r, "GET", "http://localhost/v1/status", NULL);
    request.unix_socket = temp_path("none.sock");
    send_request(client, &request);
    RUN_UNTIL(r.done);
    assert_int_equal(r.code, -ECONNREFUSED);
}

static void test_client_times_out_while_nothing_comes(void **state)
{
    (void)state;
    struct result r;
    struct http_request request = request_for(&r, "GET", url, NULL);
    request.timeout_ms = 30;
    int64_t began_ms = clock_monotonic_ms();
    send_request(client, &request);
    struct raw peer = accept_request();
    RUN_UNTIL(r.done);
    assert_int_equal(r.code, -ETIMEDOUT);
    assert_true(clock_monotonic_ms() - began_ms >= 30);
    RUN_UNTIL(raw_ended(&peer));
    raw_close(&peer);
}

static void test_client_times_out_in_the_queue_and_while_not_accepted(void **state)
{
    (void)state;
    http_client_close(client);
    new_client(1, 0, 0);
    struct result first, second;
    struct http_request request = request_for(&first, "GET", url, NULL);
    send_request(client, &request);
    request = request_for(&second, "GET", url, NULL);
    request.timeout_ms = 20;
    send_request(client, &request);
    assert_int_equal(http_client_in_flight(client), 2);
    RUN_UNTIL(second.done);
    assert_int_equal(second.code, -ETIMEDOUT);
    assert_int_equal(first.done, 0);
    assert_int_equal(http_client_in_flight(client), 1);
}

struct stream {
    struct result result; /* first: it is on_done's arg too */
    char bytes[256];
    int status;
    size_t calls;
    bool refuse;
    void (*also)(struct stream *s);
};

static bool on_body(void *arg, int status, const char *bytes, size_t len)
{
    struct stream *s = arg;

    s->status = status;
    s->calls++;
    strncat(s->bytes, bytes, len);
    if (s->also != NULL) {
        s->also(s);
    }
    return !s->refuse;
}

static void begin_stream(struct stream *s, uint32_t idle_timeout_ms)
{
    struct http_request request = request_for(&s->result, "GET", url, NULL);

    request.on_body = on_body;
    request.idle_timeout_ms = idle_timeout_ms;
    send_request(client, &request);
}

static void test_client_streams_pieces_as_they_come(void **state)
{
    (void)state;
    struct stream s = {0};
    begin_stream(&s, 0);
    struct raw peer = accept_request();
    raw_send(&peer, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\none\n\r\n");
    RUN_UNTIL(strcmp(s.bytes, "one\n") == 0);
    assert_int_equal(s.status, 200);
    raw_send(&peer, "4\r\ntwo\n\r\n");
    RUN_UNTIL(strcmp(s.bytes, "one\ntwo\n") == 0);
    raw_send(&peer, "0\r\n\r\n");
    RUN_UNTIL(s.result.done);
    assert_int_equal(s.result.code, 0);
    assert_int_equal(s.result.body_len, 0);
    raw_close(&peer);
}

static void test_client_ends_a_stream_that_fell_silent(void **state)
{
    (void)state;
    struct stream s = {0};
    begin_stream(&s, 1000); /* much longer than a machine that is busy keeps us waiting */
    struct raw peer = accept_request();
    raw_send(&peer, "HTTP/1.1 200 OK\r\n\r\n");
    int64_t last_ms = 0;
    for (int i = 0; i < 8; i++) { /* longer than the limit as a whole */
        int64_t wait_ms = clock_monotonic_ms() + 150;
        RUN_UNTIL(clock_monotonic_ms() >= wait_ms);
        raw_send(&peer, "x");
        last_ms = clock_monotonic_ms();
    }
    RUN_UNTIL(s.result.done);
    assert_int_equal(s.result.code, -ETIMEDOUT);
    assert_int_equal(strlen(s.bytes), 8);
    assert_true(clock_monotonic_ms() - last_ms >= 1000);
    raw_close(&peer);
}

static void test_client_ends_a_stream_that_its_reader_refuses(void **state)
{
    (void)state;
    struct stream s = {.refuse = true};
    begin_stream(&s, 0);
    struct raw peer = accept_request();
    raw_send(&peer, "HTTP/1.1 200 OK\r\n\r\nbytes");
    RUN_UNTIL(s.result.done);
    assert_int_equal(s.result.code, -ECANCELED);
    RUN_UNTIL(raw_ended(&peer));
    raw_close(&peer);
}

/* --- cancelling --- */

static void test_client_cancel_before_the_connect(void **state)
{
    (void)state;
    struct result r, after;
    get(&r);
    http_call_cancel(r.call);
    assert_int_equal(http_client_in_flight(client), 0);
    get(&after);
    struct raw peer = accept_request();
    raw_send(&peer, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    RUN_UNTIL(after.done);
    assert_int_equal(r.done, 0);
    raw_close(&peer);
}

static void test_client_cancel_in_the_queue_starts_the_next(void **state)
{
    (void)state;
    http_client_close(client);
    new_client(1, 0, 0);
    struct result r[4];
    for (int i = 0; i < 4; i++) {
        get(&r[i]);
    }
    http_call_cancel(r[1].call); /* queued */
    struct raw first = accept_request();
    http_call_cancel(r[0].call); /* waits for its answer */
    RUN_UNTIL(raw_ended(&first));
    struct raw second = accept_request();
    raw_send(&second, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    RUN_UNTIL(r[2].done);
    RUN_UNTIL(raw_count(&second, "\r\n\r\n") == 2);
    raw_send(&second, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    RUN_UNTIL(r[3].done);
    assert_int_equal(r[0].done + r[1].done, 0);
    raw_close(&first);
    raw_close(&second);
}

static void test_client_cancel_in_the_middle_of_a_body(void **state)
{
    (void)state;
    struct stream s = {0};
    begin_stream(&s, 0);
    struct raw peer = accept_request();
    raw_send(&peer, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome");
    RUN_UNTIL(s.calls == 1);
    http_call_cancel(s.result.call);
    RUN_UNTIL(raw_ended(&peer));
    assert_int_equal(s.result.done, 0);
    raw_close(&peer);
}

static void cancel_own(struct stream *s)
{
    http_call_cancel(s->result.call);
    http_call_cancel(s->result.call);
}

static void test_client_cancel_within_its_own_on_body(void **state)
{
    (void)state;
    struct stream s = {.also = cancel_own};
    begin_stream(&s, 0);
    struct raw peer = accept_request();
    raw_send(&peer, "HTTP/1.1 200 OK\r\n\r\nsome");
    RUN_UNTIL(raw_ended(&peer));
    assert_int_equal(s.calls, 1);
    assert_int_equal(s.result.done, 0);
    assert_int_equal(http_client_in_flight(client), 0);
    raw_close(&peer);
}

static struct result other;

static void cancel_other_and_send(struct stream *s)
{
    (void)s;
    http_call_cancel(other.call);
    get(&other);
}

static void test_client_cancel_another_and_send_within_on_body(void **state)
{
    (void)state;
    struct stream s = {.also = cancel_other_and_send};
    get(&other);
    struct raw others = accept_request();
    begin_stream(&s, 0);
    struct raw peer = accept_request();
    raw_send(&peer, "HTTP/1.1 200 OK\r\n\r\nsome");
    RUN_UNTIL(raw_ended(&others));
    struct raw again = accept_request();
    raw_send(&again, "HTTP/1.1 201 OK\r\nContent-Length: 0\r\n\r\n");
    RUN_UNTIL(other.done);
    assert_int_equal(other.status, 201);
    raw_close(&peer);
    RUN_UNTIL(s.result.done); /* its end is the connection's: there was no length */
    assert_int_equal(s.result.code, 0);
    raw_close(&others);
    raw_close(&again);
}

static void close_client(struct stream *s)
{
    (void)s;
    http_client_close(client);
    http_client_close(client);
}

static void test_client_close_within_on_body(void **state)
{
    (void)state;
    struct stream s = {.also = close_client};
    begin_stream(&s, 0);
    struct raw peer = accept_request();
    raw_send(&peer, "HTTP/1.1 200 OK\r\n\r\nsome");
    RUN_UNTIL(raw_ended(&peer));
    assert_int_equal(s.result.done, 0);
    raw_close(&peer);
    client = NULL;
}

static void close_on_done(void *arg, int result, const struct http_response *res,
                          const struct err *err)
{
    on_result(arg, result, res, err);
    http_call_cancel(other.call);
    http_client_close(client);
    client = NULL;
}

static void test_client_close_within_on_done(void **state)
{
    (void)state;
    struct result r, third;
    struct http_request request = request_for(&r, "GET", url, NULL);
    request.on_done = close_on_done;
    send_request(client, &request);
    get(&other);
    get(&third);
    struct raw peer = accept_request();
    raw_send(&peer, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    RUN_UNTIL(r.done);
    net_step(__FILE__, __LINE__, "a round");
    assert_int_equal(r.done, 1);
    assert_int_equal(other.done + third.done, 0);
    raw_close(&peer);
}

static void test_client_close_with_calls_in_every_phase(void **state)
{
    (void)state;
    http_client_close(client);
    new_client(2, 0, 0);
    struct result r[4];
    struct stream s = {0};
    begin_stream(&s, 0);
    struct raw peer = accept_request();
    raw_send(&peer, "HTTP/1.1 200 OK\r\n\r\nsome");
    RUN_UNTIL(s.calls == 1);
    for (int i = 0; i < 4; i++) {
        get(&r[i]);
    }
    http_client_close(client);
    client = NULL;
    RUN_UNTIL(raw_ended(&peer));
    for (int i = 0; i < 4; i++) {
        assert_int_equal(r[i].done, 0);
    }
    raw_close(&peer);
}

/* --- kept connections --- */

static const char kept_answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

static struct raw answer_one(struct result *r)
{
    get(r);
    struct raw peer = accept_request();
    raw_send(&peer, kept_answer);
    RUN_UNTIL(r->done);
    assert_int_equal(r->status, 200);
    return peer;
}

static void test_client_keeps_connections(void **state)
{
    (void)state;
    struct result r;
    struct raw peer = answer_one(&r);
    struct raw another;
    get(&r);
    RUN_UNTIL(raw_count(&peer, "\r\n\r\n") == 2);
    raw_send(&peer, kept_answer);
    RUN_UNTIL(r.done);
    assert_false(raw_accept(listener, &another));
    raw_close(&peer);
}

static void test_client_finds_a_kept_connection_closed(void **state)
{
    (void)state;
    static const char *const methods[] = {"GET", "POST"};
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        struct result r;
        struct raw peer = answer_one(&r);
        raw_close(&peer);
        struct http_request request = request_for(&r, methods[i], url, i > 0 ? "body" : NULL);
        send_request(client, &request);
        peer = accept_request();
        raw_send(&peer, kept_answer);
        RUN_UNTIL(r.done);
        assert_int_equal(r.code, 0);
        raw_close(&peer);
    }
}

/* The peer closes at the moment the request arrives. */
static void test_client_repeats_what_died_unseen_on_a_kept_connection(void **state)
{
    (void)state;
    for (int reset = 0; reset < 2; reset++) {
        struct result r;
        struct raw peer = answer_one(&r);
        struct http_request request = request_for(&r, "POST", url, "{\"n\":1}");
        send_request(client, &request);
        RUN_UNTIL(raw_has(&peer, "{\"n\":1}"));
        if (reset) {
            raw_reset(&peer);
        } else {
            raw_close(&peer);
        }
        peer = accept_request();
        RUN_UNTIL(raw_has(&peer, "{\"n\":1}"));
        raw_send(&peer, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nagain");
        RUN_UNTIL(r.done);
        assert_string_equal(r.body, "again");
        assert_int_equal(r.done, 1);
        raw_close(&peer);
    }
}

static void test_client_repeats_a_long_body_that_died_half_way(void **state)
{
    (void)state;
    size_t len = (size_t)16 << 20;
    AUTO(str) char *body = xmalloc(len + 1);
    memset(body, 'b', len);
    body[len - 1] = 'E';
    body[len] = '\0';
    struct result r;
    struct raw peer = answer_one(&r);
    struct http_request request = request_for(&r, "POST", url, body);
    send_request(client, &request);
    RUN_UNTIL(raw_has(&peer, "bbbb")); /* and it blocks: the rest is longer than any buffer */
    raw_reset(&peer);
    peer = accept_request();
    RUN_UNTIL((raw_pull(&peer), peer.in.len > len));
    RUN_UNTIL((raw_pull(&peer), peer.in.data[peer.in.len - 1] == 'E'));
    raw_send(&peer, kept_answer);
    RUN_UNTIL(r.done);
    assert_int_equal(r.code, 0);
    raw_close(&peer);
}

static void test_client_does_not_repeat_on_a_fresh_connection(void **state)
{
    (void)state;
    struct result r;
    get(&r);
    struct raw peer = accept_request();
    raw_close(&peer);
    RUN_UNTIL(r.done);
    assert_int_equal(r.code, -EIO);
    assert_false(raw_accept(listener, &peer));
}

static void test_client_does_not_repeat_after_a_byte_of_an_answer(void **state)
{
    (void)state;
    struct result r;
    struct raw peer = answer_one(&r);
    get(&r);
    RUN_UNTIL(raw_count(&peer, "\r\n\r\n") == 2);
    raw_send(&peer, "HTTP/1.1 200 OK\r\nContent-Le");
    raw_close(&peer);
    RUN_UNTIL(r.done);
    assert_true(r.code < 0);
    assert_false(raw_accept(listener, &peer));
}

/* --- limits and bad requests --- */

static void test_client_refuses_more_than_may_wait(void **state)
{
    (void)state;
    http_client_close(client);
    new_client(1, 2, 0);
    struct result r[4];
    struct err err;
    for (int i = 0; i < 3; i++) {
        get(&r[i]);
    }
    struct http_request request = request_for(&r[3], "GET", url, NULL);
    assert_int_equal(http_client_send(client, &request, NULL, &err), -EBUSY);
    assert_int_equal(http_client_in_flight(client), 3);
    for (int i = 0; i < 3; i++) { /* one after the other, in order */
        struct raw peer = accept_request();
        raw_send(&peer, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        RUN_UNTIL(r[i].done);
        assert_int_equal(i < 2 ? r[i + 1].done : 0, 0);
        raw_close(&peer);
    }
}

static void test_client_refuses_bad_requests(void **state)
{
    (void)state;
    static const char *const good[] = {"A: b", NULL};
    static const char *const no_colon[] = {"A", NULL};
    static const char *const newline[] = {"A: b\r\nC: d", NULL};
    static const char *const bad_name[] = {"A B: c", NULL};
    AUTO(str) char *long_path = xcalloc(1, 200);
    memset(long_path, 'p', 150);
    const struct http_request cases[] = {
        {.method = "GET", .url = "ftp://127.0.0.1/"},
        {.method = "GET", .url = "file:///etc/passwd"},
        {.method = "GET", .url = "/x"},
        {.method = "GET", .url = "http://a b/"},
        {.method = "GET", .url = "http://a/\r\nX: y"},
        {.method = "GET", .url = "http://127.0.0.1:99999/"},
        {.method = "", .url = url},
        {.method = "GET /", .url = url},
        {.method = "GET", .url = url, .bearer = ""},
        {.method = "GET", .url = url, .bearer = "a b"},
        {.method = "GET", .url = url, .bearer = "a\r\nX: y"},
        {.method = "GET", .url = url, .bearer = "\xc3\xa4"},
        {.method = "GET", .url = url, .bearer = "\x7f"},
        {.method = "GET", .url = url, .headers = no_colon},
        {.method = "GET", .url = url, .headers = newline},
        {.method = "GET", .url = url, .headers = bad_name},
        {.method = "GET", .url = url, .body = "x", .body_len = 1, .content_type = "a\nb"},
        {.method = "GET", .url = url, .unix_socket = long_path},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err;
        struct http_request request = cases[i];
        request.on_done = on_result;
        if (http_client_send(client, &request, NULL, &err) != -EINVAL) {
            fail_msg("case %zu was taken", i);
        }
    }
    struct result r;
    struct http_request request = request_for(&r, "GET", url, NULL);
    request.headers = good;
    send_request(client, &request);
}

static void test_client_ignores_proxies_of_the_environment(void **state)
{
    (void)state;
    char nobody[32];
    unused_address(nobody);
    AUTO(str) char *proxy = xasprintf("http://%s", nobody);
    setenv("http_proxy", proxy, 1);
    setenv("all_proxy", proxy, 1);
    struct result r;
    get(&r);
    struct raw peer = accept_request();
    assert_true(raw_has(&peer, "GET /x HTTP"));
    raw_send(&peer, kept_answer);
    RUN_UNTIL(r.done);
    assert_int_equal(r.code, 0);
    unsetenv("http_proxy");
    unsetenv("all_proxy");
    raw_close(&peer);
}

static void test_client_follows_no_redirect(void **state)
{
    (void)state;
    struct result r;
    get(&r);
    struct raw peer = accept_request();
    raw_send(&peer, "HTTP/1.1 301 Away\r\nLocation: http://127.0.0.1:1/\r\n"
                    "Content-Length: 0\r\n\r\n");
    RUN_UNTIL(r.done);
    assert_int_equal(r.status, 301);
    raw_close(&peer);
}

static void test_client_many_calls_at_once(void **state)
{
    (void)state;
    enum { CALLS = 200 };
    static struct result r[CALLS];
    static struct raw peers[CALLS];
    http_client_close(client);
    new_client(CALLS, 0, 0);
    for (int i = 0; i < CALLS; i++) {
        get(&r[i]);
    }
    for (int i = 0; i < CALLS; i++) {
        peers[i] = accept_request();
    }
    for (int i = CALLS - 1; i >= 0; i--) {
        raw_send(&peers[i], kept_answer);
    }
    for (int i = 0; i < CALLS; i++) {
        RUN_UNTIL(r[i].done);
        assert_int_equal(r[i].status, 200);
        raw_close(&peers[i]);
    }
}

static void test_url_escape_leaves_unreserved_only(void **state)
{
    (void)state;
    AUTO(str) char *escaped = http_url_escape("aZ09-._~ /%?&'\"\n\xc3\xa4");
    assert_string_equal(escaped, "aZ09-._~%20%2F%25%3F%26%27%22%0A%C3%A4");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        client_test(test_client_returns_the_answer),
        client_test(test_client_sends_each_method_as_it_should),
        client_test(test_client_head_has_no_body_whatever_its_length),
        client_test(test_client_joins_chunks),
        client_test(test_client_tells_a_cut_answer_from_a_whole_one),
        client_test(test_client_refuses_what_is_not_http),
        client_test(test_client_ends_a_body_over_the_limit),
        client_test(test_client_reports_a_refused_connection),
        client_test(test_client_speaks_through_a_unix_socket),
        client_test(test_client_times_out_while_nothing_comes),
        client_test(test_client_times_out_in_the_queue_and_while_not_accepted),
        client_test(test_client_streams_pieces_as_they_come),
        client_test(test_client_ends_a_stream_that_fell_silent),
        client_test(test_client_ends_a_stream_that_its_reader_refuses),
        client_test(test_client_cancel_before_the_connect),
        client_test(test_client_cancel_in_the_queue_starts_the_next),
        client_test(test_client_cancel_in_the_middle_of_a_body),
        client_test(test_client_cancel_within_its_own_on_body),
        client_test(test_client_cancel_another_and_send_within_on_body),
        client_test(test_client_close_within_on_body),
        client_test(test_client_close_within_on_done),
        client_test(test_client_close_with_calls_in_every_phase),
        client_test(test_client_keeps_connections),
        client_test(test_client_finds_a_kept_connection_closed),
        client_test(test_client_repeats_what_died_unseen_on_a_kept_connection),
        client_test(test_client_repeats_a_long_body_that_died_half_way),
        client_test(test_client_does_not_repeat_on_a_fresh_connection),
        client_test(test_client_does_not_repeat_after_a_byte_of_an_answer),
        client_test(test_client_refuses_more_than_may_wait),
        client_test(test_client_refuses_bad_requests),
        client_test(test_client_ignores_proxies_of_the_environment),
        client_test(test_client_follows_no_redirect),
        client_test(test_client_many_calls_at_once),
        client_test(test_url_escape_leaves_unreserved_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
