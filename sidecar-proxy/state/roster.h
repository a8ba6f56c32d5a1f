/* roster: which instances exist, as the controller says (PUT /v1/expected), and from that: do we
 * know enough to say that a device is offline? Pure. The list is of all pools together: two may
 * have an index in common, never an epoch. Ready, once and for all, when each instance of the list
 * has given a complete snapshot, or when the grace time is over. Later newcomers start without
 * devices, so they take nothing back. */
#pragma once

#include "sidecar-proxy/state/table.h"

struct roster_entry {
    uint32_t index;
    char epoch[TABLE_EPOCH_MAX + 1];
};

struct roster {
    struct roster_entry *entries; /* owned */
    size_t count;
    bool told; /* a list has come */
    bool ready;
    int64_t grace_ends_ms; /* monotonic */
};

void roster_init(struct roster *r, int64_t grace_ends_ms);
void roster_clear(struct roster *r);
/* Takes the list over (entries becomes the roster's) and drops from t all that it does not name. */
void roster_set(struct roster *r, struct roster_entry *entries, size_t count, struct table *t,
                struct table_now now);
/* Is this entry's instance known, and has it given a complete snapshot? */
bool roster_heard(const struct roster_entry *entry, const struct table *t);
/* May a hello take the place of what t has at this index? Not if the list names the epoch that is
 * connected there, and not the newcomer's: that is an old life that has not heard of its end. */
bool roster_admits(const struct roster *r, const struct table *t, const struct table_hello *h);
bool roster_ready(struct roster *r, const struct table *t, int64_t mono_ms);
