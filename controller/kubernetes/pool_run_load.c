/* LOAD: the pool itself: its spec, and its status when what we have of it may be old. */
#include "common/log.h"
#include "controller/kubernetes/pool_run_priv.h"
#include "controller/kubernetes/pool_view.h"

#include <stdio.h>
#include <string.h>

void run_free_spec(struct pool_run *run)
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
    run_free_spec(run);
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

void run_load(struct pool_run *run)
{
    AUTO(str) char *path = kube_path(&vpn_pools, run->d->ns, run->name, NULL);
    struct run_request request = {.method = "GET", .path = path, .on_answer = on_loaded};

    run->step = RUN_LOAD;
    run_send(run, &request);
    run_step_ends(run);
}
