/* The whole of vpn-state over real sockets on loopback, in one thread with its callers. */
#include "common/log.h"
#include "common/ws_client.h"
#include "sidecar-proxy/state/feed_server.h"
#include "sidecar-proxy/state/service.h"
#include "sidecar-proxy/state/state_metrics.h"
#include "sidecar-proxy/state/stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#define PATIENCE_MS 20000 /* a test that waits longer has failed */
#define KEY "the key of the service"
#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define FP "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

struct fixture {
    struct loop *loop;
    struct http_server *server;
    struct service service;
    uint16_t port;
    char token[SECRET_HEX_LEN + 1];
};

struct sidecar {
    struct ws_client *client;
    struct buf heard; /* messages, one a line */
    bool open, closed;
    int seq;
};

struct caller { /* a plain HTTP client */
    int fd;
    struct buf heard;
    bool end;
};

/* --- waiting --- */

struct waiting {
    struct loop *loop;
    bool (*until)(void *arg);
    void *arg;
    int64_t deadline_ms;
};

static void look(void *arg)
{
    struct waiting *w = arg;

    if (w->until(w->arg) || clock_monotonic_ms() > w->deadline_ms) {
        loop_stop(w->loop);
    }
}

static void wait_until(struct fixture *f, bool (*until)(void *arg), void *arg)
{
    struct waiting w = {f->loop, until, arg, clock_monotonic_ms() + PATIENCE_MS};
    struct loop_timer *timer = loop_timer_new(f->loop, look, &w);

    loop_timer_start(timer, 0, 1);
    loop_run(f->loop);
    loop_timer_close(timer);
    assert_true(until(arg));
}

/* --- the service --- */

static uint16_t free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(0, bind(fd, (struct sockaddr *)&at, sizeof(at)));
    assert_int_equal(0, getsockname(fd, (struct sockaddr *)&at, &len));
    close(fd);
    return ntohs(at.sin_port);
}

static void setup(struct fixture *f, int64_t grace_seconds)
{
    char address[32];
    struct err err = {0};

    *f = (struct fixture){.port = free_port()};
    log_set_level(LOG_ERROR);
    assert_int_equal(0, loop_new(&f->loop, &err));
    service_init(&f->service, f->loop,
                 &(struct service_options){.keys = {.key = KEY},
                                           .lost_seconds = 30,
                                           .start_grace_seconds = grace_seconds,
                                           .verdict_seconds = 86400,
                                           .max_sessions = 100000,
                                           .max_verdicts = 100});
    secret_hex(f->service.tokens.of[0], f->token);
    snprintf(address, sizeof(address), "127.0.0.1:%u", f->port);
    struct http_listen_options options = {.address = address};
    options.routes = service_routes(&f->service, &options.route_count);
    assert_int_equal(0, http_server_new(f->loop, &f->server, &err));
    assert_int_equal(0, http_server_listen(f->server, &options, &err));
}

static void teardown(struct fixture *f)
{
    f->service.ending = true;
    http_server_close(f->server);
    service_clear(&f->service);
    loop_free(f->loop);
}

/* --- sidecars --- */

static void on_open(void *arg)
{
    ((struct sidecar *)arg)->open = true;
}

static void on_message(void *arg, const char *text, size_t len)
{
    struct sidecar *s = arg;

    buf_append(&s->heard, text, len);
    buf_append_str(&s->heard, "\n");
}

static void on_closed(void *arg, const char *why)
{
    ((struct sidecar *)arg)->closed = true;
}

static bool open_or_closed(void *arg)
{
    struct sidecar *s = arg;
    return s->open || s->closed;
}

static bool is_closed(void *arg)
{
    return ((struct sidecar *)arg)->closed;
}

static void sidecar_dial(struct fixture *f, struct sidecar *s, const char *token)
{
    *s = (struct sidecar){0};
    buf_init(&s->heard, 1 << 20);
    struct ws_client_options options = {.address = "127.0.0.1",
                                        .port = f->port,
                                        .path = "/v1/feed",
                                        .protocol = "vpn-state.v1",
                                        .bearer = token,
                                        .max_message_bytes = 65536,
                                        .max_queued_bytes = 16 << 20,
                                        .on_open = on_open,
                                        .on_message = on_message,
                                        .on_closed = on_closed,
                                        .arg = s};
    assert_int_equal(0, ws_client_open(f->loop, &options, &s->client, NULL));
    wait_until(f, open_or_closed, s);
}

static void say(struct sidecar *s, const char *text)
{
    assert_int_equal(0, ws_client_send(s->client, text, strlen(text)));
}

static void sidecar_open(struct fixture *f, struct sidecar *s, int index)
{
    char text[512];

    sidecar_dial(f, s, f->token);
    assert_true(s->open);
    snprintf(text, sizeof(text),
             "{\"type\":\"hello\",\"pool\":\"fleet\",\"index\":%d,\"epoch\":\"e\",\"serviceId\":12,"
             "\"proxy\":\"127.0.0.1:2100%d\",\"subnet\":\"100.64.0.0/20\",\"phase\":\"ready\"}",
             index, index);
    say(s, text);
}

static void sidecar_close(struct fixture *f, struct sidecar *s)
{
    if (!s->closed) {
        ws_client_close(s->client);
        wait_until(f, is_closed, s);
    }
    buf_clear(&s->heard);
}

static bool all_acked(void *arg)
{
    struct sidecar *s = arg;
    char ack[64];

    snprintf(ack, sizeof(ack), "{\"type\":\"ack\",\"seq\":%d}", s->seq);
    return strstr(buf_str(&s->heard), ack) != NULL;
}

static void snapshot(struct fixture *f, struct sidecar *s, const char *sessions)
{
    AUTO(str)
    char *text = xasprintf("{\"type\":\"snapshot\",\"seq\":%d,\"more\":false,"
                           "\"sessions\":[%s],\"verdicts\":[{\"uuid\":\"" A
                           "\",\"fingerprint\":\"" FP "\",\"at\":%lld}]}",
                           ++s->seq, sessions, (long long)clock_realtime_ms());
    say(s, text);
    wait_until(f, all_acked, s);
}

static void up(struct sidecar *s, const char *id, const char *uuid, long long since)
{
    AUTO(str)
    char *text = xasprintf("{\"type\":\"up\",\"seq\":%d,\"session\":{\"id\":\"%s\",\"uuid\":"
                           "\"%s\",\"address\":\"100.64.0.3\",\"since\":%lld}}",
                           ++s->seq, id, uuid, since);
    say(s, text);
}

static void down(struct sidecar *s, const char *id, const char *uuid)
{
    AUTO(str)
    char *text = xasprintf("{\"type\":\"down\",\"seq\":%d,\"id\":\"%s\",\"uuid\":\"%s\",\"at\":1}",
                           ++s->seq, id, uuid);
    say(s, text);
}

/* --- callers --- */

static void take(struct caller *c)
{
    char bytes[65536];
    ssize_t n;

    while ((n = recv(c->fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0) {
        assert_int_equal(0, buf_append(&c->heard, bytes, (size_t)n));
    }
    c->end = c->end || n == 0 || (n < 0 && errno != EAGAIN);
}

static bool has_end(void *arg)
{
    take(arg);
    return ((struct caller *)arg)->end;
}

static void caller_ask(struct fixture *f, struct caller *c, const char *method, const char *path,
                       const char *token, const char *body)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    AUTO(str)
    char *text =
        xasprintf("%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer %s\r\n"
                  "Content-Length: %zu\r\n\r\n%s",
                  method, path, token, strlen(body), body);

    *c = (struct caller){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    buf_init(&c->heard, 64 << 20);
    at.sin_port = htons(f->port);
    assert_int_equal(0, connect(c->fd, (struct sockaddr *)&at, sizeof(at)));
    assert_int_equal((ssize_t)strlen(text), send(c->fd, text, strlen(text), 0));
}

static void caller_end(struct caller *c)
{
    close(c->fd);
    buf_clear(&c->heard);
}

/* The whole answer, head included; caller frees. */
static char *ask(struct fixture *f, const char *method, const char *path, const char *token,
                 const char *body)
{
    struct caller c;

    caller_ask(f, &c, method, path, token, body);
    wait_until(f, has_end, &c);
    char *text = buf_take(&c.heard);
    caller_end(&c);
    return text;
}

static void answers(struct fixture *f, const char *path, int status, const char *part)
{
    AUTO(str) char *text = ask(f, "GET", path, f->token, "");
    char line[32];

    snprintf(line, sizeof(line), "HTTP/1.1 %d ", status);
    assert_memory_equal(line, text, strlen(line));
    if (strstr(text, part) == NULL) {
        fail_msg("no '%s' in: %s", part, text);
    }
}

static size_t lines_with(const char *text, const char *part)
{
    size_t n = 0;

    for (const char *at = text; (at = strstr(at, part)) != NULL; at += strlen(part)) {
        n++;
    }
    return n;
}

/* --- tests --- */

#define ONE_SESSION \
    "{\"id\":\"1.7\",\"uuid\":\"" A "\",\"address\":\"100.64.0.3\",\"since\":1764000000000}"

static void test_service_answers_where_a_device_is(void **state)
{
    struct fixture f;
    struct sidecar s;
    setup(&f, 0);

    sidecar_open(&f, &s, 1);
    snapshot(&f, &s, ONE_SESSION);
    answers(&f, "/v1/devices/" A, 200,
            "\r\n\r\n{\"uuid\":\"" A "\",\"address\":\"100.64.0.3\",\"session\":\"1.7\",\"since\":"
            "1764000000000,\"instance\":{\"pool\":\"fleet\",\"index\":1,\"epoch\":\"e\","
            "\"serviceId\":12,\"proxy\":\"127.0.0.1:21001\"}}");
    answers(&f, "/v1/devices/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 200, A);
    answers(&f, "/v1/devices/" B, 404, "{\"error\":\"offline\"}");
    answers(&f, "/v1/devices/" A "a", 400, "malformed");
    answers(&f, "/v1/devices/..%2f..%2fetc", 400, "malformed");
    answers(&f, "/v1/devices/", 400, "malformed");
    down(&s, "1.7", A);
    wait_until(&f, all_acked, &s);
    answers(&f, "/v1/devices/" A, 404, "offline");
    sidecar_close(&f, &s);
    teardown(&f);
}

static void test_service_lists_instances(void **state)
{
    struct fixture f;
    struct sidecar s;
    setup(&f, 0);

    sidecar_open(&f, &s, 1);
    snapshot(&f, &s, ONE_SESSION);
    answers(&f, "/v1/instances", 200,
            "{\"ready\":true,\"instances\":[{\"pool\":\"fleet\",\"index\":1,\"epoch\":\"e\","
            "\"serviceId\":12,\"proxy\":\"127.0.0.1:21001\",\"subnet\":\"100.64.0.0/20\","
            "\"connected\":true,\"sessions\":1,\"phase\":\"ready\",\"since\":");
    sidecar_close(&f, &s);
    answers(&f, "/v1/instances", 200, "\"connected\":false,\"sessions\":1");
    answers(&f, "/v1/devices/" A, 200, A); /* its feed broke; the device is still there */
    teardown(&f);
}

static void test_service_refuses_a_wrong_token(void **state)
{
    struct fixture f;
    struct sidecar s;
    setup(&f, 0);

    sidecar_dial(&f, &s, FP);
    assert_false(s.open);
    assert_true(s.closed);
    sidecar_close(&f, &s);
    AUTO(str) char *expected = ask(&f, "PUT", "/v1/expected", FP, "{\"instances\":[]}");
    assert_non_null(strstr(expected, "HTTP/1.1 401 "));
    AUTO(str) char *verdict = ask(&f, "GET", "/v1/verdicts/" A "/" FP, FP, "");
    assert_non_null(strstr(verdict, "HTTP/1.1 401 "));
    teardown(&f);
}

static void test_service_says_offline_only_when_ready(void **state)
{
    struct fixture f;
    struct sidecar s;
    setup(&f, 600);

    answers(&f, "/v1/devices/" A, 503, "Retry-After: ");
    answers(&f, "/readyz", 503, "");
    answers(&f, "/healthz", 200, "ok");
    AUTO(str)
    char *put =
        ask(&f, "PUT", "/v1/expected", f.token, "{\"instances\":[{\"index\":1,\"epoch\":\"e\"}]}");
    assert_non_null(strstr(put, "HTTP/1.1 204 "));
    answers(&f, "/v1/instances", 200, "\"missing\":[{\"index\":1,\"epoch\":\"e\"}]");
    sidecar_open(&f, &s, 1);
    answers(&f, "/v1/devices/" A, 503, "");
    snapshot(&f, &s, ONE_SESSION);
    answers(&f, "/v1/devices/" A, 200, A);
    answers(&f, "/v1/devices/" B, 404, "offline");
    answers(&f, "/readyz", 200, "ready");
    sidecar_close(&f, &s);
    teardown(&f);
}

static void test_service_answers_a_known_device_before_it_is_ready(void **state)
{
    struct fixture f;
    struct sidecar s;
    setup(&f, 600);

    sidecar_open(&f, &s, 1);
    snapshot(&f, &s, ONE_SESSION);
    answers(&f, "/v1/devices/" A, 200, A);
    answers(&f, "/v1/devices/" B, 503, "");
    sidecar_close(&f, &s);
    teardown(&f);
}

static void test_service_refuses_a_malformed_list_of_instances(void **state)
{
    static const char *const rows[] = {"",
                                       "{",
                                       "[]",
                                       "{}",
                                       "{\"instances\":1}",
                                       "{\"instances\":[1]}",
                                       "{\"instances\":[{\"index\":0}]}",
                                       "{\"instances\":[{\"index\":1,\"epoch\":\"<\"}]}"};
    struct fixture f;
    struct sidecar s;
    setup(&f, 0);

    sidecar_open(&f, &s, 1);
    snapshot(&f, &s, ONE_SESSION);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(str) char *text = ask(&f, "PUT", "/v1/expected", f.token, rows[i]);
        assert_non_null(strstr(text, "HTTP/1.1 400 "));
        assert_non_null(strstr(text, "\"error\":\""));
    }
    answers(&f, "/v1/devices/" A, 200, A); /* nothing was dropped */
    sidecar_close(&f, &s);
    teardown(&f);
}

static void test_service_drops_instances_that_are_not_expected(void **state)
{
    struct fixture f;
    struct sidecar s;
    setup(&f, 0);

    sidecar_open(&f, &s, 1);
    snapshot(&f, &s, ONE_SESSION);
    AUTO(str) char *text = ask(&f, "PUT", "/v1/expected", f.token, "{\"instances\":[]}");
    assert_non_null(strstr(text, "HTTP/1.1 204 "));
    wait_until(&f, is_closed, &s);
    answers(&f, "/v1/devices/" A, 404, "offline");
    sidecar_close(&f, &s);
    teardown(&f);
}

static bool heard_stale(void *arg)
{
    struct sidecar *s = arg;
    return strstr(buf_str(&s->heard), "{\"type\":\"stale\",\"uuid\":\"" A "\",\"id\":\"1.7\"}") !=
           NULL;
}

static void test_service_tells_the_old_place_that_its_session_is_stale(void **state)
{
    struct fixture f;
    struct sidecar one, two;
    setup(&f, 0);

    sidecar_open(&f, &one, 1);
    snapshot(&f, &one, ONE_SESSION);
    sidecar_open(&f, &two, 2);
    snapshot(&f, &two, "");
    up(&two, "1.0", A, 1764000005000);
    wait_until(&f, heard_stale, &one);
    answers(&f, "/v1/devices/" A, 200, "\"index\":2");
    sidecar_close(&f, &one);
    sidecar_close(&f, &two);
    teardown(&f);
}

static void test_service_closes_a_feed_with_a_gap(void **state)
{
    struct fixture f;
    struct sidecar s;
    setup(&f, 0);

    sidecar_open(&f, &s, 1);
    snapshot(&f, &s, ONE_SESSION);
    s.seq++; /* one that never comes */
    up(&s, "1.8", B, 1764000000000);
    wait_until(&f, is_closed, &s);
    answers(&f, "/v1/devices/" B, 404, "");
    answers(&f, "/v1/devices/" A, 200, A);
    sidecar_close(&f, &s);
    teardown(&f);
}

static void test_service_second_connection_replaces_the_first(void **state)
{
    struct fixture f;
    struct sidecar first, second;
    setup(&f, 0);

    sidecar_open(&f, &first, 1);
    snapshot(&f, &first, ONE_SESSION);
    sidecar_open(&f, &second, 1);
    wait_until(&f, is_closed, &first);
    answers(&f, "/v1/devices/" A, 200, A);
    snapshot(&f, &second, "");
    answers(&f, "/v1/devices/" A, 404, "");
    sidecar_close(&f, &first);
    sidecar_close(&f, &second);
    teardown(&f);
}

static bool no_instances(void *arg)
{
    return table_counts(((struct fixture *)arg)->service.table).instances == 0;
}

static void test_service_bye_takes_the_sessions_along(void **state)
{
    struct fixture f;
    struct sidecar s;
    setup(&f, 0);

    sidecar_open(&f, &s, 1);
    snapshot(&f, &s, ONE_SESSION);
    say(&s, "{\"type\":\"bye\"}");
    wait_until(&f, no_instances, &f);
    answers(&f, "/v1/devices/" A, 404, "");
    sidecar_close(&f, &s);
    teardown(&f);
}

static void test_service_knows_verdicts(void **state)
{
    struct fixture f;
    struct sidecar s;
    setup(&f, 0);

    sidecar_open(&f, &s, 1);
    snapshot(&f, &s, ONE_SESSION);
    answers(&f, "/v1/verdicts/" A "/" FP, 200, "{\"at\":1");
    answers(&f, "/v1/verdicts/" B "/" FP, 404, "");
    answers(&f, "/v1/verdicts/" A, 400, "");
    answers(&f, "/v1/verdicts/" A "/xyz", 400, "");
    sidecar_close(&f, &s);
    teardown(&f);
}

/* Many more rows than one queue holds: they are written as they are read. */
static void test_service_streams_all_devices(void **state)
{
    enum { DEVICES = 5000 };
    struct fixture f;
    struct sidecar s;
    AUTO(buf) struct buf list;
    setup(&f, 0);

    buf_init(&list, 1 << 20);
    for (int n = 0; n < DEVICES; n++) {
        buf_printf(&list,
                   "%s{\"id\":\"1.%d\",\"uuid\":\"%032x\",\"address\":\"100.64.0.3\",\"since\":1}",
                   n > 0 ? "," : "", n, n);
    }
    sidecar_open(&f, &s, 3);
    snapshot(&f, &s, buf_str(&list));
    AUTO(str) char *all = ask(&f, "GET", "/v1/devices", "", "");
    assert_int_equal(DEVICES, lines_with(all, "{\"uuid\":"));
    AUTO(str) char *here = ask(&f, "GET", "/v1/devices?instance=3", "", "");
    assert_int_equal(DEVICES, lines_with(here, "{\"uuid\":"));
    AUTO(str) char *elsewhere = ask(&f, "GET", "/v1/devices?instance=4", "", "");
    assert_int_equal(0, lines_with(elsewhere, "{\"uuid\":"));
    AUTO(str)
    char *some =
        ask(&f, "GET", "/v1/devices?prefix=0000000000000000000000000000001&limit=9", "", "");
    assert_int_equal(9, lines_with(some, "{\"uuid\":\"0000000000000000000000000000001"));
    answers(&f, "/v1/devices?instance=x", 400, "error");
    assert_int_equal(0, streams_count(f.service.streams));
    sidecar_close(&f, &s);
    teardown(&f);
}

static const char *wanted;

static bool heard_wanted(void *arg)
{
    struct caller *c = arg;

    take(c);
    return strstr(buf_str(&c->heard), wanted) != NULL;
}

static void hears(struct fixture *f, struct caller *c, const char *part)
{
    wanted = part;
    wait_until(f, heard_wanted, c);
}

static void test_service_watch_tells_what_is_and_what_happens(void **state)
{
    struct fixture f;
    struct sidecar s;
    struct caller c;
    setup(&f, 0);

    sidecar_open(&f, &s, 1);
    snapshot(&f, &s, ONE_SESSION);
    caller_ask(&f, &c, "GET", "/v1/watch", "", "");
    hears(&f, &c, "{\"type\":\"synced\"}\n");
    assert_non_null(strstr(buf_str(&c.heard), "{\"type\":\"up\",\"uuid\":\"" A "\""));
    up(&s, "1.8", B, 1764000000000);
    hears(&f, &c, "{\"type\":\"up\",\"uuid\":\"" B "\"");
    down(&s, "1.7", A);
    hears(&f, &c, "{\"type\":\"down\",\"uuid\":\"" A "\"");
    say(&s, "{\"type\":\"bye\"}");
    hears(&f, &c, "{\"type\":\"down\",\"uuid\":\"" B "\"");
    hears(&f, &c, "\"gone\":true");
    caller_end(&c);
    sidecar_close(&f, &s);
    teardown(&f);
}

static bool was_cut(void *arg)
{
    return metric_value(&state_metrics.streams_slow) > *(int64_t *)arg;
}

static void test_service_watch_cuts_who_does_not_read(void **state)
{
    struct fixture f;
    struct sidecar s;
    struct caller c;
    int64_t cuts = metric_value(&state_metrics.streams_slow);
    setup(&f, 0);

    sidecar_open(&f, &s, 1);
    snapshot(&f, &s, "");
    caller_ask(&f, &c, "GET", "/v1/watch", "", "");
    hears(&f, &c, "synced");
    for (int n = 0; !was_cut(&cuts); n++) { /* more than the kernel and our queue hold */
        assert_true(n < 400);
        for (int i = 0; i < 100; i++) {
            up(&s, "1.8", B, 1764000000000);
            down(&s, "1.8", B);
        }
        wait_until(&f, all_acked, &s);
    }
    wait_until(&f, has_end, &c);
    assert_non_null(strstr(buf_str(&c.heard), "{\"type\":\"slow\"}\n"));
    assert_int_equal(0, streams_count(f.service.streams));
    caller_end(&c);
    sidecar_close(&f, &s);
    teardown(&f);
}

static void test_service_refuses_streams_over_the_maximum(void **state)
{
    struct fixture f;
    struct caller callers[STREAMS_MAX];
    setup(&f, 0);

    for (size_t i = 0; i < STREAMS_MAX; i++) {
        caller_ask(&f, &callers[i], "GET", "/v1/watch", "", "");
        hears(&f, &callers[i], "synced");
    }
    answers(&f, "/v1/watch", 503, "too many");
    for (size_t i = 0; i < STREAMS_MAX; i++) {
        caller_end(&callers[i]);
    }
    teardown(&f);
}

static void test_service_page_shows_escaped_text_under_a_strict_policy(void **state)
{
    struct fixture f;
    struct sidecar s;
    setup(&f, 0);

    sidecar_open(&f, &s, 1);
    snapshot(&f, &s, ONE_SESSION);
    AUTO(str) char *page = ask(&f, "GET", "/?uuid=%22%3E%3Cscript%3Ealert(1)%3C/script%3E", "", "");
    assert_non_null(strstr(page, "Content-Security-Policy: default-src 'none'"));
    assert_null(strstr(page, "<script>"));
    assert_non_null(strstr(page, "&#34;&#62;&#60;script&#62;"));
    assert_non_null(strstr(page, "That is no UUID"));
    answers(&f, "/", 200, "100.64.0.0/20");
    answers(&f, "/?uuid=" A, 200, "online</span>");
    answers(&f, "/?uuid=aaaa", 200, "<a href=\"?uuid=" A "\">");
    answers(&f, "/?uuid=aaab", 200, "No device online begins with this");
    answers(&f, "/?uuid=" B, 200, "offline");
    answers(&f, "/page.css", 200, "text/css");
    answers(&f, "/page.js", 200, "use strict");
    sidecar_close(&f, &s);
    teardown(&f);
}

static void test_service_has_metrics(void **state)
{
    struct fixture f;
    struct sidecar s;
    setup(&f, 0);

    sidecar_open(&f, &s, 1);
    snapshot(&f, &s, ONE_SESSION);
    answers(&f, "/metrics", 200, "\nvpn_state_devices 1\n");
    answers(&f, "/metrics", 200, "\nvpn_state_feeds 1\n");
    answers(&f, "/metrics", 200, "\nvpn_state_instance_sessions{pool=\"fleet\",index=\"1\"} 1\n");
    answers(&f, "/v1/recent", 200, "\"devices\":1");
    sidecar_close(&f, &s);
    teardown(&f);
}

static void test_service_ends_with_feeds_and_streams_open(void **state)
{
    struct fixture f;
    struct sidecar s;
    struct caller c;
    setup(&f, 0);

    sidecar_open(&f, &s, 1);
    snapshot(&f, &s, ONE_SESSION);
    caller_ask(&f, &c, "GET", "/v1/watch", "", "");
    hears(&f, &c, "synced");
    f.service.ending = true;
    http_server_close(f.server);
    f.server = NULL;
    wait_until(&f, is_closed, &s);
    wait_until(&f, has_end, &c);
    caller_end(&c);
    sidecar_close(&f, &s);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_service_answers_where_a_device_is),
        cmocka_unit_test(test_service_lists_instances),
        cmocka_unit_test(test_service_refuses_a_wrong_token),
        cmocka_unit_test(test_service_says_offline_only_when_ready),
        cmocka_unit_test(test_service_answers_a_known_device_before_it_is_ready),
        cmocka_unit_test(test_service_refuses_a_malformed_list_of_instances),
        cmocka_unit_test(test_service_drops_instances_that_are_not_expected),
        cmocka_unit_test(test_service_tells_the_old_place_that_its_session_is_stale),
        cmocka_unit_test(test_service_closes_a_feed_with_a_gap),
        cmocka_unit_test(test_service_second_connection_replaces_the_first),
        cmocka_unit_test(test_service_bye_takes_the_sessions_along),
        cmocka_unit_test(test_service_knows_verdicts),
        cmocka_unit_test(test_service_streams_all_devices),
        cmocka_unit_test(test_service_watch_tells_what_is_and_what_happens),
        cmocka_unit_test(test_service_watch_cuts_who_does_not_read),
        cmocka_unit_test(test_service_refuses_streams_over_the_maximum),
        cmocka_unit_test(test_service_page_shows_escaped_text_under_a_strict_policy),
        cmocka_unit_test(test_service_has_metrics),
        cmocka_unit_test(test_service_ends_with_feeds_and_streams_open),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
