/* local_state: what a controller must know of what its predecessor began: {runtime-dir}/
 * controller.json. Written before a process runs and before an action is carried out, so whoever
 * reads it knows of at least all that was done. Pure but for load and save. */
#pragma once

#include "controller/pool/keeper.h"
#include "controller/pool/plan.h"

#define LOCAL_INSTANCES_MAX 1024
#define LOCAL_EPOCH_MAX 31

enum local_program {
    LOCAL_HAPROXY,
    LOCAL_STATE,
    LOCAL_CONNECT_PROXY,
    LOCAL_PROGRAMS,
};
extern const char *const local_program_names[LOCAL_PROGRAMS]; /* file names */

struct local_instance {
    uint32_t index;                  /* 1.. */
    char epoch[LOCAL_EPOCH_MAX + 1]; /* of this life */
    enum index_phase phase;          /* never INDEX_FREE */
    int64_t phase_since_ms;          /* monotonic, as all times here: they end with the boot */
    int64_t service_id;              /* 0: not known */
    bool serving;                    /* new devices are let in */
    uint32_t failures;               /* as the planner counts them */
    int64_t not_before_ms;           /* of OpenVPN's next start */
    char revision[17];               /* pool_object_instance_hash() of what OpenVPN runs with */
    char sidecar_revision[17];       /* of what its sidecar runs with */
    struct keeper_record openvpn, sidecar;
};

struct local_state {
    char pool[64];
    struct boot_id boot; /* of which boot the pids are */
    struct local_instance instances[LOCAL_INSTANCES_MAX];
    size_t instance_count;                         /* in no order; one an index */
    struct freed_index freed[LOCAL_INSTANCES_MAX]; /* least recently freed first */
    size_t freed_count;
    int64_t pool_not_before_ms; /* after a given-up index */
    struct local_program_record {
        struct keeper_record process;
        char revision[17]; /* of the settings it runs with */
    } programs[LOCAL_PROGRAMS];
};

/* Of index; NULL: free. */
struct local_instance *local_state_find(struct local_state *s, uint32_t index);
/* Index became free now / is taken: moves to the end of freed / leaves it. */
void local_state_freed(struct local_state *s, uint32_t index, int64_t now_ms);
void local_state_taken(struct local_state *s, uint32_t index);

char *local_state_format(const struct local_state *s); /* caller frees */
/* -EPROTO: with the field at fault. *ret is complete or untouched. */
int local_state_parse(const char *text, size_t len, struct local_state *ret, struct err *err);

/* -ENOENT: there is none. */
int local_state_load(const char *path, struct local_state *ret, struct err *err);
/* Whole or not at all: temporary file, fsync, rename. Mode 0600. */
int local_state_save(const char *path, const struct local_state *s, struct err *err);

/* Renames a file that can not be understood to "{path}.bad", so that a start goes on without it and
 * a person can look at it. */
void file_set_aside(const char *path);

/* The same for any small file. */
int file_replace(const char *path, const char *text, unsigned mode, struct err *err);
/* In two steps, for files that belong together: all are staged, beside the old ones, before the
 * first is put in its place. What is not to be is unstaged. */
int file_stage(const char *path, const char *text, unsigned mode, struct err *err);
int file_commit(const char *path, struct err *err);
void file_unstage(const char *path);
/* Is exactly this text in it? Then nothing need be written, which takes no room. */
bool file_holds(const char *path, const char *text);
/* Up to max bytes, NUL-terminated, owned by the caller. -ENOENT, -EMSGSIZE, ... */
int file_read(const char *path, size_t max, char **ret, size_t *ret_len, struct err *err);
