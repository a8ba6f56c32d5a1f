/* world: a toy machine or cluster for the planner, with the book-keeping of a driver: processes
 * that start slowly, crash, hang or ignore signals, sidecars, an API, a balancer, nodes that get
 * lost, and a controller that dies between writing an action down and carrying it out. Everything
 * follows from the seed. Times are ms since the beginning. */
#pragma once

#include "controller/pool/plan.h"

#define WORLD_LIVES_MAX 64
#define WORLD_NEVER INT64_MAX
#define WORLD_OCCUPIED_MAX 3

enum toy_state { TOY_GONE, TOY_RUNNING, TOY_HUNG };

struct toy_process {
    enum toy_state state;
    int64_t begun_ms;
    int64_t up_ms;   /* works from then on */
    int64_t hung_ms; /* does nothing since then */
    int64_t dies_ms; /* crashes then */
    bool stubborn;   /* ignores SIGTERM */
    int64_t ends_ms; /* was told to end and does so then */
    uint32_t starts; /* of this life */
};

/* One life of an index. The first part is on disk, the second is the truth, the third is in the
 * controller's memory and lost with it. */
struct life {
    uint32_t index;
    uint32_t epoch;
    enum index_phase phase;
    int64_t phase_since_ms;
    bool serving;
    uint32_t failures;
    int64_t not_before_ms;
    uint32_t revision;

    struct toy_process openvpn, sidecar;
    bool api_seen;      /* its sidecar has had an answer of the API */
    bool drain_told;    /* its sidecar drains */
    int64_t drained_ms; /* has no session left then */
    uint32_t sessions;
    bool registered; /* the API knows it: it has to be buried */
    int64_t buried_ms;
    bool listed; /* in the balancer */
    int64_t lost_until_ms;
    int64_t held_until_ms; /* no node or no image before; 0: nothing is in its way */
    bool marked;
    bool served; /* took devices once */

    int64_t known_ms; /* the controller hears of its sidecar from then on */
    int64_t ready_ms; /* since when it is seen ready; 0: it is not */
    uint32_t sidecar_failures;
    int64_t sidecar_not_before_ms;
};

struct world {
    uint64_t random;
    int64_t now_ms;
    bool faults;  /* things go wrong */
    bool cluster; /* nodes may be lost */
    struct plan_desired desired;
    uint32_t revision;
    bool broken; /* what the newest revision starts does not come up */
    bool api_ok;
    bool balancer_ok;
    int64_t api_change_ms, balancer_change_ms;

    struct life lives[WORLD_LIVES_MAX];
    size_t count;
    struct freed_index freed[PLAN_INDEX_MAX];
    size_t freed_count;
    uint32_t occupied[WORLD_OCCUPIED_MAX]; /* names that others have */
    size_t occupied_count;
    int64_t pool_not_before_ms;
    int64_t looking_since_ms;
    uint32_t epochs;

    uint32_t born, given_up, buried, controllers; /* figures for people */
    struct observed_index observed[WORLD_LIVES_MAX];
};

void world_init(struct world *w, uint64_t seed);
uint32_t world_random(struct world *w, uint32_t below);
bool world_chance(struct world *w, uint32_t in); /* one in so many */

/* Time passes: processes come up, crash and end; the driver notices what it can. */
void world_pass(struct world *w, int64_t ms);
/* Something goes wrong or is changed by a person. */
void world_disturb(struct world *w);
/* No more faults: the API, the balancer and the nodes are well, the configuration works. */
void world_mend(struct world *w);

void world_observe(struct world *w, struct plan_observed *ret);
/* Writes it down, then does it; told to die in between, the controller does not do it. */
void world_carry_out(struct world *w, const struct plan_action *action, bool dies_before_doing);
/* Another controller takes over: what is not on disk is lost. */
void world_restart_controller(struct world *w);

struct life *world_find(struct world *w, uint32_t index);
bool life_is_lost(const struct world *w, const struct life *l);
bool life_works(const struct world *w, const struct life *l); /* OpenVPN and sidecar */
/* In truth, whatever is known: it could take devices; it does. */
bool life_can_serve(const struct world *w, const struct life *l);
bool life_serves(const struct world *w, const struct life *l);
