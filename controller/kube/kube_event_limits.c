#include "controller/kube/kube_event_limits.h"

#include "controller/kube/bucket.h"

struct matter {
    char *key;
    unsigned notes;
    int64_t since_ms, last_ms;
};

struct source {
    char *key;
    struct bucket bucket;
    int64_t last_ms;
};

void kube_event_limits_init(struct kube_event_limits *l)
{
    hashmap_init(&l->matters);
    hashmap_init(&l->sources);
}

static void matter_free(struct matter *m)
{
    free(m->key);
    free(m);
}

static void source_free(struct source *s)
{
    free(s->key);
    free(s);
}

void kube_event_limits_clear(struct kube_event_limits *l)
{
    for (struct hashmap_iter i = {.map = &l->matters}; hashmap_next(&i);) {
        matter_free(i.value);
    }
    for (struct hashmap_iter i = {.map = &l->sources}; hashmap_next(&i);) {
        source_free(i.value);
    }
    hashmap_clear(&l->matters);
    hashmap_clear(&l->sources);
}

static struct matter *matter_for(struct kube_event_limits *l, const char *key, int64_t now_ms)
{
    struct matter *m = hashmap_get(&l->matters, key);

    if (m == NULL && l->matters.count < KUBE_EVENT_LIMITS_MAX) {
        m = xcalloc(1, sizeof(*m));
        *m = (struct matter){.key = xstrdup(key), .since_ms = now_ms};
        hashmap_put(&l->matters, m->key, m);
    }
    return m;
}

bool kube_event_limits_note(struct kube_event_limits *l, const char *matter, int64_t now_ms)
{
    struct matter *m = matter_for(l, matter, now_ms);

    if (m == NULL) {
        return false;
    }
    if (now_ms - m->since_ms > KUBE_EVENT_SIMILAR_MS) {
        m->since_ms = now_ms;
        m->notes = 0;
    }
    m->last_ms = now_ms;
    if (m->notes == KUBE_EVENT_SIMILAR_MAX) {
        return false;
    }
    m->notes++;
    return true;
}

bool kube_event_limits_write(struct kube_event_limits *l, const char *uid, int64_t now_ms)
{
    struct source *s = hashmap_get(&l->sources, uid);

    if (s == NULL && l->sources.count >= KUBE_EVENT_LIMITS_MAX) {
        return false;
    }
    if (s == NULL) {
        s = xcalloc(1, sizeof(*s));
        s->key = xstrdup(uid);
        s->bucket = bucket_make(1000.0 / KUBE_EVENT_SPAM_MS, KUBE_EVENT_SPAM_BURST, now_ms);
        hashmap_put(&l->sources, s->key, s);
    }
    s->last_ms = now_ms;
    return bucket_take(&s->bucket, now_ms);
}

void kube_event_limits_forget(struct kube_event_limits *l, int64_t now_ms)
{
    for (struct hashmap_iter i = {.map = &l->matters}; hashmap_next(&i);) {
        struct matter *m = i.value;
        if (now_ms - m->last_ms > KUBE_EVENT_SIMILAR_MS) {
            hashmap_remove(&l->matters, m->key);
            matter_free(m);
        }
    }
    for (struct hashmap_iter i = {.map = &l->sources}; hashmap_next(&i);) {
        struct source *s = i.value;
        if (now_ms - s->last_ms > (int64_t)KUBE_EVENT_SPAM_BURST * KUBE_EVENT_SPAM_MS) {
            hashmap_remove(&l->sources, s->key); /* its bucket is full again */
            source_free(s);
        }
    }
}

size_t kube_event_limits_count(const struct kube_event_limits *l)
{
    return l->matters.count + l->sources.count;
}
