/* plan_priv: what the parts of the planner share. Private to plan*.c. */
#pragma once

#include "controller/pool/plan.h"

enum plan_trouble { /* the gravest last: it is the one that is told */
                    TROUBLE_NONE,
                    TROUBLE_LOST,
                    TROUBLE_UNSCHEDULED,
                    TROUBLE_PULLING,
                    TROUBLE_WAITING,
                    TROUBLE_FAILING,
                    TROUBLE_NO_ROOM,
                    TROUBLE_NO_INDEX,
                    TROUBLE_GIVEN_UP,
};

struct planner {
    const struct plan_desired *desired;
    const struct plan_observed *observed;
    struct plan_result *ret;
    int64_t now_ms;
    uint32_t replicas; /* 0 while everything is to end */
    uint32_t floor;    /* so many must be able to serve, as far as it is up to us */
    /* Of what stays: STARTING or READY, within reach, not ended by this plan. */
    uint32_t live;
    uint32_t starting;
    uint32_t ready;    /* able to serve */
    uint32_t sure;     /* and, if current, listed, and for PLAN_MIN_READY_MS */
    uint32_t outdated; /* with another template */
    uint32_t fresh;    /* current, and newcomers do come there */
    uint64_t fresh_sessions;
    enum plan_trouble trouble;
    bool gave_up;                   /* this plan gives one up */
    bool taken[PLAN_INDEX_MAX + 1]; /* ended or chosen by this plan */
};

void plan_act(struct planner *p, enum plan_action_kind kind, uint32_t index, const char *reason);
void plan_wake_at(struct planner *p, int64_t at_ms);
void plan_tell(struct planner *p, enum plan_trouble trouble);
/* Ends a live one in order: drained if it may have devices. */
void plan_end(struct planner *p, const struct observed_index *o, const char *reason);
/* Takes it out of the counts: it is on its way out. */
void plan_leave(struct planner *p, const struct observed_index *o);

bool plan_is_live(const struct observed_index *o);
bool plan_can_serve(const struct observed_index *o);
bool plan_is_outdated(const struct observed_index *o); /* and live */
/* Newcomers go to others: what comes to an outdated one would have to move once more. */
bool plan_is_shunned(const struct planner *p, const struct observed_index *o);

/* plan_index.c: one index by itself. */
void plan_index_ends(struct planner *p,
                     const struct observed_index *o); /* who has to go on ending */
void plan_index_runs(struct planner *p, const struct observed_index *o); /* what keeps it running */

/* plan_choose.c: NULL, 0: there is none. */
const struct observed_index *plan_choose_victim(const struct planner *p, bool outdated_only);
uint32_t plan_choose_index(const struct planner *p);
