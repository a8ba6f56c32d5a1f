#include "controller/pool/plan.h"

#include <assert.h>
#include <stdlib.h>

struct planner {
    const struct plan_desired *desired;
    const struct plan_observed *observed;
    struct plan_result *ret;
    uint32_t replicas; /* 0 while everything is to end */
    uint32_t live;     /* STARTING and READY, not lost, not given up or drained by this plan */
    uint32_t ready;    /* of those, READY and able to serve */
    uint32_t outdated; /* of those, with another template */
    bool leaving[PLAN_INDEX_MAX + 1]; /* this plan ends it */
};

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

static void act(struct planner *p, enum plan_action_kind kind, uint32_t index, const char *reason)
{
    struct plan_result *ret = p->ret;

    if (ret->count < PLAN_ACTIONS_MAX) { /* the rest is planned again next time */
        ret->actions[ret->count++] =
            (struct plan_action){.kind = kind, .index = index, .reason = reason};
    }
}

static void wake_at(struct planner *p, int64_t at_ms)
{
    if (at_ms < p->ret->next_ms) {
        p->ret->next_ms = at_ms;
    }
}

static bool is_live(const struct observed_index *o)
{
    return (o->phase == INDEX_STARTING || o->phase == INDEX_READY) && !o->lost;
}

static bool can_serve(const struct observed_index *o)
{
    return o->phase == INDEX_READY && o->ready && !o->lost && o->openvpn == PROCESS_RUNNING;
}

static void count(struct planner *p)
{
    for (size_t i = 0; i < p->observed->index_count; i++) {
        const struct observed_index *o = &p->observed->indices[i];
        p->live += is_live(o);
        p->ready += can_serve(o);
        p->outdated += is_live(o) && !o->current;
    }
    p->ret->ready = p->ready;
}

/* Takes an index out of the counts: it is on its way out. */
static void leave(struct planner *p, const struct observed_index *o)
{
    p->leaving[o->index] = true;
    p->live -= is_live(o);
    p->ready -= can_serve(o);
    p->outdated -= is_live(o) && !o->current;
}

/* --- one index by itself --- */

static void keep_sidecar(struct planner *p, const struct observed_index *o)
{
    if (o->sidecar == PROCESS_ABSENT) {
        act(p, PLAN_START_SIDECAR, o->index, "not running");
    } else if (o->sidecar == PROCESS_HUNG) {
        act(p, PLAN_KILL_SIDECAR, o->index, "does not answer");
    }
}

/* False: the index was given up. */
static bool keep_openvpn(struct planner *p, const struct observed_index *o)
{
    if (o->openvpn == PROCESS_HUNG) {
        act(p, PLAN_KILL_OPENVPN, o->index, "does not answer");
    }
    if (o->openvpn != PROCESS_ABSENT) {
        return true;
    }
    if (o->failures >= PLAN_FAILURES_MAX) {
        act(p, PLAN_GIVE_UP, o->index, "failed too often");
        leave(p, o);
        return false;
    }
    if (p->observed->now_ms >= o->not_before_ms) {
        act(p, PLAN_START_OPENVPN, o->index, o->failures > 0 ? "failed" : "not running");
    } else {
        wake_at(p, o->not_before_ms);
    }
    return true;
}

static void plan_starting(struct planner *p, const struct observed_index *o)
{
    if (p->desired->shutdown) {
        act(p, PLAN_TERMINATE, o->index, "shutting down");
        leave(p, o);
        return;
    }
    if (!keep_openvpn(p, o)) {
        return;
    }
    keep_sidecar(p, o);
    if (o->ready && o->openvpn == PROCESS_RUNNING) {
        act(p, PLAN_SERVE, o->index, "became ready");
        return;
    }
    if (p->observed->now_ms - o->phase_since_ms >= PLAN_START_TIMEOUT_MS) {
        p->ret->degraded = "an instance does not become ready";
    } else {
        wake_at(p, o->phase_since_ms + PLAN_START_TIMEOUT_MS);
    }
}

static void plan_ready(struct planner *p, const struct observed_index *o)
{
    if (p->desired->shutdown) {
        act(p, PLAN_DRAIN, o->index, "shutting down");
        leave(p, o);
        return;
    }
    if (!keep_openvpn(p, o)) {
        return;
    }
    keep_sidecar(p, o);
    if (can_serve(o) && !o->serving) {
        act(p, PLAN_SERVE, o->index, "ready again");
    } else if (!can_serve(o) && o->serving) {
        act(p, PLAN_UNSERVE, o->index, "not ready");
    }
}

static void plan_draining(struct planner *p, const struct observed_index *o)
{
    int64_t deadline = o->phase_since_ms + p->desired->drain_timeout_ms;

    if (o->openvpn == PROCESS_ABSENT) {
        act(p, PLAN_TERMINATE, o->index, "OpenVPN has ended");
    } else if (o->drained) {
        act(p, PLAN_TERMINATE, o->index, "drained");
    } else if (p->observed->now_ms >= deadline) {
        act(p, PLAN_TERMINATE, o->index, "drain took too long");
    } else {
        wake_at(p, deadline);
        keep_sidecar(p, o);
    }
}

static void plan_terminating(struct planner *p, const struct observed_index *o)
{
    if (o->openvpn == PROCESS_ABSENT && o->sidecar == PROCESS_ABSENT && !o->listed) {
        act(p, PLAN_BURY, o->index, "has ended");
    } else {
        wake_at(p, p->observed->now_ms + PLAN_TERMINATE_TIMEOUT_MS);
    }
}

static void plan_index(struct planner *p, const struct observed_index *o)
{
    if (o->lost) { /* keeps its index; who replaces it takes another one */
        return;
    }
    switch (o->phase) {
    case INDEX_FREE:
        break;
    case INDEX_STARTING:
        plan_starting(p, o);
        break;
    case INDEX_READY:
        plan_ready(p, o);
        break;
    case INDEX_DRAINING:
        plan_draining(p, o);
        break;
    case INDEX_TERMINATING:
        plan_terminating(p, o);
        break;
    case INDEX_BURYING:
        if (o->buried) {
            act(p, PLAN_FREE, o->index, "buried");
        }
        break;
    }
}

/* --- who goes --- */

/* Is a to go rather than b? Not ready, marked by a person, outdated, fewest sessions, highest. */
static bool goes_before(const struct observed_index *a, const struct observed_index *b)
{
    if (can_serve(a) != can_serve(b)) {
        return !can_serve(a);
    }
    if (a->marked != b->marked) {
        return a->marked;
    }
    if (a->current != b->current) {
        return !a->current;
    }
    if (a->sessions != b->sessions) {
        return a->sessions < b->sessions;
    }
    return a->index > b->index;
}

static const struct observed_index *choose_victim(const struct planner *p, bool outdated_only)
{
    const struct observed_index *best = NULL;

    for (size_t i = 0; i < p->observed->index_count; i++) {
        const struct observed_index *o = &p->observed->indices[i];
        if (is_live(o) && !p->leaving[o->index] && (!outdated_only || !o->current) &&
            (best == NULL || goes_before(o, best))) {
            best = o;
        }
    }
    return best;
}

static bool may_lose(const struct planner *p, const struct observed_index *o)
{
    return !can_serve(o) || p->ready > p->replicas ||
           p->replicas - (p->ready - 1) <= p->desired->max_unavailable;
}

static void end(struct planner *p, const struct observed_index *o, const char *reason)
{
    bool serves = o->phase == INDEX_READY && o->openvpn != PROCESS_ABSENT;

    act(p, serves ? PLAN_DRAIN : PLAN_TERMINATE, o->index, reason);
    leave(p, o);
}

static uint32_t surge(const struct planner *p)
{
    uint32_t most = p->desired->max_surge;

    return p->outdated < most ? p->outdated : most;
}

static void scale_down(struct planner *p)
{
    while (p->live > p->replicas + surge(p)) {
        const struct observed_index *victim = choose_victim(p, false);
        if (victim == NULL || !may_lose(p, victim)) {
            return;
        }
        end(p, victim, "scaled down");
    }
}

/* Outdated ones go as their successors become ready: one that does not stops the roll. */
static void roll(struct planner *p)
{
    while (p->outdated > 0) {
        const struct observed_index *victim = choose_victim(p, true);
        if (victim == NULL || !may_lose(p, victim)) {
            return;
        }
        end(p, victim, "replaced by a new template");
    }
}

/* --- who comes --- */

static bool is_used(const struct planner *p, uint32_t index)
{
    for (size_t i = 0; i < p->observed->index_count; i++) {
        if (p->observed->indices[i].index == index) {
            return true;
        }
    }
    return false;
}

static bool was_freed(const struct planner *p, uint32_t index)
{
    for (size_t i = 0; i < p->observed->freed_count; i++) {
        if (p->observed->freed[i].index == index) {
            return true;
        }
    }
    return false;
}

/* The least recently freed, rested or not; 0: none. */
static uint32_t choose_freed(struct planner *p, bool rested)
{
    for (size_t i = 0; i < p->observed->freed_count; i++) {
        const struct freed_index *f = &p->observed->freed[i];
        bool has_rested = p->observed->now_ms - f->freed_ms >= PLAN_REST_MS;
        if (has_rested == rested && f->index <= p->desired->capacity && !p->leaving[f->index] &&
            !is_used(p, f->index)) {
            return f->index;
        }
    }
    return 0;
}

static uint32_t choose_never_used(const struct planner *p)
{
    for (uint32_t index = 1; index <= p->desired->capacity; index++) {
        if (!p->leaving[index] && !is_used(p, index) && !was_freed(p, index)) {
            return index;
        }
    }
    return 0;
}

static uint32_t choose_index(struct planner *p)
{
    uint32_t index = choose_freed(p, true);

    if (index == 0) {
        index = choose_never_used(p);
    }
    return index != 0 ? index : choose_freed(p, false);
}

static void scale_up(struct planner *p)
{
    if (p->desired->shutdown || p->live >= p->replicas + surge(p)) {
        return;
    }
    if (p->observed->now_ms < p->observed->pool_not_before_ms) {
        p->ret->degraded = "an instance failed too often";
        wake_at(p, p->observed->pool_not_before_ms);
        return;
    }
    while (p->live < p->replicas + surge(p)) {
        uint32_t index = choose_index(p);
        if (index == 0) {
            p->ret->degraded = "no free index";
            return;
        }
        act(p, PLAN_RESERVE, index, p->live < p->replicas ? "scaled up" : "surge");
        p->leaving[index] = true; /* taken: not to be chosen again in this plan */
        p->live++;
    }
}

static bool is_progressing(const struct planner *p)
{
    for (size_t i = 0; i < p->observed->index_count; i++) {
        const struct observed_index *o = &p->observed->indices[i];
        if (o->phase != INDEX_READY || !o->current) {
            return true;
        }
    }
    return p->ret->count > 0;
}

void plan(const struct plan_desired *desired, const struct plan_observed *observed,
          struct plan_result *ret)
{
    struct planner p = {
        .desired = desired,
        .observed = observed,
        .ret = ret,
        .replicas = desired->shutdown ? 0 : desired->replicas,
    };

    assert(desired->capacity <= PLAN_INDEX_MAX);
    ret->count = 0;
    ret->next_ms = INT64_MAX;
    ret->degraded = NULL;
    count(&p);
    ret->available = p.ready + desired->max_unavailable >= p.replicas;
    for (size_t i = 0; i < observed->index_count; i++) {
        assert(observed->indices[i].index >= 1 && observed->indices[i].index <= PLAN_INDEX_MAX);
        plan_index(&p, &observed->indices[i]);
    }
    scale_down(&p);
    roll(&p);
    scale_up(&p);
    ret->progressing = is_progressing(&p);
}
