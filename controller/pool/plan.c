#include "controller/pool/plan.h"

#include "controller/pool/plan_priv.h"

#include <assert.h>

int64_t plan_backoff_ms(uint32_t failures)
{
    if (failures == 0) {
        return 0;
    }
    return failures > 6 ? 60000 : (int64_t)1000 << (failures - 1);
}

const char *plan_action_name(enum plan_action_kind kind)
{
    static const char *const names[] = {
        [PLAN_RESERVE] = "reserve",
        [PLAN_START_OPENVPN] = "start-openvpn",
        [PLAN_START_SIDECAR] = "start-sidecar",
        [PLAN_KILL_OPENVPN] = "kill-openvpn",
        [PLAN_KILL_SIDECAR] = "kill-sidecar",
        [PLAN_SERVE] = "serve",
        [PLAN_UNSERVE] = "unserve",
        [PLAN_DRAIN] = "drain",
        [PLAN_TERMINATE] = "terminate",
        [PLAN_BURY] = "bury",
        [PLAN_FREE] = "free",
        [PLAN_GIVE_UP] = "give-up",
    };

    return names[kind];
}

const char *index_phase_name(enum index_phase phase)
{
    static const char *const names[] = {
        [INDEX_FREE] = "free",
        [INDEX_STARTING] = "starting",
        [INDEX_READY] = "ready",
        [INDEX_DRAINING] = "draining",
        [INDEX_TERMINATING] = "terminating",
        [INDEX_BURYING] = "burying",
    };

    return names[phase];
}

/* --- shared by the parts --- */

void plan_wake_at(struct planner *p, int64_t at_ms)
{
    if (at_ms < p->ret->next_ms) {
        p->ret->next_ms = at_ms;
    }
}

static bool changes_phase(enum plan_action_kind kind)
{
    return kind != PLAN_START_OPENVPN && kind != PLAN_START_SIDECAR && kind != PLAN_KILL_OPENVPN &&
           kind != PLAN_KILL_SIDECAR && kind != PLAN_UNSERVE;
}

void plan_act(struct planner *p, enum plan_action_kind kind, uint32_t index, const char *reason)
{
    struct plan_result *ret = p->ret;

    if (ret->count < PLAN_ACTIONS_MAX) { /* the rest is planned again next time */
        ret->actions[ret->count++] =
            (struct plan_action){.kind = kind, .index = index, .reason = reason};
    }
    if (changes_phase(kind)) {
        plan_wake_at(p, p->now_ms + PLAN_AGAIN_MS);
    }
}

void plan_tell(struct planner *p, enum plan_trouble trouble)
{
    p->trouble = trouble > p->trouble ? trouble : p->trouble;
}

bool plan_is_live(const struct observed_index *o)
{
    return (o->phase == INDEX_STARTING || o->phase == INDEX_READY) && !o->lost;
}

bool plan_can_serve(const struct observed_index *o)
{
    return o->phase == INDEX_READY && o->ready && !o->lost && o->openvpn == PROCESS_RUNNING;
}

bool plan_is_outdated(const struct observed_index *o)
{
    return plan_is_live(o) && !o->current;
}

static bool is_fresh(const struct observed_index *o)
{
    return plan_can_serve(o) && o->current && o->serving;
}

/* While the fresh ones have room: from half full on no more are shunned, and from three quarters on
 * none is, so that a fleet that comes back all at once finds a place. */
bool plan_is_shunned(const struct planner *p, const struct observed_index *o)
{
    uint64_t room = (uint64_t)p->fresh * p->desired->devices_max;
    uint64_t limit = o->serving ? room / 2 : room / 4 * 3;

    return plan_is_outdated(o) && p->fresh > 0 && p->fresh_sessions < limit;
}

/* A new one that has just become ready may fail a moment later: no old one goes for it yet. */
static bool is_sure(struct planner *p, const struct observed_index *o)
{
    int64_t at_ms = o->phase_since_ms + PLAN_MIN_READY_MS;

    if (!is_fresh(o) || p->now_ms >= at_ms) {
        return is_fresh(o) || (plan_can_serve(o) && !o->current);
    }
    plan_wake_at(p, at_ms);
    return false;
}

static void count(struct planner *p, const struct observed_index *o)
{
    p->live += plan_is_live(o);
    p->starting += plan_is_live(o) && o->phase == INDEX_STARTING;
    p->ready += plan_can_serve(o);
    p->sure += is_sure(p, o);
    p->outdated += plan_is_outdated(o);
    p->fresh += is_fresh(o);
    p->fresh_sessions += is_fresh(o) ? o->sessions : 0;
}

void plan_leave(struct planner *p, const struct observed_index *o)
{
    p->taken[o->index] = true;
    p->live -= plan_is_live(o);
    p->starting -= plan_is_live(o) && o->phase == INDEX_STARTING;
    p->ready -= plan_can_serve(o);
    p->sure -= is_sure(p, o);
    p->outdated -= plan_is_outdated(o);
    p->fresh -= is_fresh(o);
    p->fresh_sessions -= is_fresh(o) ? o->sessions : 0;
}

void plan_end(struct planner *p, const struct observed_index *o, const char *reason)
{
    bool may_have_devices = o->phase == INDEX_READY && o->openvpn != PROCESS_ABSENT;

    plan_act(p, may_have_devices ? PLAN_DRAIN : PLAN_TERMINATE, o->index, reason);
    plan_leave(p, o);
}

/* --- who goes --- */

static uint32_t surge(const struct planner *p)
{
    const struct plan_desired *d = p->desired;
    uint32_t most = d->max_surge == 0 && d->max_unavailable == 0 ? 1 : d->max_surge;

    if (p->replicas == 0) {
        return 0;
    }
    return p->outdated < most ? p->outdated : most;
}

/* Whoever has the fewest sessions goes: a driver that has just begun does not know who that is. */
static bool knows_the_counts(struct planner *p)
{
    int64_t at_ms = p->observed->looking_since_ms + PLAN_COUNT_MS;

    for (size_t i = 0; i < p->observed->index_count && p->now_ms < at_ms; i++) {
        const struct observed_index *o = &p->observed->indices[i];
        if (plan_can_serve(o) && !o->counted && !p->desired->shutdown) {
            plan_wake_at(p, at_ms);
            return false;
        }
    }
    return true;
}

static void scale_down(struct planner *p)
{
    const char *reason = p->desired->shutdown ? "shutting down" : "scaled down";

    if (p->live > p->replicas + surge(p) && !knows_the_counts(p)) {
        return;
    }
    while (p->live > p->replicas + surge(p)) {
        const struct observed_index *o = plan_choose_victim(p, true);
        if (o == NULL || (plan_can_serve(o) && p->ready <= p->floor)) {
            /* One that can serve goes only if all can, and then enough are left. */
            o = plan_choose_victim(p, false);
        }
        plan_end(p, o, reason);
    }
}

/* An index was given up lately, or by this plan: the driver sets the time when it hears of it. */
static bool is_paused(const struct planner *p)
{
    return p->gave_up || p->now_ms < p->observed->pool_not_before_ms;
}

/* Its devices are still there while its OpenVPN runs, whether or not it takes new ones: a
 * controller that has just started has not heard of any yet. */
static bool may_be_replaced(const struct planner *p, const struct observed_index *o)
{
    if (o->phase == INDEX_STARTING || o->openvpn == PROCESS_ABSENT) {
        return true;
    }
    return plan_can_serve(o) ? p->sure > p->floor : p->sure >= p->floor;
}

/* Outdated ones go as their successors become ready: one that does not stops the roll, and one that
 * was given up halts it until the next is tried. */
static void roll(struct planner *p)
{
    while (p->outdated > 0 && !is_paused(p)) {
        const struct observed_index *o = plan_choose_victim(p, true);
        if (o == NULL || !may_be_replaced(p, o)) {
            return;
        }
        plan_end(p, o, "replaced by a new template");
    }
}

/* --- who comes --- */

/* How many may start now. After a given-up index new ones are tried one by one, so that settings
 * that cannot work do not burn through the indices. */
static uint32_t may_start(struct planner *p)
{
    int64_t pause_ms = p->observed->pool_not_before_ms;
    uint32_t most = p->desired->starting_max;

    most = most == 0 ? PLAN_STARTING_MAX : most;
    if (is_paused(p)) {
        plan_tell(p, TROUBLE_GIVEN_UP);
        plan_wake_at(p, pause_ms > p->now_ms ? pause_ms : INT64_MAX);
        return 0;
    }
    if (pause_ms > 0 && p->now_ms - pause_ms < PLAN_PROBE_MS) {
        most = 1;
        plan_wake_at(p, pause_ms + PLAN_PROBE_MS);
    }
    return most > p->starting ? most - p->starting : 0;
}

static void scale_up(struct planner *p)
{
    uint32_t target = p->replicas + surge(p);
    uint32_t current = p->live - p->outdated;

    if (p->live >= target || current >= p->replicas) {
        return;
    }
    uint32_t missing = target - p->live;
    missing = missing < p->replicas - current ? missing : p->replicas - current;
    uint32_t most = may_start(p);
    missing = missing < most ? missing : most;
    for (; missing > 0; missing--) {
        uint32_t index = plan_choose_index(p);
        if (index == 0) {
            plan_tell(p, p->live < p->replicas ? TROUBLE_NO_INDEX : TROUBLE_NO_ROOM);
            return;
        }
        plan_act(p, PLAN_RESERVE, index,
                 p->live < p->replicas ? "too few" : "to replace an outdated one");
        p->taken[index] = true;
        p->live++;
        p->starting++;
    }
}

/* --- the whole --- */

static bool is_progressing(const struct planner *p)
{
    for (size_t i = 0; i < p->observed->index_count; i++) {
        const struct observed_index *o = &p->observed->indices[i];
        if (o->phase != INDEX_READY || !o->current) {
            return true;
        }
    }
    return p->ret->count > 0 || p->live > p->replicas + surge(p);
}

static const struct {
    const char *reason, *text;
} troubles[] = {
    [TROUBLE_NONE] = {NULL, NULL},
    [TROUBLE_LOST] = {"InstanceLost", "an instance is out of reach"},
    [TROUBLE_UNSCHEDULED] = {"NotScheduled", "an instance has had no node for a minute"},
    [TROUBLE_PULLING] = {"NotStarted", "an instance's containers have not been made for a minute"},
    [TROUBLE_WAITING] = {"WaitingForApi",
                         "an instance runs but is not ready: the balena API does not answer it, or "
                         "refuses its key"},
    [TROUBLE_FAILING] = {"InstanceFails", "an instance fails and is started again"},
    [TROUBLE_NO_ROOM] = {"NoRoomToReplace",
                         "no index is left for a new one beside the outdated ones: that takes a "
                         "larger base subnet or rollout.maxUnavailable"},
    [TROUBLE_NO_INDEX] = {"NoFreeIndex", "no index is free in the base subnet"},
    [TROUBLE_GIVEN_UP] = {"InstanceGivenUp", "an instance did not come up and was given up"},
};

static void begin(struct planner *p)
{
    const struct plan_desired *d = p->desired;

    p->replicas = d->shutdown ? 0 : d->replicas;
    p->floor = p->replicas > d->max_unavailable ? p->replicas - d->max_unavailable : 0;
    p->ret->count = 0;
    p->ret->next_ms = INT64_MAX;
    for (size_t i = 0; i < p->observed->index_count; i++) {
        const struct observed_index *o = &p->observed->indices[i];
        assert(o->index >= 1 && o->index <= PLAN_INDEX_MAX);
        count(p, o);
    }
    p->ret->ready = p->ready;
    p->ret->available = p->ready >= p->floor;
}

void plan(const struct plan_desired *desired, const struct plan_observed *observed,
          struct plan_result *ret)
{
    struct planner p = {
        .desired = desired, .observed = observed, .ret = ret, .now_ms = observed->now_ms};

    assert(desired->capacity <= PLAN_INDEX_MAX);
    begin(&p);
    for (size_t i = 0; i < observed->index_count; i++) {
        plan_index_ends(&p, &observed->indices[i]);
    }
    scale_down(&p);
    roll(&p);
    scale_up(&p);
    for (size_t i = 0; i < observed->index_count; i++) {
        plan_index_runs(&p, &observed->indices[i]);
    }
    ret->progressing = is_progressing(&p);
    ret->degraded = troubles[p.trouble].text;
    ret->degraded_reason = troubles[p.trouble].reason;
}
