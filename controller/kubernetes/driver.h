/* driver: keeps the pools of one namespace as they are described, while we lead. What all pools
 * share is here; each pool's own work is in pool_run.h.
 *
 *     watch (pools, Pods) -> queue of pool names -> pool_run_work():
 *     look at what only the API server itself can tell -> pods_follow, plan() -> write the status
 *     -> act on what is written
 *
 * Nothing is done that is not written: a controller that dies at any point leaves a status from
 * which the next one goes on. */
#pragma once

#include "common/balena_api.h"
#include "common/buf.h"
#include "common/hashmap.h"
#include "common/http_client.h"
#include "common/secret.h"
#include "controller/kube/kube_client.h"
#include "controller/kube/kube_event.h"
#include "controller/kube/kube_store.h"
#include "controller/kube/queue.h"
#include "controller/kubernetes/sidecar_calls.h"

#define DRIVER_POOLS_MAX 1000
#define DRIVER_WORKERS 16

extern const struct kube_resource vpn_pools; /* vpnpools.vpn.openbalena.io/v1alpha1 */

struct views;

struct driver { /* read by pool_run*.c, written by driver.c */
    struct loop *loop;
    struct kube_client *client;
    struct http_client *http; /* to sidecars, state services, balancers */
    struct balena_api *api;
    const char *ns; /* borrowed, as the keys are */
    struct service_keys keys;
    struct kube_store *pools, *pods;
    struct kube_event_writer *events;
    struct sidecar_calls *sidecars;
    struct views *views;
    struct queue *queue;
    struct hashmap runs; /* by pool name, to struct pool_run */
    bool leading;
    int64_t leading_since_ms; /* Unix */
};

struct driver_options { /* borrowed while the driver lives */
    struct kube_client *client;
    struct http_client *http;
    struct balena_api *api;
    const char *ns;
    struct service_keys keys;
    const char *identity; /* for Events */
};

int driver_open(struct loop *loop, const struct driver_options *options, struct driver **ret,
                struct err *err);
/* We lead from now on: begin as soon as everything is known. */
void driver_lead(struct driver *d);
/* No new work; on_idle(arg) when what is under way has ended and Events are sent. */
void driver_stop(struct driver *d, loop_fn on_idle, void *arg);
void driver_close(struct driver *d); /* NULL is fine */

bool driver_synced(const struct driver *d);
/* ms that the oldest look at a pool has taken; 0: none is under way. */
int64_t driver_busy_ms(const struct driver *d);
/* vpn_pool_*: appended in Prometheus' format. 0, -EMSGSIZE. */
int driver_metrics(const struct driver *d, struct buf *out);
