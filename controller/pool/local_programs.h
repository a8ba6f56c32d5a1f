/* local_programs: the programs of a pool that are not an instance's: haproxy, vpn-state and
 * vpn-connect-proxy. Each is kept running with the settings of the pool; where these changed, it is
 * replaced: haproxy and the connect-proxy by a successor that takes over the port while the old one
 * finishes what it has, the state service by a plain restart. */
#pragma once

#include "controller/pool/local_commands.h"
#include "controller/pool/local_state.h"

struct local_programs;

struct local_programs_host { /* borrowed while they live */
    struct loop *loop;
    const struct pool_object *pool; /* its content changes with a reload */
    const struct local_paths *paths;
    const struct local_tools *tools;
    const char *self_addresses; /* of this machine, comma-separated */
    loop_fn save;               /* local_programs_record() has changed */
    void (*on_change)(void *arg, enum local_program which); /* it runs, or does not any more */
    void *arg;
};

struct local_programs *local_programs_new(const struct local_programs_host *host);
void local_programs_close(struct local_programs *p); /* the processes live on. NULL is fine */

/* Goes on with what a predecessor started. */
void local_programs_adopt(struct local_programs *p, const struct local_program_record *records);
struct local_programs_before {
    bool known;     /* a state file says what was started: what it does not name was told to end */
    bool instances; /* some run, and devices are connected to them through haproxy */
};
/* Finds what else a predecessor left and sees to it that it ends: what finishes may. After that. */
void local_programs_end_others(struct local_programs *p,
                               const struct local_programs_before *before);
/* Starts what does not run; replaces what runs with other settings. < 0: haproxy's file could not
 * be written; it is tried again by the next call. */
int local_programs_refresh(struct local_programs *p, struct err *err);
/* Ends one. Those that finish behind it get the same. */
void local_programs_stop(struct local_programs *p, enum local_program which, uint32_t grace_ms);
/* SIGKILL: it hangs. It is started again. */
void local_programs_kill(struct local_programs *p, enum local_program which);
bool local_programs_stopped(const struct local_programs *p, enum local_program which);
void local_programs_remove_files(struct local_programs *p);

const struct local_program_record *local_programs_record(const struct local_programs *p,
                                                         enum local_program which);
enum keeper_state local_programs_state(const struct local_programs *p, enum local_program which);
/* How it ended last, or why it could not be started; "": it has not. */
const char *local_programs_last_end(const struct local_programs *p, enum local_program which);
/* Predecessors that still finish connections. */
size_t local_programs_retired(const struct local_programs *p, enum local_program which);
