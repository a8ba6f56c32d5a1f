#include "tests/unit/common_net/net_test.h"

#include "common/ws_client.h"

#include <errno.h>
#include <openssl/evp.h>
#include <sys/socket.h>

/* Our server and our client on one loop; and each of them against a peer that the test plays. */
#define MESSAGE_MAX 1000
#define QUEUE_MAX 100000

static struct http_server *server;
static char address[32];
static uint16_t port;

/* What one end has seen. */
struct end {
    int opened, closed, messages;
    char last[MESSAGE_MAX + 1];
    size_t last_len;
    char why[200];
    struct ws_conn *conn;     /* the server's */
    struct ws_client *client; /* the client's */
    bool echo;
    bool close_on_message;
};

static struct end ours; /* the server's end of the connection */

static void see_message(struct end *e, const char *text, size_t len)
{
    assert_true(len <= MESSAGE_MAX);
    assert_int_equal(text[len], '\0');
    memcpy(e->last, text, len + 1);
    e->last_len = len;
    e->messages++;
}

static bool allow(void *arg, const char *authorization)
{
    (void)arg;
    return strcmp(authorization, "Bearer good") == 0;
}

static void *on_server_open(void *arg, struct ws_conn *conn)
{
    struct end *e = arg;

    e->opened++;
    e->conn = conn;
    return e;
}

static void on_server_message(void *user, const char *text, size_t len)
{
    struct end *e = user;

    see_message(e, text, len);
    if (e->echo) {
        assert_int_equal(ws_conn_send(e->conn, text, len), 0);
    }
    if (e->close_on_message) {
        ws_conn_close(e->conn, 4001);
        ws_conn_close(e->conn, 4002);
    }
}

static void on_server_closed(void *user)
{
    struct end *e = user;

    e->closed++;
    e->conn = NULL;
}

static const struct ws_handler handler = {
    .protocol = "test.v1",
    .max_message_bytes = MESSAGE_MAX,
    .max_queued_bytes = QUEUE_MAX,
    .allow = allow,
    .on_open = on_server_open,
    .on_message = on_server_message,
    .on_closed = on_server_closed,
};

static void on_get(void *arg, struct http_exchange *x, const struct http_server_request *request)
{
    (void)arg;
    (void)request;
    http_reply(x, 200, NULL, "http", 4, NULL);
}

static const struct http_route routes[] = {
    {.path = "/ws", .ws = &handler, .arg = &ours},
    {.path = "/both", .ws = &handler, .arg = &ours},
    {.method = "GET", .path = "/both", .handler = on_get},
};

static void listen_at(size_t max_connections)
{
    struct http_listen_options options = {
        .address = address,
        .max_connections = max_connections,
        .routes = routes,
        .route_count = ARRAY_LEN(routes),
    };
    assert_int_equal(http_server_listen(server, &options, NULL), 0);
}

static int setup(void **state)
{
    net_setup(state);
    memset(&ours, 0, sizeof(ours));
    unused_address(address);
    port = (uint16_t)atoi(strchr(address, ':') + 1);
    assert_int_equal(http_server_new(loop, &server, NULL), 0);
    listen_at(0);
    return 0;
}

static int teardown(void **state)
{
    http_server_close(server);
    server = NULL;
    return net_teardown(state);
}

#define ws_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* --- our client --- */

static void on_client_open(void *arg)
{
    struct end *e = arg;

    e->opened++;
}

static void on_client_message(void *arg, const char *text, size_t len)
{
    struct end *e = arg;

    see_message(e, text, len);
    if (e->close_on_message) {
        ws_client_close(e->client);
        ws_client_close(e->client);
    }
}

static void on_client_closed(void *arg, const char *why)
{
    struct end *e = arg;

    e->closed++;
    e->client = NULL;
    snprintf(e->why, sizeof(e->why), "%s", why);
}

static struct ws_client_options client_options(struct end *e)
{
    memset(e, 0, sizeof(*e));
    return (struct ws_client_options){
        .address = "127.0.0.1",
        .port = port,
        .path = "/ws",
        .protocol = "test.v1",
        .bearer = "good",
        .max_message_bytes = MESSAGE_MAX,
        .max_queued_bytes = QUEUE_MAX,
        .on_open = on_client_open,
        .on_message = on_client_message,
        .on_closed = on_client_closed,
        .arg = e,
    };
}

static void open_client(const struct ws_client_options *options)
{
    struct end *e = options->arg;
    struct err err;

    if (ws_client_open(loop, options, &e->client, &err) < 0) {
        fail_msg("%s", err.text);
    }
    assert_int_equal(e->opened + e->closed, 0);
}

static void open_default_client(struct end *e)
{
    struct ws_client_options options = client_options(e);

    open_client(&options);
    assert_int_equal(ws_client_send(e->client, "early", 5), -ENOTCONN);
    RUN_UNTIL(e->opened && ours.opened);
}

static void close_default_client(struct end *e)
{
    if (e->client != NULL) {
        ws_client_close(e->client);
    }
    RUN_UNTIL(e->closed);
    assert_int_equal(e->closed, 1);
}

static void test_websocket_messages_go_both_ways(void **state)
{
    (void)state;
    struct end e;
    open_default_client(&e);
    ours.echo = true;
    char longest[MESSAGE_MAX + 1];
    memset(longest, 'm', MESSAGE_MAX);
    longest[MESSAGE_MAX] = '\0';
    static const size_t lengths[] = {5, 0, 125, 126, MESSAGE_MAX};
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        assert_int_equal(ws_client_send(e.client, longest, lengths[i]), 0);
        RUN_UNTIL(e.messages == (int)i + 1);
        assert_int_equal(e.last_len, lengths[i]);
        assert_memory_equal(e.last, longest, lengths[i]);
    }
    RUN_UNTIL(ws_client_queued(e.client) == 0);
    close_default_client(&e);
    assert_string_equal(e.why, "closed by us");
    RUN_UNTIL(ours.closed == 1);
}

static void test_websocket_messages_keep_their_order(void **state)
{
    (void)state;
    struct end e;
    open_default_client(&e);
    for (int i = 0; i < 500; i++) {
        char text[32];
        snprintf(text, sizeof(text), "%d", i);
        assert_int_equal(ws_client_send(e.client, text, strlen(text)), 0);
        assert_int_equal(ws_conn_send(ours.conn, text, strlen(text)), 0);
    }
    RUN_UNTIL(ours.messages == 500 && e.messages == 500);
    assert_string_equal(ours.last, "499");
    assert_string_equal(e.last, "499");
    close_default_client(&e);
}

static void test_websocket_close_writes_what_is_queued(void **state)
{
    (void)state;
    struct end e;
    open_default_client(&e);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(ws_client_send(e.client, "x", 1), 0);
    }
    ws_client_close(e.client);
    assert_int_equal(ws_client_send(e.client, "x", 1), -ENOTCONN);
    RUN_UNTIL(e.closed && ours.closed);
    assert_int_equal(ours.messages, 50);
}

static void test_websocket_close_within_a_callback(void **state)
{
    (void)state;
    struct end e;
    open_default_client(&e);
    e.close_on_message = true;
    assert_int_equal(ws_conn_send(ours.conn, "bye", 3), 0);
    assert_int_equal(ws_conn_send(ours.conn, "more", 4), 0);
    RUN_UNTIL(e.closed && ours.closed);
    assert_int_equal(e.messages, 1);

    memset(&ours, 0, sizeof(ours));
    open_default_client(&e);
    ours.close_on_message = true;
    assert_int_equal(ws_client_send(e.client, "bye", 3), 0);
    RUN_UNTIL(e.closed && ours.closed);
    assert_string_equal(e.why, "peer closed with 4001");
}

static void test_websocket_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *path, *protocol, *bearer, *why;
    } cases[] = {
        {"/ws", "test.v1", "bad", "401"},
        {"/ws", "test.v1", NULL, "401"},
        {"/ws", "test.v2", "good", "400"},
        {"/none", "test.v1", "good", "404"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct end e;
        struct ws_client_options options = client_options(&e);
        options.path = cases[i].path;
        options.protocol = cases[i].protocol;
        options.bearer = cases[i].bearer;
        open_client(&options);
        RUN_UNTIL(e.closed);
        assert_non_null(strstr(e.why, cases[i].why));
        assert_int_equal(e.opened, 0);
    }
    assert_int_equal(ours.opened, 0);
}

static void test_websocket_beside_http_on_one_path(void **state)
{
    (void)state;
    struct end e;
    struct raw r = raw_connect(address);
    raw_send(&r, "GET /both HTTP/1.1\r\nHost: h\r\n\r\nGET /ws HTTP/1.1\r\nHost: h\r\n\r\n");
    RUN_UNTIL(raw_has(&r, "\r\n\r\nhttp"));
    RUN_UNTIL(raw_has(&r, "HTTP/1.1 426 "));
    raw_close(&r);
    struct ws_client_options options = client_options(&e);
    options.path = "/both";
    open_client(&options);
    RUN_UNTIL(e.opened);
    close_default_client(&e);
}

static void test_client_options_are_checked(void **state)
{
    (void)state;
    struct end e;
    const struct ws_client_options good = client_options(&e);
    struct ws_client_options cases[] = {good, good, good, good, good, good};
    cases[0].address = "localhost"; /* would be looked up, and block */
    cases[1].path = "ws";
    cases[2].path = "/a b";
    cases[3].bearer = "a\r\nX: y";
    cases[4].bearer = "";
    cases[5].protocol = "a\r\n";
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err;
        assert_int_equal(ws_client_open(loop, &cases[i], &e.client, &err), -EINVAL);
    }
    assert_int_equal(e.closed, 0);
}

static void test_client_finds_nobody(void **state)
{
    (void)state;
    struct end e;
    char nobody[32];
    unused_address(nobody);
    struct ws_client_options options = client_options(&e);
    options.port = (uint16_t)atoi(strchr(nobody, ':') + 1);
    open_client(&options);
    RUN_UNTIL(e.closed);
    assert_int_equal(e.opened, 0);
    assert_int_not_equal(e.why[0], '\0');
}

static void test_client_closed_while_it_connects(void **state)
{
    (void)state;
    struct end e;
    struct ws_client_options options = client_options(&e);
    open_client(&options);
    ws_client_close(e.client);
    assert_int_equal(e.closed, 0);
    RUN_UNTIL(e.closed == 1);
    assert_int_equal(e.opened, 0);
}

static void test_client_may_open_another_in_on_closed_many_times(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) { /* each time libwebsockets may be taken down and made anew */
        struct end e;
        memset(&ours, 0, sizeof(ours));
        open_default_client(&e);
        close_default_client(&e);
        RUN_UNTIL(ours.closed);
    }
}

/* --- our client against a bad server --- */

/* Accepts our client and answers its handshake; fails it when head is not NULL. */
static struct raw play_server(struct end *e, struct ws_client_options *options, const char *head)
{
    char where[32];
    struct raw peer;
    int listener = raw_listen(where);

    options->port = (uint16_t)atoi(strchr(where, ':') + 1);
    open_client(options);
    RUN_UNTIL(raw_accept(listener, &peer));
    close(listener);
    RUN_UNTIL(raw_has(&peer, "\r\n\r\n") || e->closed);
    if (head != NULL) {
        raw_send(&peer, head);
    }
    return peer;
}

/* The right answer to our client's handshake, with protocol_header in it. */
static void accept_handshake(struct raw *peer, const char *protocol_header)
{
    const char *key = strcasestr(buf_str(&peer->in), "Sec-WebSocket-Key: ") + 19;
    AUTO(str) char *both = xasprintf("%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned char base64[64];
    unsigned len;

    assert_int_equal(EVP_Digest(both, strlen(both), digest, &len, EVP_sha1(), NULL), 1);
    EVP_EncodeBlock(base64, digest, (int)len);
    AUTO(str)
    char *answer = xasprintf("HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n%s"
                             "Sec-WebSocket-Accept: %s\r\n\r\n",
                             protocol_header, base64);
    raw_send(peer, answer);
}

static void test_client_wants_its_subprotocol_named(void **state)
{
    (void)state;
    static const char *const headers[] = {"", "Sec-WebSocket-Protocol: test.v2\r\n"};
    for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
        struct end e;
        struct ws_client_options options = client_options(&e);
        struct raw peer = play_server(&e, &options, NULL);
        accept_handshake(&peer, headers[i]);
        RUN_UNTIL(e.closed);
        assert_int_equal(e.opened, 0);
        raw_close(&peer);
    }
}

static struct raw play_good_server(struct end *e, struct ws_client_options *options)
{
    struct raw peer = play_server(e, options, NULL);

    accept_handshake(&peer, "Sec-WebSocket-Protocol: test.v1\r\n");
    RUN_UNTIL(e->opened);
    return peer;
}

static void test_client_gives_up_a_server_that_answers_no_ping(void **state)
{
    (void)state;
    struct end e;
    struct ws_client_options options = client_options(&e);
    options.idle_ping_ms = 30;
    int64_t began_ms = clock_monotonic_ms(); /* before the client's own clock starts */
    struct raw peer = play_good_server(&e, &options);
    RUN_UNTIL(raw_has(&peer, "\x89\x81"));
    raw_send_bytes(&peer, "\x8a\x00", 2); /* the first one is answered */
    RUN_UNTIL(raw_count(&peer, "\x89\x81") == 2);
    RUN_UNTIL(e.closed);
    assert_string_equal(e.why, "no answer to a ping");
    assert_true(clock_monotonic_ms() - began_ms >= 90);
    RUN_UNTIL(raw_ended(&peer));
    raw_close(&peer);
}

static void test_client_joins_fragments_and_says_why_it_ended(void **state)
{
    (void)state;
    struct end e;
    struct ws_client_options options = client_options(&e);
    struct raw peer = play_good_server(&e, &options);
    raw_send_bytes(&peer, "\x01\x03one\x89\x01p\x00\x03two", 13);
    RUN_UNTIL(raw_has(&peer, "\x8a\x81"));
    assert_int_equal(e.messages, 0);
    raw_send_bytes(&peer, "\x80\x01!", 3);
    RUN_UNTIL(e.messages == 1);
    assert_string_equal(e.last, "onetwo!");
    raw_send_bytes(&peer,
                   "\x88\x09\x03\xf0"
                   "because",
                   11);
    RUN_UNTIL(e.closed);
    assert_string_equal(e.why, "peer closed with 1008 because");
    raw_close(&peer);
}

static void test_client_notices_a_killed_server(void **state)
{
    (void)state;
    for (int reset = 0; reset < 2; reset++) {
        struct end e;
        struct ws_client_options options = client_options(&e);
        struct raw peer = play_good_server(&e, &options);
        raw_send_bytes(&peer, "\x81\x05hal", 5);
        if (reset) {
            raw_reset(&peer);
        } else {
            raw_close(&peer);
        }
        RUN_UNTIL(e.closed);
        assert_int_equal(e.messages, 0);
        assert_string_equal(e.why, "connection lost");
    }
}

static void test_client_close_does_not_wait_for_a_server_that_reads_nothing(void **state)
{
    (void)state;
    struct end e;
    struct ws_client_options options = client_options(&e);
    options.max_queued_bytes = (size_t)32 << 20;
    struct raw peer = play_good_server(&e, &options);
    size_t len = (size_t)16 << 20;
    AUTO(str) char *text = xmalloc(len);
    memset(text, 't', len);
    assert_int_equal(ws_client_send(e.client, text, len), 0);
    ws_client_close(e.client);
    RUN_UNTIL(e.closed);
    raw_close(&peer);
}

static void test_client_gives_up_a_server_that_is_silent(void **state)
{
    (void)state;
    struct end e;
    struct ws_client_options options = client_options(&e);
    options.connect_timeout_ms = 40;
    struct raw peer = play_server(&e, &options, NULL);
    RUN_UNTIL(e.closed);
    assert_non_null(strstr(e.why, "timed out"));
    RUN_UNTIL(raw_ended(&peer));
    raw_close(&peer);
}

static void test_client_refuses_bad_handshakes(void **state)
{
    (void)state;
    static const char wrong_accept[] =
        "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Protocol: test.v1\r\nSec-WebSocket-Accept: bm9uc2Vuc2U=\r\n\r\n";
    static const char *const heads[] = {
        wrong_accept,
        "HTTP/1.1 302 Away\r\nLocation: ws://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "SSH-2.0-x\r\n\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        struct end e;
        struct ws_client_options options = client_options(&e);
        options.connect_timeout_ms = 200; /* the last one might still become an answer */
        struct raw peer = play_server(&e, &options, heads[i]);
        assert_true(raw_has(&peer, "GET /ws HTTP/1.1\r\n"));
        assert_true(raw_has(&peer, "\r\nAuthorization: Bearer good\r\n") ||
                    raw_has(&peer, "\r\nauthorization: Bearer good\r\n"));
        RUN_UNTIL(e.closed);
        assert_int_equal(e.opened, 0);
        raw_close(&peer);
    }
}

/* --- our server against a bad client --- */

static struct raw play_client(void)
{
    struct raw r = raw_connect(address);

    raw_send(&r, "GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                 "Sec-WebSocket-Protocol: other, test.v1\r\nAuthorization: Bearer good\r\n\r\n");
    RUN_UNTIL(raw_has(&r, "\r\n\r\n"));
    assert_true(raw_has(&r, "HTTP/1.1 101 "));
    assert_true(raw_has(&r, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_true(raw_has(&r, "Sec-WebSocket-Protocol: test.v1\r\n"));
    RUN_UNTIL(ours.opened);
    return r;
}

/* A masked frame: first is FIN and opcode. */
static void send_frame(struct raw *r, uint8_t first, const char *bytes, size_t len)
{
    uint8_t head[8] = {first};
    size_t head_len = 2;
    AUTO(str) char *masked = xmalloc(len + 1);

    if (len < 126) {
        head[1] = (uint8_t)(0x80 | len);
    } else {
        head[1] = 0x80 | 126;
        head[2] = (uint8_t)(len >> 8);
        head[3] = (uint8_t)len;
        head_len = 4;
    }
    memcpy(head + head_len, "MASK", 4);
    for (size_t i = 0; i < len; i++) {
        masked[i] = (char)(bytes[i] ^ "MASK"[i % 4]);
    }
    raw_send_bytes(r, head, head_len + 4);
    raw_send_bytes(r, masked, len);
}

#define FIN 0x80
#define TEXT 0x01
#define BINARY 0x02
#define CLOSE 0x08
#define PING 0x09

static void test_server_joins_fragments(void **state)
{
    (void)state;
    struct raw r = play_client();
    send_frame(&r, TEXT, "one ", 4);
    send_frame(&r, 0, "two ", 4);
    send_frame(&r, FIN | PING, "p", 1);
    RUN_UNTIL(raw_has(&r, "\x8a\x01p"));
    assert_int_equal(ours.messages, 0);
    send_frame(&r, FIN, "three", 5);
    RUN_UNTIL(ours.messages == 1);
    assert_string_equal(ours.last, "one two three");
    raw_close(&r);
    RUN_UNTIL(ours.closed);
}

static void test_server_takes_a_message_byte_by_byte(void **state)
{
    (void)state;
    struct raw r = play_client();
    static const char frame[] = "\x81\x85MASK%$?'\"";
    for (size_t i = 0; i < sizeof(frame) - 1; i++) {
        raw_send_bytes(&r, frame + i, 1);
        net_step(__FILE__, __LINE__, "a round");
    }
    RUN_UNTIL(ours.messages == 1);
    assert_string_equal(ours.last, "hello");
    raw_close(&r);
    RUN_UNTIL(ours.closed);
}

static void test_server_closes_for_what_it_does_not_take(void **state)
{
    (void)state;
    char longer[MESSAGE_MAX + 1];
    memset(longer, 'l', sizeof(longer));
    static const struct {
        uint8_t first;
        size_t len;
        const char *code;
    } cases[] = {
        {FIN | TEXT, MESSAGE_MAX + 1, "\x03\xf1"}, /* 1009 */
        {FIN | BINARY, 5, "\x03\xeb"},             /* 1003 */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        memset(&ours, 0, sizeof(ours));
        struct raw r = play_client();
        send_frame(&r, cases[i].first, longer, cases[i].len);
        RUN_UNTIL(raw_has(&r, "\x88\x02"));
        assert_true(raw_has(&r, cases[i].code));
        raw_close(&r);
        RUN_UNTIL(ours.closed);
        assert_int_equal(ours.messages, 0);
    }
    memset(&ours, 0, sizeof(ours)); /* too long in fragments, none of which is */
    struct raw r = play_client();
    send_frame(&r, TEXT, longer, MESSAGE_MAX / 2);
    send_frame(&r, 0, longer, MESSAGE_MAX / 2);
    send_frame(&r, FIN, longer, 1);
    RUN_UNTIL(raw_has(&r, "\x88\x02\x03\xf1"));
    raw_close(&r);
    RUN_UNTIL(ours.closed);
}

static void test_server_survives_broken_frames(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
    } cases[] = {
        {"\xf1\x80MASK", 6},                                      /* reserved bits */
        {"\x83\x80MASK", 6},                                      /* reserved opcode */
        {"\x80\x80MASK", 6},                                      /* nothing to continue */
        {"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xffMASK", 14},     /* 2^63 - 1 bytes */
        {"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xffMASKxxxx", 18}, /* negative */
        {"\x89\xfe\x01\x00MASK", 8},                              /* a long ping */
        {"\x81\x82MASK\x8e\xbe", 8},                              /* not UTF-8 */
        {"\x88\x81MASKx", 7},                                     /* half a close code */
        {"GET / HTTP/1.1\r\n\r\n", 18},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        memset(&ours, 0, sizeof(ours));
        struct raw r = play_client();
        raw_send_bytes(&r, cases[i].bytes, cases[i].len);
        net_step(__FILE__, __LINE__, "a round");
        shutdown(r.fd, SHUT_WR);
        RUN_UNTIL(ours.closed);
        if (ours.messages > 0) {
            fail_msg("case %zu was taken", i);
        }
        raw_close(&r);
    }
}

static void test_server_answers_a_close(void **state)
{
    (void)state;
    struct raw r = play_client();
    send_frame(&r, FIN | CLOSE, "\x03\xe8", 2);
    RUN_UNTIL(raw_ended(&r));
    assert_true(raw_has(&r, "\x88\x02\x03\xe8"));
    raw_close(&r);
    RUN_UNTIL(ours.closed == 1);
}

static void test_server_notices_a_killed_peer(void **state)
{
    (void)state;
    struct raw r = play_client();
    send_frame(&r, TEXT, "half", 4);
    raw_reset(&r);
    RUN_UNTIL(ours.closed == 1);
    assert_int_equal(ours.messages, 0);
}

static void test_server_drops_a_slow_reader(void **state)
{
    (void)state;
    struct raw r = play_client();
    static char text[MESSAGE_MAX];
    memset(text, 's', sizeof(text));
    int sent = 0;
    int result = 0;
    while (result == 0) { /* it does not read: the kernel's buffers fill, then the queue */
        result = ws_conn_send(ours.conn, text, sizeof(text));
        if (++sent % 50 == 0) {
            net_step(__FILE__, __LINE__, "a round");
        }
    }
    assert_int_equal(result, -EMSGSIZE);
    assert_true(sent > QUEUE_MAX / MESSAGE_MAX);
    assert_true(ws_conn_send(ours.conn, "x", 1) < 0);
    RUN_UNTIL(ours.closed == 1); /* though the peer reads nothing, not even the close */
    RUN_UNTIL(raw_ended(&r));
    raw_close(&r);
}

static void test_server_refuses_bad_handshakes(void **state)
{
    (void)state;
    static const struct {
        const char *headers, *expected;
    } cases[] = {
        {"Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
         "HTTP/1.1 426 "},
        {"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "HTTP/1.1 426 "},
        {"Sec-WebSocket-Version: 13\r\n", "HTTP/1.1 400 "},
        {"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short==\r\n", "HTTP/1.1 400 "},
        {"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ===\r\n",
         "HTTP/1.1 400 "},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(str)
        char *text =
            xasprintf("GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      "Sec-WebSocket-Protocol: test.v1\r\nAuthorization: Bearer good\r\n%s\r\n",
                      cases[i].headers);
        struct raw r = raw_connect(address);
        raw_send(&r, text);
        RUN_UNTIL(raw_has(&r, cases[i].expected));
        raw_close(&r);
    }
    struct raw r = raw_connect(address); /* frames before the handshake is answered */
    raw_send(&r, "GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                 "Sec-WebSocket-Protocol: test.v1\r\nAuthorization: Bearer good\r\n\r\n\x81\x80");
    RUN_UNTIL(raw_has(&r, "HTTP/1.1 400 "));
    raw_close(&r);
    assert_int_equal(ours.opened, 0);
}

/* --- silence, and the end of either side --- */

static void test_client_stays_in_silence_while_pings_are_answered(void **state)
{
    (void)state;
    struct end e;
    struct ws_client_options options = client_options(&e);
    options.idle_ping_ms = 30;
    open_client(&options); /* our server answers pings: it stays, in spite of the silence */
    RUN_UNTIL(e.opened);
    int64_t later_ms = clock_monotonic_ms() + 200;
    RUN_UNTIL(clock_monotonic_ms() > later_ms);
    assert_int_equal(e.closed, 0);
    close_default_client(&e);
}

static void test_client_slow_server_bounds_the_queue(void **state)
{
    (void)state;
    struct end e;
    open_default_client(&e);
    AUTO(str) char *whole = xcalloc(1, QUEUE_MAX + 1);
    memset(whole, 'w', QUEUE_MAX + 1);
    assert_int_equal(ws_client_send(e.client, whole, QUEUE_MAX + 1), -EMSGSIZE);
    assert_int_equal(ws_client_queued(e.client), 0);
    for (int i = 0; i < QUEUE_MAX / MESSAGE_MAX; i++) { /* within one round: nothing is written */
        assert_int_equal(ws_client_send(e.client, whole, MESSAGE_MAX), 0);
    }
    assert_int_equal(ws_client_queued(e.client), QUEUE_MAX);
    assert_int_equal(ws_client_send(e.client, whole, 1), -EMSGSIZE);
    RUN_UNTIL(ours.messages == QUEUE_MAX / MESSAGE_MAX);
    RUN_UNTIL(ws_client_queued(e.client) == 0);
    assert_int_equal(ws_client_send(e.client, whole, 1), 0);
    RUN_UNTIL(ours.messages == QUEUE_MAX / MESSAGE_MAX + 1);
    close_default_client(&e);
}

static void test_client_closes_for_a_message_over_its_limit(void **state)
{
    (void)state;
    struct end e;
    struct ws_client_options options = client_options(&e);
    options.max_message_bytes = 10;
    open_client(&options);
    RUN_UNTIL(e.opened && ours.opened);
    assert_int_equal(ws_conn_send(ours.conn, "0123456789", 10), 0);
    RUN_UNTIL(e.messages == 1);
    assert_int_equal(ws_conn_send(ours.conn, "0123456789A", 11), 0);
    RUN_UNTIL(e.closed && ours.closed);
    assert_int_equal(e.messages, 1);
    assert_string_equal(e.why, "message is too long");
}

static void test_server_close_with_clients_connected(void **state)
{
    (void)state;
    struct end e;
    open_default_client(&e);
    struct raw r = play_client();
    ours.closed = 0;
    http_server_close(server);
    server = NULL;
    assert_int_equal(ours.closed, 2); /* before it returned */
    RUN_UNTIL(e.closed == 1);
    RUN_UNTIL(raw_ended(&r));
    raw_close(&r);
}

static void close_server_on_message(void *user, const char *text, size_t len)
{
    on_server_message(user, text, len);
    http_server_close(server);
    server = NULL;
}

static void test_server_close_within_on_message(void **state)
{
    (void)state;
    struct ws_handler closing = handler;
    closing.on_message = close_server_on_message;
    struct http_route route = {.path = "/ws", .ws = &closing, .arg = &ours};
    char where[32];
    unused_address(where);
    struct http_listen_options options = {.address = where, .routes = &route, .route_count = 1};
    assert_int_equal(http_server_listen(server, &options, NULL), 0);
    struct end e;
    struct ws_client_options client = client_options(&e);
    client.port = (uint16_t)atoi(strchr(where, ':') + 1);
    open_client(&client);
    RUN_UNTIL(e.opened);
    assert_int_equal(ws_client_send(e.client, "a", 1), 0);
    assert_int_equal(ws_client_send(e.client, "b", 1), 0);
    RUN_UNTIL(e.closed == 1);
    assert_int_equal(ours.messages, 1);
    assert_int_equal(ours.closed, 1);
}

static void test_loop_ends_with_an_open_pair_just_closed(void **state)
{
    (void)state;
    struct end e;
    open_default_client(&e);
    ws_client_close(e.client);
    http_server_close(server); /* and the teardown frees the loop */
    server = NULL;
    RUN_UNTIL(e.closed == 1);
}

static void test_websockets_count_as_connections(void **state)
{
    (void)state;
    unused_address(address);
    port = (uint16_t)atoi(strchr(address, ':') + 1);
    listen_at(1);
    struct end e;
    open_default_client(&e);
    struct raw r = raw_connect(address);
    raw_send(&r, "GET /both HTTP/1.1\r\nHost: h\r\n\r\n");
    for (int i = 0; i < 5; i++) {
        net_step(__FILE__, __LINE__, "a round");
    }
    assert_false(raw_has(&r, "http"));
    close_default_client(&e);
    RUN_UNTIL(raw_has(&r, "http"));
    raw_close(&r);
}

static void test_many_websockets(void **state)
{
    (void)state;
    enum { CLIENTS = 100 };
    static struct end e[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        struct ws_client_options options = client_options(&e[i]);
        open_client(&options);
    }
    for (int i = 0; i < CLIENTS; i++) {
        RUN_UNTIL(e[i].opened);
        assert_int_equal(ws_client_send(e[i].client, "x", 1), 0);
    }
    RUN_UNTIL(ours.messages == CLIENTS);
    for (int i = 0; i < CLIENTS; i++) {
        ws_client_close(e[i].client);
    }
    for (int i = 0; i < CLIENTS; i++) {
        RUN_UNTIL(e[i].closed == 1);
    }
    RUN_UNTIL(ours.closed == CLIENTS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ws_test(test_websocket_messages_go_both_ways),
        ws_test(test_websocket_messages_keep_their_order),
        ws_test(test_websocket_close_writes_what_is_queued),
        ws_test(test_websocket_close_within_a_callback),
        ws_test(test_websocket_is_refused),
        ws_test(test_websocket_beside_http_on_one_path),
        ws_test(test_client_options_are_checked),
        ws_test(test_client_finds_nobody),
        ws_test(test_client_closed_while_it_connects),
        ws_test(test_client_may_open_another_in_on_closed_many_times),
        ws_test(test_client_wants_its_subprotocol_named),
        ws_test(test_client_gives_up_a_server_that_answers_no_ping),
        ws_test(test_client_joins_fragments_and_says_why_it_ended),
        ws_test(test_client_notices_a_killed_server),
        ws_test(test_client_close_does_not_wait_for_a_server_that_reads_nothing),
        ws_test(test_client_gives_up_a_server_that_is_silent),
        ws_test(test_client_refuses_bad_handshakes),
        ws_test(test_server_joins_fragments),
        ws_test(test_server_takes_a_message_byte_by_byte),
        ws_test(test_server_closes_for_what_it_does_not_take),
        ws_test(test_server_survives_broken_frames),
        ws_test(test_server_answers_a_close),
        ws_test(test_server_notices_a_killed_peer),
        ws_test(test_server_drops_a_slow_reader),
        ws_test(test_server_refuses_bad_handshakes),
        ws_test(test_client_stays_in_silence_while_pings_are_answered),
        ws_test(test_client_slow_server_bounds_the_queue),
        ws_test(test_client_closes_for_a_message_over_its_limit),
        ws_test(test_server_close_with_clients_connected),
        ws_test(test_server_close_within_on_message),
        ws_test(test_loop_ends_with_an_open_pair_just_closed),
        ws_test(test_websockets_count_as_connections),
        ws_test(test_many_websockets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
