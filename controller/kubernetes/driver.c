#include "controller/kubernetes/driver.h"

#include "common/log.h"
#include "controller/kubernetes/pool_run.h"
#include "controller/kubernetes/pool_view.h"
#include "controller/kubernetes/views.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define POD_SOON_MS 20 /* gathers what changes together */
#define ROSTER_SOON_MS 50
#define ROSTER_MAX ((size_t)8 << 20)
#define RESYNC_MS 300000
#define PODS_MAX 20000

const struct kube_resource vpn_pools = {"vpn.openbalena.io", "v1alpha1", "vpnpools"};

struct driver_own { /* what only this file needs */
    struct driver d;
    bool asked_to_lead;
    struct loop_timer *roster;
    loop_fn on_idle;
    void *idle_arg;
};

static struct driver_own *own(struct driver *d)
{
    return CONTAINER_OF(d, struct driver_own, d);
}

static void look_at(struct driver *d, const char *pool, uint64_t after_ms)
{
    if (d->leading) {
        queue_add_after(d->queue, pool, after_ms);
    }
}

/* --- what the caches keep --- */

static void *keep_pool(void *arg, cJSON *object)
{
    return pool_view_new(object);
}

static void drop_pool(void *arg, void *kept)
{
    pool_view_free(kept);
}

static void *keep_pod(void *arg, cJSON *object)
{
    return pod_view_new(object);
}

static void drop_pod(void *arg, void *kept)
{
    pod_view_free(kept);
}

/* --- news of pools --- */

static void on_pool(void *arg, const struct kube_object *object)
{
    look_at(arg, object->name, 0);
}

/* Our own writes of the status come back as news; only what others do is worth a look. */
static void on_pool_update(void *arg, const struct kube_object *object, const void *kept_before)
{
    struct driver *d = arg;
    const struct pool_view *now = object->kept, *before = kept_before;
    struct pool_run *run = hashmap_get(&d->runs, object->name);

    if (run != NULL) {
        pool_run_saw_pool(run, object->resource_version);
    }
    if (now->generation != before->generation || now->deleting != before->deleting) {
        look_at(d, object->name, 0);
    }
}

static void on_pool_gone(void *arg, const struct kube_object *object)
{
    struct driver *d = arg;
    struct pool_run *run = hashmap_get(&d->runs, object->name);

    if (run != NULL) {
        pool_run_saw_pool(run, "");
    }
    look_at(d, object->name, 0);
}

/* --- news of Pods --- */

/* Whose it is, or whose name it has. */
static void look_for(struct driver *d, const struct kube_object *pod)
{
    const struct pod_view *v = pod->kept;

    look_at(d, v->owner_is_pool ? v->owner_name : v->pool, POD_SOON_MS);
}

static struct pool_run *run_of(struct driver *d, const struct kube_object *pod)
{
    const struct pod_view *v = pod->kept;

    return hashmap_get(&d->runs, v->owner_is_pool ? v->owner_name : v->pool);
}

static void on_pod(void *arg, const struct kube_object *pod)
{
    struct pool_run *run = run_of(arg, pod);

    if (run != NULL) {
        pool_run_saw_pod(run, pod);
    }
    look_for(arg, pod);
}

static void on_pod_update(void *arg, const struct kube_object *pod, const void *kept_before)
{
    on_pod(arg, pod);
}

static void on_pod_gone(void *arg, const struct kube_object *pod)
{
    struct pool_run *run = run_of(arg, pod);

    if (run != NULL) {
        pool_run_lost_pod(run, pod);
    }
    look_for(arg, pod);
}

/* --- work --- */

static bool is_used(void *arg, const char *name)
{
    struct driver *d = arg;

    for (struct hashmap_iter i = {.map = &d->runs}; hashmap_next(&i);) {
        const char *state = pool_run_state_name(i.value);
        const char *balancers = pool_run_balancers_name(i.value);
        if ((state != NULL && strcmp(state, name) == 0) ||
            (balancers != NULL && strcmp(balancers, name) == 0)) {
            return true;
        }
    }
    return false;
}

/* A list that lacks a pool would have the state service forget its devices. */
static bool all_are_known(const struct driver *d)
{
    for (struct kube_store_iter i = {.store = d->pools}; kube_store_next(&i);) {
        const struct pool_run *run = hashmap_get(&d->runs, i.object->name);
        if (run == NULL || !pool_run_loaded(run)) {
            return false;
        }
    }
    return true;
}

static void expect(struct driver *d, const char *name, struct state_view *view)
{
    struct buf text, all;

    buf_init(&text, ROSTER_MAX);
    buf_init(&all, ROSTER_MAX);
    for (struct hashmap_iter i = {.map = &d->runs}; hashmap_next(&i);) {
        const char *state = pool_run_state_name(i.value);
        if (state == NULL || strcmp(state, name) == 0) { /* one whose spec is not understood */
            pool_run_expected(i.value, &text);
        }
    }
    buf_printf(&all, "{\"instances\":[%s]}", text.len > 0 ? buf_str(&text) + 1 : "");
    state_view_expect(view, buf_str(&all));
    buf_clear(&text);
    buf_clear(&all);
}

static void on_roster(void *arg)
{
    struct driver *d = arg;
    struct state_view *view;
    const char *name;
    size_t at = 0;

    if (d->leading && all_are_known(d)) {
        views_prune(d->views, is_used, d);
        while (views_each_state(d->views, &at, &name, &view)) {
            expect(d, name, view);
        }
    }
}

static void on_work(void *arg, const char *pool)
{
    struct driver *d = arg;
    struct pool_run *run = hashmap_get(&d->runs, pool);

    if (run == NULL &&
        (kube_store_get(d->pools, pool) == NULL || d->runs.count >= DRIVER_POOLS_MAX)) {
        queue_done(d->queue, pool); /* a Pod whose label names no pool */
        return;
    }
    if (run == NULL) {
        run = pool_run_new(d, pool);
        hashmap_put(&d->runs, pool_run_name(run), run);
    }
    if (!loop_timer_active(own(d)->roster)) {
        loop_timer_start(own(d)->roster, ROSTER_SOON_MS, 0);
    }
    pool_run_work(run);
}

static void on_view_change(void *arg, const char *name)
{
    struct driver *d = arg;

    for (struct hashmap_iter i = {.map = &d->runs}; hashmap_next(&i);) {
        const char *state = pool_run_state_name(i.value);
        const char *balancers = pool_run_balancers_name(i.value);
        if ((state != NULL && strcmp(state, name) == 0) ||
            (balancers != NULL && strcmp(balancers, name) == 0)) {
            look_at(d, i.key, 0);
        }
    }
}

static void on_sidecar_change(void *arg, const char *pool)
{
    look_at(arg, pool, POD_SOON_MS);
}

static void look_at_all(void *arg)
{
    struct driver *d = arg;

    for (struct kube_store_iter i = {.store = d->pools}; d->pools != NULL && kube_store_next(&i);) {
        look_at(d, i.object->name, 0);
    }
}

/* --- leading --- */

bool driver_synced(const struct driver *d)
{
    return d->pools != NULL && d->pods != NULL && kube_store_synced(d->pools) &&
           kube_store_synced(d->pods);
}

static void begin(struct driver *d)
{
    if (own(d)->asked_to_lead && driver_synced(d) && !d->leading) {
        d->leading = true;
        d->leading_since_ms = clock_realtime_ms();
        log_info("begins", "pools", NUM(kube_store_count(d->pools)), "pods",
                 NUM(kube_store_count(d->pods)), NULL);
        look_at_all(d);
    }
}

static void on_synced(void *arg)
{
    begin(arg);
}

void driver_lead(struct driver *d)
{
    own(d)->asked_to_lead = true;
    begin(d);
}

static void on_flushed(void *arg)
{
    struct driver_own *o = arg;

    o->on_idle(o->idle_arg);
}

static void on_idle(void *arg)
{
    struct driver_own *o = arg;

    kube_event_flush(o->d.events, on_flushed, o);
}

void driver_stop(struct driver *d, loop_fn fn, void *arg)
{
    own(d)->on_idle = fn;
    own(d)->idle_arg = arg;
    queue_stop(d->queue, on_idle, own(d));
}

int64_t driver_busy_ms(const struct driver *d)
{
    return queue_longest_ms(d->queue);
}

/* --- life --- */

static int open_stores(struct driver *d, struct err *err)
{
    struct kube_store_options pools = {.resource = &vpn_pools,
                                       .ns = d->ns,
                                       .resync_ms = RESYNC_MS,
                                       .max_objects = DRIVER_POOLS_MAX,
                                       .keep = keep_pool,
                                       .drop = drop_pool,
                                       .on_add = on_pool,
                                       .on_update = on_pool_update,
                                       .on_delete = on_pool_gone,
                                       .on_synced = on_synced,
                                       .on_resync = look_at_all,
                                       .arg = d};
    struct kube_store_options pods = {.resource = &kube_pods,
                                      .ns = d->ns,
                                      .label_selector = POD_LABEL_POOL,
                                      .max_objects = PODS_MAX,
                                      .keep = keep_pod,
                                      .drop = drop_pod,
                                      .on_add = on_pod,
                                      .on_update = on_pod_update,
                                      .on_delete = on_pod_gone,
                                      .on_synced = on_synced,
                                      .arg = d};
    int r = kube_store_open(d->client, &pools, &d->pools, err);

    return r == 0 ? kube_store_open(d->client, &pods, &d->pods, err) : r;
}

int driver_open(struct loop *loop, const struct driver_options *options, struct driver **ret,
                struct err *err)
{
    struct driver_own *o = xcalloc(1, sizeof(*o));
    struct driver *d = &o->d;
    struct kube_event_options events = {.client = options->client,
                                        .controller = "vpn.openbalena.io/vpn-controller",
                                        .instance = options->identity};
    struct queue_options queue = {
        .name = "vpnpool", .workers = DRIVER_WORKERS, .on_work = on_work, .arg = d};

    *d = (struct driver){.loop = loop,
                         .client = options->client,
                         .http = options->http,
                         .api = options->api,
                         .ns = options->ns,
                         .keys = options->keys};
    hashmap_init(&d->runs);
    d->events = kube_event_writer_new(loop, &events);
    d->queue = queue_new(loop, &queue);
    d->sidecars = sidecar_calls_new(loop, d->http, &d->keys, on_sidecar_change, d);
    d->views = views_new(loop, d->http, &d->keys, on_view_change, d);
    o->roster = loop_timer_new(loop, on_roster, d);
    int r = open_stores(d, err);
    if (r < 0) {
        driver_close(d);
        return r;
    }
    *ret = d;
    return 0;
}

void driver_close(struct driver *d)
{
    if (d == NULL) {
        return;
    }
    kube_store_close(d->pods);
    kube_store_close(d->pools);
    for (struct hashmap_iter i = {.map = &d->runs}; hashmap_next(&i);) {
        pool_run_close(i.value);
    }
    hashmap_clear(&d->runs);
    queue_close(d->queue);
    views_close(d->views);
    sidecar_calls_close(d->sidecars);
    kube_event_writer_close(d->events);
    loop_timer_close(own(d)->roster);
    free(own(d));
}

/* --- metrics --- */

static const struct {
    const char *name, *help;
} gauges[] = {
    {"vpn_pool_capacity", "Instances that the pool's base subnet holds."},
    {"vpn_pool_used", "Indices that are in use, those of instances that end included."},
    {"vpn_pool_replicas", "Instances that are wanted."},
    {"vpn_pool_instances", "Instances that start or are there, those that end not included."},
    {"vpn_pool_ready", "Instances whose Pod is ready."},
    {"vpn_pool_draining", "Instances that are on their way out."},
    {"vpn_pool_sessions", "Devices that are connected to the pool."},
    {"vpn_pool_degraded", "1 while the pool's condition Degraded is true."},
};

static double value_of(const struct pool_run *run, size_t gauge)
{
    const struct pool_status *s = pool_run_status(run);
    const double values[ARRAY_LEN(gauges)] = {
        s->capacity, (double)s->count, pool_run_wanted(run), s->replicas,
        s->ready,    s->draining,      s->sessions,          s->conditions[POOL_DEGRADED].yes};

    return values[gauge];
}

int driver_metrics(const struct driver *d, struct buf *out)
{
    int r = 0;

    for (size_t g = 0; r == 0 && g < ARRAY_LEN(gauges); g++) {
        r = buf_printf(out, "# HELP %s %s\n# TYPE %s gauge\n", gauges[g].name, gauges[g].help,
                       gauges[g].name);
        for (struct hashmap_iter i = {.map = &d->runs}; r == 0 && hashmap_next(&i);) {
            r = buf_printf(out, "%s{namespace=\"%s\",pool=\"%s\"} %.0f\n", gauges[g].name, d->ns,
                           i.key, value_of(i.value, g));
        }
    }
    return r;
}
