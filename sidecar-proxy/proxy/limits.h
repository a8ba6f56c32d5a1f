/* limits: how many connections and requests a proxy has, in all and by source address. Shared by
 * its relay threads. */
#pragma once

#include "sidecar-proxy/proxy/map.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

struct source { /* an IPv6 address, IPv4 ones mapped */
    uint8_t ip[16];
};

struct limits {
    uint32_t max_connections;
    uint32_t max_tunnels;
    uint32_t max_by_source; /* 0: not counted */
    _Atomic uint32_t connections;
    _Atomic uint32_t tunnels; /* requests from their head on, and the tunnels they become */
    pthread_mutex_t lock;     /* of sources */
    struct map sources;
    uint64_t seed;
};

enum limit { LIMIT_NONE, LIMIT_TOTAL, LIMIT_SOURCE, LIMIT_CONNECTIONS, LIMITS };

void limits_init(struct limits *limits, uint32_t max_tunnels, uint32_t max_by_source);
void limits_clear(struct limits *limits);
struct source source_of(const struct sockaddr_storage *address);
void source_format(const struct source *source, char *ret, size_t size);

bool limits_connect(struct limits *limits); /* false: too many, nothing was counted */
void limits_disconnect(struct limits *limits);
enum limit limits_enter(struct limits *limits, const struct source *source);
void limits_leave(struct limits *limits, const struct source *source);
