/* drive_local: a pool on this machine. Sees what runs, asks the planner, does what it says; keeps
 * haproxy, the state service and the connect-proxy; reports the dead. Everything it starts outlives
 * it: closing it changes nothing, stopping it ends all in order.
 *
 *     open: state file -> adopt what runs -> the wall -> programs -> rounds
 *     a round: observe every instance -> plan() -> carry out -> haproxy's servers, the wall, the
 *     state service's roster follow. After each change, and when time alone changes something. */
#pragma once

#include "common/secret.h"
#include "controller/pool/burials.h"
#include "controller/pool/env_pool.h"
#include "controller/pool/local_commands.h"

struct drive_local;

struct drive_local_options { /* borrowed while it lives, but for pool */
    const struct local_paths *paths;
    const struct local_tools *tools;
    struct balena_api *api;
    struct service_keys keys;
    const struct env_pem *certificates; /* of the variables, to be put into paths->tls_dir */
    loop_fn on_stopped; /* all has ended, after drive_local_stop(); or drive_local_failed() */
    void *arg;
};

/* Takes pool's content over; *pool is empty then. -EBUSY: another pool's instances run here.
 * Another error where nothing runs: certificates could not be written, or a part could not be
 * opened; nothing was started or ended. */
int drive_local_open(struct loop *loop, const struct drive_local_options *options,
                     struct pool_object *pool, struct drive_local **ret, struct err *err);
void drive_local_close(struct drive_local *d); /* what runs lives on. NULL is fine */

/* Takes pool's content over, or refuses with what may not change while it runs (-EPERM), then *pool
 * stays the caller's. */
int drive_local_apply(struct drive_local *d, struct pool_object *pool, struct err *err);
/* Drains and ends everything in order, then on_stopped. Again: hurries. */
void drive_local_stop(struct drive_local *d);
/* It stopped because it could not even begin: what to tell the user; else NULL. */
const char *drive_local_failed(const struct drive_local *d);

const struct pool_object *drive_local_pool(const struct drive_local *d);
/* For `local status`: JSON. Caller frees. */
char *drive_local_status(const struct drive_local *d);
/* "Not applied: ..." of the newest pool file, shown in the status; NULL: it is fine. Copied. */
void drive_local_set_notice(struct drive_local *d, const char *notice);
