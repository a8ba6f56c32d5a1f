/* drive_local_priv: what the files of drive_local share. */
#pragma once

#include "controller/balancer/members.h"
#include "controller/pool/drive_local.h"
#include "controller/pool/instance.h"
#include "controller/pool/local_health.h"
#include "controller/pool/local_programs.h"
#include "controller/pool/roster.h"
#include "controller/pool/wall.h"

#define STRAYS_MAX (2 * LOCAL_INSTANCES_MAX) /* each an OpenVPN and a sidecar */

struct stray {
    struct drive_local *owner;
    struct process *process; /* NULL: it has ended */
};

struct drive_local {
    struct loop *loop;
    struct drive_local_options options;
    struct pool_object pool;
    char revision[17]; /* of what an instance started now would run with */
    struct http_client *http;
    struct burials *burials;
    struct local_programs *programs;
    struct local_health *health;
    struct members *members; /* NULL: haproxy is on its way out */
    struct roster *roster;
    struct wall *wall;
    struct instance_host instance_host;
    struct local_programs_host programs_host;
    char register_address[16];
    char *self_addresses;

    struct instance *items[LOCAL_INSTANCES_MAX]; /* in order of index */
    size_t count;
    struct local_state state; /* as on disk; instances and programs are filled in by the save */
    int64_t last_epoch_ms;

    struct observed_index observed[LOCAL_INSTANCES_MAX]; /* of the newest round */
    struct plan_result plan;
    struct server_list *servers, *servers_last;
    bool servers_told;
    uint32_t indices[LOCAL_INSTANCES_MAX];
    bool available;                 /* devices are let in, and callers: as of the newest round */
    char unavailable[ERR_TEXT_MAX]; /* why not; "" while it is */
    bool told_available;
    char unsaved[ERR_TEXT_MAX];     /* why the state file is not on disk; "": it is */
    char unrefreshed[ERR_TEXT_MAX]; /* why the programs lack their settings; "": they have them */
    char uncertified[ERR_TEXT_MAX]; /* why certificates are not in their files; "": they are */
    const char *was_degraded;
    char *notice;
    struct loop_timer *timer; /* the next round */

    bool adopted; /* what a state file names: only now another may be written */
    bool begun;   /* the wall stands: rounds take place */
    int64_t begun_ms;
    bool stopping, hurried, ended;
    bool wall_going, told_burials;
    int64_t processes_gone_ms; /* while stopping: since when no instance runs */
    char failed[ERR_TEXT_MAX];
    struct stray strays[STRAYS_MAX];
    size_t strays_left;
    struct loop_timer *stopped_timer;
};

/* Why a program serves nobody; NULL: it does, or is not to. Borrowed. */
const char *drive_local_program_why(const struct drive_local *d, enum local_program which);

/* Looks whether it serves, says when that changes. In each round. */
void drive_local_judge(struct drive_local *d);

/* Puts the certificates of the variables into their files, looks with what an instance would start
 * now. < 0: they are not there; d->uncertified says it too. */
int drive_local_certify(struct drive_local *d, struct err *err);

/* Once what is in the way has gone and the wall stands: called whenever that may be so. */
void drive_local_begin(struct drive_local *d);
/* Ends processes of instances that no state file knows. True: some are on their way out. */
bool drive_local_end_strays(struct drive_local *d);
void drive_local_forget_strays(struct drive_local *d);
/* Removes their files, once they have ended. */
void drive_local_remove_leftovers(struct drive_local *d);

void drive_local_round(void *arg);
void drive_local_round_soon(void *arg);
/* Or tries again in each round, and says so. */
void drive_local_save(void *arg);
struct instance *drive_local_find(const struct drive_local *d, uint32_t index);
void drive_local_insert(struct drive_local *d, struct instance *i);
void drive_local_follow_wall(struct drive_local *d);
int drive_local_find_addresses(struct drive_local *d, const struct pool_object *pool,
                               struct err *err);
