#include "sidecar-proxy/proxy/limits.h"

#include <stdio.h>
#include <string.h>

#define CONNECTIONS_EXTRA 1024            /* that only wait with a head: they cost one descriptor */
#define NAME_MAX_LEN (SECRET_HEX_LEN + 2) /* with the NUL */

struct limit_count {
    char name[NAME_MAX_LEN]; /* the map's key */
    uint32_t count;
};

void limits_init(struct limits *limits, const struct limits_max *max)
{
    *limits = (struct limits){
        .max = *max,
        .max_connections = max->tunnels + CONNECTIONS_EXTRA,
    };
    pthread_mutex_init(&limits->lock, NULL);
    hashmap_init(&limits->counts);
    secret_random(limits->secret, sizeof(limits->secret));
}

void limits_clear(struct limits *limits)
{
    for (struct hashmap_iter i = {.map = &limits->counts}; hashmap_next(&i);) {
        free(i.value);
    }
    hashmap_clear(&limits->counts);
    pthread_mutex_destroy(&limits->lock);
    secret_wipe(limits->secret, sizeof(limits->secret));
}

bool limits_connect(struct limits *limits)
{
    if (atomic_fetch_add(&limits->connections, 1) >= limits->max_connections) {
        atomic_fetch_sub(&limits->connections, 1);
        return false;
    }
    return true;
}

void limits_disconnect(struct limits *limits)
{
    atomic_fetch_sub(&limits->connections, 1);
}

/* The first character keeps the kinds apart. */
static void name_source(const struct source *source, char kind, char ret[NAME_MAX_LEN])
{
    ret[0] = kind;
    source_format(source, ret + 1);
}

static void name_caller(const struct limits *limits, const struct source *source, const char *key,
                        char ret[NAME_MAX_LEN])
{
    uint8_t hash[SECRET_BYTES];

    if (key == NULL) {
        name_source(source, 'g', ret);
        return;
    }
    secret_hmac(limits->secret, key, strlen(key), hash);
    ret[0] = 'k';
    secret_hex(hash, ret + 1);
}

/* NULL: there are max already. */
static struct limit_count *count_up(struct limits *limits, const char *name, uint32_t max)
{
    struct limit_count *c = hashmap_get(&limits->counts, name);

    if (c == NULL) {
        c = xcalloc(1, sizeof(*c));
        snprintf(c->name, sizeof(c->name), "%s", name);
        hashmap_put(&limits->counts, c->name, c);
    }
    if (c->count >= max) {
        return NULL;
    }
    c->count++;
    return c;
}

static void count_down(struct limits *limits, struct limit_count *c)
{
    if (c != NULL && --c->count == 0) {
        hashmap_remove(&limits->counts, c->name);
        free(c);
    }
}

static enum limit take_seat(struct limits *limits, const char *source, const char *caller,
                            struct limit_seat *seat)
{
    if (limits->max.by_source > 0) {
        seat->source = count_up(limits, source, limits->max.by_source);
        if (seat->source == NULL) {
            return LIMIT_SOURCE;
        }
    }
    if (limits->max.by_caller > 0) {
        seat->caller = count_up(limits, caller, limits->max.by_caller);
        if (seat->caller == NULL) {
            count_down(limits, seat->source);
            return LIMIT_CALLER;
        }
    }
    return LIMIT_NONE;
}

static enum limit enter_counted(struct limits *limits, const struct source *source, const char *key,
                                struct limit_seat *seat)
{
    char by_source[NAME_MAX_LEN];
    char by_caller[NAME_MAX_LEN];

    name_source(source, 's', by_source);
    name_caller(limits, source, key, by_caller);
    pthread_mutex_lock(&limits->lock);
    enum limit limit = take_seat(limits, by_source, by_caller, seat);
    pthread_mutex_unlock(&limits->lock);
    return limit;
}

enum limit limits_enter(struct limits *limits, const struct source *source, const char *key,
                        struct limit_seat *seat)
{
    bool counts = source != NULL && (limits->max.by_source > 0 || limits->max.by_caller > 0);

    *seat = (struct limit_seat){NULL, NULL};
    if (atomic_fetch_add(&limits->tunnels, 1) >= limits->max.tunnels) {
        atomic_fetch_sub(&limits->tunnels, 1);
        return LIMIT_TOTAL;
    }
    enum limit limit = counts ? enter_counted(limits, source, key, seat) : LIMIT_NONE;
    if (limit != LIMIT_NONE) {
        atomic_fetch_sub(&limits->tunnels, 1);
    }
    return limit;
}

void limits_leave(struct limits *limits, struct limit_seat *seat)
{
    atomic_fetch_sub(&limits->tunnels, 1);
    if (seat->source == NULL && seat->caller == NULL) {
        return;
    }
    pthread_mutex_lock(&limits->lock);
    count_down(limits, seat->source);
    count_down(limits, seat->caller);
    pthread_mutex_unlock(&limits->lock);
    *seat = (struct limit_seat){NULL, NULL};
}
