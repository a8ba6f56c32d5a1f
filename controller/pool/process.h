/* process: programs that we start and that outlive us, named so that no other can be mistaken for
 * one: by pid and start time. Signals go through a pidfd, so they reach that process or none.
 * A process is born held: it does nothing until process_release(), and ends by itself if we die
 * before. So its name can be on disk before its first instruction runs.
 * Source: proc(5) stat fields 2 and 22, pidfd_open(2). */
#pragma once

#include "common/loop.h"

struct process;

struct process_id {
    pid_t pid;      /* 0: none */
    uint64_t start; /* clock ticks after boot */
};

struct process_spec {    /* borrowed during process_hold() only */
    const char *program; /* path to execute */
    char *const *argv;   /* NULL-terminated, argv[0] included */
    char *const *envp;   /* NULL-terminated: all that it gets */
    const char *user;    /* to become when we are root, supplementary groups cleared; or NULL */
    int stdin_fd;        /* -1: /dev/null */
    int output_fd;       /* standard output and error; -1: ours */
};

struct process_end {
    bool known;    /* false: adopted, so only its parent was told */
    bool signaled; /* code is a signal, else an exit status */
    int code;
};
/* Through the loop, once, last: the struct process is gone after it. */
typedef void (*process_exit_fn)(void *arg, const struct process_end *end);

/* A new session (setsid), signals at their defaults, no descriptor of ours but 0, 1, 2. */
int process_hold(struct loop *loop, const struct process_spec *spec, process_exit_fn on_exit,
                 void *arg, struct process **ret, struct err *err);
void process_release(struct process *p); /* lets a held one go; else nothing */
/* Watches one that runs already, our child or not. -ESRCH: there is none with that pid, start time
 * and name (the first 15 bytes of the program's file name, as the kernel keeps them). */
int process_adopt(struct loop *loop, struct process_id id, const char *name,
                  process_exit_fn on_exit, void *arg, struct process **ret, struct err *err);

struct process_id process_id(const struct process *p);
void process_signal(struct process *p, int signum);
/* SIGTERM, after grace_ms SIGKILL; on_exit follows. Again: only a shorter grace counts. */
void process_stop(struct process *p, uint32_t grace_ms);
/* The same for one that was told to end already, and that a second SIGTERM would hurry. */
void process_await(struct process *p, uint32_t grace_ms);
/* Forgets it: it lives on (a held one ends), on_exit will not run. NULL is fine. */
void process_close(struct process *p);

/* "exit status 1", "signal 9 (Killed)", "gone". */
struct process_end_text {
    char text[64];
} process_end_text(const struct process_end *end);

/* Start time of pid and its name (16 bytes, may be NULL). -ESRCH: no such process or a zombie. */
int process_look(pid_t pid, struct process_id *ret, char name[16]);
/* Is a process with this command line (NULL-terminated) one that is looked for? */
typedef bool (*process_match_fn)(void *arg, char *const *words);
/* All processes of that name in our network namespace for which match() says yes. Caller frees
 * *ret. Returns how many there are. */
size_t process_scan(const char *name, process_match_fn match, void *arg, struct process_id **ret);

/* Where name is: beside our own program, then in PATH, then in /usr/sbin and /sbin. Caller frees.
 * -ENOENT. */
int process_find_program(const char *name, bool beside_us, char **ret, struct err *err);
/* This boot's id: start times of two boots are not comparable. "" if unknown. */
struct boot_id {
    char text[40];
} process_boot_id(void);
