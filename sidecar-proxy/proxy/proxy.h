/* proxy: the HTTP CONNECT service that vpn-connect-proxy and vpn-sidecar share: listeners, relay
 * threads, limits, and the steps of a tunnel (head, access, route, connect, 200, relay, end).
 * The two programs differ in one decision only: where a device is (struct proxy_router). */
#pragma once

#include "common/balena_api.h"
#include "common/secret.h"
#include "common/uuid.h"

struct proxy;
struct route_query; /* one question to the router; valid until it is answered or cancelled */

enum route_kind {
    ROUTE_DEVICE,  /* connect to address:port itself */
    ROUTE_SIDECAR, /* dial address:port, a sidecar's proxy, and send CONNECT with a ticket */
    ROUTE_HOST, /* dial address:port, another VPN host's proxy, with the caller's own credentials */
    ROUTE_OFFLINE, /* 503 */
    ROUTE_LOOP,    /* 508: the other host would be us */
    ROUTE_UNKNOWN, /* 502: could not be found out */
};

struct route {
    enum route_kind kind;
    char address[46]; /* numeric */
    uint16_t port;
    const char *why; /* for the log: a literal */
};

struct route_request { /* borrowed during find() */
    const char *uuid;
    uint16_t port;
    int64_t device_id;       /* from canAccess; 0 with a ticket */
    const char *caller_key;  /* or NULL */
    const char *traceparent; /* or NULL */
    bool looped;             /* Forwarded or Via names us already */
    bool again;              /* the answer given a moment ago led nowhere: look anew */
};

struct proxy_router {
    /* Any thread: where, if that can be said at once; false: find() it. NULL: it never can. */
    bool (*known)(void *arg, const char *uuid, uint16_t port, struct route *ret);
    /* Main thread. Must lead to one proxy_route_answer(), now or later. */
    void (*find)(void *arg, struct route_query *query, const struct route_request *request);
    /* The caller has gone or time is up: forget the query, do not answer it. */
    void (*cancel)(void *arg, struct route_query *query);
    void *arg;
};
void proxy_route_answer(struct route_query *query, const struct route *route);
/* For the router's own use while a query is open. */
void proxy_route_set_data(struct route_query *query, void *data);
void *proxy_route_data(const struct route_query *query);

struct proxy_options {         /* copied */
    const char *listen;        /* "0.0.0.0:3128", "[::]:3128", "127.0.0.1:21001" */
    const char *tls_cert_file; /* PEM, with its chain; NULL: no TLS. Files that change are read */
    const char *tls_key_file;  /* again within seconds */
    const char
        *balancers; /* networks whose connections begin with the PROXY protocol; NULL: none */
    int workers;    /* relay threads; 0: one a core */
    struct service_keys keys; /* tickets are signed and checked with what is derived from it */
    const char *guest_key;    /* or NULL */
    const char *self_id;      /* required: in Via and Forwarded, so that loops end; at most 64 of
                                 letters, digits, '-', '.', '_' */
    struct balena_api *api;   /* access decisions; borrowed */
    struct proxy_router router;
    uint32_t head_timeout_ms;    /* 0: 10000 */
    uint32_t answer_timeout_ms;  /* 0: 8000; something is answered within it, whatever happens */
    uint32_t connect_timeout_ms; /* to a device or next hop; 0: 5000 */
    uint32_t idle_timeout_ms;    /* of a tunnel; 0: 3600000 */
    uint32_t access_cache_ms;    /* 0: 5000 */
    uint32_t access_grace_ms;    /* how long an earlier yes helps through an API outage; 0: not */
    uint32_t max_tunnels;        /* 0: 10000, less if there are not twice as many descriptors */
    uint32_t max_tunnels_per_source; /* connections of an address; 0: no limit */
    uint32_t max_tunnels_per_caller; /* by key, guests by address; 0: no limit */
    uint32_t default_port;           /* when the authority has none; 0: 80; logged */
};

int proxy_open(struct loop *loop, const struct proxy_options *options, struct proxy **ret,
               struct err *err);
/* Stops accepting at once; tunnels live until they end or grace_ms passed; then on_drained(arg). */
void proxy_drain(struct proxy *proxy, uint32_t grace_ms, loop_fn on_drained, void *arg);
void proxy_close(struct proxy *proxy); /* ends what is left, joins the threads, frees */
/* Reads the certificate's files now. When they are faulty it says so and keeps what it had. */
void proxy_reload(struct proxy *proxy);
uint32_t proxy_tunnels(const struct proxy *proxy); /* requests and tunnels under way */
uint16_t proxy_port(const struct proxy *proxy);    /* what "127.0.0.1:0" became */
