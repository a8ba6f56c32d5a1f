/* LOOK: Pods that the cache does not have, asked for at the API server itself. */
#include "common/log.h"
#include "controller/kubernetes/pool_run_priv.h"

#include <stdio.h>
#include <string.h>

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

void run_look(struct pool_run *run)
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
