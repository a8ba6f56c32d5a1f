/* pool_run: one pool, looked at again and again. Each look is one walk through these steps, at most
 * one at a time:
 *
 *     LOAD   the pool itself, when what we know of it may be old (pool_run_load.c)
 *     LOOK   Pods that the cache lacks: are they gone, or is it late? (pool_run_look.c)
 *     DECIDE pods_follow(), plan(): into the status in memory (pool_run_decide.c)
 *     WRITE  the status, with the resourceVersion it was read at (pool_run_write.c)
 *     ACT    on what is written: create, delete, gates, drains, images (pool_run_act.c)
 *
 * A step that fails ends the look; the next one begins again. What was decided and not written has
 * no effect. */
#pragma once

#include "controller/kubernetes/driver.h"
#include "controller/kubernetes/pool_status.h"

struct pool_run;

struct pool_run *pool_run_new(struct driver *d, const char *name);
void pool_run_close(struct pool_run *run); /* cancels what is under way; NULL is fine */

/* Ends in queue_done(), queue_done_after() or queue_retry() for its name; may close the run. */
void pool_run_work(struct pool_run *run);

/* From the watch. */
void pool_run_saw_pod(struct pool_run *run, const struct kube_object *pod);
void pool_run_lost_pod(struct pool_run *run, const struct kube_object *pod);
/* The pool is another object now than the one at this resourceVersion of ours. */
void pool_run_saw_pool(struct pool_run *run, const char *resource_version);

const char *pool_run_name(const struct pool_run *run);
bool pool_run_loaded(const struct pool_run *run);
/* "host:port" of its state service, its balancers; NULL: none or not known. */
const char *pool_run_state_name(const struct pool_run *run);
const char *pool_run_balancers_name(const struct pool_run *run);
/* Its instances that exist, as entries of PUT /v1/expected, each with a ',' before it. */
void pool_run_expected(const struct pool_run *run, struct buf *out);
const struct pool_status *pool_run_status(const struct pool_run *run);
uint32_t pool_run_wanted(const struct pool_run *run); /* spec.replicas */
