/* object: a VPNPool (vpn.openbalena.io/v1alpha1) as both drivers read it. One parser for both: the
 * pool file is YAML, the API server's JSON is YAML as well. The schema is in ARCHITECTURE.md.
 * Every fault of a text is found in one go, each with its line, column and field. */
#pragma once

#include "common/buf.h"
#include "common/json.h"
#include "common/subnet.h"

#define POOL_FILE_MAX ((size_t)1 << 20) /* bytes */
#define POOL_NAME_MAX 52
#define POOL_REPLICAS_MAX 1024
#define POOL_ERRORS_MAX 64 /* shown; more are counted */

enum pool_protocol { POOL_TCP, POOL_TCP4, POOL_TCP6, POOL_UDP, POOL_UDP4, POOL_UDP6 };

struct pool_tls { /* owned texts, NULL where unset; local paths are absolute after parsing */
    char *ca_file;
    char *cert_file;
    char *key_file;
    char *dh_file;     /* NULL: "dh none" */
    char *secret_name; /* Kubernetes only */
};

struct pool_network {
    struct subnet base;
    uint8_t instance_prefix_len; /* 16..29 */
    uint32_t gateway;            /* host byte order; 0: each block's first usable address */
};

struct pool_openvpn {
    enum pool_protocol protocol;
    struct pool_tls tls;
    char *data_ciphers;      /* "AES-128-GCM:..." */
    char *openssl_providers; /* "legacy:default", or NULL */
    uint32_t keepalive_interval_s, keepalive_timeout_s;
    uint32_t hand_window_s; /* 20..600 */
    uint32_t status_interval_s, bytecount_s;
    uint32_t explicit_exit_notify; /* udp only */
};

struct pool_auth {
    uint32_t cache_s, grace_s, max_in_flight;
};

struct pool_drain {
    uint32_t rate_per_minute, timeout_s;
};

struct pool_throttle { /* bit/s per device; 0: none */
    uint64_t down, up;
};

struct pool_rollout {
    uint32_t max_surge, max_unavailable;
};

struct pool_haproxy {
    uint16_t port;
    uint32_t max_connections, idle_timeout_s, threads;
    bool proxy_protocol;
    char *cpu_map; /* or NULL: haproxy's choice */
};

struct pool_connect_proxy {
    char *listen;               /* address without port */
    char *cert_file, *key_file; /* both or neither */
    bool proxy_protocol;
    uint16_t port, metrics_port, forward_port;
    uint32_t workers; /* 0: one a core */
};

struct pool_local { /* one machine only */
    uint16_t base_port, sidecar_base_port;
    char *register_interface; /* or NULL */
    uint16_t http_port;       /* 0: off */
};

enum pool_pull_policy { POOL_PULL_ALWAYS, POOL_PULL_IF_NOT_PRESENT, POOL_PULL_NEVER };

/* In a cluster only; one machine accepts it and makes nothing of it. Owned texts, NULL where unset.
 * What is marked JSON is the field as JSON text, its shape checked, ready to be put into a Pod. */
struct pool_kubernetes {
    char *image;         /* of openvpn's container */
    char *sidecar_image; /* NULL: image */
    enum pool_pull_policy image_pull_policy;
    char *image_pull_secrets; /* JSON: list of names */
    char *api_secret_name;
    char *api_config_map_name;
    char *state;     /* "host:port" of the state service */
    char *balancers; /* "host:port" of the balancers; NULL: the readiness gate opens without */
    char *register_address; /* numeric; NULL: the Pod's own */
    char *service_account_name;
    char *pod_labels;                  /* JSON: map of texts */
    char *pod_annotations;             /* JSON: map of texts */
    char *node_selector;               /* JSON: map of texts */
    char *tolerations;                 /* JSON: list of maps */
    char *affinity;                    /* JSON: map */
    char *topology_spread_constraints; /* JSON: list of maps; NULL: soft, over nodes and zones */
    char *openvpn_resources;           /* JSON: map */
    char *sidecar_resources;           /* JSON: map */
    char *priority_class_name;
    char *runtime_class_name;
};

struct pool_object {
    char *name;
    uint32_t replicas;
    struct pool_network network;
    struct pool_openvpn openvpn;
    struct pool_auth auth;
    struct pool_drain drain;
    struct pool_throttle throttle;
    struct pool_rollout rollout;
    struct pool_haproxy haproxy;
    struct pool_connect_proxy connect_proxy;
    uint16_t state_port;
    struct pool_local local;
    struct pool_kubernetes kubernetes;
    /* Where the fields stand, for what is found wrong later; owned. NULL: made by hand. */
    struct yaml_node *origin;
    const char *(*name_of)(const char *path); /* the variable that a field came from, or NULL */
};

/* All faults as text, one a line, "file:line:column: field: what is wrong": for a person. */
struct pool_errors {
    struct buf text;
    size_t count;
};

void pool_object_init(struct pool_object *p); /* all defaults */
void pool_object_clear(struct pool_object *p);

/* file: for messages and as the base of relative paths. 0; -EINVAL: errors is filled, *ret is
 * untouched. Checks all that needs no look at the machine. */
int pool_object_parse(const char *file, const char *text, size_t len, struct pool_object *ret,
                      struct pool_errors *errors);
/* The same of what the API server sent. name: for messages, which have no line. Only apiVersion,
 * kind, the name and spec are looked at: a pool of many instances has a status of any length. */
int pool_object_from_json(const char *name, const cJSON *object, struct pool_object *ret,
                          struct pool_errors *errors);
/* Reads and parses a file. -ENOENT and such are in errors as well. */
int pool_object_load(const char *file, struct pool_object *ret, struct pool_errors *errors);

/* The same with what only this machine can tell, all in one list: certificates exist, parse, match
 * their key; ports are distinct and in range; the interface exists. warnings: "expires in 3 days".
 */
int pool_object_parse_local(const char *file, const char *text, size_t len, struct pool_object *ret,
                            struct pool_errors *errors, struct pool_errors *warnings);
int pool_object_load_local(const char *file, struct pool_object *ret, struct pool_errors *errors,
                           struct pool_errors *warnings);

/* What this machine tells, of an object that came from elsewhere. 0 or -EINVAL. warnings may be
 * NULL. */
int pool_object_check_local(const char *file, const struct pool_object *p,
                            struct pool_errors *errors, struct pool_errors *warnings);

/* What a cluster needs and the API server cannot ask of an object that one machine may read too:
 * an image, a Secret with the certificates. 0 or -EINVAL. */
int pool_object_check_kubernetes(const char *file, const struct pool_object *p,
                                 struct pool_errors *errors);

/* "IfNotPresent", as in a Pod. */
const char *pool_pull_policy_name(enum pool_pull_policy policy);

/* Highest index that an instance can have: what the base subnet holds, with local also what the
 * ports leave free (base_port + index meets no other port), at most POOL_REPLICAS_MAX. */
uint32_t pool_object_capacity(const struct pool_object *p, bool local);
/* What one instance has addresses for. */
uint32_t pool_object_devices_max(const struct pool_object *p);

void pool_errors_init(struct pool_errors *e);
void pool_errors_clear(struct pool_errors *e);

/* What changed from a to b, as bits. */
enum pool_change {
    POOL_CHANGED_REPLICAS = 1,
    POOL_CHANGED_LIVE = 2,      /* auth, drain, throttle, rollout: sidecars and planner take it */
    POOL_CHANGED_INSTANCE = 4,  /* what OpenVPN runs with, in which Pod: instances are rolled */
    POOL_CHANGED_HAPROXY = 8,   /* haproxy's own config */
    POOL_CHANGED_SERVICES = 16, /* state service or connect-proxy settings */
    POOL_CHANGED_FIXED = 32,    /* name, network, local ports: refused while running */
};
unsigned pool_object_diff(const struct pool_object *a, const struct pool_object *b);
/* The same, and which: "spec.replicas, spec.drain.ratePerMinute", "" for none. Caller frees. */
unsigned pool_object_diff_fields(const struct pool_object *a, const struct pool_object *b,
                                 char **fields);

/* What of to cannot be had while from runs (POOL_CHANGED_FIXED, TCP or UDP), each with its place in
 * file. 0, -EINVAL. */
int pool_object_check_change(const char *file, const struct pool_object *from,
                             const struct pool_object *to, struct pool_errors *errors);

/* A hash of all that OpenVPN runs with: instances with another one are rolled. Certificates count
 * by their content. text: 16 hex digits and NUL. */
void pool_object_instance_hash(const struct pool_object *p, char text[17]);
