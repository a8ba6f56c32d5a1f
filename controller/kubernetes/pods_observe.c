#include "controller/kubernetes/pods_observe.h"

#include "controller/kubernetes/pod_render.h"

#include <stdio.h>
#include <string.h>

enum pod_claim pod_classify(const struct pod_view *v, const char *pool, const char *pool_uid)
{
    if (!v->owner_is_pool) {
        return POD_FOREIGN;
    }
    if (strcmp(v->owner_uid, pool_uid) == 0) {
        return POD_OURS;
    }
    return strcmp(v->owner_name, pool) == 0 ? POD_ORPHAN : POD_FOREIGN;
}

static const struct pod_view *by_name(const struct pods_seen *seen, uint32_t index)
{
    char name[POD_NAME_MAX];

    pod_name(seen->pool, index, name);
    return seen->pod(seen->arg, name);
}

static bool is_awaited(const struct pods_seen *seen, uint32_t index)
{
    char name[POD_NAME_MAX];

    pod_name(seen->pool, index, name);
    return seen->is_awaited(seen->arg, name);
}

const struct pod_view *pods_find(const struct pods_seen *seen, const struct pool_instance *i)
{
    const struct pod_view *v = by_name(seen, i->index);
    bool ours = v != NULL && pod_classify(v, seen->pool, seen->pool_uid) == POD_OURS;

    return ours && (i->uid[0] == '\0' || strcmp(i->uid, v->uid) == 0) ? v : NULL;
}

bool pods_must_look(const struct pods_seen *seen, const struct pool_instance *i)
{
    bool may_exist = i->uid[0] != '\0' || i->phase != INDEX_STARTING || i->unsure;

    return may_exist && !i->gone && i->phase != INDEX_BURYING && pods_find(seen, i) == NULL &&
           !is_awaited(seen, i->index);
}

/* --- into the status --- */

static void follow_missing(const struct pods_seen *seen, struct pool_instance *i)
{
    i->lost = false;
    if (i->gone && i->phase < INDEX_TERMINATING && i->uid[0] != '\0') {
        pool_instance_enter(i, INDEX_TERMINATING, "PodGone", seen->now_ms);
    }
}

static void set_reason(struct pool_instance *i, const char *reason)
{
    snprintf(i->reason, sizeof(i->reason), "%s", reason);
}

/* Until it runs, its start is the scheduler's and the node's business: the time it has begins
 * then. */
static void follow_start(const struct pods_seen *seen, struct pool_instance *i,
                         const struct pod_view *v)
{
    bool waits = v->containers_ready && !seen->is_listed(seen->arg, v->name);
    bool ran = strcmp(i->reason, "Running") == 0 || strcmp(i->reason, "WaitingForBalancer") == 0;

    if (!pod_view_has_begun(v)) {
        set_reason(i, v->node[0] == '\0'     ? "NotScheduled"
                      : v->reason[0] != '\0' ? v->reason
                                             : "ContainerCreating");
        return;
    }
    if (!ran) {
        i->since_ms = seen->now_ms;
    }
    set_reason(i, waits ? "WaitingForBalancer" : "Running");
}

/* Ends that nobody asked for; a minute of health forgives them. A new leader takes over what its
 * predecessor has counted, and decided. */
static void follow_restarts(const struct pods_seen *seen, struct pool_instance *i,
                            const struct pod_view *v)
{
    bool ready = i->phase == INDEX_READY && v->containers_ready;

    if (!i->seen) {
        i->seen = true;
        i->unserved = i->phase == INDEX_READY && !v->gate;
        i->restarts = i->phase == INDEX_STARTING && i->failures == 0 ? 0 : v->restarts;
    }
    if (v->restarts > i->restarts) {
        i->failures += v->restarts - i->restarts;
        i->ready_ms = 0;
    }
    i->restarts = v->restarts;
    i->ready_ms = !ready ? 0 : i->ready_ms == 0 ? seen->now_ms : i->ready_ms;
    if (ready && seen->now_ms - i->ready_ms >= PLAN_HEALTHY_MS) {
        i->failures = 0;
    }
}

static void follow_report(const struct pods_seen *seen, struct pool_instance *i)
{
    struct instance_report report;

    if (i->uid[0] != '\0' && seen->report(seen->arg, i->uid, &report)) {
        i->sessions = report.sessions;
        i->service_id = report.service_id != 0 ? report.service_id : i->service_id;
    }
}

static void follow_end(const struct pods_seen *seen, struct pool_instance *i,
                       const struct pod_view *v)
{
    if (i->phase >= INDEX_TERMINATING) {
        return;
    }
    if (v->deleting) {
        pool_instance_enter(i, INDEX_TERMINATING,
                            v->disruption[0] != '\0' ? v->disruption : "PodDeleted", seen->now_ms);
    } else if (i->phase == INDEX_STARTING) {
        i->failures = PLAN_FAILURES_MAX; /* the next would fare no better: with a pause */
        set_reason(i, v->reason[0] != '\0' ? v->reason : "PodFailed");
    } else {
        pool_instance_enter(i, INDEX_TERMINATING, v->reason[0] != '\0' ? v->reason : "PodFailed",
                            seen->now_ms);
    }
}

static void follow(const struct pods_seen *seen, struct pool_instance *i)
{
    const struct pod_view *v = pods_find(seen, i);

    if (v == NULL) {
        follow_missing(seen, i);
        return;
    }
    snprintf(i->uid, sizeof(i->uid), "%s", v->uid);
    snprintf(i->node, sizeof(i->node), "%s", v->node);
    i->gone = false;
    i->lost = v->deleting && (v->tainted || seen->now_ms > v->deletion_ms + POD_LOST_MS);
    follow_report(seen, i);
    follow_restarts(seen, i, v);
    if (v->deleting || pod_view_is_terminal(v)) {
        follow_end(seen, i, v);
    } else if (i->phase == INDEX_STARTING) {
        follow_start(seen, i, v);
    }
}

void pods_follow(const struct pods_seen *seen, struct pool_status *status)
{
    for (size_t n = 0; n < status->count; n++) {
        follow(seen, &status->instances[n]);
    }
}

/* --- for the planner --- */

static enum observed_process process_of(enum container_state state)
{
    return state == CONTAINER_ENDED ? PROCESS_ABSENT : PROCESS_RUNNING;
}

static void observe_missing(const struct pods_seen *seen, const struct pool_instance *i,
                            struct observed_index *ret)
{
    bool made = is_awaited(seen, i->index) || (i->uid[0] != '\0' && !i->gone) ||
                (i->phase != INDEX_STARTING && !i->gone);

    ret->openvpn = ret->sidecar = made ? PROCESS_RUNNING : PROCESS_ABSENT;
    ret->unscheduled = i->phase == INDEX_STARTING;
    ret->current = true;
}

static void observe_pod(const struct pods_seen *seen, const struct pool_instance *i,
                        const struct pod_view *v, struct observed_index *ret)
{
    bool starts = i->phase == INDEX_STARTING;
    bool held = starts && !pod_view_has_begun(v) && !pod_view_is_terminal(v);

    if (pod_view_is_terminal(v)) {
        ret->openvpn = ret->sidecar = PROCESS_ABSENT;
    } else {
        ret->openvpn = process_of(v->openvpn);
        ret->sidecar = process_of(v->sidecar);
    }
    if (i->phase == INDEX_TERMINATING) { /* until a look finds no Pod */
        ret->openvpn = ret->sidecar = PROCESS_RUNNING;
    }
    ret->ready =
        !v->deleting && v->containers_ready && (!starts || seen->is_listed(seen->arg, v->name));
    ret->serving = v->ready || (v->gate && v->containers_ready);
    ret->linked |= v->containers_ready;
    ret->marked = v->delete_first;
    ret->unscheduled = held && v->node[0] == '\0';
    ret->pulling = held && v->node[0] != '\0';
    ret->current = i->template_hash[0] == '\0' || strcmp(i->template_hash, v->template_hash) == 0;
}

static void observe(const struct pods_seen *seen, const struct pool_instance *i,
                    struct observed_index *ret)
{
    const struct pod_view *v = pods_find(seen, i);
    struct instance_report report = {.phase = INSTANCE_UNKNOWN};

    if (i->uid[0] == '\0' || !seen->report(seen->arg, i->uid, &report)) {
        report = (struct instance_report){.phase = INSTANCE_UNKNOWN};
    }
    *ret = (struct observed_index){
        .index = i->index,
        .phase = i->phase,
        .phase_since_ms = i->since_ms,
        .drained = report.phase == INSTANCE_DRAINED,
        .linked = report.phase > INSTANCE_STARTING,
        .lost = i->lost,
        .sessions = i->sessions,
        .counted = report.phase != INSTANCE_UNKNOWN,
        .failures = i->failures,
        .not_before_ms = i->not_before_ms,
        .leaving_for_good = i->phase >= INDEX_DRAINING,
        .buried = i->phase == INDEX_BURYING && seen->is_buried(seen->arg, i->index, i->uid),
    };
    if (v == NULL) {
        observe_missing(seen, i, ret);
    } else {
        observe_pod(seen, i, v, ret);
    }
}

void pods_observe(const struct pods_seen *seen, const struct pool_status *status,
                  struct observed_index *ret)
{
    for (size_t n = 0; n < status->count; n++) {
        observe(seen, &status->instances[n], &ret[n]);
    }
}

/* --- for people --- */

void pods_count(const struct pods_seen *seen, struct pool_status *status)
{
    status->replicas = status->ready = status->draining = status->sessions = 0;
    for (size_t n = 0; n < status->count; n++) {
        const struct pool_instance *i = &status->instances[n];
        const struct pod_view *v = pods_find(seen, i);
        status->replicas += i->phase <= INDEX_READY;
        status->ready += i->phase == INDEX_READY && v != NULL &&
                         (v->ready || (i->unserved && v->containers_ready));
        status->draining += i->phase == INDEX_DRAINING || i->phase == INDEX_TERMINATING;
        status->sessions += i->phase < INDEX_BURYING ? i->sessions : 0;
    }
}

bool pods_why(const struct pods_seen *seen, const struct pool_status *status,
              char ret[POOL_MESSAGE_MAX + 1])
{
    for (size_t n = 0; n < status->count; n++) {
        const struct pool_instance *i = &status->instances[n];
        const struct pod_view *v = i->phase <= INDEX_READY ? pods_find(seen, i) : NULL;
        if (v != NULL && v->reason[0] != '\0') {
            snprintf(ret, POOL_MESSAGE_MAX + 1, "%s: %s%s%s", v->name, v->reason,
                     v->why[0] != '\0' ? ": " : "", v->why);
            return true;
        }
        if (v != NULL && v->node[0] != '\0' && !pod_view_has_begun(v)) {
            snprintf(ret, POOL_MESSAGE_MAX + 1,
                     "%s: its node makes no containers: a Secret that is not there "
                     "(spec.openvpn.tls.secretName), or a slow image; kubectl describe pod tells",
                     v->name);
            return true;
        }
        if (i->phase == INDEX_STARTING && strcmp(i->reason, "WaitingForBalancer") == 0) {
            snprintf(ret, POOL_MESSAGE_MAX + 1, "%s-%u: no balancer lists it yet", seen->pool,
                     i->index);
            return true;
        }
    }
    return false;
}
