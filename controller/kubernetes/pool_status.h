/* pool_status: a pool's status, which is also the controller's memory: which index is reserved, in
 * which phase, with which Pod. To and from JSON. Pure. The schema is in ARCHITECTURE.md.
 * What is in no JSON (marked "not written") is known to this process only and found again by the
 * next one. */
#pragma once

#include "common/json.h"
#include "controller/kubernetes/pod_view.h"
#include "controller/pool/object.h"
#include "controller/pool/plan.h"

#define POOL_BURIALS_MAX 4096
#define POOL_MESSAGE_MAX 1023

struct pool_instance {
    uint32_t index; /* 1..PLAN_INDEX_MAX */
    enum index_phase phase;
    int64_t since_ms;          /* Unix: when the phase began, or the Pod began to run */
    char uid[POD_UID_MAX + 1]; /* of its Pod, the epoch; "": there is none yet */
    char node[POD_NODE_MAX + 1];
    uint32_t sessions;
    int64_t service_id; /* 0: not known yet */
    uint32_t failures;
    int64_t not_before_ms;           /* 0: any time */
    char reason[POD_REASON_MAX + 1]; /* CamelCase: what brought it into its phase */
    bool lost;

    /* Not written. */
    bool gone;                        /* a live look found no Pod of that uid */
    bool unsure;                      /* its name exists, and nobody has looked whose it is */
    bool unserved;                    /* the planner wants no newcomers there for now */
    bool seen;                        /* its Pod, by us: restarts and unserved are true */
    uint32_t restarts;                /* of OpenVPN's container, when last looked at */
    int64_t ready_ms;                 /* since when it is ready; 0: it is not */
    bool delete_asked;                /* the API server has accepted it */
    char drain_told[POD_UID_MAX + 1]; /* the uid whose sidecar was told to drain */
    int64_t drain_told_ms;
    int gate_asked; /* 0: nothing; 1: to open, -1: to close it */
    int64_t gate_asked_ms;
    char template_hash[17]; /* of what its Pod would be, "": to be computed */
};

struct pool_burial {
    uint32_t index;
    char epoch[POD_UID_MAX + 1];
    int64_t service_id;
};

enum pool_condition_type { POOL_AVAILABLE, POOL_PROGRESSING, POOL_DEGRADED, POOL_CONDITIONS };

struct pool_condition {
    bool known; /* false: was never set */
    bool yes;
    char reason[POD_REASON_MAX + 1];
    char message[POOL_MESSAGE_MAX + 1];
    int64_t since_ms; /* of the last change of yes */
    int64_t observed_generation;
};

struct pool_status {
    int64_t observed_generation;
    uint32_t replicas, ready, draining, sessions, capacity;
    struct pool_instance *instances; /* in order of index; owned */
    size_t count, room;
    struct freed_index freed[PLAN_INDEX_MAX]; /* least recently freed first; Unix ms */
    size_t freed_count;
    struct pool_burial *burials; /* owned */
    size_t burial_count;
    struct pool_condition conditions[POOL_CONDITIONS];
};

void pool_status_init(struct pool_status *s);
void pool_status_clear(struct pool_status *s);

/* status: of the object, or NULL. What makes no sense in it (an index twice, a phase that is none)
 * is left out; *ignored says how many entries. Never fails. */
void pool_status_read(const cJSON *status, struct pool_status *ret, size_t *ignored);
/* pool: its name and network, for names and subnets; NULL: of a spec that is not understood.
 * Owned by the caller. */
cJSON *pool_status_make(const struct pool_status *s, const char *name,
                        const struct pool_network *network);
/* What is worth a write at once: all but figures that change all the time (sessions). Caller frees.
 */
char *pool_status_gist(const struct pool_status *s);

struct pool_instance *pool_status_find(const struct pool_status *s, uint32_t index); /* or NULL */
/* A new one in phase STARTING; index must be free. It is no freed index any more. Valid until the
 * next call of one of these two. */
struct pool_instance *pool_status_add(struct pool_status *s, uint32_t index, int64_t now_ms);
void pool_status_remove(struct pool_status *s, uint32_t index, int64_t now_ms); /* it is freed */

void pool_instance_enter(struct pool_instance *i, enum index_phase phase, const char *reason,
                         int64_t now_ms);
/* The time of transition changes only when yes does. */
void pool_status_condition(struct pool_status *s, enum pool_condition_type type, bool yes,
                           const char *reason, const char *message, int64_t now_ms);
/* "scaled down" -> "ScaledDown". */
void pool_reason(const char *words, char ret[POD_REASON_MAX + 1]);
