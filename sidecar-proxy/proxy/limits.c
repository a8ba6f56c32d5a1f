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
    pthread_mutex_lock(&limits->lock);
    struct limit_count *c = hashmap_get(&limits->counts, name);
    if (c == NULL) {
        c = xcalloc(1, sizeof(*c));
        snprintf(c->name, sizeof(c->name), "%s", name);
        hashmap_put(&limits->counts, c->name, c);
    }
    bool room = c->count < max;
    c->count += room;
    pthread_mutex_unlock(&limits->lock);
    return room ? c : NULL;
}

static void count_down(struct limits *limits, struct limit_count *c)
{
    pthread_mutex_lock(&limits->lock);
    if (--c->count == 0) {
        hashmap_remove(&limits->counts, c->name);
        free(c);
    }
    pthread_mutex_unlock(&limits->lock);
}

bool limits_admit(struct limits *limits, const struct source *source, struct limit_count **seat)
{
    char name[NAME_MAX_LEN];

    *seat = NULL;
    if (limits->max.by_source == 0) {
        return true;
    }
    name_source(source, 's', name);
    *seat = count_up(limits, name, limits->max.by_source);
    return *seat != NULL;
}

void limits_dismiss(struct limits *limits, struct limit_count **seat)
{
    if (*seat != NULL) {
        count_down(limits, *seat);
        *seat = NULL;
    }
}

enum limit limits_enter(struct limits *limits, const struct source *source, const char *key,
                        struct limit_count **seat)
{
    char name[NAME_MAX_LEN];

    *seat = NULL;
    if (atomic_fetch_add(&limits->tunnels, 1) >= limits->max.tunnels) {
        atomic_fetch_sub(&limits->tunnels, 1);
        return LIMIT_TOTAL;
    }
    if (source == NULL || limits->max.by_caller == 0) {
        return LIMIT_NONE;
    }
    name_caller(limits, source, key, name);
    *seat = count_up(limits, name, limits->max.by_caller);
    if (*seat == NULL) {
        atomic_fetch_sub(&limits->tunnels, 1);
        return LIMIT_CALLER;
    }
    return LIMIT_NONE;
}

void limits_leave(struct limits *limits, struct limit_count **seat)
{
    atomic_fetch_sub(&limits->tunnels, 1);
    limits_dismiss(limits, seat);
}
