#include "sidecar-proxy/state/feed_server.h"

#include "common/log.h"
#include "common/metrics.h"
#include "sidecar-proxy/state/service.h"
#include "sidecar-proxy/state/state_metrics.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define CLOSE_POLICY 1008 /* RFC 6455 7.4.1 */
#define CLOSE_LATER 1013
#define QUEUE_MAX (1024 * 1024)
#define DOWN_MAX 256 /* bytes of a message to a sidecar */

struct connection {
    struct feed_in feed;
    struct ws_conn *conn;
    struct feed_server *server;
    struct connection *previous, *next;
    int64_t opened_ms; /* monotonic */
    int64_t acked;     /* -1: nothing */
    bool closing;
    char name[TABLE_POOL_MAX + 16]; /* "{pool}-{index}" for log lines */
};

struct feed_server {
    struct service *service;
    struct connection *first;
    size_t count;
    struct loop_timer *acks; /* fires once the round's messages are taken */
};

static void close_soon(struct connection *c, int code)
{
    if (!c->closing) {
        c->closing = true;
        ws_conn_close(c->conn, code);
    }
}

static void send_down(struct connection *c, const char *text)
{
    if (!c->closing && ws_conn_send(c->conn, text, strlen(text)) < 0) {
        c->closing = true; /* it reads too slowly; the server is closing it */
        log_warn("feed closed: it does not read", "instance", c->name, NULL);
    }
}

static void on_stale(void *arg, const char *uuid, const char *id)
{
    struct connection *c = arg;
    char text[DOWN_MAX];

    snprintf(text, sizeof(text), "{\"type\":\"stale\",\"uuid\":\"%s\",\"id\":\"%s\"}", uuid, id);
    send_down(c, text);
    log_info("stale session", "instance", c->name, "uuid", uuid, "id", id, NULL);
}

static void on_dropped(void *arg, const char *why)
{
    struct connection *c = arg;

    log_info("feed dropped", "instance", c->name, "why", why, NULL);
    close_soon(c, CLOSE_POLICY);
}

static void acknowledge(void *arg)
{
    struct feed_server *s = arg;
    char text[DOWN_MAX];

    for (struct connection *c = s->first; c != NULL; c = c->next) {
        if (c->feed.seq != c->acked) {
            c->acked = c->feed.seq;
            snprintf(text, sizeof(text), "{\"type\":\"ack\",\"seq\":%lld}", (long long)c->feed.seq);
            send_down(c, text);
        }
    }
}

static bool allow(void *arg, const char *authorization)
{
    const struct service *service = arg;
    bool allowed = secret_bearer_is(authorization, &service->tokens);

    if (!allowed) {
        metric_inc(&state_metrics.feeds_refused);
        log_warn("feed refused: its sidecar has another VPN_SERVICE_API_KEY", NULL);
    }
    return allowed;
}

static void *on_open(void *arg, struct ws_conn *conn)
{
    struct service *service = arg;
    struct feed_server *s = service->feeds;
    struct connection *c = xcalloc(1, sizeof(*c));

    *c = (struct connection){.conn = conn, .server = s, .next = s->first, .acked = -1};
    c->opened_ms = loop_now_ms(service->loop);
    c->feed = (struct feed_in){
        .world = &service->world, .on_stale = on_stale, .on_dropped = on_dropped, .arg = c};
    feed_in_init(&c->feed);
    if (s->first != NULL) {
        s->first->previous = c;
    }
    s->first = c;
    s->count++;
    return c;
}

static void log_changes(struct connection *c, enum feed_state from)
{
    const struct table_instance *i = c->feed.instance;

    if (from == FEED_GREETING && i != NULL) {
        snprintf(c->name, sizeof(c->name), "%s-%u", i->pool, i->index);
        log_info("feed begins", "instance", c->name, "epoch", i->epoch, "phase", i->phase, NULL);
    } else if (from != FEED_LIVE && c->feed.state == FEED_LIVE) {
        log_info("feed is in step", "instance", c->name, "sessions", NUM(i->sessions.count), NULL);
    } else if (from != FEED_ENDED && c->feed.state == FEED_ENDED && !c->closing) {
        log_info("instance said bye", "instance", c->name, NULL);
    }
}

static void on_message(void *user, const char *text, size_t len)
{
    struct connection *c = user;
    enum feed_state from = c->feed.state;
    struct err err = {0};

    if (c->closing) {
        return;
    }
    metric_inc(&state_metrics.feed_messages);
    int r = feed_in_message(&c->feed, text, len, service_now(c->server->service), &err);
    if (r < 0) {
        metric_inc(&state_metrics.feed_faults);
        log_warn("feed closed", "instance", c->name, "why", err.text, NULL);
        close_soon(c, r == -EPROTO ? CLOSE_POLICY : CLOSE_LATER);
        return;
    }
    log_changes(c, from);
    if (c->feed.seq != c->acked) {
        loop_timer_start(c->server->acks, 0, 0);
    }
}

static void on_closed(void *user)
{
    struct connection *c = user;
    struct feed_server *s = c->server;

    if (c->feed.instance != NULL && !s->service->ending) {
        log_warn("feed broke: its sessions stay for a while", "instance", c->name, "sessions",
                 NUM(c->feed.instance->sessions.count), NULL);
    }
    feed_in_clear(&c->feed, service_now(s->service));
    *(c->previous != NULL ? &c->previous->next : &s->first) = c->next;
    if (c->next != NULL) {
        c->next->previous = c->previous;
    }
    s->count--;
    free(c);
}

const struct ws_handler feed_server_handler = {
    .protocol = "vpn-state.v1",
    .max_message_bytes = FEED_MESSAGE_MAX,
    .max_queued_bytes = QUEUE_MAX,
    .allow = allow,
    .on_open = on_open,
    .on_message = on_message,
    .on_closed = on_closed,
};

struct feed_server *feed_server_new(struct service *service)
{
    struct feed_server *s = xcalloc(1, sizeof(*s));

    s->service = service;
    s->acks = loop_timer_new(service->loop, acknowledge, s);
    return s;
}

void feed_server_free(struct feed_server *s)
{
    loop_timer_close(s->acks);
    free(s);
}

void feed_server_tick(struct feed_server *s)
{
    int64_t now_ms = loop_now_ms(s->service->loop);
    struct connection *next = NULL;

    for (struct connection *c = s->first; c != NULL; c = next) {
        next = c->next;
        if (c->feed.state == FEED_GREETING && now_ms - c->opened_ms >= FEED_GREETING_MS) {
            close_soon(c, CLOSE_POLICY);
        }
    }
}

size_t feed_server_count(const struct feed_server *s)
{
    return s->count;
}
