/* verdicts: which device was authenticated with which key, and when. Kept for a time, so that a
 * device that moves to another instance while the API is down is recognised there. Pure. Keys are
 * never here: only their fingerprints, which nobody can make without the service's key. */
#pragma once

#include "common/hashmap.h"
#include "common/secret.h"
#include "common/uuid.h"

struct verdict {
    char uuid[UUID_TEXT_MAX + 1];
    char fingerprint[SECRET_HEX_LEN + 1];
    int64_t at_ms; /* Unix time */
};

struct verdicts {
    struct hashmap map;                    /* "{uuid}/{fingerprint}" to struct remembered */
    struct remembered *stalest, *freshest; /* in order of the last put */
    int64_t ttl_ms;
    size_t max;
    uint64_t evicted; /* forgotten early, for want of room */
};

void verdicts_init(struct verdicts *v, int64_t ttl_ms, size_t max);
void verdicts_clear(struct verdicts *v);
/* A time in the future (a clock that is ahead) counts as now; an older one than known is ignored.
 * Over the maximum, the one that was put longest ago is forgotten. */
void verdicts_put(struct verdicts *v, const struct verdict *verdict, int64_t now_ms);
/* True, and when it was: not longer than ttl_ms ago. */
bool verdicts_get(const struct verdicts *v, const char *uuid, const char *fingerprint,
                  int64_t now_ms, int64_t *at_ms);
void verdicts_sweep(struct verdicts *v, int64_t now_ms); /* forgets those over their time */
size_t verdicts_count(const struct verdicts *v);
