#include "sidecar-proxy/proxy/access.h"

#include "sidecar-proxy/proxy/map.h"

#include <stdio.h>
#include <string.h>

struct entry {
    struct map_node node; /* first: map_node * is entry * */
    struct entry *newer;  /* in order of use */
    struct entry *older;
    struct access_key key;
    int64_t device_id;
    int64_t at_ms; /* when the API decided */
    bool allowed;
};

struct access_cache {
    struct map map;
    struct entry *newest;
    struct entry *oldest;
    size_t max;
    int64_t ttl_ms;
    int64_t grace_ms;
    uint8_t secret[SECRET_BYTES];
};

static size_t buckets_for(size_t max_entries)
{
    size_t n = 16;

    while (n < max_entries) {
        n *= 2;
    }
    return n;
}

struct access_cache *access_cache_new(size_t max_entries, uint32_t ttl_ms, uint32_t grace_ms)
{
    struct access_cache *cache = xcalloc(1, sizeof(*cache));

    map_init(&cache->map, buckets_for(max_entries));
    cache->max = max_entries;
    cache->ttl_ms = ttl_ms;
    cache->grace_ms = grace_ms;
    secret_random(cache->secret, sizeof(cache->secret));
    return cache;
}

static void unlink_entry(struct access_cache *cache, struct entry *e)
{
    *(e->newer != NULL ? &e->newer->older : &cache->newest) = e->older;
    *(e->older != NULL ? &e->older->newer : &cache->oldest) = e->newer;
    e->newer = e->older = NULL;
}

static void link_newest(struct access_cache *cache, struct entry *e)
{
    e->older = cache->newest;
    *(cache->newest != NULL ? &cache->newest->newer : &cache->oldest) = e;
    cache->newest = e;
}

static void drop(struct access_cache *cache, struct entry *e)
{
    unlink_entry(cache, e);
    map_remove(&cache->map, &e->node);
    free(e);
}

void access_cache_free(struct access_cache *cache)
{
    if (cache == NULL) {
        return;
    }
    while (cache->oldest != NULL) {
        drop(cache, cache->oldest);
    }
    map_clear(&cache->map);
    secret_wipe(cache->secret, sizeof(cache->secret));
    free(cache);
}

void access_key_of(const struct access_cache *cache, const char *uuid, uint16_t port,
                   const char *token, struct access_key *ret)
{
    char text[256]; /* a token that does not fit is hashed first */
    uint8_t hash[SECRET_BYTES];
    char hex[SECRET_HEX_LEN + 1];
    const char *shown = token != NULL ? token : "";

    if (strlen(shown) > 128) {
        secret_hmac(cache->secret, shown, strlen(shown), hash);
        secret_hex(hash, hex);
        shown = hex;
    }
    /* The kind keeps a guest, a short token and the hash of a long one apart. */
    int len = snprintf(text, sizeof(text), "%s\n%u\n%c%s", uuid, (unsigned)port,
                       token == NULL    ? 'g'
                       : shown == token ? 't'
                                        : 'h',
                       shown);
    secret_hmac(cache->secret, text, (size_t)len, ret->bytes);
    secret_wipe(text, sizeof(text));
}

static uint64_t hash_of(const struct access_key *key)
{
    uint64_t h;

    memcpy(&h, key->bytes, sizeof(h)); /* already as good as random */
    return h;
}

static bool is_key(const struct map_node *node, const void *key)
{
    return memcmp(((const struct entry *)node)->key.bytes, ((const struct access_key *)key)->bytes,
                  SECRET_BYTES) == 0;
}

static struct entry *find(const struct access_cache *cache, const struct access_key *key)
{
    return (struct entry *)map_find(&cache->map, hash_of(key), is_key, key);
}

enum access_found access_cache_find(struct access_cache *cache, const struct access_key *key,
                                    int64_t now_ms, int64_t *device_id)
{
    struct entry *e = find(cache, key);

    if (e == NULL || now_ms - e->at_ms >= cache->ttl_ms) {
        return ACCESS_MISS;
    }
    unlink_entry(cache, e);
    link_newest(cache, e);
    if (!e->allowed) {
        return ACCESS_NO;
    }
    *device_id = e->device_id;
    return ACCESS_YES;
}

bool access_cache_grace(struct access_cache *cache, const struct access_key *key, int64_t now_ms,
                        int64_t *device_id)
{
    const struct entry *e = find(cache, key);

    if (e == NULL || !e->allowed || now_ms - e->at_ms >= cache->ttl_ms + cache->grace_ms) {
        return false;
    }
    *device_id = e->device_id;
    return true;
}

void access_cache_put(struct access_cache *cache, const struct access_key *key, bool allowed,
                      int64_t device_id, int64_t now_ms)
{
    struct entry *e = find(cache, key);

    if (e != NULL) {
        unlink_entry(cache, e);
    } else {
        if (cache->map.count >= cache->max) {
            drop(cache, cache->oldest);
        }
        e = xcalloc(1, sizeof(*e));
        e->key = *key;
        map_add(&cache->map, hash_of(key), &e->node);
    }
    e->allowed = allowed;
    e->device_id = device_id;
    e->at_ms = now_ms;
    link_newest(cache, e);
}

size_t access_cache_count(const struct access_cache *cache)
{
    return cache->map.count;
}
