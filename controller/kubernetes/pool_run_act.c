/* ACT: from what is written to what is done. Everything here may be done again by the next look, or
 * by the next leader: it follows from the status, not from a memory of plans. */
#include "common/log.h"
#include "controller/kube/kube_time.h"
#include "controller/kubernetes/pool_run_priv.h"

#include <stdio.h>
#include <string.h>

#define GATE_AGAIN_MS 10000     /* the watch shows it within that */
#define REFRESH_LATEST_MS 60000 /* a kubelet takes a new image within that, or never */

static char *text_of(const cJSON *o)
{
    char *text = cJSON_PrintUnformatted(o);

    if (text == NULL) {
        abort(); /* out of memory */
    }
    return text;
}

/* --- create --- */

static void note_failure(struct pool_run *run, const char *name, const char *text)
{
    char message[POOL_MESSAGE_MAX + 1];

    snprintf(message, sizeof(message), "%.63s: %.900s", name, text);
    if (strcmp(message, run->why_failed) != 0) {
        memcpy(run->why_failed, message, sizeof(message));
        run_event(run, KUBE_EVENT_WARNING, "FailedCreate", "CreatePod", "%s", message);
    }
}

static void on_created(struct run_call *c, struct kube_answer *answer)
{
    struct pool_run *run = c->run;
    struct pool_instance *i = pool_status_find(&run->status, c->index);
    const char *uid = "";
    char name[POD_NAME_MAX];

    pod_name(run->name, c->index, name);
    if (answer->outcome == KUBE_OK) {
        json_str(cJSON_GetObjectItemCaseSensitive(answer->object, "metadata"), "uid", &uid, NULL);
        if (i != NULL) {
            snprintf(i->uid, sizeof(i->uid), "%s", uid);
        }
        run->why_failed[0] = '\0';
        run->again = true; /* the uid goes into the status */
        return;
    }
    expectations_forget(&run->pods,
                        name); /* the name sees to it that there is never a second one */
    if (answer->outcome == KUBE_EXISTS) {
        if (i != NULL) {
            i->unsure = true; /* an earlier one of ours whose answer was lost, or somebody else's */
        }
        run->again = true;
        return;
    }
    note_failure(run, name, answer->text);
    run_call_failed(c, answer);
}

static void create(struct pool_run *run, struct pool_instance *i)
{
    struct pod_owner owner = {.ns = run->d->ns, .pool_uid = run->uid};
    AUTO(json) cJSON *pod = NULL;
    char name[POD_NAME_MAX];
    struct err err;

    pod_name(run->name, i->index, name);
    if (pod_render(&run->spec, &owner, i->index, &pod, NULL, &err) < 0) {
        note_failure(run, name, err.text);
        run->failed = true;
        return;
    }
    AUTO(str) char *body = text_of(pod);
    AUTO(str) char *path = kube_path(&kube_pods, run->d->ns, NULL, NULL);
    struct run_request request = {
        .method = "POST", .path = path, .body = body, .on_answer = on_created, .index = i->index};
    if (run->call_count < RUN_CALLS_MAX &&
        expectations_create(&run->pods, name, clock_monotonic_ms()) == 0) {
        if (!run_send(run, &request)) {
            expectations_forget(&run->pods, name);
        }
    } else {
        run->again = true;
    }
}

/* --- delete --- */

static void on_deleted(struct run_call *c, struct kube_answer *answer)
{
    struct pool_run *run = c->run;
    struct pool_instance *i = pool_status_find(&run->status, c->index);
    char name[POD_NAME_MAX];

    pod_name(run->name, c->index, name);
    switch (answer->outcome) {
    case KUBE_OK:
        if (i != NULL && strcmp(i->uid, c->uid) == 0) {
            i->delete_asked = true;
        }
        break;
    case KUBE_NOT_FOUND:
    case KUBE_CONFLICT: /* another one has the name by now: ours is gone */
        expectations_forget(&run->pods, name);
        if (i != NULL && strcmp(i->uid, c->uid) == 0) {
            i->gone = true;
        }
        run->again = true;
        break;
    default:
        expectations_forget(&run->pods, name);
        run_call_failed(c, answer);
    }
}

static void delete (struct pool_run *run, struct pool_instance *i)
{
    char name[POD_NAME_MAX];

    pod_name(run->name, i->index, name);
    AUTO(str) char *path = kube_path(&kube_pods, run->d->ns, name, NULL);
    AUTO(str)
    char *body = xasprintf("{\"apiVersion\":\"v1\",\"kind\":\"DeleteOptions\",\"preconditions\":"
                           "{\"uid\":\"%s\"}}",
                           i->uid);
    struct run_request request = {.method = "DELETE",
                                  .path = path,
                                  .body = body,
                                  .on_answer = on_deleted,
                                  .index = i->index,
                                  .uid = i->uid};
    if (run->call_count < RUN_CALLS_MAX &&
        expectations_delete(&run->pods, name, i->uid, clock_monotonic_ms()) == 0) {
        if (!run_send(run, &request)) {
            expectations_forget(&run->pods, name);
        }
    } else {
        run->again = true;
    }
}

/* --- the readiness gate --- */

static void on_gate(struct run_call *c, struct kube_answer *answer)
{
    struct pool_instance *i = pool_status_find(&c->run->status, c->index);

    if (answer->outcome == KUBE_OK) {
        if (i != NULL && strcmp(i->uid, c->uid) == 0) {
            i->gate_asked = c->value;
            i->gate_asked_ms = clock_realtime_ms();
        }
    } else if (answer->outcome != KUBE_NOT_FOUND && answer->outcome != KUBE_CONFLICT) {
        run_call_failed(c, answer);
    }
}

/* With the uid, so that it is never another Pod's gate. */
static char *gate_patch(const struct pool_instance *i, bool open)
{
    AUTO(json) cJSON *o = cJSON_CreateObject();

    cJSON_AddStringToObject(cJSON_AddObjectToObject(o, "metadata"), "uid", i->uid);
    cJSON *list = cJSON_AddArrayToObject(cJSON_AddObjectToObject(o, "status"), "conditions");
    cJSON *condition = cJSON_CreateObject();
    cJSON_AddItemToArray(list, condition);
    cJSON_AddStringToObject(condition, "type", POD_GATE);
    cJSON_AddStringToObject(condition, "status", open ? "True" : "False");
    cJSON_AddStringToObject(condition, "reason", open ? "Listed" : i->reason);
    cJSON_AddStringToObject(condition, "lastTransitionTime",
                            kube_time_second(clock_realtime_ms()).text);
    return text_of(o);
}

static void set_gate(struct pool_run *run, const struct pool_instance *i, bool open)
{
    char name[POD_NAME_MAX];

    pod_name(run->name, i->index, name);
    AUTO(str) char *path = kube_path(&kube_pods, run->d->ns, name, "status");
    AUTO(str) char *body = gate_patch(i, open);
    struct run_request request = {.method = "PATCH",
                                  .path = path,
                                  .body = body,
                                  .content_type = KUBE_STRATEGIC_PATCH,
                                  .on_answer = on_gate,
                                  .index = i->index,
                                  .uid = i->uid,
                                  .value = open ? 1 : -1};
    run_send(run, &request);
}

static void keep_gate(struct pool_run *run, const struct pool_instance *i, const struct pod_view *v,
                      int64_t now_ms)
{
    bool open = i->phase == INDEX_READY && !i->unserved && !i->lost;
    bool asked = i->gate_asked == (open ? 1 : -1) && now_ms - i->gate_asked_ms < GATE_AGAIN_MS;

    if (v->deleting || v->gate == open || asked) {
        return;
    }
    set_gate(run, i, open);
}

/* --- drain --- */

static void keep_draining(struct pool_run *run, const struct pool_instance *i,
                          const struct pod_view *v, int64_t now_ms)
{
    struct pods_seen seen = run_seen(run, now_ms);
    struct sidecar_where where = {.pool = run->name, .epoch = i->uid, .ip = v->ip};
    struct instance_report report = {.phase = INSTANCE_UNKNOWN};

    run_wake_at(run, now_ms + RUN_SOON_MS);
    if (v->ip[0] == '\0' || v->deleting) {
        return;
    }
    seen.report(seen.arg, i->uid, &report);
    if (report.phase < INSTANCE_DRAINING) {
        sidecar_calls_drain(run->d->sidecars, &where, run->spec.drain.rate_per_minute,
                            run->spec.drain.timeout_s);
    }
    if (report.phase == INSTANCE_UNKNOWN ||
        sidecar_calls_report(run->d->sidecars, i->uid, &report)) {
        sidecar_calls_ask(run->d->sidecars, &where);
    }
}

/* Registered with the API, as far as anybody has told us? */
static void learn_service_id(struct pool_run *run, const struct pool_instance *i,
                             const struct pod_view *v)
{
    struct sidecar_where where = {.pool = run->name, .epoch = i->uid, .ip = v->ip};

    if (i->service_id == 0 && v->ip[0] != '\0' && v->sidecar == CONTAINER_RUNNING) {
        sidecar_calls_ask(run->d->sidecars, &where);
    }
}

/* --- the sidecar's image, in place --- */

static void on_patched(struct run_call *c, struct kube_answer *answer)
{
    if (answer->outcome != KUBE_OK && answer->outcome != KUBE_NOT_FOUND &&
        answer->outcome != KUBE_CONFLICT) {
        run_call_failed(c, answer);
    }
}

static void patch_image(struct pool_run *run, const struct pool_instance *i,
                        const struct pod_view *v, int64_t now_ms)
{
    const char *image = pod_sidecar_image(&run->spec);
    AUTO(json) cJSON *o = cJSON_CreateObject();

    cJSON_AddStringToObject(cJSON_AddObjectToObject(o, "metadata"), "uid", i->uid);
    cJSON *list = cJSON_AddArrayToObject(cJSON_AddObjectToObject(o, "spec"), "initContainers");
    cJSON *sidecar = cJSON_CreateObject();
    cJSON_AddItemToArray(list, sidecar);
    cJSON_AddStringToObject(sidecar, "name", POD_CONTAINER_SIDECAR);
    cJSON_AddStringToObject(sidecar, "image", image);
    AUTO(str) char *body = text_of(o);
    AUTO(str) char *path = kube_path(&kube_pods, run->d->ns, v->name, NULL);
    struct run_request request = {.method = "PATCH",
                                  .path = path,
                                  .body = body,
                                  .content_type = KUBE_STRATEGIC_PATCH,
                                  .on_answer = on_patched,
                                  .index = i->index,
                                  .uid = i->uid};
    run_send(run, &request);
    snprintf(run->refresh.uid, sizeof(run->refresh.uid), "%s", i->uid);
    run->refresh.restarts = v->sidecar_restarts;
    run->refresh.at_ms = now_ms;
    log_info("the sidecar gets another image", "pod", v->name, "image", image, NULL);
    run_event(run, KUBE_EVENT_NORMAL, "SidecarUpdated", "PatchPod", "%s: the sidecar's image is %s",
              v->name, image);
}

static bool has_old_sidecar(const struct pool_run *run, const struct pod_view *v)
{
    return !v->deleting && v->sidecar_image[0] != '\0' &&
           strcmp(v->sidecar_image, pod_sidecar_image(&run->spec)) != 0;
}

/* Was it patched, and is it not back yet? The watch shows the image at once, the kubelet takes it
 * some time later. */
static bool is_being_refreshed(const struct pool_run *run, const struct pool_instance *i,
                               const struct pod_view *v, int64_t now_ms)
{
    return strcmp(i->uid, run->refresh.uid) == 0 && i->phase == INDEX_READY &&
           now_ms - run->refresh.at_ms < REFRESH_LATEST_MS &&
           (v->sidecar_restarts == run->refresh.restarts || has_old_sidecar(run, v));
}

/* One at a time: each is blind to new devices until it is back. One that does not come back stops
 * the others' turn. */
static void refresh_a_sidecar(struct pool_run *run, int64_t now_ms)
{
    struct pods_seen seen = run_seen(run, now_ms);
    const struct pool_instance *next = NULL;
    const struct pod_view *next_pod = NULL;

    for (size_t n = 0; n < run->status.count; n++) {
        const struct pool_instance *i = &run->status.instances[n];
        const struct pod_view *v = i->phase <= INDEX_READY ? pods_find(&seen, i) : NULL;
        if (v == NULL || v->deleting) {
            continue;
        }
        bool old = has_old_sidecar(run, v);
        if (is_being_refreshed(run, i, v, now_ms) ||
            (i->phase == INDEX_READY && !v->containers_ready && !old)) {
            return;
        }
        if (old && (next == NULL || (next_pod->containers_ready && !v->containers_ready))) {
            next = i;
            next_pod = v;
        }
    }
    if (next != NULL) {
        patch_image(run, next, next_pod, now_ms);
        run_wake_at(run, now_ms + RUN_SOON_MS);
    }
}

/* --- the whole --- */

static void act_on(struct pool_run *run, struct pool_instance *i, int64_t now_ms)
{
    struct pods_seen seen = run_seen(run, now_ms);
    const struct pod_view *v = pods_find(&seen, i);
    char name[POD_NAME_MAX];

    pod_name(run->name, i->index, name);
    switch (i->phase) {
    case INDEX_FREE:
    case INDEX_BURYING:
        break;
    case INDEX_STARTING:
        if (i->uid[0] == '\0' && expectations_has(&run->pods, name) != EXPECT_CREATE) {
            create(run, i);
        }
        break;
    case INDEX_READY:
        break;
    case INDEX_DRAINING:
        if (v != NULL) {
            keep_draining(run, i, v, now_ms);
        }
        break;
    case INDEX_TERMINATING:
        if (i->uid[0] != '\0' && !i->gone && !i->delete_asked && (v == NULL || !v->deleting)) {
            delete (run, i);
        }
        break;
    }
    if (v != NULL && i->phase <= INDEX_DRAINING) {
        keep_gate(run, i, v, now_ms);
        learn_service_id(run, i, v);
    }
    if (i->phase == INDEX_STARTING && v != NULL && v->containers_ready) {
        run_wake_at(run, now_ms + RUN_SOON_MS); /* a balancer is asked */
    }
}

void run_act(struct pool_run *run, int64_t now_ms)
{
    run->step = RUN_ACT;
    if (run->again || !run->spec_ok) { /* it is to be decided anew; a spec that makes no sense */
        run_step_ends(run);
        return;
    }
    for (size_t n = 0; n < run->status.count; n++) {
        act_on(run, &run->status.instances[n], now_ms);
    }
    refresh_a_sidecar(run, now_ms);
    run_step_ends(run);
}
