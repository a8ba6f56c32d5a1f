#include "tests/unit/common_net/net_test.h"

#include "common/metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* The server against a client that the test plays. */
static struct http_server *server;
static char address[32];

static struct {
    int calls;
    char method[16], path[64], tail[64], query[64], authorization[64], body[64];
    size_t body_len;
    struct http_exchange *x; /* not answered yet */
} seen;

static void see(const struct http_server_request *request)
{
    seen.calls++;
    snprintf(seen.method, sizeof(seen.method), "%s", request->method);
    snprintf(seen.path, sizeof(seen.path), "%s", request->path);
    snprintf(seen.tail, sizeof(seen.tail), "%s", request->tail);
    snprintf(seen.query, sizeof(seen.query), "%s", request->query);
    snprintf(seen.authorization, sizeof(seen.authorization), "%s", request->authorization);
    snprintf(seen.body, sizeof(seen.body), "%s", request->body);
    seen.body_len = request->body_len;
    assert_int_equal(request->body[request->body_len], '\0');
}

static void on_now(void *arg, struct http_exchange *x, const struct http_server_request *request)
{
    (void)arg;
    see(request);
    http_reply(x, 200, NULL, "now", 3, "X-Extra: e");
}

static void on_later(void *arg, struct http_exchange *x, const struct http_server_request *request)
{
    (void)arg;
    see(request);
    seen.x = x;
}

static void on_empty(void *arg, struct http_exchange *x, const struct http_server_request *request)
{
    (void)arg;
    see(request);
    http_reply(x, 204, NULL, "", 0, NULL);
}

static struct {
    int gone;
    int drained;
} stream;

static void on_gone(void *arg)
{
    (void)arg;
    stream.gone++;
    seen.x = NULL;
}

static void on_drained(void *arg)
{
    (void)arg;
    stream.drained++;
}

static void on_stream(void *arg, struct http_exchange *x, const struct http_server_request *request)
{
    (void)arg;
    see(request);
    seen.x = x;
    http_stream_begin(x, 200, "application/x-ndjson", on_drained, on_gone, NULL);
    assert_int_equal(http_stream_write(x, "first\n", 6), 0);
}

static void on_close(void *arg, struct http_exchange *x, const struct http_server_request *request)
{
    (void)arg;
    see(request);
    http_server_close(server);
    server = NULL;
    http_reply(x, 200, NULL, "to nobody", 9, NULL);
}

static const struct http_route routes[] = {
    {.method = "GET", .path = "/now", .handler = on_now},
    {.method = "GET", .path = "/tree/*", .handler = on_now},
    {.method = "POST", .path = "/now", .handler = on_now, .max_body_bytes = 40},
    {.method = "PUT", .path = "/now", .handler = on_now, .max_body_bytes = 100000},
    {.method = "GET", .path = "/later", .handler = on_later},
    {.method = "GET", .path = "/empty", .handler = on_empty},
    {.method = "GET", .path = "/stream", .handler = on_stream},
    {.method = "GET", .path = "/close", .handler = on_close},
};

static int listen_on(const char *where, size_t max_connections, unsigned mode, struct err *err)
{
    struct http_listen_options options = {
        .address = where,
        .unix_mode = mode,
        .max_connections = max_connections,
        .routes = routes,
        .route_count = ARRAY_LEN(routes),
    };
    return http_server_listen(server, &options, err);
}

static int setup(void **state)
{
    net_setup(state);
    memset(&seen, 0, sizeof(seen));
    memset(&stream, 0, sizeof(stream));
    unused_address(address);
    assert_int_equal(http_server_new(loop, &server, NULL), 0);
    assert_int_equal(listen_on(address, 0, 0, NULL), 0);
    return 0;
}

static int teardown(void **state)
{
    http_server_close(server);
    server = NULL;
    return net_teardown(state);
}

#define server_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* Sends text on a connection of its own; the answer's beginning must be what is expected. */
static struct raw ask(const char *text, const char *expected)
{
    struct raw r = raw_connect(address);

    raw_send(&r, text);
    RUN_UNTIL(raw_has(&r, "\r\n\r\n") || r.eof);
    if (strncmp(buf_str(&r.in), expected, strlen(expected)) != 0) {
        fail_msg("%s instead of %s to %s", buf_str(&r.in), expected, text);
    }
    return r;
}

static void ask_once(const char *text, const char *expected)
{
    struct raw r = ask(text, expected);

    raw_close(&r);
}

static void test_server_hands_over_the_request(void **state)
{
    (void)state;
    struct raw r = ask("GET /tree/a%2fb%20c?q=%41&r HTTP/1.1\r\nHost: h\r\n"
                       "Authorization: Bearer t\r\n\r\n",
                       "HTTP/1.1 200 OK\r\n");
    assert_string_equal(seen.method, "GET");
    assert_string_equal(seen.path, "/tree/a/b c");
    assert_string_equal(seen.tail, "a/b c");
    assert_string_equal(seen.query, "q=%41&r");
    assert_string_equal(seen.authorization, "Bearer t");
    assert_int_equal(seen.body_len, 0);
    RUN_UNTIL(raw_has(&r, "\r\n\r\nnow"));
    assert_true(raw_has(&r, "\r\nContent-Length: 3\r\n"));
    assert_true(raw_has(&r, "\r\nContent-Type: text/plain\r\n"));
    assert_true(raw_has(&r, "\r\nX-Extra: e\r\n"));
    assert_true(raw_has(&r, "\r\nDate: "));
    raw_close(&r);
}

static void test_server_answers_what_no_handler_gets(void **state)
{
    (void)state;
    ask_once("GET /none HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 404 ");
    ask_once("GET /nowx HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 404 ");
    ask_once("GET /tree HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 404 ");
    ask_once("GET /%00 HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 400 ");
    ask_once("GET /now%00 HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 400 ");
    ask_once("rubbish\r\n\r\n", "HTTP/1.1 400 ");
    ask_once("\x16\x03\x01\x02\r\n\r\n", "HTTP/1.1 400 ");
    ask_once("POST /now HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", "HTTP/1.1 501 ");
    ask_once("GET /now HTTP/3.0\r\nHost: h\r\n\r\n", "HTTP/1.1 505 ");
    ask_once("POST /now HTTP/1.1\r\nHost: h\r\nExpect: x\r\n\r\n", "HTTP/1.1 417 ");
    struct raw r = ask("DELETE /now HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 405 ");
    assert_true(raw_has(&r, "\r\nAllow: GET, HEAD, POST, PUT\r\n"));
    raw_close(&r);
    assert_int_equal(seen.calls, 0);
}

static void test_server_answers_long_heads(void **state)
{
    (void)state;
    char many[9000];
    memset(many, 'a', sizeof(many) - 1);
    many[sizeof(many) - 1] = '\0';
    AUTO(str) char *target = xasprintf("GET /%s", many); /* not even ended */
    AUTO(str) char *header = xasprintf("GET /now HTTP/1.1\r\nHost: h\r\nX: %s\r\n\r\n", many);
    ask_once(target, "HTTP/1.1 414 ");
    ask_once(header, "HTTP/1.1 431 ");
    assert_int_equal(seen.calls, 0);
}

static void test_server_refuses_bodies_over_the_routes_limit(void **state)
{
    (void)state;
    const char *forty = "1234567890123456789012345678901234567890";
    AUTO(str)
    char *fits = xasprintf("POST /now HTTP/1.1\r\nHost: h\r\nContent-Length: 40\r\n\r\n%s", forty);
    AUTO(str)
    char *chunked_fits = xasprintf(
        "POST /now HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n28\r\n%s\r\n0\r\n\r\n",
        forty);
    AUTO(str)
    char *chunked_too_long = xasprintf(
        "POST /now HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n28\r\n%s\r\n1\r\nx\r\n",
        forty);
    ask_once(fits, "HTTP/1.1 200 ");
    assert_string_equal(seen.body, forty);
    ask_once(chunked_fits, "HTTP/1.1 200 ");
    assert_string_equal(seen.body, forty);
    assert_int_equal(seen.calls, 2);
    ask_once("POST /now HTTP/1.1\r\nHost: h\r\nContent-Length: 41\r\n\r\n", "HTTP/1.1 413 ");
    ask_once(chunked_too_long, "HTTP/1.1 413 ");
    ask_once("GET /now HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx", "HTTP/1.1 413 ");
    assert_int_equal(seen.calls, 2);
    ask_once("GET /now HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 ");
}

/* The answer must arrive though the peer goes on sending what nobody wants. */
static void test_server_lets_the_refused_read_their_answer(void **state)
{
    (void)state;
    size_t len = 900000;
    AUTO(str) char *junk = xmalloc(len);
    memset(junk, 'j', len);
    struct raw r = raw_connect(address);
    raw_send(&r, "POST /now HTTP/1.1\r\nHost: h\r\nContent-Length: 900000\r\n\r\n");
    raw_send_bytes(&r, junk, len);
    RUN_UNTIL(raw_ended(&r));
    assert_true(raw_has(&r, "HTTP/1.1 413 "));
    raw_close(&r);
}

static void test_server_takes_long_bodies_in_pieces(void **state)
{
    (void)state;
    struct raw r = raw_connect(address);
    raw_send(&r, "PUT /now HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n");
    for (int i = 0; i < 100; i++) {
        char block[1000];
        memset(block, 'a' + i % 26, sizeof(block));
        raw_send_bytes(&r, block, sizeof(block));
        net_step(__FILE__, __LINE__, "a round");
    }
    RUN_UNTIL(raw_has(&r, "HTTP/1.1 200 "));
    assert_int_equal(seen.body_len, 100000);
    raw_close(&r);
}

static void test_server_says_continue(void **state)
{
    (void)state;
    struct raw r = raw_connect(address);
    raw_send(&r,
             "POST /now HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    RUN_UNTIL(raw_has(&r, "HTTP/1.1 100 Continue\r\n\r\n"));
    raw_send(&r, "ab");
    RUN_UNTIL(raw_has(&r, "HTTP/1.1 200 "));
    assert_string_equal(seen.body, "ab");
    raw_close(&r);
}

static void test_server_head_is_get_without_the_body(void **state)
{
    (void)state;
    struct raw r = raw_connect(address);
    raw_send(&r, "HEAD /now HTTP/1.1\r\nHost: h\r\n\r\nHEAD /none HTTP/1.1\r\nHost: h\r\n\r\n"
                 "HEAD /stream HTTP/1.1\r\nHost: h\r\n\r\n");
    RUN_UNTIL(raw_count(&r, "\r\n\r\n") == 3);
    assert_string_equal(seen.method, "GET");
    assert_int_equal(raw_count(&r, "HTTP/1.1 200 OK"), 2);
    assert_true(raw_has(&r, "\r\nContent-Length: 3\r\n"));
    assert_false(raw_has(&r, "now"));
    assert_false(raw_has(&r, "first"));
    http_stream_end(seen.x);
    raw_send(&r, "GET /empty HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    RUN_UNTIL(raw_ended(&r));
    assert_true(raw_has(&r, "HTTP/1.1 204 No Content\r\n"));
    assert_false(raw_has(&r, "\r\n0\r\n\r\n"));
    raw_close(&r);
}

static void test_server_keeps_connections_and_the_order_of_requests(void **state)
{
    (void)state;
    struct raw r = raw_connect(address);
    raw_send(&r, "GET /later HTTP/1.1\r\nHost: h\r\n\r\nGET /now HTTP/1.1\r\nHost: h\r\n\r\n"
                 "GET /none HTTP/1.1\r\nHost: h\r\n\r\nGET /now HTTP/1.1\r\nHo");
    RUN_UNTIL(seen.x != NULL);
    net_step(__FILE__, __LINE__, "a round");
    assert_int_equal(seen.calls, 1);
    http_reply(seen.x, 202, "a/b", "later", 5, NULL);
    assert_int_equal(seen.calls, 1); /* the next handler does not run within the answer */
    RUN_UNTIL(raw_has(&r, "404"));
    assert_int_equal(seen.calls, 2);
    raw_send(&r, "st: h\r\nConnection: close\r\n\r\n");
    RUN_UNTIL(raw_ended(&r));
    assert_int_equal(raw_count(&r, "HTTP/1.1 "), 4);
    assert_true(raw_has(&r, "\r\nContent-Type: a/b\r\n"));
    const char *all = buf_str(&r.in);
    assert_true(strstr(all, "202") < strstr(all, "200") && strstr(all, "200") < strstr(all, "404"));
    raw_close(&r);
}

static void test_server_speaks_http_1_0(void **state)
{
    (void)state;
    struct raw r = raw_connect(address);
    raw_send(&r, "GET /stream HTTP/1.0\r\n\r\n");
    RUN_UNTIL(raw_has(&r, "\r\n\r\nfirst\n"));
    http_stream_end(seen.x);
    RUN_UNTIL(raw_ended(&r));
    assert_false(raw_has(&r, "chunked"));
    raw_close(&r);
    r = raw_connect(address);
    raw_send(&r, "GET /now HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /now HTTP/1.0\r\n\r\n");
    RUN_UNTIL(raw_ended(&r));
    assert_int_equal(raw_count(&r, "HTTP/1.1 200"), 2);
    raw_close(&r);
}

static void test_server_answers_a_client_that_sends_no_more(void **state)
{
    (void)state;
    struct raw r = raw_connect(address);
    raw_send(&r, "GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
    shutdown(r.fd, SHUT_WR);
    RUN_UNTIL(seen.x != NULL);
    net_step(__FILE__, __LINE__, "a round");
    http_reply(seen.x, 200, NULL, "late", 4, NULL);
    RUN_UNTIL(raw_ended(&r));
    assert_true(raw_has(&r, "\r\n\r\nlate"));
    raw_close(&r);
}

static void test_server_reply_after_the_client_went(void **state)
{
    (void)state;
    struct raw r = raw_connect(address);
    raw_send(&r, "GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
    RUN_UNTIL(seen.x != NULL);
    raw_reset(&r);
    net_step(__FILE__, __LINE__, "a round");
    net_step(__FILE__, __LINE__, "a round");
    http_reply(seen.x, 200, NULL, "late", 4, NULL);
    ask_once("GET /now HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 ");
}

/* --- streams --- */

static void test_server_streams_in_chunks_and_keeps_the_connection(void **state)
{
    (void)state;
    struct raw r = raw_connect(address);
    raw_send(&r, "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
    RUN_UNTIL(raw_has(&r, "\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nfirst\n\r\n"));
    RUN_UNTIL(stream.drained == 1);
    assert_int_equal(http_stream_queued(seen.x), 0);
    assert_int_equal(http_stream_write(seen.x, "", 0), 0); /* would be the end, as a chunk */
    assert_int_equal(http_stream_write(seen.x, "second\n", 7), 0);
    assert_true(http_stream_queued(seen.x) > 0);
    assert_int_equal(stream.drained, 1);
    RUN_UNTIL(raw_has(&r, "7\r\nsecond\n\r\n"));
    RUN_UNTIL(stream.drained == 2);
    http_stream_end(seen.x);
    RUN_UNTIL(raw_has(&r, "\r\n0\r\n\r\n"));
    raw_send(&r, "GET /now HTTP/1.1\r\nHost: h\r\n\r\n");
    RUN_UNTIL(raw_has(&r, "now"));
    assert_int_equal(stream.gone, 0);
    raw_close(&r);
}

static void test_server_stream_tells_when_its_reader_went(void **state)
{
    (void)state;
    for (int reset = 0; reset < 2; reset++) {
        struct raw r = ask("GET /stream HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 ");
        if (reset) {
            raw_reset(&r);
        } else {
            raw_close(&r);
        }
        RUN_UNTIL(stream.gone == reset + 1);
    }
}

static void test_server_stream_to_a_slow_reader_is_bounded(void **state)
{
    (void)state;
    struct raw r = raw_connect(address);
    raw_send(&r, "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
    RUN_UNTIL(seen.x != NULL);
    static char block[65536];
    memset(block, 's', sizeof(block));
    size_t taken = 0;
    int refused_in_a_row = 0;
    while (refused_in_a_row < 20) { /* until neither the kernel nor the queue has room */
        if (http_stream_write(seen.x, block, sizeof(block)) == 0) {
            taken++;
            refused_in_a_row = 0;
        } else {
            refused_in_a_row++;
            net_step(__FILE__, __LINE__, "a round");
        }
        assert_true(http_stream_queued(seen.x) <= ((size_t)1 << 20) + 64);
    }
    assert_true(http_stream_queued(seen.x) > ((size_t)1 << 20) - 2 * sizeof(block));
    int drained = stream.drained;
    RUN_UNTIL((raw_pull(&r), stream.drained > drained));
    http_stream_end(seen.x);
    RUN_UNTIL(raw_has(&r, "\r\n0\r\n\r\n"));
    assert_int_equal(raw_count(&r, "10000\r\n"), taken);
    assert_int_equal(stream.gone, 0);
    raw_close(&r);
}

static void test_server_stream_refuses_what_can_never_fit(void **state)
{
    (void)state;
    struct raw r = ask("GET /stream HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 ");
    size_t len = ((size_t)1 << 20) + 1;
    AUTO(str) char *bytes = xcalloc(1, len);
    assert_int_equal(http_stream_write(seen.x, bytes, len), -EMSGSIZE);
    raw_close(&r);
    RUN_UNTIL(stream.gone == 1);
}

static void test_server_stream_begun_after_the_client_went(void **state)
{
    (void)state;
    for (int ended = 0; ended < 2; ended++) {
        struct raw r = raw_connect(address);
        seen.x = NULL;
        stream.gone = 0;
        raw_send(&r, "GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
        RUN_UNTIL(seen.x != NULL);
        raw_reset(&r);
        net_step(__FILE__, __LINE__, "a round");
        net_step(__FILE__, __LINE__, "a round");
        http_stream_begin(seen.x, 200, NULL, on_drained, on_gone, NULL);
        assert_int_equal(http_stream_write(seen.x, "x", 1), 0);
        assert_int_equal(stream.gone, 0);
        if (ended) {
            http_stream_end(seen.x);
        } else {
            RUN_UNTIL(stream.gone == 1);
        }
    }
    net_step(__FILE__, __LINE__, "a round");
    assert_int_equal(stream.gone, 0);
}

/* --- closing --- */

static void test_server_close_with_clients_in_every_state(void **state)
{
    (void)state;
    struct raw idle = ask("GET /now HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 ");
    struct raw streaming = ask("GET /stream HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 ");
    struct raw half = raw_connect(address);
    raw_send(&half, "GET /no");
    struct raw body = raw_connect(address);
    raw_send(&body, "PUT /now HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nx");
    struct raw waiting = raw_connect(address);
    raw_send(&waiting, "GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
    RUN_UNTIL(strcmp(seen.path, "/later") == 0);
    struct http_exchange *late = seen.x;
    http_server_close(server);
    assert_int_equal(stream.gone, 1);
    http_server_close(server);
    server = NULL;
    struct raw *all[] = {&idle, &streaming, &half, &body, &waiting};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        RUN_UNTIL(raw_ended(all[i]));
        raw_close(all[i]);
    }
    http_reply(late, 200, NULL, "x", 1, NULL);
}

static void test_server_close_within_a_handler(void **state)
{
    (void)state;
    struct raw r = raw_connect(address);
    raw_send(&r, "GET /close HTTP/1.1\r\nHost: h\r\n\r\nGET /now HTTP/1.1\r\nHost: h\r\n\r\n");
    RUN_UNTIL(raw_ended(&r));
    assert_int_equal(seen.calls, 1);
    raw_close(&r);
}

/* --- listeners --- */

static void test_server_reports_addresses_it_can_not_have(void **state)
{
    (void)state;
    static const struct {
        const char *address;
        int result;
    } cases[] = {
        {"nonsense", -EINVAL},
        {"127.0.0.1:", -EINVAL},
        {"127.0.0.1:65536", -EINVAL},
        {"127.0.0.1:12x", -EINVAL},
        {"localhost:80", -EINVAL}, /* a name would be looked up */
        {"::1:80", -EINVAL},
        {"[::1:80", -EINVAL},
        {"unix:", -EINVAL},
        {"unix:/nonexistent/x.sock", -ENOENT},
        {"192.0.2.1:0", -EADDRNOTAVAIL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err;
        assert_int_equal(listen_on(cases[i].address, 0, 0, &err), cases[i].result);
        assert_non_null(strstr(err.text, cases[i].address));
        int wrong = cases[i].result == -EINVAL ? -EINVAL : 0; /* in itself */
        assert_int_equal(http_listen_check(cases[i].address, &err), wrong);
        assert_non_null(strstr(err.text, cases[i].address));
    }
    struct err err;
    assert_int_equal(listen_on(address, 0, 0, &err), -EADDRINUSE);
    assert_non_null(strstr(err.text, address));
}

static void test_server_listens_on_all_addresses(void **state)
{
    (void)state;
    char where[32];
    unused_address(where);
    AUTO(str) char *all = xstrdup(strchr(where, ':'));
    assert_int_equal(listen_on(all, 0, 0, NULL), 0);
    struct raw r = raw_connect(where);
    raw_send(&r, "GET /now HTTP/1.1\r\nHost: h\r\n\r\n");
    RUN_UNTIL(raw_has(&r, "200 OK"));
    raw_close(&r);
}

static unsigned mode_of(const char *path)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 0777;
}

static void test_server_unix_socket(void **state)
{
    (void)state;
    AUTO(str) char *path = xstrdup(temp_path("a.sock"));
    AUTO(str) char *open_path = xstrdup(temp_path("b.sock"));
    AUTO(str) char *where = xasprintf("unix:%s", path);
    AUTO(str) char *open_where = xasprintf("unix:%s", open_path);
    assert_int_equal(listen_on(where, 0, 0, NULL), 0);
    assert_int_equal(listen_on(open_where, 0, 0666, NULL), 0);
    assert_int_equal(mode_of(path), 0600);
    assert_int_equal(mode_of(open_path), 0666);
    assert_int_equal(listen_on(where, 0, 0, NULL), -EADDRINUSE); /* it answers */
    struct raw r = raw_connect(where);
    raw_send(&r, "GET /now HTTP/1.1\r\nHost: h\r\n\r\n");
    RUN_UNTIL(raw_has(&r, "200 OK"));
    raw_close(&r);
    http_server_close(server);
    server = NULL;
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(access(open_path, F_OK), -1);
}

static void leave_stale_socket(const char *path)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    strcpy(sa.sun_path, path);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    close(fd);
}

static void test_server_replaces_a_stale_socket_only(void **state)
{
    (void)state;
    AUTO(str) char *path = xstrdup(temp_path("stale.sock"));
    AUTO(str) char *where = xasprintf("unix:%s", path);
    leave_stale_socket(path);
    assert_int_equal(listen_on(where, 0, 0, NULL), 0);
    /* Somebody else's by now: it stays. */
    assert_int_equal(unlink(path), 0);
    leave_stale_socket(path);
    http_server_close(server);
    server = NULL;
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(close(open(path, O_CREAT | O_WRONLY, 0600)), 0);
    assert_int_equal(http_server_new(loop, &server, NULL), 0);
    assert_int_equal(listen_on(where, 0, 0, NULL), -EEXIST); /* a file of somebody's */
    assert_int_equal(access(path, F_OK), 0);
}

/* --- many connections --- */

static void test_server_copes_with_a_thousand_connections(void **state)
{
    (void)state;
    enum { CONNECTIONS = 1000 };
    static struct raw r[CONNECTIONS];
    struct rlimit limit = {.rlim_cur = 2 * CONNECTIONS + 100, .rlim_max = 2 * CONNECTIONS + 100};
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0) { /* both ends are in this process */
        skip();
    }
    for (int i = 0; i < CONNECTIONS; i++) {
        r[i] = raw_connect(address);
        if (i % 50 == 0) {
            net_step(__FILE__, __LINE__, "a round");
        }
    }
    for (int i = CONNECTIONS - 1; i >= 0; i--) {
        raw_send(&r[i], "GET /now HTTP/1.1\r\nHost: h\r\n\r\n");
    }
    for (int i = 0; i < CONNECTIONS; i++) {
        RUN_UNTIL(raw_has(&r[i], "now"));
        raw_close(&r[i]);
    }
    assert_int_equal(seen.calls, CONNECTIONS);
}

static void test_server_at_its_limit_closes_the_oldest_idle_connection(void **state)
{
    (void)state;
    char where[32];
    unused_address(where);
    assert_int_equal(listen_on(where, 2, 0, NULL), 0);
    struct raw first = raw_connect(where);
    struct raw second = raw_connect(where);
    raw_send(&first, "GET /now HTTP/1.1\r\nHost: h\r\n\r\n");
    RUN_UNTIL(raw_has(&first, "now"));
    struct raw third = raw_connect(where);
    RUN_UNTIL(raw_ended(&second)); /* the first has been used since */
    raw_send(&third, "GET /now HTTP/1.1\r\nHost: h\r\n\r\n");
    RUN_UNTIL(raw_has(&third, "now"));
    assert_false(raw_ended(&first));
    raw_close(&first);
    raw_close(&second);
    raw_close(&third);
}

static void test_server_full_of_busy_connections_lets_newcomers_wait(void **state)
{
    (void)state;
    char where[32];
    unused_address(where);
    assert_int_equal(listen_on(where, 1, 0, NULL), 0);
    struct raw busy = raw_connect(where);
    raw_send(&busy, "GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
    RUN_UNTIL(seen.x != NULL);
    struct raw next = raw_connect(where);
    raw_send(&next, "GET /now HTTP/1.1\r\nHost: h\r\n\r\n");
    for (int i = 0; i < 5; i++) {
        net_step(__FILE__, __LINE__, "a round");
    }
    assert_int_equal(seen.calls, 1);
    http_reply(seen.x, 200, NULL, "late", 4, NULL); /* idle from now on: it gives way */
    RUN_UNTIL(raw_has(&next, "now"));
    assert_true(raw_has(&busy, "late"));
    raw_close(&busy);
    raw_close(&next);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        server_test(test_server_hands_over_the_request),
        server_test(test_server_answers_what_no_handler_gets),
        server_test(test_server_answers_long_heads),
        server_test(test_server_refuses_bodies_over_the_routes_limit),
        server_test(test_server_lets_the_refused_read_their_answer),
        server_test(test_server_takes_long_bodies_in_pieces),
        server_test(test_server_says_continue),
        server_test(test_server_head_is_get_without_the_body),
        server_test(test_server_keeps_connections_and_the_order_of_requests),
        server_test(test_server_speaks_http_1_0),
        server_test(test_server_answers_a_client_that_sends_no_more),
        server_test(test_server_reply_after_the_client_went),
        server_test(test_server_streams_in_chunks_and_keeps_the_connection),
        server_test(test_server_stream_tells_when_its_reader_went),
        server_test(test_server_stream_to_a_slow_reader_is_bounded),
        server_test(test_server_stream_refuses_what_can_never_fit),
        server_test(test_server_stream_begun_after_the_client_went),
        server_test(test_server_close_with_clients_in_every_state),
        server_test(test_server_close_within_a_handler),
        server_test(test_server_reports_addresses_it_can_not_have),
        server_test(test_server_listens_on_all_addresses),
        server_test(test_server_unix_socket),
        server_test(test_server_replaces_a_stale_socket_only),
        server_test(test_server_copes_with_a_thousand_connections),
        server_test(test_server_at_its_limit_closes_the_oldest_idle_connection),
        server_test(test_server_full_of_busy_connections_lets_newcomers_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
