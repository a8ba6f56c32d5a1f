/* access: what the API lately said about who may open which port: a bounded cache of decisions.
 * The clock is the caller's. Holds yes and verified no for ttl_ms; an outage is no decision
 * and never gets in. A yes is remembered for grace_ms more, for use while the API gives no answer.
 * Keys are hashes under a secret of this process: no token is ever kept. Any thread may use it: the
 * main loop puts in what the API says, relay threads look whether they need to ask at all. */
#pragma once

#include "common/secret.h"

struct access_cache;

struct access_key {
    char text[SECRET_HEX_LEN + 1];
};

enum access_found { ACCESS_MISS, ACCESS_YES, ACCESS_NO };

struct access_cache *access_cache_new(size_t max_entries, uint32_t ttl_ms, uint32_t grace_ms);
void access_cache_free(struct access_cache *cache);

/* token NULL: a guest. */
void access_key_of(const struct access_cache *cache, const char *uuid, uint16_t port,
                   const char *token, struct access_key *ret);

/* *device_id is set with ACCESS_YES. */
enum access_found access_cache_find(struct access_cache *cache, const struct access_key *key,
                                    int64_t now_ms, int64_t *device_id);
/* Is there a yes that is too old to decide, but within the grace? */
bool access_cache_grace(struct access_cache *cache, const struct access_key *key, int64_t now_ms,
                        int64_t *device_id);
/* Replaces what was there; a full cache drops what was used least recently. */
void access_cache_put(struct access_cache *cache, const struct access_key *key, bool allowed,
                      int64_t device_id, int64_t now_ms);
size_t access_cache_count(struct access_cache *cache);
