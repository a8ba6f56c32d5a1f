#include "sidecar-proxy/state/verdicts.h"

#include <stdio.h>
#include <string.h>

#define KEY_MAX (UUID_TEXT_MAX + 1 + SECRET_HEX_LEN)

struct remembered {
    struct remembered *staler, *fresher;
    int64_t at_ms;
    char key[];
};

struct key {
    char text[KEY_MAX + 1];
};

static struct key key_of(const char *uuid, const char *fingerprint)
{
    struct key key;

    snprintf(key.text, sizeof(key.text), "%s/%s", uuid, fingerprint);
    return key;
}

static void unlink_one(struct verdicts *v, struct remembered *r)
{
    *(r->staler != NULL ? &r->staler->fresher : &v->stalest) = r->fresher;
    *(r->fresher != NULL ? &r->fresher->staler : &v->freshest) = r->staler;
}

static void link_freshest(struct verdicts *v, struct remembered *r)
{
    r->staler = v->freshest;
    r->fresher = NULL;
    *(v->freshest != NULL ? &v->freshest->fresher : &v->stalest) = r;
    v->freshest = r;
}

static void forget(struct verdicts *v, struct remembered *r)
{
    unlink_one(v, r);
    hashmap_remove(&v->map, r->key);
    free(r);
}

void verdicts_init(struct verdicts *v, int64_t ttl_ms, size_t max)
{
    *v = (struct verdicts){.ttl_ms = ttl_ms, .max = max};
    hashmap_init(&v->map);
}

void verdicts_clear(struct verdicts *v)
{
    while (v->stalest != NULL) {
        forget(v, v->stalest);
    }
    hashmap_clear(&v->map);
}

static struct remembered *remember(struct verdicts *v, const struct key *key)
{
    size_t len = strlen(key->text);

    if (v->map.count >= v->max) {
        forget(v, v->stalest);
        v->evicted++;
    }
    struct remembered *r = xmalloc(sizeof(*r) + len + 1);
    *r = (struct remembered){0};
    memcpy(r->key, key->text, len + 1);
    hashmap_put(&v->map, r->key, r);
    return r;
}

void verdicts_put(struct verdicts *v, const struct verdict *verdict, int64_t now_ms)
{
    int64_t at_ms = verdict->at_ms < now_ms ? verdict->at_ms : now_ms;
    struct key key = key_of(verdict->uuid, verdict->fingerprint);

    if (now_ms - at_ms >= v->ttl_ms) {
        return;
    }
    struct remembered *r = hashmap_get(&v->map, key.text);
    if (r == NULL) {
        r = remember(v, &key);
    } else {
        unlink_one(v, r);
    }
    link_freshest(v, r);
    r->at_ms = at_ms > r->at_ms ? at_ms : r->at_ms;
}

bool verdicts_get(const struct verdicts *v, const char *uuid, const char *fingerprint,
                  int64_t now_ms, int64_t *at_ms)
{
    struct key key = key_of(uuid, fingerprint);
    const struct remembered *r = hashmap_get(&v->map, key.text);

    if (r == NULL || now_ms - r->at_ms >= v->ttl_ms) {
        return false;
    }
    *at_ms = r->at_ms;
    return true;
}

void verdicts_sweep(struct verdicts *v, int64_t now_ms)
{
    struct remembered *next = NULL;

    for (struct remembered *r = v->stalest; r != NULL; r = next) {
        next = r->fresher;
        if (now_ms - r->at_ms >= v->ttl_ms) {
            forget(v, r);
        }
    }
}

size_t verdicts_count(const struct verdicts *v)
{
    return v->map.count;
}
