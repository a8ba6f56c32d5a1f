#include "sidecar-proxy/proxy/limits.h"

#include "common/secret.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#define SOURCES_BUCKETS 4096
#define CONNECTIONS_EXTRA 1024 /* that only wait with a head: they cost one descriptor */

struct source_count {
    struct map_node node; /* first */
    struct source source;
    uint32_t count;
};

void limits_init(struct limits *limits, uint32_t max_tunnels, uint32_t max_by_source)
{
    *limits = (struct limits){
        .max_connections = max_tunnels + CONNECTIONS_EXTRA,
        .max_tunnels = max_tunnels,
        .max_by_source = max_by_source,
    };
    pthread_mutex_init(&limits->lock, NULL);
    map_init(&limits->sources, SOURCES_BUCKETS);
    secret_random(&limits->seed, sizeof(limits->seed));
}

void limits_clear(struct limits *limits)
{
    for (struct map_node *node; (node = map_any(&limits->sources)) != NULL;) {
        map_remove(&limits->sources, node);
        free(node);
    }
    map_clear(&limits->sources);
    pthread_mutex_destroy(&limits->lock);
}

struct source source_of(const struct sockaddr_storage *address)
{
    struct source source = {.ip = {[10] = 0xff, [11] = 0xff}};

    if (address->ss_family == AF_INET6) {
        memcpy(source.ip, &((const struct sockaddr_in6 *)address)->sin6_addr, sizeof(source.ip));
    } else {
        memcpy(source.ip + 12, &((const struct sockaddr_in *)address)->sin_addr, 4);
    }
    return source;
}

void source_format(const struct source *source, char *ret, size_t size)
{
    struct in6_addr in6;

    memcpy(&in6, source->ip, sizeof(in6));
    if (IN6_IS_ADDR_V4MAPPED(&in6)) {
        inet_ntop(AF_INET, source->ip + 12, ret, (socklen_t)size);
    } else {
        inet_ntop(AF_INET6, &in6, ret, (socklen_t)size);
    }
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

static bool is_source(const struct map_node *node, const void *key)
{
    return memcmp(&((const struct source_count *)node)->source, key, sizeof(struct source)) == 0;
}

static bool enter_source(struct limits *limits, const struct source *source)
{
    uint64_t hash = map_hash(limits->seed, source->ip, sizeof(source->ip));
    bool allowed = true;

    pthread_mutex_lock(&limits->lock);
    struct source_count *s =
        (struct source_count *)map_find(&limits->sources, hash, is_source, source);
    if (s == NULL) { /* at most as many as tunnels */
        s = xcalloc(1, sizeof(*s));
        s->source = *source;
        map_add(&limits->sources, hash, &s->node);
    }
    if (s->count < limits->max_by_source) {
        s->count++;
    } else {
        allowed = false;
    }
    pthread_mutex_unlock(&limits->lock);
    return allowed;
}

static void leave_source(struct limits *limits, const struct source *source)
{
    uint64_t hash = map_hash(limits->seed, source->ip, sizeof(source->ip));

    pthread_mutex_lock(&limits->lock);
    struct source_count *s =
        (struct source_count *)map_find(&limits->sources, hash, is_source, source);
    if (s != NULL && --s->count == 0) {
        map_remove(&limits->sources, &s->node);
        free(s);
    }
    pthread_mutex_unlock(&limits->lock);
}

enum limit limits_enter(struct limits *limits, const struct source *source)
{
    if (atomic_fetch_add(&limits->tunnels, 1) >= limits->max_tunnels) {
        atomic_fetch_sub(&limits->tunnels, 1);
        return LIMIT_TOTAL;
    }
    if (limits->max_by_source > 0 && !enter_source(limits, source)) {
        atomic_fetch_sub(&limits->tunnels, 1);
        return LIMIT_SOURCE;
    }
    return LIMIT_NONE;
}

void limits_leave(struct limits *limits, const struct source *source)
{
    atomic_fetch_sub(&limits->tunnels, 1);
    if (limits->max_by_source > 0) {
        leave_source(limits, source);
    }
}
