#include "sidecar-proxy/proxy/hints.h"

#include "common/hashmap.h"

#include <pthread.h>
#include <stdio.h>

struct entry {
    char uuid[UUID_TEXT_MAX + 1]; /* the map's key */
    struct hint hint;
    int64_t until_ms;
    struct entry *newer; /* in order of until_ms */
    struct entry *older;
};

struct hints {
    pthread_mutex_t lock;
    struct hashmap map;
    struct entry *newest;
    struct entry *oldest;
    size_t max;
    int64_t ttl_ms;
};

struct hints *hints_new(size_t max_entries, uint32_t ttl_ms)
{
    struct hints *h = xcalloc(1, sizeof(*h));

    pthread_mutex_init(&h->lock, NULL);
    hashmap_init(&h->map);
    h->max = max_entries;
    h->ttl_ms = ttl_ms;
    return h;
}

static void drop(struct hints *h, struct entry *e)
{
    *(e->newer != NULL ? &e->newer->older : &h->newest) = e->older;
    *(e->older != NULL ? &e->older->newer : &h->oldest) = e->newer;
    hashmap_remove(&h->map, e->uuid);
    free(e);
}

void hints_free(struct hints *h)
{
    if (h == NULL) {
        return;
    }
    while (h->oldest != NULL) {
        drop(h, h->oldest);
    }
    hashmap_clear(&h->map);
    pthread_mutex_destroy(&h->lock);
    free(h);
}

static void drop_uuid(struct hints *h, const char *uuid)
{
    struct entry *e = hashmap_get(&h->map, uuid);

    if (e != NULL) {
        drop(h, e);
    }
}

/* Each put looks at two old ones, so that the table shrinks when less is asked. */
static void drop_old(struct hints *h, int64_t now_ms)
{
    for (int i = 0; i < 2 && h->oldest != NULL && h->oldest->until_ms <= now_ms; i++) {
        drop(h, h->oldest);
    }
    if (h->map.count >= h->max) {
        drop(h, h->oldest);
    }
}

void hints_put(struct hints *h, const char *uuid, const struct hint *hint, int64_t now_ms)
{
    struct entry *e = xcalloc(1, sizeof(*e));

    snprintf(e->uuid, sizeof(e->uuid), "%s", uuid);
    e->hint = *hint;
    e->until_ms = now_ms + h->ttl_ms;
    pthread_mutex_lock(&h->lock);
    drop_uuid(h, uuid);
    drop_old(h, now_ms);
    e->older = h->newest;
    *(h->newest != NULL ? &h->newest->newer : &h->oldest) = e;
    h->newest = e;
    hashmap_put(&h->map, e->uuid, e);
    pthread_mutex_unlock(&h->lock);
}

void hints_drop(struct hints *h, const char *uuid)
{
    pthread_mutex_lock(&h->lock);
    drop_uuid(h, uuid);
    pthread_mutex_unlock(&h->lock);
}

bool hints_find(struct hints *h, const char *uuid, int64_t now_ms, struct hint *ret)
{
    pthread_mutex_lock(&h->lock);
    const struct entry *e = hashmap_get(&h->map, uuid);
    bool found = e != NULL && e->until_ms > now_ms;
    if (found) {
        *ret = e->hint;
    }
    pthread_mutex_unlock(&h->lock);
    return found;
}

size_t hints_count(struct hints *h)
{
    pthread_mutex_lock(&h->lock);
    size_t count = h->map.count;
    pthread_mutex_unlock(&h->lock);
    return count;
}
