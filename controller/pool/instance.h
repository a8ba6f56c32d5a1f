/* instance: one index in one epoch on this machine: its OpenVPN, its sidecar, what the sidecar says
 * of itself, and what of it is on disk. It shows the planner what is and does what the planner
 * says; it decides nothing by itself. */
#pragma once

#include "controller/balancer/servers.h"
#include "controller/pool/burials.h"
#include "controller/pool/local_commands.h"
#include "controller/pool/local_state.h"
#include "controller/pool/sidecar_client.h"

struct instance;

struct instance_host { /* what all instances of a pool share; borrowed while one lives */
    struct loop *loop;
    struct http_client *http;
    struct burials *burials;
    const struct pool_object *pool; /* its content changes with a reload */
    const struct local_paths *paths;
    const struct local_tools *tools;
    const char *register_address; /* or NULL */
    loop_fn save;                 /* instance_record() has changed: put it on disk */
    loop_fn on_change;            /* plan again; never inside a call of the owner's */
    void *arg;
};

/* A new life of index; nothing is started and nothing on disk yet. */
struct instance *instance_new(const struct instance_host *host, uint32_t index, const char *epoch);
/* Goes on with what a predecessor wrote down. *running: is one of its processes there? */
struct instance *instance_adopt(const struct instance_host *host,
                                const struct local_instance *record, bool *running);
void instance_close(struct instance *i); /* its processes live on. NULL is fine */

const struct local_instance *instance_record(const struct instance *i);
const struct sidecar_status *instance_status(const struct instance *i); /* NULL: not known */
void instance_observe(const struct instance *i, int64_t now_ms, const char *current_revision,
                      struct observed_index *ret);

/* What keeps it from serving, as far as its processes tell: "OpenVPN: port 10001 is taken by ...",
 * "". */
void instance_why(const struct instance *i, char ret[ERR_TEXT_MAX]);
/* Why its service instance is not in the state directory yet; "": it is. Tried again. */
const char *instance_unsaved(const struct instance *i);

/* Any action but PLAN_RESERVE and PLAN_FREE, which are its owner's. now_ms: monotonic. */
void instance_carry_out(struct instance *i, const struct plan_action *action, int64_t now_ms);
/* What follows from time alone: health forgives failures; ends go on. Called at each round. */
void instance_tick(struct instance *i, int64_t now_ms);
/* Ends the sidecar if it runs with other settings than it would now; it is started again. */
bool instance_refresh_sidecar(struct instance *i);
bool instance_sidecar_answers(const struct instance *i);
/* Reads from the sidecar's own file as what it registered, before that file goes. */
void instance_learn_record(struct instance *i);
/* Removes the files of this life. For an index that becomes free. */
void instance_remove_files(const struct instance *i);
/* The same for a life of index that no state file knows, whose processes have ended: its devices
 * are reported if its sidecar's file says under which service instance. */
void instance_remove_leftovers(const struct instance_host *host, uint32_t index);
/* Its server in haproxy. False: it is not to have one. */
bool instance_server(const struct instance *i, struct server *ret);
