#include "controller/kubernetes/pool_run.h"

#include "common/log.h"
#include "controller/kubernetes/pool_run_priv.h"
#include "controller/kubernetes/pool_view.h"

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

static bool seen_listed(void *arg, const char *name)
{
    const struct pool_run *run = arg;
    const char *balancers = pool_run_balancers_name(run);
    struct balancer_view *view = NULL;

    if (balancers == NULL) {
        return true;
    }
    view = views_balancer(run->d->views, balancers);
    return view == NULL || balancer_view_lists(view, name);
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

/* --- LOAD --- */

static void free_spec(struct pool_run *run)
{
    if (run->spec_ok) {
        pool_object_clear(&run->spec);
    }
    run->spec_ok = false;
    free(run->fault);
    run->fault = NULL;
}

/* Admission is the API server's; what it let through nevertheless is said in a condition. */
static void read_spec(struct pool_run *run, const struct pool_view *view)
{
    struct pool_errors errors;
    struct pool_object spec;

    if (run->spec_generation == view->generation && run->spec_generation != 0) {
        return;
    }
    pool_errors_init(&errors);
    int r = pool_object_from_json(run->name, view->object, &spec, &errors);
    if (r == 0 && pool_object_check_kubernetes(run->name, &spec, &errors) < 0) {
        pool_object_clear(&spec);
        r = -1;
    }
    free_spec(run);
    run->spec_ok = r == 0;
    if (r == 0) {
        run->spec = spec;
    } else {
        run->fault = xstrdup(buf_str(&errors.text));
        run->fault[strcspn(run->fault, "\n")] = '\0'; /* the first one */
        log_error("the pool is left as it is: its spec makes no sense", "pool", run->name, "why",
                  run->fault, NULL);
        run_event(run, KUBE_EVENT_WARNING, "InvalidSpec", "ReadSpec", "%s", run->fault);
    }
    pool_errors_clear(&errors);
    bool changed = run->spec_generation != 0;
    run->spec_generation = view->generation;
    if (changed) {
        run->pool_not_before_ms = 0; /* what failed may be repaired: no reason to wait */
    }
    run_rehash(run);
}

/* What is known of this process's own doings is kept for Pods that are still the same. */
static void take_status(struct pool_run *run, struct pool_status *theirs)
{
    for (size_t n = 0; n < theirs->count; n++) {
        struct pool_instance *i = &theirs->instances[n];
        const struct pool_instance *ours = pool_status_find(&run->status, i->index);
        if (ours != NULL && strcmp(ours->uid, i->uid) == 0) {
            struct pool_instance written = *i;
            *i = *ours;
            i->phase = written.phase;
            i->since_ms = written.since_ms;
            i->failures = written.failures;
            memcpy(i->reason, written.reason, sizeof(i->reason));
        }
    }
    pool_status_clear(&run->status);
    run->status = *theirs;
}

static void restore_burials(struct pool_run *run)
{
    for (size_t i = 0; i < run->status.burial_count; i++) {
        const struct pool_burial *b = &run->status.burials[i];
        struct burial item = {.service_id = b->service_id, .index = b->index, .gone = true};
        snprintf(item.epoch, sizeof(item.epoch), "%s", b->epoch);
        burials_restore(run->burials, &item);
    }
    for (size_t n = 0; n < run->status.count; n++) {
        const struct pool_instance *i = &run->status.instances[n];
        if (i->service_id != 0) {
            burials_live(run->burials, i->index, i->uid, i->service_id, NULL);
        }
        if (i->phase == INDEX_BURYING) {
            burials_gone(run->burials, i->index, i->uid);
        }
    }
}

static void read_status(struct pool_run *run, const cJSON *status)
{
    struct pool_status theirs;
    size_t ignored = 0;

    pool_status_read(status, &theirs, &ignored);
    char *gist = pool_status_gist(&theirs);
    bool same = run->loaded && run->written != NULL && strcmp(gist, run->written) == 0;
    if (ignored > 0) {
        log_warn("parts of the pool's status make no sense", "pool", run->name, "ignored",
                 NUM(ignored), NULL);
    }
    if (same) { /* only the spec or the metadata is another */
        pool_status_clear(&theirs);
        free(gist);
        return;
    }
    if (run->loaded) {
        log_warn("somebody changed the pool's status; going on from there", "pool", run->name,
                 NULL);
    }
    free(run->written);
    run->written = gist;
    take_status(run, &theirs);
    restore_burials(run);
    run_rehash(run);
}

static void forget_pool(struct pool_run *run)
{
    pool_status_clear(&run->status);
    free(run->written);
    free(run->written_all);
    run->written = run->written_all = NULL;
    run->loaded = false;
    run->spec_generation = 0;
    run->taken_count = 0;
    expectations_clear(&run->pods);
}

static void on_loaded(struct run_call *c, struct kube_answer *answer)
{
    struct pool_run *run = c->run;

    if (answer->outcome != KUBE_OK || answer->object == NULL) {
        run->deleting = answer->outcome == KUBE_NOT_FOUND; /* the watch will say so as well */
        if (!run->deleting) {
            run_call_failed(c, answer);
        }
        return;
    }
    const cJSON *metadata = cJSON_GetObjectItemCaseSensitive(answer->object, "metadata");
    cJSON *status = cJSON_DetachItemFromObjectCaseSensitive(answer->object, "status");
    const char *version = "";
    json_str(metadata, "resourceVersion", &version, NULL);
    struct pool_view *view = pool_view_new(answer->object);
    if (view != NULL) {
        if (strcmp(run->uid, view->uid) != 0) { /* another pool under the same name */
            forget_pool(run);
            snprintf(run->uid, sizeof(run->uid), "%s", view->uid);
        }
        run_version(run, version);
        run->generation = view->generation;
        run->deleting = view->deleting;
        read_status(run, status);
        read_spec(run, view);
        run->loaded = true;
        run->must_load = false;
    }
    pool_view_free(view);
    cJSON_Delete(status);
}

static void load(struct pool_run *run)
{
    AUTO(str) char *path = kube_path(&vpn_pools, run->d->ns, run->name, NULL);
    struct run_request request = {.method = "GET", .path = path, .on_answer = on_loaded};

    run->step = RUN_LOAD;
    run_send(run, &request);
    run_step_ends(run);
}

/* --- LOOK --- */

static void found(struct run_call *c, const struct pod_view *v, int64_t now_ms)
{
    struct pool_run *run = c->run;
    struct pool_instance *i = pool_status_find(&run->status, c->index);
    bool ours = v != NULL && pod_classify(v, run->name, run->uid) == POD_OURS;

    if (i == NULL) {
        return;
    }
    bool made = i->uid[0] != '\0' || i->phase != INDEX_STARTING;
    i->unsure = false;
    if (ours && (i->uid[0] == '\0' || strcmp(i->uid, v->uid) == 0)) {
        snprintf(i->uid, sizeof(i->uid), "%s", v->uid); /* the cache is late */
        run_wake_at(run, now_ms + RUN_SOON_MS);
        return;
    }
    i->gone = made;
    if (v != NULL) {
        run_take_name(run, c->index, now_ms);
    }
}

static void on_look(struct run_call *c, struct kube_answer *answer)
{
    if (answer->outcome == KUBE_NOT_FOUND) {
        found(c, NULL, clock_realtime_ms());
        return;
    }
    if (answer->outcome != KUBE_OK) {
        run_call_failed(c, answer);
        return;
    }
    struct pod_view *v = pod_view_new(answer->object);
    found(c, v, clock_realtime_ms());
    pod_view_free(v);
}

static void look_at(struct pool_run *run, uint32_t index,
                    void (*on_done)(struct run_call *c, struct kube_answer *answer))
{
    char name[POD_NAME_MAX];

    pod_name(run->name, index, name);
    AUTO(str) char *path = kube_path(&kube_pods, run->d->ns, name, NULL);
    struct run_request request = {
        .method = "GET", .path = path, .on_answer = on_done, .index = index};
    run_send(run, &request);
}

/* A Pod of ours that the status does not know: the status was lost. Only a live one is adopted. */
static void on_adopt(struct run_call *c, struct kube_answer *answer)
{
    struct pool_run *run = c->run;
    struct pod_view *v = answer->outcome == KUBE_OK ? pod_view_new(answer->object) : NULL;

    if (v != NULL && !v->deleting && v->index == c->index &&
        pod_classify(v, run->name, run->uid) == POD_OURS &&
        pool_status_find(&run->status, c->index) == NULL) {
        struct pool_instance *i = pool_status_add(&run->status, c->index, clock_realtime_ms());
        snprintf(i->uid, sizeof(i->uid), "%s", v->uid);
        snprintf(i->reason, sizeof(i->reason), "Adopted");
        run_rehash(run);
        log_warn("a Pod of the pool is not in its status; it is adopted", "pod", v->name, NULL);
        run_event(run, KUBE_EVENT_WARNING, "PodAdopted", "Adopt",
                  "%s is this pool's and was not in its status", v->name);
    }
    pod_view_free(v);
}

static bool is_unknown(const struct pool_run *run, const struct pod_view *v)
{
    char name[POD_NAME_MAX];

    pod_name(run->name, v->index, name);
    return v->index != 0 && !v->deleting && strcmp(name, v->name) == 0 &&
           pod_classify(v, run->name, run->uid) == POD_OURS &&
           pool_status_find(&run->status, v->index) == NULL &&
           expectations_has(&run->pods, v->name) == EXPECT_NONE;
}

static void look(struct pool_run *run)
{
    struct pods_seen seen = run_seen(run, clock_realtime_ms());

    run->step = RUN_LOOK;
    if (expectations_check(&run->pods, clock_monotonic_ms()) == EXPECT_OVERDUE) {
        log_warn("the watch of Pods is late; looking at each", "pool", run->name, NULL);
        expectations_clear(&run->pods);
    }
    for (size_t n = 0; n < run->status.count; n++) {
        if (pods_must_look(&seen, &run->status.instances[n])) {
            look_at(run, run->status.instances[n].index, on_look);
        }
    }
    for (struct kube_store_iter i = {.store = run->d->pods}; kube_store_next(&i);) {
        const struct pod_view *v = i.object->kept;
        if (is_unknown(run, v)) {
            look_at(run, v->index, on_adopt);
        }
    }
    run_step_ends(run);
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
        look(run);
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
        load(run);
    } else {
        look(run);
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
    free_spec(run);
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
