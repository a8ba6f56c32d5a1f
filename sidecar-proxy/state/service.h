/* service: the parts of vpn-state, put together; what each route's handler gets as its arg. */
#pragma once

#include "common/http_server.h"
#include "common/secret.h"
#include "sidecar-proxy/state/feed_in.h"
#include "sidecar-proxy/state/recent.h"

struct feed_server;
struct streams;

#define SERVICE_ROUTES 14

struct service_options {
    struct service_keys keys; /* the token of the feed is derived from them; not kept */
    int64_t lost_seconds;
    int64_t start_grace_seconds;
    int64_t verdict_seconds;
    size_t max_sessions;
    size_t max_verdicts;
};

struct service {
    struct loop *loop;
    struct table *table;
    struct verdicts verdicts;
    struct roster roster;
    struct feed_world world;
    struct recent recent;
    struct feed_server *feeds;
    struct streams *streams;
    struct loop_timer *tick, *sampler;
    struct secrets tokens;
    int64_t sweep_ms; /* monotonic: when verdicts are swept next */
    bool said_ready;
    bool ending; /* set before http_server_close(): feeds that end now do so on our account */
    struct http_route routes[SERVICE_ROUTES];
};

/* s is the caller's storage and stays where it is until service_clear(). */
void service_init(struct service *s, struct loop *loop, const struct service_options *options);
/* After http_server_close(). */
void service_clear(struct service *s);

/* All routes of vpn-state, for http_server_listen(); valid until service_clear(). */
const struct http_route *service_routes(struct service *s, size_t *count);

struct table_now service_now(const struct service *s);
bool service_ready(struct service *s);
/* Answers 401 and returns false unless the request carries the token. */
bool service_allowed(struct service *s, struct http_exchange *x,
                     const struct http_server_request *request);
