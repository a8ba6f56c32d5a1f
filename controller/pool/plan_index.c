/* One index by itself: how it ends, and what keeps it running. */
#include "controller/pool/plan_priv.h"

/* --- how it ends --- */

static void give_up(struct planner *p, const struct observed_index *o, const char *reason)
{
    plan_act(p, PLAN_GIVE_UP, o->index, reason);
    plan_leave(p, o);
    p->gave_up = true;
    plan_tell(p, TROUBLE_GIVEN_UP);
}

/* What it waits for may not be its fault: then another one would fare no better. */
static void check_start(struct planner *p, const struct observed_index *o)
{
    int64_t looking_ms = p->observed->looking_since_ms;
    int64_t since_ms = o->phase_since_ms > looking_ms ? o->phase_since_ms : looking_ms;

    if (p->now_ms < since_ms + PLAN_START_TIMEOUT_MS) {
        plan_wake_at(p, since_ms + PLAN_START_TIMEOUT_MS);
    } else if (o->unscheduled || o->pulling) {
        plan_tell(p, o->unscheduled ? TROUBLE_UNSCHEDULED : TROUBLE_PULLING);
    } else if (o->linked || o->ready) {
        plan_tell(p, TROUBLE_WAITING);
    } else {
        give_up(p, o, "did not become ready in time");
    }
}

static void check_failures(struct planner *p, const struct observed_index *o)
{
    if (o->failures > 0) {
        plan_tell(p, TROUBLE_FAILING);
    }
    if (o->openvpn == PROCESS_ABSENT && o->failures >= PLAN_FAILURES_MAX) {
        give_up(p, o, "failed too often");
    } else if (o->phase == INDEX_STARTING) {
        check_start(p, o);
    }
}

static void go_on_draining(struct planner *p, const struct observed_index *o)
{
    int64_t patience = p->desired->drain_timeout_ms;
    int64_t deadline = o->phase_since_ms + (patience > 0 ? patience + PLAN_DRAIN_SLACK_MS : 0);

    if (o->openvpn == PROCESS_ABSENT) {
        plan_act(p, PLAN_TERMINATE, o->index, "OpenVPN has ended");
    } else if (o->drained) {
        plan_act(p, PLAN_TERMINATE, o->index, "drained");
    } else if (p->now_ms >= deadline) {
        plan_act(p, PLAN_TERMINATE, o->index, "drain took too long");
    } else {
        plan_wake_at(p, deadline);
    }
}

static void go_on_terminating(struct planner *p, const struct observed_index *o)
{
    int64_t deadline = o->phase_since_ms + PLAN_TERMINATE_TIMEOUT_MS;
    bool late = p->now_ms >= deadline;
    bool gone = o->openvpn == PROCESS_ABSENT && o->sidecar == PROCESS_ABSENT;

    if (gone && (!o->listed || late)) { /* a balancer that is down must not keep it */
        plan_act(p, PLAN_BURY, o->index, "has ended");
        return;
    }
    if (!late) {
        plan_wake_at(p, deadline);
        return;
    }
    if (o->openvpn != PROCESS_ABSENT) {
        plan_act(p, PLAN_KILL_OPENVPN, o->index, "did not end in time");
    }
    if (o->sidecar != PROCESS_ABSENT) {
        plan_act(p, PLAN_KILL_SIDECAR, o->index, "did not end in time");
    }
}

void plan_index_ends(struct planner *p, const struct observed_index *o)
{
    if (o->lost) { /* it keeps its index; its successor takes another one */
        plan_tell(p, TROUBLE_LOST);
        return;
    }
    switch (o->phase) {
    case INDEX_FREE:
        break;
    case INDEX_STARTING:
    case INDEX_READY:
        if (!p->desired->shutdown) {
            check_failures(p, o);
        }
        break;
    case INDEX_DRAINING:
        go_on_draining(p, o);
        break;
    case INDEX_TERMINATING:
        go_on_terminating(p, o);
        break;
    case INDEX_BURYING:
        if (o->buried) {
            plan_act(p, PLAN_FREE, o->index, "buried");
        }
        break;
    }
}

/* --- what keeps it running --- */

static void keep_openvpn(struct planner *p, const struct observed_index *o)
{
    if (o->openvpn == PROCESS_HUNG) {
        plan_act(p, PLAN_KILL_OPENVPN, o->index, "does not answer");
    } else if (o->openvpn == PROCESS_ABSENT && p->now_ms < o->not_before_ms) {
        plan_wake_at(p, o->not_before_ms);
    } else if (o->openvpn == PROCESS_ABSENT) {
        plan_act(p, PLAN_START_OPENVPN, o->index, o->failures > 0 ? "failed" : "not running");
    }
}

static void keep_sidecar(struct planner *p, const struct observed_index *o)
{
    if (o->sidecar == PROCESS_HUNG) {
        plan_act(p, PLAN_KILL_SIDECAR, o->index, "does not answer");
    } else if (o->sidecar == PROCESS_ABSENT && p->now_ms < o->sidecar_not_before_ms) {
        plan_wake_at(p, o->sidecar_not_before_ms);
    } else if (o->sidecar == PROCESS_ABSENT) {
        plan_act(p, PLAN_START_SIDECAR, o->index, "not running");
    }
}

/* A sidecar that restarts is back before a device gives up waiting, so the last one goes on taking
 * newcomers; where there are others, they go there. Without OpenVPN there is nobody to wait for. */
static void keep_serving(struct planner *p, const struct observed_index *o)
{
    bool able = o->ready && o->openvpn == PROCESS_RUNNING;
    bool shunned = o->phase == INDEX_READY && plan_is_shunned(p, o);

    if (able && (o->phase == INDEX_STARTING || (!o->serving && !shunned))) {
        plan_act(p, PLAN_SERVE, o->index,
                 o->phase == INDEX_STARTING ? "became ready" : "ready again");
    } else if (able && shunned && o->serving) {
        plan_act(p, PLAN_UNSERVE, o->index, "newcomers go to those of the new template");
    } else if (!able && o->serving && (o->openvpn != PROCESS_RUNNING || p->ready > 0)) {
        plan_act(p, PLAN_UNSERVE, o->index, "not ready");
    }
}

void plan_index_runs(struct planner *p, const struct observed_index *o)
{
    if (p->taken[o->index]) {
        return;
    }
    if (plan_is_live(o)) {
        keep_openvpn(p, o);
        keep_sidecar(p, o);
        keep_serving(p, o);
    } else if (o->lost && o->serving) {
        plan_act(p, PLAN_UNSERVE, o->index, "out of reach");
    } else if (o->phase == INDEX_DRAINING && !o->lost) {
        keep_sidecar(p, o); /* it does the draining */
    }
}
