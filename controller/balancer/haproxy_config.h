/* haproxy_config: haproxy's configuration file, as text. Pure. It names no server: those come and
 * go over the runtime socket (members.h), so the file changes only when a setting of haproxy's
 * does. */
#pragma once

#include "common/buf.h"
#include "common/err.h"

#define HAPROXY_BACKEND "instances"

struct haproxy_config {
    uint16_t port;              /* devices */
    uint32_t max_connections;   /* of devices */
    uint32_t idle_timeout_s;    /* no byte either way for so long ends a connection */
    uint32_t threads;           /* 1.. */
    const char *cpu_map;        /* "auto:1/1-2 0-1", or NULL: haproxy's choice */
    bool proxy_protocol;        /* PROXY protocol is expected on port */
    bool ipv6;                  /* listen on both; false: IPv4 only */
    const char *runtime_socket; /* path */
    const char *user, *group;   /* to become after binding; NULL: stay */
    uint16_t http_port;         /* 0: none. GET /ping: 200 while an instance serves, else 503 */
    /* Metrics over http_port, with Basic credentials: user "monitor", password from the variable
     * MONITOR_SECRET_TOKEN that haproxy itself reads. False: none. */
    bool metrics;
    uint16_t state_port, connect_proxy_metrics_port; /* on loopback, for /metrics/... */
    const char *controller_socket;
};

/* How many devices haproxy can carry with so many descriptors: two each, and some of its own. */
uint32_t haproxy_config_connections(uint64_t descriptors);

/* -EMSGSIZE as buf_append(). Paths must be free of blanks, quotes and control bytes (-EINVAL). */
int haproxy_config_render(const struct haproxy_config *config, struct buf *ret, struct err *err);
