#include "controller/kubernetes/pool_run.h"

#include "common/log.h"
#include "controller/kubernetes/pool_run_priv.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* --- small things --- */

const char *pool_run_name(const struct pool_run *run)
{
    return run->name;
}

bool pool_run_loaded(const struct pool_run *run)
{
    return run->loaded;
}

const struct pool_status *pool_run_status(const struct pool_run *run)
{
    return &run->status;
}

uint32_t pool_run_wanted(const struct pool_run *run)
{
    return run->spec_ok ? run->spec.replicas : 0;
}

const char *pool_run_state_name(const struct pool_run *run)
{
    return run->spec_ok ? run->spec.kubernetes.state : NULL;
}

const char *pool_run_balancers_name(const struct pool_run *run)
{
    return run->spec_ok ? run->spec.kubernetes.balancers : NULL;
}

void run_wake_at(struct pool_run *run, int64_t at_ms)
{
    run->wake_ms = at_ms < run->wake_ms ? at_ms : run->wake_ms;
}

void run_event(struct pool_run *run, enum kube_event_type type, const char *reason,
               const char *action, const char *fmt, ...)
{
    struct kube_event_about about = {.api_version = "vpn.openbalena.io/v1alpha1",
                                     .kind = "VPNPool",
                                     .ns = run->d->ns,
                                     .name = run->name,
                                     .uid = run->uid};
    char note[POOL_MESSAGE_MAX + 1];
    va_list args;

    va_start(args, fmt);
    vsnprintf(note, sizeof(note), fmt, args);
    va_end(args);
    kube_event(run->d->events, &about, type, reason, action, "%s", note);
}

void run_take_name(struct pool_run *run, uint32_t index, int64_t now_ms)
{
    size_t at = 0;

    while (at < run->taken_count && run->taken[at].index != index) {
        at++;
    }
    if (at == RUN_TAKEN_MAX) {
        at = 0; /* the oldest: it is tried again a little early */
    }
    run->taken_count += at == run->taken_count;
    run->taken[at].index = index;
    run->taken[at].until_ms = now_ms + RUN_TAKEN_MS;
}

void run_version(struct pool_run *run, const char *resource_version)
{
    free(run->resource_version);
    run->resource_version = xstrdup(resource_version);
    free(run->versions[run->version_at]);
    run->versions[run->version_at] = xstrdup(resource_version);
    run->version_at = (run->version_at + 1) % RUN_VERSIONS;
}

static bool is_own_version(const struct pool_run *run, const char *resource_version)
{
    for (size_t i = 0; i < RUN_VERSIONS; i++) {
        if (run->versions[i] != NULL && strcmp(run->versions[i], resource_version) == 0) {
            return true;
        }
    }
    return false;
}

/* --- what pods_*() is asked with --- */

const struct pod_view *run_pod(const struct pool_run *run, const char *name)
{
    const struct kube_object *object = kube_store_get(run->d->pods, name);

    return object != NULL ? object->kept : NULL;
}

static const struct pod_view *seen_pod(void *arg, const char *name)
{
    return run_pod(arg, name);
}

static bool seen_awaited(void *arg, const char *name)
{
    const struct pool_run *run = arg;

    return expectations_has(&run->pods, name) == EXPECT_CREATE;
}

static bool seen_report(void *arg, const char *epoch, struct instance_report *ret)
{
    const struct pool_run *run = arg;
    const char *name = pool_run_state_name(run);
    struct state_view *view = name != NULL ? views_state(run->d->views, name) : NULL;

    return (view != NULL && state_view_report(view, epoch, ret)) ||
           sidecar_calls_report(run->d->sidecars, epoch, ret);
}

static struct balancer_view *balancers_of(const struct pool_run *run)
{
    const char *name = pool_run_balancers_name(run);

    return name != NULL ? views_balancer(run->d->views, name) : NULL;
}

static bool seen_listed(void *arg, const char *name)
{
    struct balancer_view *view = balancers_of(arg);

    return view == NULL || balancer_view_lists(view, name);
}

bool run_balancers_silent(const struct pool_run *run)
{
    struct balancer_view *view = balancers_of(run);

    return view != NULL && balancer_view_silent(view);
}

static bool seen_buried(void *arg, uint32_t index, const char *epoch)
{
    const struct pool_run *run = arg;

    return !burials_pending(run->burials, index, epoch);
}

struct pods_seen run_seen(struct pool_run *run, int64_t now_ms)
{
    return (struct pods_seen){.pool = run->name,
                              .pool_uid = run->uid,
                              .now_ms = now_ms,
                              .pod = seen_pod,
                              .is_awaited = seen_awaited,
                              .report = seen_report,
                              .is_listed = seen_listed,
                              .is_buried = seen_buried,
                              .arg = run};
}

/* --- calls of a step --- */

static void on_answer(void *arg, struct kube_answer *answer)
{
    struct run_call *c = arg;
    struct pool_run *run = c->run;
    struct run_call **at = &run->calls;

    while (*at != c) {
        at = &(*at)->next;
    }
    *at = c->next;
    run->call_count--;
    c->on_answer(c, answer);
    free(c);
    run_step_ends(run);
}

void run_call_failed(struct run_call *c, const struct kube_answer *answer)
{
    c->run->failed = true;
    log_warn("the API server did not do it", "pool", c->run->name, "why", answer->text, NULL);
}

bool run_send(struct pool_run *run, const struct run_request *request)
{
    struct run_call *c;
    struct err err;

    if (run->call_count == RUN_CALLS_MAX) {
        run->again = true;
        return false;
    }
    c = xcalloc(1, sizeof(*c));
    c->run = run;
    c->on_answer = request->on_answer;
    c->index = request->index;
    c->value = request->value;
    snprintf(c->uid, sizeof(c->uid), "%s", request->uid != NULL ? request->uid : "");
    struct kube_request r = {.method = request->method,
                             .path = request->path,
                             .body = request->body,
                             .content_type = request->content_type,
                             .timeout_ms = RUN_CALL_MS,
                             .on_done = on_answer,
                             .arg = c};
    if (kube_client_send(run->d->client, &r, &c->call, &err) < 0) {
        log_warn("a request is not sent", "pool", run->name, "why", err.text, NULL);
        run->failed = true;
        free(c);
        return false;
    }
    c->next = run->calls;
    run->calls = c;
    run->call_count++;
    return true;
}

static void cancel_calls(struct pool_run *run)
{
    while (run->calls != NULL) {
        struct run_call *c = run->calls;
        run->calls = c->next;
        kube_call_cancel(c->call);
        free(c);
    }
    run->call_count = 0;
}

/* --- from step to step --- */

static void decide_and_write(struct pool_run *run)
{
    int64_t now = clock_realtime_ms();

    run_decide(run, now);
    run_write(run, now);
}

void run_step_ends(struct pool_run *run)
{
    if (run->call_count > 0) {
        return;
    }
    if (run->failed || (run->step == RUN_LOAD && !run->loaded) || run->deleting) {
        run_finish(run);
        return;
    }
    switch (run->step) {
    case RUN_IDLE:
        break;
    case RUN_LOAD:
        run_look(run);
        break;
    case RUN_LOOK:
        decide_and_write(run);
        break;
    case RUN_WRITE:
        run_act(run, clock_realtime_ms());
        break;
    case RUN_ACT:
        run_finish(run);
        break;
    }
}

void run_finish(struct pool_run *run)
{
    struct queue *q = run->d->queue;
    int64_t now = clock_realtime_ms(), wait = run->wake_ms - now;

    run->step = RUN_IDLE;
    if (run->failed) {
        queue_retry(q, run->name);
        return;
    }
    wait = run->again || wait < 0 ? 0 : wait;
    queue_done_after(q, run->name, wait < RUN_LATEST_MS ? (uint64_t)wait : (uint64_t)RUN_LATEST_MS);
}

/* The pool is gone, and its Pods go with it: those of them that the API knows are buried as they
 * do.
 */
static void see_off(struct pool_run *run)
{
    struct pods_seen seen = run_seen(run, clock_realtime_ms());
    bool left = burials_count_pending(run->burials) > 0;

    for (size_t n = run->status.count; n > 0; n--) {
        const struct pool_instance *i = &run->status.instances[n - 1];
        if (pods_find(&seen, i) == NULL) {
            burials_gone(run->burials, i->index, i->uid);
            pool_status_remove(&run->status, i->index, 0);
        }
        left = true;
    }
    if (left) {
        queue_done_after(run->d->queue, run->name, RUN_SOON_MS);
        return;
    }
    queue_done(run->d->queue, run->name);
    hashmap_remove(&run->d->runs, run->name);
    pool_run_close(run);
}

void pool_run_work(struct pool_run *run)
{
    assert(run->step == RUN_IDLE && run->calls == NULL);
    run->failed = run->again = false;
    run->wake_ms = INT64_MAX;
    if (kube_store_get(run->d->pools, run->name) == NULL) {
        see_off(run);
    } else if (!run->loaded || run->must_load) {
        run_load(run);
    } else {
        run_look(run);
    }
}

/* --- from the watch --- */

void pool_run_saw_pod(struct pool_run *run, const struct kube_object *pod)
{
    const struct pod_view *v = pod->kept;

    expectations_saw_create(&run->pods, pod->name);
    if (v->deleting) {
        expectations_saw_delete(&run->pods, pod->name, pod->uid);
    }
}

void pool_run_lost_pod(struct pool_run *run, const struct kube_object *pod)
{
    expectations_saw_delete(&run->pods, pod->name, pod->uid);
}

void pool_run_saw_pool(struct pool_run *run, const char *resource_version)
{
    if (!is_own_version(run, resource_version)) {
        run->must_load = true;
    }
}

/* --- life --- */

static int keep_burials(void *arg, const struct burial *items, size_t count, struct err *err)
{
    struct pool_run *run = arg;

    queue_add(run->d->queue, run->name); /* into the status with the next look */
    return 0;
}

static void on_buried(void *arg)
{
    struct pool_run *run = arg;

    queue_add(run->d->queue, run->name);
}

struct pool_run *pool_run_new(struct driver *d, const char *name)
{
    struct pool_run *run = xcalloc(1, sizeof(*run));
    struct burials_store store = {.save = keep_burials, .arg = run};

    run->d = d;
    run->name = xstrdup(name);
    pool_status_init(&run->status);
    expectations_init(&run->pods, (size_t)2 * PLAN_INDEX_MAX, 0);
    run->burials = burials_new(d->loop, &store, d->api, on_buried, run);
    return run;
}

void pool_run_close(struct pool_run *run)
{
    if (run == NULL) {
        return;
    }
    cancel_calls(run);
    burials_close(run->burials);
    expectations_clear(&run->pods);
    pool_status_clear(&run->status);
    run_free_spec(run);
    for (size_t i = 0; i < RUN_VERSIONS; i++) {
        free(run->versions[i]);
    }
    free(run->resource_version);
    free(run->written);
    free(run->written_all);
    free(run->name);
    free(run);
}

/* --- for the state service --- */

void pool_run_expected(const struct pool_run *run, struct buf *out)
{
    for (size_t n = 0; n < run->status.count; n++) {
        const struct pool_instance *i = &run->status.instances[n];
        if (i->phase < INDEX_BURYING && i->uid[0] != '\0' && !i->gone) {
            buf_printf(out, ",{\"index\":%u,\"epoch\":\"%s\"}", i->index, i->uid);
        }
    }
}
