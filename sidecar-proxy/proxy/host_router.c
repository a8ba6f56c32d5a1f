#include "sidecar-proxy/proxy/host_router.h"

#include "sidecar-proxy/proxy/address.h"
#include "sidecar-proxy/proxy/hints.h"

#include "common/secret.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HINTS_MAX 65536
#define HINTS_MS 2000 /* less than a device needs to move */
#define LOOK_EACH_MS 100
#define PATIENCE_MS 3000 /* for a state service that is away, a device that is just arriving */
#define STARTING_PART(ms) ((ms) / 4 * 3) /* for one that says it will know soon */

enum search_state {
    SEARCH_LOOKING,            /* the state service is asked */
    SEARCH_WAITING_FOR_STATE,  /* it can not say yet */
    SEARCH_ASKING_CONNECTED,   /* it does not know the device; does the API? */
    SEARCH_ASKING_HOST,        /* the API does: at which host? */
    SEARCH_WAITING_FOR_DEVICE, /* at ours, or it does not tell: it is arriving or has just left */
    SEARCH_LOOKING_AGAIN,
    SEARCH_OVER,
    SEARCH_STATES
};

enum search_event {
    EV_NONE,
    EV_AT,          /* state service: at a sidecar of ours */
    EV_NOWHERE,     /* ... at none */
    EV_UNAVAILABLE, /* ... no answer */
    EV_YES,
    EV_NO,
    EV_UNKNOWN,
    EV_ELSEWHERE, /* the API names another host */
    EV_TIMER,
    EV_GIVE_UP,
    EV_CANCEL,
    SEARCH_EVENTS
};

struct search { /* one route_query */
    struct host_router *router;
    struct route_query *query;
    enum search_state state;
    char uuid[UUID_TEXT_MAX + 1];
    char *caller_key;
    char *traceparent;
    int64_t device_id;
    bool looped;
    int64_t patient_until_ms; /* 0: has not had to wait */
    struct locator_wait wait;
    struct location location;
    struct api_call *call;
    struct loop_timer *timer;
    struct route route; /* to answer with */
};

struct host_router {
    struct loop *loop;
    struct locator *locator;
    struct hints *hints; /* shared with the relay threads */
    struct balena_api *api;
    char *self_addresses;
    uint16_t forward_port;
    uint32_t answer_timeout_ms;
};

typedef enum search_event (*search_action)(struct search *s);

struct transition {
    search_action act;
    enum search_state next;
};

static enum search_event look(struct search *s);
static enum search_event wait_for_state(struct search *s);
static enum search_event ask_connected(struct search *s);
static enum search_event ask_host(struct search *s);
static enum search_event wait_for_device(struct search *s);
static enum search_event answer_sidecar(struct search *s);
static enum search_event answer_offline(struct search *s);
static enum search_event answer(struct search *s);
static enum search_event cancel(struct search *s);

#define ENDS [EV_GIVE_UP] = {answer, SEARCH_OVER}, [EV_CANCEL] = {cancel, SEARCH_OVER}

/* clang-format off */
/* The whole life of a search. Who asked has a deadline and cancels; the two that wait look again
 * every LOOK_EACH_MS and give up by themselves. */
static const struct transition table[SEARCH_STATES][SEARCH_EVENTS] = {
    [SEARCH_LOOKING] = {
        [EV_AT] = {answer_sidecar, SEARCH_OVER},
        [EV_NOWHERE] = {ask_connected, SEARCH_ASKING_CONNECTED},
        [EV_UNAVAILABLE] = {wait_for_state, SEARCH_WAITING_FOR_STATE},
        ENDS,
    },
    [SEARCH_WAITING_FOR_STATE] = {
        [EV_TIMER] = {look, SEARCH_LOOKING},
        ENDS,
    },
    [SEARCH_ASKING_CONNECTED] = {
        [EV_YES] = {ask_host, SEARCH_ASKING_HOST},
        [EV_NO] = {answer_offline, SEARCH_OVER},
        [EV_UNKNOWN] = {answer, SEARCH_OVER},
        ENDS,
    },
    [SEARCH_ASKING_HOST] = {
        [EV_ELSEWHERE] = {answer, SEARCH_OVER},
        [EV_NO] = {wait_for_device, SEARCH_WAITING_FOR_DEVICE},
        [EV_UNKNOWN] = {answer, SEARCH_OVER},
        ENDS,
    },
    [SEARCH_WAITING_FOR_DEVICE] = {
        [EV_TIMER] = {look, SEARCH_LOOKING_AGAIN},
        ENDS,
    },
    [SEARCH_LOOKING_AGAIN] = {
        [EV_AT] = {answer_sidecar, SEARCH_OVER},
        [EV_NOWHERE] = {wait_for_device, SEARCH_WAITING_FOR_DEVICE},
        [EV_UNAVAILABLE] = {wait_for_device, SEARCH_WAITING_FOR_DEVICE},
        ENDS,
    },
};
/* clang-format on */

static void feed(struct search *s, enum search_event ev) /* the only writer of s->state */
{
    while (ev != EV_NONE) {
        const struct transition *t = &table[s->state][ev];
        assert(t->act != NULL);
        s->state = t->next;
        ev = t->act(s); /* EV_NONE from the last: s is gone then */
    }
}

static void search_free(struct search *s)
{
    locator_cancel(&s->wait);
    api_call_cancel(s->call);
    loop_timer_close(s->timer);
    if (s->caller_key != NULL) {
        secret_wipe(s->caller_key, strlen(s->caller_key));
        free(s->caller_key);
    }
    free(s->traceparent);
    free(s);
}

static enum search_event answer(struct search *s)
{
    struct route route = s->route;
    struct route_query *query = s->query;

    search_free(s);
    proxy_route_answer(query, &route);
    return EV_NONE;
}

static enum search_event cancel(struct search *s)
{
    search_free(s);
    return EV_NONE;
}

static struct route route_to(const struct hint *hint)
{
    struct route route = {.kind = ROUTE_SIDECAR, .port = hint->port};

    memcpy(route.address, hint->address, sizeof(route.address));
    return route;
}

static enum search_event answer_sidecar(struct search *s)
{
    struct hint hint = {.port = s->location.port};

    memcpy(hint.address, s->location.address, sizeof(hint.address));
    hints_put(s->router->hints, s->uuid, &hint, loop_now_ms(s->router->loop));
    s->route = route_to(&hint);
    return answer(s);
}

static enum search_event answer_offline(struct search *s)
{
    s->route = (struct route){.kind = ROUTE_OFFLINE, .why = "the device is offline"};
    return answer(s);
}

static enum search_event located(struct search *s)
{
    switch (s->location.kind) {
    case LOCATED_AT:
        return EV_AT;
    case LOCATED_NOWHERE:
        return EV_NOWHERE;
    case LOCATED_STARTING:
    case LOCATED_UNREACHABLE:
        break;
    }
    return EV_UNAVAILABLE;
}

static void on_located(struct locator_wait *wait, const struct location *location)
{
    struct search *s = CONTAINER_OF(wait, struct search, wait);

    s->location = *location;
    feed(s, located(s));
}

static enum search_event look(struct search *s)
{
    s->wait.on_located = on_located;
    bool now = locator_ask(s->router->locator, s->uuid, &s->wait, &s->location);
    return now ? located(s) : EV_NONE;
}

static void on_timer(void *arg)
{
    feed(arg, EV_TIMER);
}

/* Looks again soon, unless patience has ended: then s->route is the answer. */
static enum search_event wait_a_bit(struct search *s, int64_t patience_ms)
{
    int64_t now_ms = loop_now_ms(s->router->loop);

    if (s->patient_until_ms == 0) {
        s->patient_until_ms = now_ms + patience_ms;
    }
    if (now_ms >= s->patient_until_ms) {
        return EV_GIVE_UP;
    }
    if (s->timer == NULL) {
        s->timer = loop_timer_new(s->router->loop, on_timer, s);
    }
    loop_timer_start(s->timer, LOOK_EACH_MS, 0);
    return EV_NONE;
}

static enum search_event wait_for_state(struct search *s)
{
    bool starting = s->location.kind == LOCATED_STARTING;

    s->route = (struct route){.kind = ROUTE_UNKNOWN,
                              .why = starting ? "the state service starts" : "no state service"};
    return wait_a_bit(s, starting ? STARTING_PART(s->router->answer_timeout_ms) : PATIENCE_MS);
}

static enum search_event wait_for_device(struct search *s)
{
    s->route = (struct route){.kind = ROUTE_OFFLINE, .why = "the device did not come (back)"};
    return wait_a_bit(s, PATIENCE_MS);
}

static void api_failed(struct search *s, const struct api_result *result)
{
    s->route = (struct route){.kind = ROUTE_UNKNOWN,
                              .why = result->timed_out ? "the API did not answer in time"
                                                       : "the API gave no answer"};
}

static void on_connected(void *arg, const struct api_result *result)
{
    struct search *s = arg;

    s->call = NULL;
    if (result->answer == API_YES || result->answer == API_NO) {
        feed(s, result->answer == API_YES ? EV_YES : EV_NO);
        return;
    }
    api_failed(s, result);
    feed(s, EV_UNKNOWN);
}

static enum search_event ask_connected(struct search *s)
{
    if (s->device_id == 0) { /* a caller with a ticket: the API was not asked about the device */
        s->route = (struct route){.kind = ROUTE_OFFLINE, .why = "the device is not here"};
        return EV_GIVE_UP;
    }
    s->patient_until_ms = 0; /* what comes next has patience of its own */
    s->call = api_is_connected(s->router->api, s->device_id, s->traceparent, on_connected, s);
    return EV_NONE;
}

/* Does an interface of this machine have it now? The kernel binds to no other. */
static bool is_local(const char *host)
{
    struct address address;

    if (address_of(host, 0, &address) < 0) {
        return false;
    }
    AUTO(fd) int fd = socket(address.storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return fd >= 0 && bind(fd, (struct sockaddr *)&address.storage, address.len) == 0;
}

static bool is_self(const struct host_router *r, const char *address)
{
    char one[ADDRESS_TEXT_MAX];

    if (address_is_loopback(address) || is_local(address)) {
        return true;
    }
    for (const char *at = r->self_addresses; at != NULL && *at != '\0';) {
        size_t len = strcspn(at, ",");
        snprintf(one, sizeof(one), "%.*s", (int)len, at);
        if (address_same_host(one, address)) {
            return true;
        }
        at += len + (at[len] == ',');
    }
    return false;
}

static enum search_event judge_host(struct search *s, const struct api_result *result)
{
    struct address numeric;

    if (result->answer != API_YES && result->answer != API_NO) {
        api_failed(s, result);
        return EV_UNKNOWN;
    }
    if (result->answer == API_NO || result->address == NULL ||
        is_self(s->router, result->address)) {
        return EV_NO;
    }
    if (address_of(result->address, 0, &numeric) < 0) {
        s->route = (struct route){.kind = ROUTE_UNKNOWN, .why = "its host has no numeric address"};
        return EV_UNKNOWN;
    }
    s->route = (struct route){.kind = s->looped ? ROUTE_LOOP : ROUTE_HOST,
                              .port = s->router->forward_port,
                              .why = s->looped ? "the request was here before" : NULL};
    snprintf(s->route.address, sizeof(s->route.address), "%s", result->address);
    return EV_ELSEWHERE;
}

static void on_host(void *arg, const struct api_result *result)
{
    struct search *s = arg;

    s->call = NULL;
    feed(s, judge_host(s, result));
}

static enum search_event ask_host(struct search *s)
{
    s->call = api_find_host(s->router->api, s->uuid, s->caller_key, s->traceparent, on_host, s);
    return EV_NONE;
}

static void find(void *arg, struct route_query *query, const struct route_request *request)
{
    struct host_router *r = arg;
    struct search *s = xcalloc(1, sizeof(*s));

    s->router = r;
    s->query = query;
    s->state = SEARCH_LOOKING;
    snprintf(s->uuid, sizeof(s->uuid), "%s", request->uuid);
    s->caller_key = request->caller_key != NULL ? xstrdup(request->caller_key) : NULL;
    s->traceparent = request->traceparent != NULL ? xstrdup(request->traceparent) : NULL;
    s->device_id = request->device_id;
    s->looped = request->looped;
    if (request->again) {
        hints_drop(r->hints, s->uuid); /* that one led nowhere; nobody else need follow it */
    }
    proxy_route_set_data(query, s);
    feed(s, look(s));
}

/* Any thread. */
static bool known(void *arg, const char *uuid, uint16_t port, struct route *ret)
{
    const struct host_router *r = arg;
    struct hint hint;

    (void)port;
    if (!hints_find(r->hints, uuid, clock_monotonic_ms(), &hint)) {
        return false;
    }
    *ret = route_to(&hint);
    return true;
}

static void cancel_find(void *arg, struct route_query *query)
{
    (void)arg;
    feed(proxy_route_data(query), EV_CANCEL);
}

struct host_router *host_router_new(struct loop *loop, const struct host_router_options *options)
{
    struct host_router *r = xcalloc(1, sizeof(*r));

    *r = (struct host_router){
        .loop = loop,
        .locator = options->locator,
        .hints = hints_new(HINTS_MAX, HINTS_MS),
        .api = options->api,
        .self_addresses = options->self_addresses != NULL ? xstrdup(options->self_addresses) : NULL,
        .forward_port = options->forward_port,
        .answer_timeout_ms = options->answer_timeout_ms,
    };
    return r;
}

void host_router_free(struct host_router *router)
{
    if (router != NULL) {
        hints_free(router->hints);
        free(router->self_addresses);
        free(router);
    }
}

struct proxy_router host_router_proxy(struct host_router *router)
{
    return (struct proxy_router){
        .known = known, .find = find, .cancel = cancel_find, .arg = router};
}
