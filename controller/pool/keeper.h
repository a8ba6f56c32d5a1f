/* keeper: one program that is to run, over its lives: started, watched, started again with a
 * growing pause when it ends, stopped in order. What it is (which arguments) its owner says at each
 * start. idle -> running -> waiting -> running ...    and from anywhere: stopping -> idle */
#pragma once

#include "controller/pool/process.h"

struct keeper;

enum keeper_state { KEEPER_IDLE, KEEPER_RUNNING, KEEPER_WAITING, KEEPER_STOPPING, KEEPER_STATES };

#define KEEPER_ARGS_MAX 256

struct keeper_command { /* filled by command(); zeroed before; all borrowed until the start is done
                         */
    const char *program;
    char *argv[KEEPER_ARGS_MAX]; /* NULL-terminated */
    char *const *envp;
    const char *user; /* or NULL */
    int output_fd;    /* of what it prints; -1, as it is before: ours */
};

struct keeper_options { /* copied; name and the functions are borrowed for ever */
    const char *name;   /* for log lines and adoption: the program's file name */
    uint32_t index;     /* of an instance, for log lines; 0: none */
    bool once;          /* it is idle after its end: its owner decides about another start */
    /* How to start it. Failure counts as an end of it: tried again later. */
    int (*command)(void *arg, struct keeper_command *ret, struct err *err);
    /* keeper_record() has changed: put it on disk. A process that starts is still held, and runs
     * afterwards. Whoever can not write says so: a full disk keeps nobody from being served. */
    loop_fn record;
    /* Frees what command() made; or NULL. */
    void (*started)(void *arg);
    /* What it complained of lately, to be told beside how it ended; "" or NULL: nothing. Or NULL.
     */
    const char *(*complaint)(void *arg);
    loop_fn on_change; /* through the loop: it runs, ended, was stopped; or NULL */
    void *arg;
};

struct keeper *keeper_new(struct loop *loop, const struct keeper_options *options);
void keeper_close(struct keeper *k); /* the process lives on. NULL is fine */

/* What is on disk of a keeper. */
struct keeper_record {
    struct process_id id;  /* pid 0: does not run */
    int64_t started_at_ms; /* Unix time; 0: does not run */
    uint32_t restarts;     /* ends that nobody asked for, since it was first started */
};
struct keeper_record keeper_record(const struct keeper *k);

bool keeper_adopt(struct keeper *k, const struct keeper_record *record); /* false: gone */
void keeper_start(struct keeper *k);                   /* idle: start; else nothing */
void keeper_stop(struct keeper *k, uint32_t grace_ms); /* on_change when it is idle */
/* SIGKILL: it hangs; counts as an end nobody asked for. why: a literal, told beside that end. */
void keeper_kill(struct keeper *k, const char *why);

/* Lets go of a process that runs: it lives on, the keeper is idle. *ret: which; pid 0: none. */
struct process_id keeper_forget(struct keeper *k);

enum keeper_state keeper_state(const struct keeper *k);
/* Did its newest start come about? False: keeper_last_end() says why not. */
bool keeper_was_started(const struct keeper *k);
/* "signal 9 (Killed): does not answer", "exit status 1: ERROR: cannot ...", or why it could not be
 * started; "": it has not ended. Borrowed. */
const char *keeper_last_end(const struct keeper *k);
