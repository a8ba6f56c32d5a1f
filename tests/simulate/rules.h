/* rules: what must hold of every plan, whatever happens in the world. */
#pragma once

#include "common/buf.h"
#include "tests/simulate/world.h"

/* Before the actions are carried out. True: all is well; else why has one line for each rule that
 * is broken. */
bool rules_hold(struct world *w, const struct plan_result *result, struct buf *why);

/* After the world has been well for long enough: nothing is left to do, and all is as desired. */
bool rules_settled(struct world *w, const struct plan_result *result, struct buf *why);

/* Counts actions; too many of one kind for one index within a simulated minute is a flood. */
struct flood {
    int64_t minute;
    uint16_t counts[PLAN_INDEX_MAX + 1][PLAN_GIVE_UP + 1];
};
bool flood_holds(struct flood *f, int64_t now_ms, const struct plan_result *result,
                 struct buf *why);
