#include "sidecar-proxy/proxy/broker.h"

#include "common/metrics.h"
#include "sidecar-proxy/proxy/gate.h"

#include <stdio.h>
#include <string.h>

struct broker {
    struct loop *loop;
    struct loop_wake *wake;
    struct mailbox inbox;
    struct gate *gate;
    struct proxy_router router;
    struct ask open; /* head of a ring: asked and not answered */
};

#define REFUSED_WHY "the caller may not open this port"

static struct metric at_once = {
    .name = "vpn_proxy_known_total",
    .help = "Requests that were decided and placed without asking anybody.",
    .kind = METRIC_COUNTER,
};
static struct metric cache_gauge = {
    .name = "vpn_proxy_access_cache_entries",
    .help = "Decisions about callers in the cache.",
    .kind = METRIC_GAUGE,
};

static void open_add(struct broker *b, struct ask *ask)
{
    ask->next = &b->open;
    ask->prev = b->open.prev;
    ask->prev->next = ask;
    b->open.prev = ask;
}

static void open_remove(struct ask *ask)
{
    ask->prev->next = ask->next;
    ask->next->prev = ask->prev;
    ask->prev = ask->next = NULL;
}

static bool is_open(const struct ask *ask)
{
    return ask->next != NULL;
}

static void set_answer(struct ask *ask, int status, const char *why)
{
    ask->status = status;
    snprintf(ask->why, sizeof(ask->why), "%s", why != NULL ? why : "");
}

/* The last touch: from here on the ask is its thread's again. */
static void answer(struct ask *ask, int status, const char *why)
{
    set_answer(ask, status, why);
    open_remove(ask);
    mailbox_put(ask->from, &ask->letter);
}

static void find_route(struct broker *b, struct ask *ask)
{
    struct route_request request = {
        .uuid = ask->uuid,
        .port = ask->port,
        .device_id = ask->device_id,
        .caller_key = gate_key(b->gate, ask->key),
        .traceparent = ask->traceparent[0] != '\0' ? ask->traceparent : NULL,
        .looped = ask->looped,
        .again = ask->again,
    };

    ask->routing = true;
    b->router.find(b->router.arg, &ask->query, &request);
}

void proxy_route_answer(struct route_query *query, const struct route *route)
{
    static const int statuses[] = {
        [ROUTE_OFFLINE] = 503,
        [ROUTE_LOOP] = 508,
        [ROUTE_UNKNOWN] = 502,
    };
    struct ask *ask = CONTAINER_OF(query, struct ask, query);
    bool found = route->kind <= ROUTE_HOST;

    ask->routing = false;
    ask->route = *route;
    if (route->kind == ROUTE_HOST && ask->looped) { /* whatever the router thinks: it was here */
        answer(ask, 508, "the request was here before");
    } else {
        answer(ask, found ? 0 : statuses[route->kind], route->why);
    }
}

void proxy_route_set_data(struct route_query *query, void *data)
{
    query->data = data;
}

void *proxy_route_data(const struct route_query *query)
{
    return query->data;
}

static void take_verdict(struct broker *b, struct ask *ask, const struct verdict *verdict)
{
    ask->source = verdict->source;
    ask->decided_us = ask_clock_us();
    metric_set(&cache_gauge, (int64_t)gate_cached(b->gate));
    switch (verdict->kind) {
    case VERDICT_ALLOWED:
        ask->device_id = verdict->device_id;
        ask->granted = true;
        find_route(b, ask);
        break;
    case VERDICT_REFUSED:
        answer(ask, 407, REFUSED_WHY);
        break;
    case VERDICT_NO_ANSWER:
        answer(ask, 502, verdict->why != NULL ? verdict->why : "the API gave no answer");
        break;
    }
}

static void on_verdict(void *arg, struct gate_wait *wait, const struct verdict *verdict)
{
    take_verdict(arg, CONTAINER_OF(wait, struct ask, wait), verdict);
}

static void take_ask(struct broker *b, struct ask *ask)
{
    struct verdict verdict;

    open_add(b, ask);
    if (ask->granted) {
        find_route(b, ask);
    } else if (gate_ask(b->gate, &ask->wait, ask, &verdict)) {
        take_verdict(b, ask, &verdict);
    }
}

static void forget(struct broker *b, struct ask *ask)
{
    if (ask->routing) {
        ask->routing = false;
        b->router.cancel(b->router.arg, &ask->query);
    }
    gate_cancel(b->gate, &ask->wait);
    open_remove(ask);
}

static void on_wake(void *arg)
{
    struct broker *b = arg;
    struct letter *letter = mailbox_take(&b->inbox);

    while (letter != NULL) {
        struct letter *next = letter->next; /* taking the ask gives the letter away */
        struct ask *ask = letter->ask;
        if (letter->kind == LETTER_ASK) {
            take_ask(b, ask);
        } else {
            if (is_open(ask)) {
                forget(b, ask);
            }
            mailbox_put(ask->from, letter);
        }
        letter = next;
    }
}

static void ring(void *arg)
{
    loop_wake_send(arg);
}

int broker_open(struct loop *loop, const struct proxy_options *options, struct broker **ret,
                struct err *err)
{
    struct broker *b = xcalloc(1, sizeof(*b));
    struct gate_options gate = {
        .api = options->api,
        .guest_key = options->guest_key,
        .cache_ms = options->access_cache_ms,
        .grace_ms = options->access_grace_ms,
        .on_verdict = on_verdict,
        .arg = b,
    };

    int r = loop_wake_new(loop, on_wake, b, &b->wake, err);
    if (r < 0) {
        free(b);
        return r;
    }
    b->loop = loop;
    b->router = options->router;
    b->open.next = b->open.prev = &b->open;
    mailbox_init(&b->inbox, ring, b->wake);
    b->gate = gate_new(loop, &gate);
    metrics_register(&cache_gauge);
    metrics_register(&at_once);
    *ret = b;
    return 0;
}

void broker_close(struct broker *broker)
{
    if (broker == NULL) {
        return;
    }
    mailbox_take(&broker->inbox); /* what was not read yet is the threads' to free */
    while (broker->open.next != &broker->open) {
        forget(broker, broker->open.next);
    }
    gate_free(broker->gate);
    loop_wake_close(broker->wake);
    mailbox_clear(&broker->inbox);
    free(broker);
}

/* False: nobody knows yet. */
static bool decide(struct broker *b, struct ask *ask)
{
    struct verdict verdict;

    if (!ask->granted) {
        if (!gate_knows(b->gate, ask, &verdict)) {
            return false;
        }
        ask->source = verdict.source;
        ask->device_id = verdict.device_id;
        ask->granted = verdict.kind == VERDICT_ALLOWED;
    }
    ask->decided_us = ask_clock_us();
    return true;
}

bool broker_knows(struct broker *broker, struct ask *ask)
{
    const struct proxy_router *router = &broker->router;

    if (!decide(broker, ask)) {
        return false;
    }
    if (!ask->granted) {
        set_answer(ask, 407, REFUSED_WHY);
        return true;
    }
    if (ask->again || router->known == NULL ||
        !router->known(router->arg, ask->uuid, ask->port, &ask->route)) {
        return false;
    }
    set_answer(ask, 0, ask->route.why);
    metric_inc(&at_once);
    return true;
}

void broker_ask(struct broker *broker, struct ask *ask)
{
    mailbox_put(&broker->inbox, &ask->letter);
}

void broker_cancel(struct broker *broker, struct ask *ask)
{
    mailbox_put(&broker->inbox, &ask->cancel);
}
