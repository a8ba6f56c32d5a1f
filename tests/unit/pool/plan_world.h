/* plan_world: worlds for the planner in one line of text, so that a table of cases can be read.
 * Indices, comma-separated: "1 READY sessions=5, 2 STARTING since=-61s". A phase alone means what
 * is usual in it: READY has both processes, serves, is current; others see plan_world.c. Words
 * after it change that: down (no OpenVPN), hung, nosidecar, silent (sidecar hangs), unready,
 * unserved, uncounted, old, marked, lost, linked, unscheduled, pulling, drained, listed, buried,
 * alive (processes still there), sessions=N, failures=N, since=-Ns, notbefore=+Ns,
 * sidecarnotbefore=+Ns.
 */
#pragma once

#include "controller/pool/plan.h"

#define WORLD_NOW 100000000
#define WORLD_MAX 64

struct plan_world {
    struct observed_index indices[WORLD_MAX];
    struct freed_index freed[WORLD_MAX];
    struct plan_observed observed; /* points to the above */
};

/* freed: "3@-70s 2@-10s", least recently freed first. A word that is not known ends the test. */
void plan_world_parse(const char *indices, const char *freed, struct plan_world *ret);
/* "reserve 1, drain 2" in the order of the plan. Caller frees. */
char *plan_actions_text(const struct plan_result *result);
