/* limits: how many connections and requests a proxy has: connections in all and by source address,
 * requests and the tunnels they become in all and by caller. A caller is who shows the same key, or
 * the address of who shows none. Shared by its relay threads. Keys are known here by a keyed hash
 * only. */
#pragma once

#include "common/hashmap.h"
#include "common/secret.h"
#include "sidecar-proxy/proxy/source.h"

#include <pthread.h>
#include <stdatomic.h>

struct limit_count; /* whom a connection or a request is counted for */

struct limits_max {
    uint32_t tunnels;
    uint32_t by_source; /* connections; 0: not counted */
    uint32_t by_caller; /* tunnels; 0: not counted */
};

struct limits {
    struct limits_max max;
    uint32_t max_connections;
    _Atomic uint32_t connections;
    _Atomic uint32_t tunnels; /* requests from their head on, and the tunnels they become */
    pthread_mutex_t lock;     /* of counts */
    struct hashmap counts;    /* at most two a tunnel */
    uint8_t secret[SECRET_BYTES];
};

enum limit { LIMIT_NONE, LIMIT_TOTAL, LIMIT_SOURCE, LIMIT_CALLER, LIMIT_CONNECTIONS, LIMITS };

void limits_init(struct limits *limits, const struct limits_max *max);
void limits_clear(struct limits *limits);
bool limits_connect(struct limits *limits); /* false: too many, nothing was counted */
void limits_disconnect(struct limits *limits);
/* A connection, once its address is known. False: too many of that address. *seat (NULL: not
 * counted) is to be given back. */
bool limits_admit(struct limits *limits, const struct source *source, struct limit_count **seat);
void limits_dismiss(struct limits *limits, struct limit_count **seat); /* may be called twice */
/* A request. source NULL: of a proxy of ours, where it was counted already. key NULL: a guest. On
 * LIMIT_NONE *seat is to be given to limits_leave(). */
enum limit limits_enter(struct limits *limits, const struct source *source, const char *key,
                        struct limit_count **seat);
void limits_leave(struct limits *limits, struct limit_count **seat);
