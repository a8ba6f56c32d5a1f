#include "controller/kube/kube_store_priv.h"

#include "common/log.h"
#include "controller/kube/kube_answer.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define HEALTHY_MS                                                                \
    (2 * 60 * 1000) /* that long without a failure, and the next one is the first \
                     */
#define KICK_MS 500 /* those that wait for one server do not come back as one */

static void start_list(struct kube_store *s);
static void start_sync(struct kube_store *s);
static void start_stream(struct kube_store *s);
static void settle_list(struct kube_store *s);
static void settle(struct kube_store *s);
static void lose_version(struct kube_store *s);
static void back_off(struct kube_store *s);
static void fall_back(struct kube_store *s);
static void go_on(struct kube_store *s);

struct transition {
    void (*act)(struct kube_store *s);
    enum store_state next;
};

/* Every way leads through WAITING, be it for no time at all: there it is decided how to begin. */
static const struct transition table[STORE_STATES][STORE_EVENTS] = {
    [STORE_WAITING] =
        {
            [EV_BEGIN_LIST] = {start_list, STORE_LISTING},
            [EV_BEGIN_SYNC] = {start_sync, STORE_SYNCING},
            [EV_BEGIN_STREAM] = {start_stream, STORE_STREAMING},
        },
    [STORE_LISTING] =
        {
            [EV_LISTED] = {settle_list, STORE_WAITING},
            [EV_GONE] = {lose_version, STORE_WAITING},
            [EV_FAILED] = {back_off, STORE_WAITING},
        },
    [STORE_SYNCING] =
        {
            [EV_CURRENT] = {settle, STORE_STREAMING},
            [EV_GONE] = {lose_version, STORE_WAITING},
            [EV_REFUSED] = {fall_back, STORE_WAITING},
            [EV_CLOSED] = {back_off, STORE_WAITING},
            [EV_FAILED] = {back_off, STORE_WAITING},
        },
    [STORE_STREAMING] =
        {
            [EV_CLOSED] = {go_on, STORE_WAITING},
            [EV_GONE] = {lose_version, STORE_WAITING},
            [EV_REFUSED] = {back_off, STORE_WAITING}, /* after EV_CURRENT: a stream as any other */
            [EV_FAILED] = {back_off, STORE_WAITING},
        },
};

static void feed(struct kube_store *s, enum store_event ev)
{
    const struct transition *t = &table[s->state][ev];

    assert(t->act != NULL);
    s->state = t->next;
    t->act(s);
}

/* --- what comes in --- */

static void on_bad_object(struct kube_store *s, const struct err *err)
{
    log_warn("object cannot be read", "resource", s->options.resource->plural, "why", err->text,
             NULL);
}

static bool on_item(void *arg, cJSON *object)
{
    struct kube_store *s = arg;
    struct err err;

    if (kube_objects_put(&s->objects, object, &err) < 0) {
        on_bad_object(s, &err);
    }
    return !s->closed;
}

static void on_list_restart(void *arg)
{
    struct kube_store *s = arg;

    kube_objects_round(&s->objects);
}

static void set_version(struct kube_store *s, const char *version)
{
    if (s->version == NULL || strcmp(s->version, version) != 0) {
        free(s->version);
        s->version = xstrdup(version);
    }
}

static void on_list_done(void *arg, const struct kube_answer *answer, const char *version)
{
    struct kube_store *s = arg;

    s->list = NULL;
    if (answer->outcome == KUBE_OK) {
        set_version(s, version);
        feed(s, EV_LISTED);
        return;
    }
    err_text(&s->err, -EIO, "%s", answer->text);
    feed(s, kube_answer_lost_version(answer) ? EV_GONE : EV_FAILED);
}

/* Said once; the metric says how many. */
static void check_left_out(struct kube_store *s)
{
    bool some = s->objects.left_out > 0;

    if (some && !s->said_left_out) {
        log_warn("more objects than this program follows", "resource", s->options.resource->plural,
                 "maximum", NUM(s->options.max_objects), NULL);
    }
    s->said_left_out = some;
}

static void on_change(struct kube_store *s, struct kube_watch_event *e)
{
    struct err err;
    int r = e->type == KUBE_WATCH_DELETED ? kube_objects_remove(&s->objects, e->object, &err)
                                          : kube_objects_put(&s->objects, e->object, &err);

    metric_inc(s->events);
    if (r < 0) {
        on_bad_object(s, &err);
    }
    check_left_out(s);
}

/* Until the initial events are complete, none of their versions is one to go on from. */
static void on_watch_event(void *arg, struct kube_watch_event *e)
{
    struct kube_store *s = arg;
    AUTO(str) char *version = xstrdup(e->resource_version);
    bool initial_end = e->initial_end;

    s->kicked = false;
    if (e->type != KUBE_WATCH_BOOKMARK) {
        on_change(s, e);
    }
    if (s->closed) {
        return;
    }
    if (s->state == STORE_STREAMING) {
        set_version(s, version);
    } else if (initial_end) {
        set_version(s, version);
        feed(s, EV_CURRENT);
    }
}

static void on_watch_end(void *arg, enum kube_watch_end end, const char *text)
{
    static const enum store_event events[] = {
        [KUBE_WATCH_CLOSED] = EV_CLOSED,
        [KUBE_WATCH_GONE] = EV_GONE,
        [KUBE_WATCH_REFUSED] = EV_REFUSED,
        [KUBE_WATCH_FAILED] = EV_FAILED,
    };
    struct kube_store *s = arg;

    s->watch = NULL;
    if (s->state == STORE_STREAMING) {
        s->followed_ms = clock_monotonic_ms();
    }
    err_text(&s->err, -EIO, "%s", text[0] != '\0' ? text : "initial events were cut short");
    feed(s, events[end]);
}

/* --- actions --- */

static void wait_ms(struct kube_store *s, uint64_t ms)
{
    loop_timer_start(s->timer, ms, 0);
}

static void go_on(struct kube_store *s)
{
    wait_ms(s, 0);
}

static void say_failing(struct kube_store *s)
{
    if (!s->said_failing) {
        log_warn("cannot follow the cluster's objects", "resource", s->options.resource->plural,
                 "namespace", s->options.ns, "why", s->err.text, NULL);
        s->said_failing = true;
    } else {
        log_debug("still cannot follow", "resource", s->options.resource->plural, "why",
                  s->err.text, NULL);
    }
}

static void back_off(struct kube_store *s)
{
    int64_t now = clock_monotonic_ms();

    if (s->failed_ms == INT64_MIN || now - s->failed_ms > HEALTHY_MS) {
        backoff_reset(&s->backoff);
    }
    s->failed_ms = now;
    s->backing_off = true;
    metric_inc(s->failures);
    say_failing(s);
    wait_ms(s, backoff_next_ms(&s->backoff));
}

/* No request could be made (too many wait): it counts as one that failed, through the loop. */
static void check_started(struct kube_store *s, int r)
{
    if (r < 0) {
        wait_ms(s, 0);
    }
}

static void start_list(struct kube_store *s)
{
    struct kube_list_options options = {
        .resource = s->options.resource,
        .ns = s->options.ns,
        .label_selector = s->options.label_selector,
        .field_selector = s->options.field_selector,
        .resource_version = s->expired           ? NULL
                            : s->version != NULL ? s->version
                                                 : "0",
        .page = s->options.page,
        .max_object_bytes = s->options.max_object_bytes,
        .on_item = on_item,
        .on_restart = on_list_restart,
        .on_done = on_list_done,
        .arg = s,
    };

    metric_inc(s->relists);
    kube_objects_round(&s->objects);
    check_started(s, kube_list_start(s->client, &options, &s->list, &s->err));
}

static void start_watch(struct kube_store *s, bool initial_events)
{
    struct kube_watch_options options = {
        .resource = s->options.resource,
        .ns = s->options.ns,
        .selectors = s->selectors,
        .resource_version = s->version != NULL && !s->expired ? s->version : "",
        .initial_events = initial_events,
        .timeout_ms = backoff_between(s->options.watch_ms, 2 * s->options.watch_ms),
        .max_object_bytes = s->options.max_object_bytes,
        .on_event = on_watch_event,
        .on_end = on_watch_end,
        .arg = s,
    };

    check_started(s, kube_watch_start(s->client, &options, &s->watch, &s->err));
}

static void start_sync(struct kube_store *s)
{
    metric_inc(s->relists);
    kube_objects_round(&s->objects);
    start_watch(s, true);
}

static void start_stream(struct kube_store *s)
{
    start_watch(s, false);
}

static void say_recovered(struct kube_store *s)
{
    if (s->said_failing) {
        log_info("following the cluster's objects again", "resource", s->options.resource->plural,
                 NULL);
        s->said_failing = false;
    }
}

/* The objects are those of the cluster at version. */
static void settle(struct kube_store *s)
{
    s->expired = s->kicked = false;
    s->complete = true;
    kube_objects_sweep(&s->objects);
    say_recovered(s);
    check_left_out(s);
    if (!s->closed && !s->synced) {
        s->synced = true;
        if (s->options.on_synced != NULL) {
            s->options.on_synced(s->options.arg);
        }
    }
}

static void settle_list(struct kube_store *s)
{
    settle(s);
    if (!s->closed) {
        go_on(s);
    }
}

/* Once at once; but a server that finds the newest too old as well needs patience. */
static void lose_version(struct kube_store *s)
{
    bool again = s->expired;

    s->expired = true;
    s->complete = false;
    if (again) {
        back_off(s);
    } else {
        go_on(s);
    }
}

static void fall_back(struct kube_store *s)
{
    s->use_list = true;
    log_debug("no initial events from this server, so lists", "resource",
              s->options.resource->plural, "why", s->err.text, NULL);
    go_on(s);
}

static enum store_event how_to_begin(const struct kube_store *s)
{
    if (s->complete && !s->expired) {
        return EV_BEGIN_STREAM;
    }
    return s->use_list ? EV_BEGIN_LIST : EV_BEGIN_SYNC;
}

void kube_store_on_timer(void *arg)
{
    struct kube_store *s = arg;

    s->backing_off = false;
    feed(s, s->state == STORE_WAITING ? how_to_begin(s) : EV_FAILED);
}

void kube_store_on_server_back(void *arg)
{
    struct kube_store *s = arg;

    if (s->state == STORE_WAITING && s->backing_off && !s->kicked) {
        s->kicked = true; /* once: it may be us alone whom it does not serve */
        wait_ms(s, backoff_between(0, KICK_MS));
    }
}

void kube_store_begin(struct kube_store *s)
{
    go_on(s);
}
