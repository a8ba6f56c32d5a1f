/* object: the pool object, the one thing an operator writes. The same parser reads the pool file
 * of one machine (YAML) and what the API server sends (JSON, which is YAML). Pure but for
 * pool_object_load(). Schema: ARCHITECTURE.md; the table of fields is in object.c and drives
 * parsing, defaults, ranges, differences and what a change costs.
 * Fuzz: tests/fuzz/fuzz_pool_file.c */
#pragma once

#include "common/err.h"
#include "common/subnet.h"

#define POOL_FILE_MAX (1024 * 1024) /* bytes; more is refused unread */
#define POOL_NAME_MAX 52            /* bytes: "{name}-{index}" stays a DNS label */
#define POOL_LIST_MAX 16            /* ciphers, providers */
#define POOL_REPLICAS_MAX 1024

/* Each field that can be set, named after its path. */
enum pool_field {
    POOL_NAME, /* metadata.name */
    POOL_REPLICAS,
    POOL_BASE_SUBNET,
    POOL_INSTANCE_PREFIX_LENGTH,
    POOL_GATEWAY,
    POOL_PROTOCOL,
    POOL_CA_FILE,
    POOL_CERT_FILE,
    POOL_KEY_FILE,
    POOL_DH_FILE,
    POOL_SECRET_NAME,
    POOL_DATA_CIPHERS,
    POOL_OPENSSL_PROVIDERS,
    POOL_KEEPALIVE_INTERVAL,
    POOL_KEEPALIVE_TIMEOUT,
    POOL_HAND_WINDOW,
    POOL_STATUS_INTERVAL,
    POOL_BYTECOUNT,
    POOL_EXPLICIT_EXIT_NOTIFY,
    POOL_AUTH_CACHE,
    POOL_AUTH_GRACE,
    POOL_AUTH_MAX_IN_FLIGHT,
    POOL_DRAIN_RATE,
    POOL_DRAIN_TIMEOUT,
    POOL_THROTTLE_DOWN,
    POOL_THROTTLE_UP,
    POOL_MAX_SURGE,
    POOL_MAX_UNAVAILABLE,
    POOL_HAPROXY_PORT,
    POOL_HAPROXY_MAX_CONNECTIONS,
    POOL_HAPROXY_IDLE_TIMEOUT,
    POOL_HAPROXY_THREADS,
    POOL_HAPROXY_PROXY_PROTOCOL,
    POOL_CONNECT_PROXY_LISTEN,
    POOL_CONNECT_PROXY_PORT,
    POOL_CONNECT_PROXY_METRICS_PORT,
    POOL_CONNECT_PROXY_WORKERS,
    POOL_CONNECT_PROXY_FORWARD_PORT,
    POOL_STATE_PORT,
    POOL_LOCAL_BASE_PORT,
    POOL_LOCAL_SIDECAR_BASE_PORT,
    POOL_LOCAL_REGISTER_INTERFACE,
    POOL_LOCAL_HTTP_PORT,
    POOL_FIELDS
};

enum pool_protocol {
    POOL_TCP, /* dual stack where OpenVPN is; locally it listens on 127.0.0.1 */
    POOL_TCP4,
    POOL_TCP6,
    POOL_UDP,
    POOL_UDP4,
    POOL_UDP6
};

struct pool_list {
    char *items[POOL_LIST_MAX]; /* owned */
    size_t count;
};

struct pool_mark { /* where a field stands in its file */
    uint32_t line; /* 1-based; 0: it is not there (a default, or from a variable) */
    uint32_t column;
};

/* Strings are owned by the object. Seconds are whole; ports 1..65535 unless 0 is said to mean off.
 */
struct pool_object {
    char name[POOL_NAME_MAX + 1]; /* DNS label */
    uint32_t replicas;            /* 0..1024, no more than fit */

    struct {
        struct subnet base;           /* prefix 0..instance_prefix_len */
        uint32_t instance_prefix_len; /* 16..29 */
        uint32_t gateway;             /* host byte order; 0: each block's first usable address */
    } network;

    struct {
        uint32_t protocol;                    /* enum pool_protocol */
        char *ca_file, *cert_file, *key_file; /* all three or, in Kubernetes, none: NULL */
        char *dh_file;                        /* NULL: none (elliptic curves do without) */
        char *secret_name;                    /* Kubernetes; NULL locally */
        struct pool_list data_ciphers;        /* first that a client lists is taken */
        struct pool_list openssl_providers;   /* empty: OpenSSL's own choice */
        uint32_t keepalive_interval_s, keepalive_timeout_s;
        uint32_t hand_window_s;
        uint32_t status_interval_s, bytecount_s; /* bytecount 0: none */
        uint32_t explicit_exit_notify;           /* udp; 0: none */
    } openvpn;

    struct {
        uint32_t cache_s, grace_s, max_in_flight;
    } auth;

    struct {
        uint32_t rate_per_minute, timeout_s;
    } drain;

    struct {
        char *down, *up; /* "10mbit"; both or neither (NULL) */
    } throttle;

    struct {
        uint32_t max_surge, max_unavailable; /* not both 0 */
    } rollout;

    struct {
        uint32_t port, max_connections, threads;
        uint32_t idle_timeout_s; /* default: the keepalive timeout */
        bool proxy_protocol;
    } haproxy;

    struct {
        char *listen; /* IPv4 or IPv6 address */
        uint32_t port, metrics_port, forward_port;
        uint32_t workers; /* 0: one a core */
    } connect_proxy;

    struct {
        uint32_t port;
    } state;

    struct {
        uint32_t base_port, sidecar_base_port; /* + index */
        char *register_interface;              /* NULL: the route's own choice */
        uint32_t http_port;                    /* 0: off */
    } local;

    struct pool_mark marks[POOL_FIELDS];
};

struct pool_problem {
    bool warning;
    struct pool_mark mark; /* line 0: no place in a file */
    char *field;           /* "spec.network.gateway", a variable's name, or "" */
    char *text;            /* what is wrong and what would be right */
};

/* All that is wrong with one source, in the order of its lines. Bounded: the rest is counted. */
#define POOL_PROBLEMS_MAX 100
struct pool_problems {
    char *source; /* file name as the user gave it, or "environment" */
    struct pool_problem *items;
    size_t count;
    size_t errors;  /* of all, warnings not counted */
    size_t dropped; /* beyond POOL_PROBLEMS_MAX */
};

void pool_problems_init(struct pool_problems *p, const char *source);
void pool_problems_clear(struct pool_problems *p);
void pool_problems_add(struct pool_problems *p, bool warning, struct pool_mark mark,
                       const char *field, const char *fmt, ...) PRINTF_LIKE(5, 6);
void pool_problems_sort(struct pool_problems *p); /* by line, then column; stable */
/* "pool.yaml:12:14: spec.network.gateway: 10.0.0.1 is not in 100.64.0.0/10", warnings with
 * "warning: " before the text. Caller frees. */
char *pool_problem_format(const struct pool_problems *p, size_t i);

/* Every default, no name, no certificates. */
void pool_object_init(struct pool_object *o);
void pool_object_clear(struct pool_object *o);
void pool_object_copy(const struct pool_object *from,
                      struct pool_object *to); /* to: fresh memory */

/* One YAML document. 0, or -EINVAL with problems->errors > 0 and *ret untouched; problems may hold
 * warnings after success. File names in it stay as written. */
int pool_object_parse(const char *bytes, size_t len, struct pool_object *ret,
                      struct pool_problems *problems);
/* Reads path (problems->source is only for the text), then makes the file names in it relative to
 * path's folder. -EINVAL as above; a file that cannot be read is a problem as well. */
int pool_object_load(const char *path, struct pool_object *ret, struct pool_problems *problems);

/* The rules that hold between fields (overlap, gateway, replicas that fit, udp with one replica).
 * Both of the above have called it; env_pool calls it for what variables say. */
void pool_object_check(const struct pool_object *o, struct pool_problems *problems);
/* What holds on this machine only: certificate files there, readable, matching, not expired; ports
 * that collide or pass 65535; the interface that is registered. Reads files, changes nothing. */
void pool_object_check_local(const struct pool_object *o, struct pool_problems *problems);

/* Highest index this pool may use: what the base subnet holds and, with local, what the ports
 * hold; never over PLAN_INDEX_MAX of plan.h. */
uint32_t pool_object_index_max(const struct pool_object *o, bool local);

/* What a change of a field costs, as bits; 0: it takes effect with the next plan. */
enum pool_effect {
    POOL_EFFECT_SIDECAR = 1 << 0,       /* sidecars restart in place; no device notices */
    POOL_EFFECT_STATE = 1 << 1,         /* vpn-state restarts; soft */
    POOL_EFFECT_CONNECT_PROXY = 1 << 2, /* vpn-connect-proxy is replaced; tunnels finish */
    POOL_EFFECT_HAPROXY = 1 << 3,       /* haproxy's file is written anew and it reloads */
    POOL_EFFECT_INSTANCE = 1 << 4,      /* instances are rolled: their template differs */
    POOL_EFFECT_REFUSED = 1 << 5,       /* cannot change while the pool exists */
};

struct pool_diff {
    bool changed[POOL_FIELDS];
    size_t count;
    unsigned effects; /* of all changed fields together */
};

/* Marks are not compared. */
bool pool_object_equal(const struct pool_object *a, const struct pool_object *b);
struct pool_diff pool_object_diff(const struct pool_object *from, const struct pool_object *to);
/* Adds one problem for each changed field with POOL_EFFECT_REFUSED, at its place in to. */
void pool_object_check_change(const struct pool_object *from, const struct pool_object *to,
                              struct pool_problems *problems);
const char *pool_field_path(enum pool_field field); /* "spec.network.gateway" */
unsigned pool_field_effects(enum pool_field field); /* enum pool_effect */
const char *pool_protocol_text(uint32_t protocol);  /* "tcp4" */
bool pool_protocol_is_udp(uint32_t protocol);

/* Names what a set of fields says: equal for two objects whose fields with any of these effects
 * are equal. pool_object_hash(o, POOL_EFFECT_INSTANCE) is an instance's template. */
#define POOL_HASH_MAX 16 /* hex digits */
struct pool_hash {
    char text[POOL_HASH_MAX + 1];
};
struct pool_hash pool_object_hash(const struct pool_object *o, unsigned effects);
