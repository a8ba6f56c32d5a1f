/* verdicts: which credentials the balena API has called good lately. Fresh ones are the cache that
 * answers a device in milliseconds; older ones let a known device in again while the API is ill.
 * No key is kept, only its fingerprint. Bounded: the least recently good goes first. Pure. */
#pragma once

#include "common/secret.h"
#include "common/uuid.h"
#include "sidecar-proxy/session/dict.h"
#include "sidecar-proxy/session/list.h"

struct fingerprint { /* hex(HMAC(derive(service key, "vpn-verdict"), uuid "\n" key)) */
    char text[SECRET_HEX_LEN + 1];
};

struct verdict { /* borrowed until the next change of the table */
    struct fingerprint fingerprint;
    char uuid[UUID_TEXT_MAX + 1];
    int64_t at_ms;      /* Unix time of the API's yes: for others */
    int64_t at_mono_ms; /* the same on the monotonic clock: for age */
    /* private */
    struct dict_node by_fingerprint;
    struct list in_order;
};

struct verdicts {
    uint8_t secret[SECRET_BYTES];
    struct dict by_fingerprint;
    struct list in_order; /* least recently good first */
};

void verdicts_init(struct verdicts *v, const char *service_key, size_t max);
void verdicts_clear(struct verdicts *v);

struct fingerprint verdicts_fingerprint(const struct verdicts *v, const char *uuid,
                                        const char *key);
/* The API said yes just now. Returns the entry. */
const struct verdict *verdicts_add(struct verdicts *v, const char *uuid,
                                   const struct fingerprint *f, int64_t at_ms, int64_t now_mono_ms);
/* NULL: never, or longer than max_age_ms ago. */
const struct verdict *verdicts_find(const struct verdicts *v, const struct fingerprint *f,
                                    int64_t now_mono_ms, int64_t max_age_ms);
void verdicts_remove(struct verdicts *v, const struct fingerprint *f); /* the API said no */
void verdicts_expire(struct verdicts *v, int64_t now_mono_ms, int64_t max_age_ms);
size_t verdicts_count(const struct verdicts *v);
/* LIST_EACH(at, &v->in_order) verdicts_at(at). */
const struct verdict *verdicts_at(struct list *at);
