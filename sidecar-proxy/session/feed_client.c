#include "sidecar-proxy/session/feed_client.h"

#include "common/backoff.h"
#include "common/log.h"
#include "common/ws_client.h"
#include "sidecar-proxy/session/session_metrics.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

#define CONNECT_MS 3000
#define ACK_MS 10000 /* a snapshot that is not acknowledged by then was not understood */
#define BACKOFF_FIRST_MS 100
#define BACKOFF_LAST_MS 2000
#define QUEUE_MAX ((size_t)16 << 20) /* bytes: some snapshots of the largest block */
#define INCOMING_MAX 65536

enum feed_state {
    FEED_CONNECTING,
    FEED_GREETED,  /* hello is said; there is nothing yet to be told */
    FEED_TELLING,  /* the snapshot is on its way */
    FEED_LIVE,     /* and acknowledged */
    FEED_LEAVING,  /* we hang up and come again */
    FEED_WAITING,  /* to come again */
    FEED_STOPPING, /* we hang up for good */
    FEED_CLOSED
};
#define FEED_STATES (FEED_CLOSED + 1)
enum feed_event {
    EV_OPENED,
    EV_SYNCED, /* we are in step with OpenVPN */
    EV_ACKED,
    EV_TROUBLE, /* too slow, or not our protocol */
    EV_ENDED,   /* the connection, or the attempt at one */
    EV_TIMER,   /* the state's deadline, or its end of waiting */
    EV_STOP
};
#define FEED_EVENTS (EV_STOP + 1)

struct feed_client {
    struct feed_client_options o;
    enum feed_state state;
    struct loop_timer *timer;
    enum feed_event timer_event;
    struct ws_client *ws;
    struct sessions_watcher watcher;
    bool synced;
    int64_t service_id;
    const char *phase;
    bool orderly;
    uint64_t seq;          /* of the last message that was sent */
    uint64_t snapshot_seq; /* of the snapshot's last part */
    struct backoff backoff;
    struct buf out;
};

static void feed(struct feed_client *f, enum feed_event ev);

static void on_timer(void *arg)
{
    struct feed_client *f = arg;

    feed(f, f->timer_event);
}

/* One thing at a time is waited for; entering a state forgets it. */
static void later(struct feed_client *f, enum feed_event ev, uint32_t ms)
{
    f->timer_event = ev;
    loop_timer_start(f->timer, ms, 0);
}

/* --- sending --- */

/* Sends what is in f->out. What can not be sent is our reason to begin anew. */
static void send_out(struct feed_client *f)
{
    int r = f->ws != NULL ? ws_client_send(f->ws, buf_str(&f->out), f->out.len) : -ENOTCONN;

    buf_truncate(&f->out, 0);
    if (r < 0) {
        later(f, EV_TROUBLE, 0);
        return;
    }
    metric_inc(&session_metrics.feed_messages);
}

static bool is_telling(const struct feed_client *f)
{
    return f->state == FEED_TELLING || f->state == FEED_LIVE;
}

static void on_up(void *arg, const struct session *s)
{
    struct feed_client *f = arg;

    if (is_telling(f)) {
        feed_put_up(&f->out, ++f->seq, s);
        send_out(f);
    }
}

static void on_down(void *arg, const struct session *s, int64_t at_ms)
{
    struct feed_client *f = arg;

    if (is_telling(f)) {
        feed_put_down(&f->out, ++f->seq, s, at_ms);
        send_out(f);
    }
}

/* --- the socket's callbacks --- */

static void on_open(void *arg)
{
    struct feed_client *f = arg;

    if (f->state == FEED_CONNECTING) { /* not one that is being closed already */
        feed(f, EV_OPENED);
    }
}

static void on_ack(struct feed_client *f, uint64_t seq)
{
    if (f->state == FEED_TELLING && seq >= f->snapshot_seq) {
        feed(f, EV_ACKED);
    }
}

static void on_message(void *arg, const char *text, size_t len)
{
    struct feed_client *f = arg;
    struct feed_downward m;
    struct err err = {0};

    if (f->state == FEED_LEAVING || f->state == FEED_STOPPING) {
        return;
    }
    if (feed_parse(text, len, &m, &err) < 0) {
        log_warn("state service said something odd", "at", f->o.address, "why", err.text, NULL);
        later(f, EV_TROUBLE, 0);
        return;
    }
    if (m.kind == FEED_ACK) {
        on_ack(f, m.seq);
    } else if (m.kind == FEED_STALE) {
        f->o.on_stale(f->o.arg, m.uuid, m.id);
    }
}

static void on_ws_closed(void *arg, const char *why)
{
    struct feed_client *f = arg;

    f->ws = NULL;
    if (is_telling(f)) {
        log_warn("state service lost", "host", f->o.host, "at", f->o.address, "port",
                 NUM(f->o.port), "why", why, NULL);
    }
    feed(f, EV_ENDED);
}

/* --- acts --- */

static void connect_to(struct feed_client *f)
{
    struct ws_client_options options = {
        .address = f->o.address,
        .port = f->o.port,
        .host = f->o.host,
        .path = "/v1/feed",
        .protocol = "vpn-state.v1",
        .bearer = f->o.token,
        .max_message_bytes = INCOMING_MAX,
        .max_queued_bytes = QUEUE_MAX,
        .connect_timeout_ms = CONNECT_MS,
        .on_open = on_open,
        .on_message = on_message,
        .on_closed = on_ws_closed,
        .arg = f,
    };

    if (ws_client_open(f->o.loop, &options, &f->ws, NULL) < 0) {
        f->ws = NULL;
        later(f, EV_ENDED, 0);
    }
}

static void say_hello(struct feed_client *f)
{
    f->seq = 0;
    feed_put_hello(&f->out, &f->o.me, f->service_id, f->phase);
    send_out(f);
    if (f->synced) {
        later(f, EV_SYNCED, 0);
    }
}

static void tell_all(struct feed_client *f)
{
    struct feed_snapshot at;
    bool more = true;

    later(f, EV_TIMER, ACK_MS);
    feed_snapshot_begin(&at, f->o.sessions, f->o.verdicts);
    while (more) {
        more = feed_put_part(&f->out, ++f->seq, &at);
        send_out(f);
    }
    f->snapshot_seq = f->seq;
}

static void heard(struct feed_client *f)
{
    log_info("state service has our sessions", "host", f->o.host, "at", f->o.address, "port",
             NUM(f->o.port), "sessions", NUM((long long)sessions_count(f->o.sessions)), NULL);
    backoff_reset(&f->backoff);
    metric_add(&session_metrics.feeds_live, 1);
    f->o.on_change(f->o.arg);
}

static void hang_up(struct feed_client *f)
{
    if (f->orderly && f->state == FEED_STOPPING) {
        feed_put_bye(&f->out);
        ws_client_send(f->ws, buf_str(&f->out), f->out.len);
        buf_truncate(&f->out, 0);
    }
    ws_client_close(f->ws);
}

static void wait_awhile(struct feed_client *f)
{
    metric_inc(&session_metrics.feed_restarts);
    later(f, EV_TIMER, backoff_next_ms(&f->backoff));
}

/* Ends from the loop's next round, so that on_closed never runs within a call of the owner. */
static void finish(struct feed_client *f)
{
    later(f, EV_TIMER, 0);
}

static void end(struct feed_client *f)
{
    void (*on_closed)(void *arg) = f->o.on_closed;
    void *arg = f->o.arg;

    sessions_unwatch(f->o.sessions, &f->watcher);
    loop_timer_close(f->timer);
    buf_clear(&f->out);
    free(f);
    on_closed(arg);
}

static void stay(struct feed_client *f)
{
}

struct feed_transition {
    void (*act)(struct feed_client *f);
    enum feed_state next;
};

/* The whole life. */
static const struct feed_transition table[FEED_STATES][FEED_EVENTS] = {
    [FEED_CONNECTING] =
        {
            [EV_OPENED] = {say_hello, FEED_GREETED},
            [EV_ENDED] = {wait_awhile, FEED_WAITING},
            [EV_STOP] = {hang_up, FEED_STOPPING},
        },
    [FEED_GREETED] =
        {
            [EV_SYNCED] = {tell_all, FEED_TELLING},
            [EV_TROUBLE] = {hang_up, FEED_LEAVING},
            [EV_ENDED] = {wait_awhile, FEED_WAITING},
            [EV_STOP] = {hang_up, FEED_STOPPING},
        },
    [FEED_TELLING] =
        {
            [EV_ACKED] = {heard, FEED_LIVE},
            [EV_TROUBLE] = {hang_up, FEED_LEAVING},
            [EV_TIMER] = {hang_up, FEED_LEAVING},
            [EV_ENDED] = {wait_awhile, FEED_WAITING},
            [EV_STOP] = {hang_up, FEED_STOPPING},
        },
    [FEED_LIVE] =
        {
            [EV_TROUBLE] = {hang_up, FEED_LEAVING},
            [EV_ENDED] = {wait_awhile, FEED_WAITING},
            [EV_STOP] = {hang_up, FEED_STOPPING},
        },
    [FEED_LEAVING] =
        {
            [EV_ENDED] = {wait_awhile, FEED_WAITING},
            [EV_STOP] = {stay, FEED_STOPPING},
        },
    [FEED_WAITING] =
        {
            [EV_TIMER] = {connect_to, FEED_CONNECTING},
            [EV_STOP] = {finish, FEED_CLOSED},
        },
    [FEED_STOPPING] =
        {
            [EV_ENDED] = {finish, FEED_CLOSED},
            [EV_STOP] = {stay, FEED_STOPPING},
        },
    [FEED_CLOSED] =
        {
            [EV_TIMER] = {end, FEED_CLOSED},
            [EV_STOP] = {stay, FEED_CLOSED},
        },
};

static void feed(struct feed_client *f, enum feed_event ev)
{
    const struct feed_transition *t = &table[f->state][ev];
    enum feed_state from = f->state;

    assert(t->act != NULL);
    if (from != t->next) {
        loop_timer_stop(f->timer);
    }
    f->state = t->next;
    if (from == FEED_LIVE) {
        metric_add(&session_metrics.feeds_live, -1);
        f->o.on_change(f->o.arg);
    }
    t->act(f);
}

/* --- the whole --- */

struct feed_client *feed_client_open(const struct feed_client_options *options)
{
    struct feed_client *f = xcalloc(1, sizeof(*f));

    f->o = *options;
    f->state = FEED_WAITING;
    f->phase = "starting";
    f->backoff = (struct backoff){.first_ms = BACKOFF_FIRST_MS, .last_ms = BACKOFF_LAST_MS};
    f->timer = loop_timer_new(f->o.loop, on_timer, f);
    buf_init(&f->out, FEED_MESSAGE_MAX);
    f->watcher = (struct sessions_watcher){.on_up = on_up, .on_down = on_down, .arg = f};
    sessions_watch(f->o.sessions, &f->watcher);
    later(f, EV_TIMER, 0);
    return f;
}

void feed_client_close(struct feed_client *f, bool orderly)
{
    f->orderly = orderly;
    feed(f, EV_STOP);
}

void feed_client_sync(struct feed_client *f)
{
    if (!f->synced) {
        f->synced = true;
        if (f->state == FEED_GREETED) {
            feed(f, EV_SYNCED);
        }
    }
}

void feed_client_info(struct feed_client *f, int64_t service_id, const char *phase)
{
    bool same = f->service_id == service_id && f->phase == phase;

    f->service_id = service_id;
    f->phase = phase;
    if (!same && is_telling(f)) {
        feed_put_info(&f->out, ++f->seq, service_id, phase);
        send_out(f);
    }
}

void feed_client_verdict(struct feed_client *f, const struct verdict *v)
{
    if (is_telling(f)) {
        feed_put_verdict(&f->out, ++f->seq, v);
        send_out(f);
    }
}

bool feed_client_is_acked(const struct feed_client *f)
{
    return f->state == FEED_LIVE;
}
