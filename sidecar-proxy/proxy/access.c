#include "sidecar-proxy/proxy/access.h"

#include "common/hashmap.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

struct entry {
    struct entry *newer; /* in order of use */
    struct entry *older;
    struct access_key key; /* the map's too */
    int64_t device_id;
    int64_t at_ms; /* when the API decided */
    bool allowed;
};

struct access_cache {
    pthread_mutex_t lock; /* of the map and its entries; the rest never changes */
    struct hashmap map;
    struct entry *newest;
    struct entry *oldest;
    size_t max;
    int64_t ttl_ms;
    int64_t grace_ms;
    uint8_t secret[SECRET_BYTES];
};

struct access_cache *access_cache_new(size_t max_entries, uint32_t ttl_ms, uint32_t grace_ms)
{
    struct access_cache *cache = xcalloc(1, sizeof(*cache));

    pthread_mutex_init(&cache->lock, NULL);
    hashmap_init(&cache->map);
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
    hashmap_remove(&cache->map, e->key.text);
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
    hashmap_clear(&cache->map);
    pthread_mutex_destroy(&cache->lock);
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
    secret_hmac(cache->secret, text, (size_t)len, hash);
    secret_hex(hash, ret->text);
    secret_wipe(text, sizeof(text));
}

static enum access_found look(struct access_cache *cache, const struct access_key *key,
                              int64_t now_ms, int64_t *device_id)
{
    struct entry *e = hashmap_get(&cache->map, key->text);

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

enum access_found access_cache_find(struct access_cache *cache, const struct access_key *key,
                                    int64_t now_ms, int64_t *device_id)
{
    pthread_mutex_lock(&cache->lock);
    enum access_found found = look(cache, key, now_ms, device_id);
    pthread_mutex_unlock(&cache->lock);
    return found;
}

bool access_cache_grace(struct access_cache *cache, const struct access_key *key, int64_t now_ms,
                        int64_t *device_id)
{
    pthread_mutex_lock(&cache->lock);
    const struct entry *e = hashmap_get(&cache->map, key->text);
    bool found = e != NULL && e->allowed && now_ms - e->at_ms < cache->ttl_ms + cache->grace_ms;
    if (found) {
        *device_id = e->device_id;
    }
    pthread_mutex_unlock(&cache->lock);
    return found;
}

static struct entry *add(struct access_cache *cache, const struct access_key *key)
{
    struct entry *e = xcalloc(1, sizeof(*e));

    if (cache->map.count >= cache->max) {
        drop(cache, cache->oldest);
    }
    e->key = *key;
    hashmap_put(&cache->map, e->key.text, e);
    return e;
}

void access_cache_put(struct access_cache *cache, const struct access_key *key, bool allowed,
                      int64_t device_id, int64_t now_ms)
{
    pthread_mutex_lock(&cache->lock);
    struct entry *e = hashmap_get(&cache->map, key->text);
    if (e != NULL) {
        unlink_entry(cache, e);
    } else {
        e = add(cache, key);
    }
    e->allowed = allowed;
    e->device_id = device_id;
    e->at_ms = now_ms;
    link_newest(cache, e);
    pthread_mutex_unlock(&cache->lock);
}

size_t access_cache_count(struct access_cache *cache)
{
    pthread_mutex_lock(&cache->lock);
    size_t count = cache->map.count;
    pthread_mutex_unlock(&cache->lock);
    return count;
}
