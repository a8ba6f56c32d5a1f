/* Actions of a tunnel from its request's head to its refusal; the table is in tunnel.c. */
#include "sidecar-proxy/proxy/credentials.h"
#include "sidecar-proxy/proxy/target.h"
#include "sidecar-proxy/proxy/ticket.h"
#include "sidecar-proxy/proxy/tunnel.h"
#include "sidecar-proxy/proxy/via.h"

#include "common/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define RETRY_AFTER_S 2
#define ANSWER_MAX 1024
#define FORWARD_MAX (CONNECT_HEAD_MAX + 2 * VIA_MAX + 256) /* bytes of a head sent on */

enum tunnel_event tunnel_refuse_with(struct tunnel *t, int status, const char *why)
{
    t->record.status = (uint16_t)status;
    snprintf(t->record.why, sizeof(t->record.why), "%s", why);
    return EV_REFUSE;
}

static enum tunnel_event malformed(struct tunnel *t, int r, const char *why)
{
    t->close = true;
    return tunnel_refuse_with(t, r == -EMSGSIZE ? 431 : r == -EOPNOTSUPP ? 405 : 400, why);
}

/* A ticket counts only if it is valid; anything else in its place is a guest's request. */
static void judge_ticket(struct tunnel *t, struct ask *ask, const char *text)
{
    enum ticket_result r = ticket_check(&t->worker->shared->settings.ticket_keys, text, ask->uuid,
                                        ask->port, clock_realtime_ms() / 1000);

    if (r == TICKET_VALID) {
        ask->granted = true;
        ask->source = DECIDED_BY_TICKET;
        t->from_hop = true;
        return;
    }
    log_debug("ticket is not accepted", "uuid", ask->uuid, "why",
              r == TICKET_EXPIRED ? "expired" : "not ours", NULL);
}

/* False: refused. */
static bool take_credentials(struct tunnel *t, struct ask *ask, const struct connect_head *head)
{
    struct text value = {"", 0};
    struct credentials c;
    size_t pos = 0;

    connect_head_field(head, "proxy-authorization", &pos, &value);
    credentials_parse(value, &c);
    if (c.kind == CREDENTIALS_KEY) {
        ask->key = MOVE(c.text);
    } else if (c.kind == CREDENTIALS_TICKET) {
        judge_ticket(t, ask, c.text);
    }
    bool usable = c.kind != CREDENTIALS_BAD;
    credentials_clear(&c);
    return usable;
}

static void take_trace(struct ask *ask, const struct connect_head *head)
{
    struct text value;
    size_t pos = 0;

    if (connect_head_field(head, "traceparent", &pos, &value) &&
        traceparent_valid(value.at, value.len)) {
        memcpy(ask->traceparent, value.at, value.len);
    }
}

static uint16_t port_of(struct tunnel *t, const struct connect_head *head)
{
    uint16_t port = t->worker->shared->settings.default_port;

    if (head->port != 0) {
        return head->port;
    }
    log_debug("no port in the request", "uuid", t->record.uuid, "port", NUM(port), NULL);
    return port;
}

static enum tunnel_event over_limit(struct tunnel *t, enum limit limit)
{
    static const char *const why[LIMITS] = {
        [LIMIT_TOTAL] = "too many tunnels",
        [LIMIT_SOURCE] = "too many connections from this address",
        [LIMIT_CALLER] = "too many tunnels of this caller",
    };

    tunnel_limited(limit);
    t->record.limited = true;
    return tunnel_refuse_with(t, limit == LIMIT_TOTAL ? 503 : 429, why[limit]);
}

static enum tunnel_event take_seat(struct tunnel *t)
{
    enum limit limit = limits_enter(&t->worker->shared->limits, t->from_hop ? NULL : &t->source,
                                    t->ask->key, &t->caller_seat);

    t->entered = limit == LIMIT_NONE;
    return t->entered ? EV_REQUEST : over_limit(t, limit);
}

/* One that has too many connections is told without being listened to. */
enum tunnel_event tunnel_begin(struct tunnel *t)
{
    if (limits_admit(&t->worker->shared->limits, &t->source, &t->address_seat)) {
        return tunnel_read_head(t);
    }
    t->close = true;
    t->minor = 1;
    return over_limit(t, LIMIT_SOURCE);
}

/* A head that is in order becomes an ask. The head's bytes are gone after this. */
static enum tunnel_event take_request(struct tunnel *t, const struct connect_head *head)
{
    const struct proxy_settings *s = &t->worker->shared->settings;

    t->minor = (uint8_t)head->minor;
    t->forward = head->forward;
    t->from_hop = false;
    t->close = head->close || head->has_body || head->forward;
    tunnel_record_phase(t, PHASE_HEAD);
    t->due_us = t->mark_us + s->answer_timeout_us;
    if (t->worker->drains) {
        t->close = true;
        return tunnel_refuse_with(t, 503, "draining");
    }
    if (!target_parse(head->host, t->record.uuid)) {
        return tunnel_refuse_with(t, 403, "not a device");
    }
    t->record.port = port_of(t, head);
    struct ask *ask = t->ask = ask_new();
    memcpy(ask->uuid, t->record.uuid, sizeof(ask->uuid));
    ask->port = t->record.port;
    ask->looped = via_looped(head, s->self_id);
    ask->via = via_chain(head, s->self_id);
    take_trace(ask, head);
    return take_credentials(t, ask, head) ? take_seat(t)
                                          : tunnel_refuse_with(t, 407, "malformed credentials");
}

/* The bytes that go to the device first: the request itself and what came behind it. */
static void keep_forward(struct tunnel *t, const struct connect_head *head, const char *rest,
                         size_t len)
{
    struct buf out;

    buf_init(&out, FORWARD_MAX + CONNECT_HEAD_MAX);
    if (connect_head_forward(head, t->ask->via, &out) == 0) {
        buf_append(&out, rest, len);
    }
    buf_wipe(&t->head);
    t->head = out;
}

/* What is behind the head, early bytes for the tunnel or the next request, is kept in t->head. */
static enum tunnel_event parse_head(struct tunnel *t, const char *bytes, size_t len)
{
    struct connect_head head = {.minor = 1};
    struct err err;
    bool ours = bytes == t->head.data;

    int taken = connect_head_parse(bytes, len, &head, &err);
    if (taken == 0) {
        if (!ours) {
            buf_append(&t->head, bytes, len);
        }
        return EV_NONE;
    }
    if (taken < 0) {
        t->minor = (uint8_t)head.minor;
        return malformed(t, taken, err.text);
    }
    enum tunnel_event ev = take_request(t, &head);
    if (ev == EV_REQUEST && head.forward) {
        keep_forward(t, &head, bytes + taken, len - (size_t)taken);
    } else if (ours) {
        buf_consume(&t->head, (size_t)taken);
    } else {
        buf_append(&t->head, bytes + taken, len - (size_t)taken);
    }
    return ev;
}

/* A whole head mostly comes in one read: it is parsed where it was read to. */
static enum tunnel_event read_first(struct tunnel *t)
{
    struct relay_end *client = &t->relay.ends[CLIENT];
    char *bytes = t->worker->relay.buffer;
    ssize_t n = end_recv(client, bytes, CONNECT_HEAD_MAX);

    if (n < 0 && errno == EAGAIN) {
        client->readable = false;
        return EV_NONE;
    }
    if (n <= 0) {
        return EV_END;
    }
    t->record.begun_us = t->mark_us = ask_clock_us();
    enum tunnel_event ev = parse_head(t, bytes, (size_t)n);
    explicit_bzero(bytes, (size_t)n); /* the key was among them */
    return ev;
}

static enum tunnel_event read_more(struct tunnel *t)
{
    struct relay_end *client = &t->relay.ends[CLIENT];
    size_t room = CONNECT_HEAD_MAX - t->head.len;

    if (buf_reserve(&t->head, room < 512 ? room : 512) < 0) {
        return malformed(t, -EMSGSIZE, "head too long");
    }
    size_t there = t->head.cap - t->head.len - 1;
    ssize_t n = end_recv(client, buf_end(&t->head), there < room ? there : room);
    if (n < 0 && errno == EAGAIN) {
        client->readable = false;
        return EV_NONE;
    }
    if (n <= 0) {
        return EV_END;
    }
    buf_grew(&t->head, (size_t)n);
    return parse_head(t, t->head.data, t->head.len);
}

enum tunnel_event tunnel_read_head(struct tunnel *t)
{
    enum tunnel_event ev = EV_NONE;

    while (ev == EV_NONE && t->state == TUNNEL_HEAD && t->relay.ends[CLIENT].readable) {
        ev = t->head.len == 0 ? read_first(t) : read_more(t);
    }
    return ev;
}

enum tunnel_event tunnel_head_late(struct tunnel *t)
{
    if (t->head.len == 0) {
        return EV_END; /* a kept connection that is not used any more, or one that never was */
    }
    t->close = true;
    t->minor = 1;
    return tunnel_refuse_with(t, 408, "the head did not come in time");
}

enum tunnel_event tunnel_ask(struct tunnel *t)
{
    if (broker_knows(t->worker->shared->broker, t->ask)) {
        return EV_ANSWER;
    }
    t->ask->tunnel = t;
    worker_post(t->worker, t->ask);
    return EV_NONE;
}

enum tunnel_event tunnel_ask_again(struct tunnel *t)
{
    tunnel_drop_far(t);
    t->ask->again = true;
    return tunnel_ask(t);
}

void tunnel_drop_ask(struct tunnel *t)
{
    struct ask *ask = MOVE(t->ask);

    if (ask == NULL) {
        return;
    }
    if (ask->tunnel != NULL) {
        worker_forget(t->worker, ask);
    } else {
        ask_free(ask);
    }
}

static void record_decision(struct tunnel *t)
{
    const struct ask *ask = t->ask;

    t->record.source = (uint8_t)ask->source;
    if (!ask->again && ask->decided_us > t->mark_us) {
        t->record.phase_us[PHASE_ACCESS] = (uint32_t)(ask->decided_us - t->mark_us);
        t->mark_us = ask->decided_us;
    }
    tunnel_record_phase(t, PHASE_ROUTE);
}

enum tunnel_event tunnel_take_answer(struct tunnel *t)
{
    struct ask *ask = t->ask;

    record_decision(t);
    if (ask->status != 0) {
        return tunnel_refuse_with(t, ask->status, ask->why);
    }
    memcpy(t->record.address, ask->route.address, sizeof(t->record.address));
    t->record.address_port = ask->route.port;
    return EV_ROUTED;
}

/* While it waits, a client may send ahead what the device is to get, and even half-close after it:
 * that stays in the socket. One that closed without a byte has gone, as has one that was reset. */
enum tunnel_event tunnel_watch_client(struct tunnel *t)
{
    struct relay_end *client = &t->relay.ends[CLIENT];

    return client->hangs_up && end_gone(client, t->head.len == 0) ? EV_END : EV_NONE;
}

enum tunnel_event tunnel_answer_late(struct tunnel *t)
{
    /* The API or the state service: which of the two is the main loop's to know. 504 is a device's.
     */
    return tunnel_refuse_with(t, 502, "no decision about the caller, or no device, in time");
}

static int retry_after(int status)
{
    return status == 429 || status == 502 || status == 503 || status == 504 ? RETRY_AFTER_S : 0;
}

enum tunnel_event tunnel_refuse(struct tunnel *t)
{
    struct answer answer = {
        .status = t->record.status,
        .minor = t->minor,
        .close = t->close || t->worker->drains,
        .retry_after_s = retry_after(t->record.status),
        .limit = t->record.limited ? t->record.why : NULL,
    };
    AUTO(buf) struct buf out;

    tunnel_drop_ask(t);
    tunnel_drop_far(t);
    buf_init(&out, ANSWER_MAX);
    answer_format(&answer, &out);
    ssize_t n = end_send(&t->relay.ends[CLIENT], out.data, out.len);
    tunnel_record_finish(t);
    if (n != (ssize_t)out.len) { /* it has not read its earlier answers, or has gone */
        return EV_END;
    }
    t->due_us = t->worker->relay.now_us + t->worker->shared->settings.head_timeout_us;
    return answer.close ? EV_LINGER : EV_KEEP;
}

enum tunnel_event tunnel_next_request(struct tunnel *t)
{
    t->requests += t->requests < UINT8_MAX;
    tunnel_record_begin(t);
    if (t->head.len > 0) { /* sent ahead */
        enum tunnel_event ev = parse_head(t, t->head.data, t->head.len);
        if (ev != EV_NONE) {
            return ev;
        }
    }
    return tunnel_read_head(t);
}

enum tunnel_event tunnel_linger(struct tunnel *t)
{
    buf_wipe(&t->head);
    end_finish(&t->relay.ends[CLIENT]);
    return tunnel_discard(t);
}

enum tunnel_event tunnel_discard(struct tunnel *t)
{
    struct relay_end *client = &t->relay.ends[CLIENT];

    for (int i = 0; i < RELAY_ROUNDS && client->readable; i++) {
        ssize_t n = end_recv(client, t->worker->relay.buffer, RELAY_BUFFER);
        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            return EV_END;
        }
        client->readable = n > 0;
    }
    return client->readable ? EV_END : EV_NONE; /* it sends and sends */
}
