/* burials: which service instances of ours the API knows, and the end of those whose epoch is over:
 * the API never notices by itself that an instance is gone, so we report the devices it still lists
 * under it as disconnected, until it lists none. Retried for ever, with a pause of up to a minute.
 * Where they are kept is the owner's: a file that outlives a reboot on one machine, the pool's
 * status in Kubernetes. */
#pragma once

#include "common/balena_api.h"

struct burials;

#define BURIALS_MAX 4096 /* entries; over it the oldest burial is given up, with an error line */
#define BURIAL_EPOCH_MAX 63

struct burial {
    int64_t service_id;
    uint32_t index;
    char epoch[BURIAL_EPOCH_MAX + 1];
    bool gone; /* its epoch is over: it waits for its burial */
};

struct burials_store {
    /* These are all of them now. 0: kept. */
    int (*save)(void *arg, const struct burial *items, size_t count, struct err *err);
    void (*close)(void *arg); /* or NULL */
    void *arg;
};

/* api is borrowed, store is copied. on_change(arg) through the loop: a burial is done. */
struct burials *burials_new(struct loop *loop, const struct burials_store *store,
                            struct balena_api *api, loop_fn on_change, void *arg);
/* One that was kept before; nothing is saved. False: there are too many, or it is known. */
bool burials_restore(struct burials *b, const struct burial *item);
/* Kept in the file at path. One that can not be understood is set aside. err must not be NULL. */
int burials_open(struct loop *loop, const char *path, struct balena_api *api, loop_fn on_change,
                 void *arg, struct burials **ret, struct err *err);
void burials_close(struct burials *b); /* what is left goes on at the next start. NULL is fine */

/* The epoch of this index is registered as service_id; kept when it returns 0. Known already: no
 * effect. Another id of the same epoch: the older one is buried. */
int burials_live(struct burials *b, uint32_t index, const char *epoch, int64_t service_id,
                 struct err *err);
/* The epoch is over for good. True if there is something to bury. */
bool burials_gone(struct burials *b, uint32_t index, const char *epoch);
/* Is the epoch's burial still under way? */
bool burials_pending(const struct burials *b, uint32_t index, const char *epoch);
/* Every epoch for which is_alive says no is over: for a start, after what runs was adopted. */
void burials_gone_unless(struct burials *b,
                         bool (*is_alive)(void *arg, uint32_t index, const char *epoch), void *arg);
size_t burials_count_pending(const struct burials *b);
const struct burial *burials_items(const struct burials *b, size_t *count); /* borrowed */
/* Why the newest attempt failed, "" if it did not. */
const char *burials_why(const struct burials *b);
