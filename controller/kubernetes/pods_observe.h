/* pods_observe: from what is seen of the Pods to what the planner is shown. Pure: the clock and all
 * lookups are given.
 *
 * An instance is one Pod for its whole life (the epoch is the Pod's uid), so a Pod that somebody
 * deleted, that failed or that is not there any more ends the life of its index: pods_follow() puts
 * that into the status, and the planner sees one too few and takes another index. */
#pragma once

#include "controller/kubernetes/pool_status.h"

#define POD_LOST_MS 30000 /* so long past its grace, a Pod that is to go is on a lost node */

enum pod_claim {
    POD_OURS,
    POD_ORPHAN,  /* of an earlier pool of this name: the garbage collector will have it */
    POD_FOREIGN, /* somebody else's: never touched, never adopted */
};
enum pod_claim pod_classify(const struct pod_view *v, const char *pool, const char *pool_uid);

enum instance_phase { /* as a sidecar says of itself */
                      INSTANCE_UNKNOWN,
                      INSTANCE_STARTING,
                      INSTANCE_READY,
                      INSTANCE_DRAINING,
                      INSTANCE_DRAINED,
};

struct instance_report { /* what a state service, or the sidecar, says of an epoch */
    enum instance_phase phase;
    uint32_t sessions;
    int64_t service_id; /* 0: not registered yet */
};

struct pods_seen {    /* borrowed */
    const char *pool; /* name and uid of the pool */
    const char *pool_uid;
    int64_t now_ms;                                             /* Unix */
    const struct pod_view *(*pod)(void *arg, const char *name); /* in the cache, or NULL */
    bool (*is_awaited)(void *arg, const char *name);            /* made, and not in the cache yet */
    bool (*report)(void *arg, const char *epoch, struct instance_report *ret); /* false: none */
    bool (*is_listed)(void *arg, const char *name); /* in every balancer that answers */
    bool (*is_buried)(void *arg, uint32_t index, const char *epoch);
    void *arg;
};

/* The Pod of this life, if the cache has it. */
const struct pod_view *pods_find(const struct pods_seen *seen, const struct pool_instance *i);

/* Has to be looked for at the API server itself: the cache does not have it, and nothing says that
 * it will. Found to be absent: gone. */
bool pods_must_look(const struct pods_seen *seen, const struct pool_instance *i);

/* What has become of each Pod goes into the status. */
void pods_follow(const struct pods_seen *seen, struct pool_status *status);

/* ret[0..status->count) for the planner. */
void pods_observe(const struct pods_seen *seen, const struct pool_status *status,
                  struct observed_index *ret);

/* The figures for people: replicas, ready, draining, sessions. */
void pods_count(const struct pods_seen *seen, struct pool_status *status);

/* What keeps an instance from starting, in the words of whoever said so: "fleet-3: 0/2 nodes are
 * available". False: nothing is known to. */
bool pods_why(const struct pods_seen *seen, const struct pool_status *status,
              char ret[POOL_MESSAGE_MAX + 1]);
