/* plan: what to do next with a pool. plan(desired, observed) -> actions, a pure function of its
 * arguments: no clock (now_ms is given), no input or output, no memory of its own. The driver calls
 * it after each change and at plan_next_ms, carries the actions out, and shows their effect in the
 * next observed. An action that was not carried out is planned again.
 *
 * Life of an index:
 *   FREE -> STARTING -> READY -> DRAINING -> TERMINATING -> BURYING -> FREE
 * The driver writes an index down as STARTING before it starts anything (it is the reservation). */
#pragma once

#include "common/base.h"

enum index_phase {
    INDEX_FREE,
    INDEX_STARTING,    /* reserved; process or Pod is being made, or runs and is not ready yet */
    INDEX_READY,       /* serves or may serve */
    INDEX_DRAINING,    /* takes no new devices, moves those it has */
    INDEX_TERMINATING, /* empty or out of time: its processes are being ended */
    INDEX_BURYING,     /* processes are gone; the API may still list its devices */
};

enum observed_process { PROCESS_ABSENT, PROCESS_RUNNING, PROCESS_HUNG };

struct observed_index { /* as the driver sees it now */
    uint32_t index;     /* 1..1024 */
    enum index_phase phase;
    int64_t phase_since_ms;        /* monotonic or Unix, the same clock as now_ms */
    enum observed_process openvpn; /* Kubernetes: both are the Pod's containers */
    enum observed_process sidecar;
    bool ready;            /* the sidecar says so */
    bool drained;          /* the sidecar says no session is left */
    bool serving;          /* listed and enabled in the balancer */
    bool listed;           /* known to the balancer at all */
    bool lost;             /* Kubernetes: its node does not answer; it keeps its index */
    bool marked;           /* a person wants this one gone first */
    bool current;          /* runs the desired template */
    bool buried;           /* the API lists no device under its service instance */
    uint32_t sessions;     /* 0 if unknown */
    bool counted;          /* this driver has been told how many */
    uint32_t failures;     /* ends nobody asked for, or not ready in time; reset by the driver after
                              PLAN_HEALTHY_MS of readiness */
    int64_t not_before_ms; /* of the next start; 0: any time */
    bool leaving_for_good; /* DRAINING and later: do not restart what ends */
    /* Its sidecar reaches its OpenVPN: what it still waits for, the API, is not its fault, so
     * PLAN_START_TIMEOUT_MS does not count. */
    bool linked;
    int64_t sidecar_not_before_ms; /* of the sidecar's next start; 0: any time */
    /* Kubernetes: it has no node yet; its image is on its way. The scheduler and the node pace
     * that: PLAN_START_TIMEOUT_MS counts from phase_since_ms once neither holds. */
    bool unscheduled, pulling;
};

struct freed_index {
    uint32_t index;
    int64_t freed_ms;
};

struct plan_desired {
    uint32_t replicas;
    uint32_t capacity; /* highest index that may be used, at most PLAN_INDEX_MAX */
    uint32_t max_surge, max_unavailable;
    int64_t drain_timeout_ms;
    uint32_t starting_max; /* so many at once may be starting; 0: PLAN_STARTING_MAX */
    uint32_t devices_max;  /* what one instance has addresses for */
    bool shutdown;         /* everything is to end in order */
};

struct plan_observed {
    int64_t now_ms;
    const struct observed_index *indices; /* all that are not FREE, in order of index */
    size_t index_count;
    const struct freed_index *freed; /* least recently freed first; others were never used */
    size_t freed_count;
    const uint32_t *occupied; /* Kubernetes: their names are somebody else's; never chosen */
    size_t occupied_count;
    int64_t pool_not_before_ms; /* after a given-up index: no new one before */
    /* When this driver began to look, 0: long ago. What it cannot have seen yet is not held against
     * anyone. */
    int64_t looking_since_ms;
};

enum plan_action_kind {
    PLAN_RESERVE,       /* index: write down as STARTING with a new epoch, then start it */
    PLAN_START_OPENVPN, /* (again) within its epoch; failures has been counted by the driver */
    PLAN_START_SIDECAR,
    PLAN_KILL_OPENVPN, /* hung, or did not end in time */
    PLAN_KILL_SIDECAR,
    PLAN_SERVE,     /* becomes READY: list it in the balancer and let devices in */
    PLAN_UNSERVE,   /* not ready any more, or outdated: no new devices, keep those it has */
    PLAN_DRAIN,     /* becomes DRAINING */
    PLAN_TERMINATE, /* becomes TERMINATING: end OpenVPN, then the sidecar, unlist */
    PLAN_BURY,      /* becomes BURYING */
    PLAN_FREE,      /* becomes FREE */
    PLAN_GIVE_UP,   /* failed too often: becomes TERMINATING, no new index for a while */
};

struct plan_action {
    enum plan_action_kind kind;
    uint32_t index;
    const char *reason; /* a literal for logs and Events: "scaled down", "crashed", ... */
};

#define PLAN_INDEX_MAX 1024 /* capacity is cut to it */
#define PLAN_ACTIONS_MAX 4096
#define PLAN_STARTING_MAX 16      /* what one machine starts at once; after a given-up index: one */
#define PLAN_MIN_READY_MS 5000    /* a new one of a roll counts after so long */
#define PLAN_DRAIN_SLACK_MS 10000 /* beyond drain_timeout_ms, for the last to notice */
#define PLAN_PROBE_MS 120000 /* after the pool's pause: one new instance at a time for so long */
#define PLAN_AGAIN_MS 100    /* after a phase was changed */
#define PLAN_REST_MS 60000   /* a freed index rests that long while there are others */
#define PLAN_START_TIMEOUT_MS 60000 /* from start to ready, else a failure */
#define PLAN_FAILURES_MAX 6         /* then the index is given up */
#define PLAN_COUNT_MS 1500    /* a driver that just began waits so long for counts of sessions */
#define PLAN_HEALTHY_MS 60000 /* ready that long: failures are forgotten */
#define PLAN_GIVE_UP_PAUSE_MS 60000 /* pool-wide, after an index was given up */
#define PLAN_TERMINATE_TIMEOUT_MS 15000

struct plan_result {
    struct plan_action actions[PLAN_ACTIONS_MAX];
    size_t count;
    int64_t next_ms;             /* when time alone changes something; INT64_MAX: never */
    uint32_t ready;              /* for status */
    bool available;              /* ready >= replicas - max_unavailable */
    bool progressing;            /* something is on its way */
    const char *degraded;        /* why, for a person; or NULL */
    const char *degraded_reason; /* the same in one CamelCase word; or NULL */
};

void plan(const struct plan_desired *desired, const struct plan_observed *observed,
          struct plan_result *ret);

/* Wait before start number failures + 1: 0, 1 s, 2 s, 4 s ... 60 s. */
int64_t plan_backoff_ms(uint32_t failures);
const char *plan_action_name(enum plan_action_kind kind); /* "reserve" */
const char *index_phase_name(enum index_phase phase);     /* "ready" */
