#include "controller/pool/object.h"

#include "controller/pool/object_rules.h"
#include "controller/pool/schema.h"
#include "controller/pool/yaml_json.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define SECOND_MAX 86400
#define AT(member) .offset = offsetof(struct pool_object, member)
#define NUMBER(field, type, member, low, high)                                   \
    {                                                                            \
        .name = field, .kind = FIELD_##type, AT(member), .min = low, .max = high \
    }
#define OBJECT(field, table)                                 \
    {                                                        \
        .name = field, .kind = FIELD_OBJECT, .fields = table \
    }
#define FILE_PATH(field, member)                                             \
    {                                                                        \
        .name = field, .kind = FIELD_PATH, AT(member), .min = 1, .max = 4095 \
    }

static const char *const protocols[] = {"tcp", "tcp4", "tcp6", "udp", "udp4", "udp6", NULL};

static const struct field network_fields[] = {
    {.name = "baseSubnet", .kind = FIELD_SUBNET, AT(network.base)},
    NUMBER("instancePrefixLength", U8, network.instance_prefix_len, SUBNET_INSTANCE_PREFIX_MIN,
           SUBNET_INSTANCE_PREFIX_MAX),
    {.name = "gateway", .kind = FIELD_ADDRESS, AT(network.gateway)},
    {0},
};

static const struct field tls_fields[] = {
    FILE_PATH("caFile", openvpn.tls.ca_file),
    FILE_PATH("certFile", openvpn.tls.cert_file),
    FILE_PATH("keyFile", openvpn.tls.key_file),
    FILE_PATH("dhFile", openvpn.tls.dh_file),
    {.name = "secretName", .kind = FIELD_NAME, AT(openvpn.tls.secret_name)},
    {0},
};

static const struct field keepalive_fields[] = {
    NUMBER("intervalSeconds", U32, openvpn.keepalive_interval_s, 1, 3600),
    NUMBER("timeoutSeconds", U32, openvpn.keepalive_timeout_s, 2, 7200),
    {0},
};

static const struct field openvpn_fields[] = {
    {.name = "protocol", .kind = FIELD_ENUM, AT(openvpn.protocol), .names = protocols},
    OBJECT("tls", tls_fields),
    {.name = "dataCiphers", .kind = FIELD_WORDS, AT(openvpn.data_ciphers)},
    {.name = "opensslProviders", .kind = FIELD_WORDS, AT(openvpn.openssl_providers)},
    OBJECT("keepalive", keepalive_fields),
    NUMBER("handWindowSeconds", U32, openvpn.hand_window_s, 20, 600),
    NUMBER("statusIntervalSeconds", U32, openvpn.status_interval_s, 1, 3600),
    NUMBER("bytecountSeconds", U32, openvpn.bytecount_s, 0, 3600),
    NUMBER("explicitExitNotify", U32, openvpn.explicit_exit_notify, 0, 2),
    {0},
};

static const struct field auth_fields[] = {
    NUMBER("cacheSeconds", U32, auth.cache_s, 0, SECOND_MAX),
    NUMBER("graceSeconds", U32, auth.grace_s, 0, 7 * SECOND_MAX),
    NUMBER("maxInFlight", U32, auth.max_in_flight, 1, 1024),
    {0},
};

static const struct field drain_fields[] = {
    NUMBER("ratePerMinute", U32, drain.rate_per_minute, 1, 1000000),
    NUMBER("timeoutSeconds", U32, drain.timeout_s, 1, SECOND_MAX),
    {0},
};

static const struct field throttle_fields[] = {
    {.name = "down", .kind = FIELD_RATE, AT(throttle.down)},
    {.name = "up", .kind = FIELD_RATE, AT(throttle.up)},
    {0},
};

static const struct field rollout_fields[] = {
    NUMBER("maxSurge", U32, rollout.max_surge, 0, POOL_REPLICAS_MAX),
    NUMBER("maxUnavailable", U32, rollout.max_unavailable, 0, POOL_REPLICAS_MAX),
    {0},
};

static const struct field haproxy_fields[] = {
    NUMBER("port", U16, haproxy.port, 1, 65535),
    NUMBER("maxConnections", U32, haproxy.max_connections, 1, 1000000),
    NUMBER("idleTimeoutSeconds", U32, haproxy.idle_timeout_s, 1, SECOND_MAX),
    NUMBER("threads", U32, haproxy.threads, 1, 64),
    {.name = "proxyProtocol", .kind = FIELD_BOOL, AT(haproxy.proxy_protocol)},
    {.name = "cpuMap", .kind = FIELD_STR, AT(haproxy.cpu_map), .min = 1, .max = 64},
    {0},
};

static const struct field connect_proxy_tls_fields[] = {
    FILE_PATH("certFile", connect_proxy.cert_file),
    FILE_PATH("keyFile", connect_proxy.key_file),
    {0},
};

static const struct field connect_proxy_fields[] = {
    {.name = "listen", .kind = FIELD_HOST, AT(connect_proxy.listen)},
    NUMBER("port", U16, connect_proxy.port, 1, 65535),
    NUMBER("metricsPort", U16, connect_proxy.metrics_port, 1, 65535),
    NUMBER("forwardPort", U16, connect_proxy.forward_port, 1, 65535),
    NUMBER("workers", U32, connect_proxy.workers, 0, 64),
    OBJECT("tls", connect_proxy_tls_fields),
    {.name = "proxyProtocol", .kind = FIELD_BOOL, AT(connect_proxy.proxy_protocol)},
    {0},
};

static const struct field state_fields[] = {
    NUMBER("port", U16, state_port, 1, 65535),
    {0},
};

static const struct field local_fields[] = {
    NUMBER("basePort", U16, local.base_port, 1, 65534),
    NUMBER("sidecarBasePort", U16, local.sidecar_base_port, 1, 65534),
    {.name = "registerInterface",
     .kind = FIELD_STR,
     AT(local.register_interface),
     .min = 1,
     .max = 15},
    NUMBER("httpPort", U16, local.http_port, 0, 65535),
    {0},
};

static const char *const pull_policies[] = {"Always", "IfNotPresent", "Never", NULL};

#define TEXT(field, member, most)                                           \
    {                                                                       \
        .name = field, .kind = FIELD_STR, AT(member), .min = 1, .max = most \
    }
#define SIMPLE(field, type, member)                      \
    {                                                    \
        .name = field, .kind = FIELD_##type, AT(member), \
    }

static const struct field resources_fields[] = {
    SIMPLE("openvpn", JSON_MAP, kubernetes.openvpn_resources),
    SIMPLE("sidecar", JSON_MAP, kubernetes.sidecar_resources),
    {0},
};

static const struct field kubernetes_fields[] = {
    TEXT("image", kubernetes.image, 512),
    TEXT("sidecarImage", kubernetes.sidecar_image, 512),
    {.name = "imagePullPolicy",
     .kind = FIELD_ENUM,
     AT(kubernetes.image_pull_policy),
     .names = pull_policies},
    SIMPLE("imagePullSecrets", NAMES, kubernetes.image_pull_secrets),
    SIMPLE("apiSecretName", NAME, kubernetes.api_secret_name),
    SIMPLE("apiConfigMapName", NAME, kubernetes.api_config_map_name),
    SIMPLE("state", HOST_PORT, kubernetes.state),
    SIMPLE("balancers", HOST_PORT, kubernetes.balancers),
    SIMPLE("registerAddress", HOST, kubernetes.register_address),
    SIMPLE("serviceAccountName", NAME, kubernetes.service_account_name),
    SIMPLE("podLabels", LABELS, kubernetes.pod_labels),
    SIMPLE("podAnnotations", ANNOTATIONS, kubernetes.pod_annotations),
    SIMPLE("nodeSelector", LABELS, kubernetes.node_selector),
    SIMPLE("tolerations", JSON_LIST, kubernetes.tolerations),
    SIMPLE("affinity", JSON_MAP, kubernetes.affinity),
    SIMPLE("topologySpreadConstraints", JSON_LIST, kubernetes.topology_spread_constraints),
    OBJECT("resources", resources_fields),
    SIMPLE("priorityClassName", NAME, kubernetes.priority_class_name),
    SIMPLE("runtimeClassName", NAME, kubernetes.runtime_class_name),
    {0},
};

static const struct field spec_fields[] = {
    NUMBER("replicas", U32, replicas, 0, POOL_REPLICAS_MAX),
    OBJECT("network", network_fields),
    OBJECT("openvpn", openvpn_fields),
    OBJECT("auth", auth_fields),
    OBJECT("drain", drain_fields),
    OBJECT("throttle", throttle_fields),
    OBJECT("rollout", rollout_fields),
    OBJECT("haproxy", haproxy_fields),
    OBJECT("connectProxy", connect_proxy_fields),
    OBJECT("state", state_fields),
    OBJECT("local", local_fields),
    OBJECT("kubernetes", kubernetes_fields),
    {0},
};

/* Kubernetes' own fields are there in what `kubectl get -o yaml` prints. */
static const struct field metadata_fields[] = {
    {.name = "name", .kind = FIELD_STR, AT(name), .min = 1, .max = POOL_NAME_MAX, .required = true},
    {.name = "namespace", .kind = FIELD_IGNORED},
    {.name = "generateName", .kind = FIELD_IGNORED},
    {.name = "selfLink", .kind = FIELD_IGNORED},
    {.name = "labels", .kind = FIELD_IGNORED},
    {.name = "annotations", .kind = FIELD_IGNORED},
    {.name = "uid", .kind = FIELD_IGNORED},
    {.name = "resourceVersion", .kind = FIELD_IGNORED},
    {.name = "generation", .kind = FIELD_IGNORED},
    {.name = "creationTimestamp", .kind = FIELD_IGNORED},
    {.name = "deletionTimestamp", .kind = FIELD_IGNORED},
    {.name = "deletionGracePeriodSeconds", .kind = FIELD_IGNORED},
    {.name = "finalizers", .kind = FIELD_IGNORED},
    {.name = "ownerReferences", .kind = FIELD_IGNORED},
    {.name = "managedFields", .kind = FIELD_IGNORED},
    {0},
};

const struct field object_fields[] = {
    {.name = "apiVersion",
     .kind = FIELD_LITERAL,
     .want = "vpn.openbalena.io/v1alpha1",
     .required = true},
    {.name = "kind", .kind = FIELD_LITERAL, .want = "VPNPool", .required = true},
    {.name = "metadata", .kind = FIELD_OBJECT, .fields = metadata_fields, .required = true},
    {.name = "spec", .kind = FIELD_OBJECT, .fields = spec_fields, .required = true},
    {.name = "status", .kind = FIELD_IGNORED},
    {0},
};

void pool_object_init(struct pool_object *p)
{
    *p = (struct pool_object){
        .name = xstrdup("fleet"),
        .replicas = 1,
        .network = {.base = {.network = 0x64400000, .prefix_len = 10}, .instance_prefix_len = 20},
        .openvpn =
            {
                .protocol = POOL_TCP,
                .data_ciphers = xstrdup("AES-128-GCM:AES-192-GCM:AES-256-GCM:"
                                        "AES-128-CBC:AES-192-CBC:AES-256-CBC"),
                .keepalive_interval_s = 10,
                .keepalive_timeout_s = 60,
                .hand_window_s = 60,
                .status_interval_s = 10,
                .bytecount_s = 60,
            },
        .auth = {.cache_s = 60, .grace_s = 3600, .max_in_flight = 32},
        .drain = {.rate_per_minute = 500, .timeout_s = 120},
        .rollout = {.max_surge = 1},
        .haproxy = {.port = 443, .max_connections = 10000, .threads = 2},
        .connect_proxy = {.listen = xstrdup("0.0.0.0"),
                          .port = 3128,
                          .metrics_port = 8091,
                          .forward_port = 3128},
        .state_port = 8090,
        .local = {.base_port = 10000, .sidecar_base_port = 21000},
        .kubernetes = {.image_pull_policy = POOL_PULL_IF_NOT_PRESENT,
                       .api_secret_name = xstrdup("openbalena-vpn"),
                       .api_config_map_name = xstrdup("openbalena-vpn"),
                       .state = xstrdup("vpn-state:8090"),
                       .service_account_name = xstrdup("default")},
    };
}

/* Every text that an object owns. */
#define EACH_TEXT(DO)                          \
    DO(name)                                   \
    DO(openvpn.tls.ca_file)                    \
    DO(openvpn.tls.cert_file)                  \
    DO(openvpn.tls.key_file)                   \
    DO(openvpn.tls.dh_file)                    \
    DO(openvpn.tls.secret_name)                \
    DO(openvpn.data_ciphers)                   \
    DO(openvpn.openssl_providers)              \
    DO(haproxy.cpu_map)                        \
    DO(connect_proxy.listen)                   \
    DO(connect_proxy.cert_file)                \
    DO(connect_proxy.key_file)                 \
    DO(local.register_interface)               \
    DO(kubernetes.image)                       \
    DO(kubernetes.sidecar_image)               \
    DO(kubernetes.image_pull_secrets)          \
    DO(kubernetes.api_secret_name)             \
    DO(kubernetes.api_config_map_name)         \
    DO(kubernetes.state)                       \
    DO(kubernetes.balancers)                   \
    DO(kubernetes.register_address)            \
    DO(kubernetes.service_account_name)        \
    DO(kubernetes.pod_labels)                  \
    DO(kubernetes.pod_annotations)             \
    DO(kubernetes.node_selector)               \
    DO(kubernetes.tolerations)                 \
    DO(kubernetes.affinity)                    \
    DO(kubernetes.topology_spread_constraints) \
    DO(kubernetes.openvpn_resources)           \
    DO(kubernetes.sidecar_resources)           \
    DO(kubernetes.priority_class_name)         \
    DO(kubernetes.runtime_class_name)

void pool_object_clear(struct pool_object *p)
{
#define FREE_TEXT(member) free(p->member);
    EACH_TEXT(FREE_TEXT)
#undef FREE_TEXT
    yaml_tree_free(p->origin);
    *p = (struct pool_object){0};
}

const char *pool_pull_policy_name(enum pool_pull_policy policy)
{
    return pull_policies[policy];
}

void pool_errors_init(struct pool_errors *e)
{
    buf_init(&e->text, (size_t)1 << 18);
    e->count = 0;
}

void pool_errors_clear(struct pool_errors *e)
{
    buf_clear(&e->text);
    e->count = 0;
}

int object_read(struct faults *faults, struct faults *warnings, struct yaml_node *root,
                struct pool_object *ret)
{
    struct pool_object p;

    pool_object_init(&p);
    p.origin = root;
    schema_read(faults, root, "", object_fields, &p);
    if (root->kind == YAML_MAP) {
        object_rules_check(faults, root, &p);
    }
    if (root->kind == YAML_MAP && warnings != NULL) {
        object_look(&p, faults, warnings);
    }
    if (faults->count > 0) {
        pool_object_clear(&p);
        return -EINVAL;
    }
    if (p.haproxy.idle_timeout_s == 0) {
        p.haproxy.idle_timeout_s = p.openvpn.keepalive_timeout_s;
    }
    p.name_of = faults->name_of;
    *ret = p;
    return 0;
}

static void on_yaml_fault(void *arg, int line, int column, const char *path, const char *text)
{
    struct faults *faults = arg;

    faults_add(faults, line, column, path, "%s", text);
}

static int parse(const char *file, const char *text, size_t len, struct pool_object *ret,
                 struct pool_errors *errors, struct faults *warnings)
{
    AUTO(faults) struct faults faults;
    struct yaml_node *root = NULL;
    int r = 0;

    faults_init(&faults, file);
    if (len > POOL_FILE_MAX) {
        faults_add(&faults, 1, 1, "", "is larger than %zu bytes", POOL_FILE_MAX);
        r = -EINVAL;
    } else {
        r = yaml_tree_parse(text, len, &root, on_yaml_fault, &faults);
    }
    if (r == 0 && root == NULL) {
        faults_add(&faults, 1, 1, "", "the file holds no object");
        r = -EINVAL;
    }
    if (r == 0) {
        r = object_read(&faults, warnings, root, ret);
    }
    faults_write(&faults, errors);
    return r;
}

int pool_object_parse(const char *file, const char *text, size_t len, struct pool_object *ret,
                      struct pool_errors *errors)
{
    return parse(file, text, len, ret, errors, NULL);
}

int pool_object_parse_local(const char *file, const char *text, size_t len, struct pool_object *ret,
                            struct pool_errors *errors, struct pool_errors *warnings)
{
    AUTO(faults) struct faults found;

    faults_init(&found, file);
    int r = parse(file, text, len, ret, errors, &found);
    faults_write(&found, warnings);
    return r;
}

/* What of an object from the API server is ours to read; borrows its values. */
static cJSON *own_part(const cJSON *object)
{
    const cJSON *metadata = cJSON_GetObjectItemCaseSensitive(object, "metadata");
    cJSON *part = cJSON_CreateObject(), *inner = cJSON_AddObjectToObject(part, "metadata");

    for (const char *const *key = (const char *const[]){"apiVersion", "kind", "spec", NULL};
         *key != NULL; key++) {
        cJSON *value = cJSON_GetObjectItemCaseSensitive(object, *key);
        if (value != NULL) {
            cJSON_AddItemReferenceToObject(part, *key, value);
        }
    }
    cJSON *name = cJSON_GetObjectItemCaseSensitive(metadata, "name");
    if (name != NULL) {
        cJSON_AddItemReferenceToObject(inner, "name", name);
    }
    return part;
}

int pool_object_from_json(const char *name, const cJSON *object, struct pool_object *ret,
                          struct pool_errors *errors)
{
    AUTO(json) cJSON *part = own_part(object);
    AUTO(faults) struct faults faults;
    struct yaml_node *root = yaml_json_read(part);
    int r = -EINVAL;

    faults_init(&faults, name);
    if (root == NULL) {
        faults_add(&faults, 0, 0, "", "has more than %d values, or deeper ones than %d",
                   YAML_NODES_MAX, YAML_DEPTH_MAX);
    } else {
        r = object_read(&faults, NULL, root, ret);
    }
    faults_write(&faults, errors);
    return r;
}

/* 0 or a negative errno. Caller frees. */
static int read_file(const char *file, char **ret, size_t *len)
{
    struct stat st;
    AUTO(fd) int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0 || fstat(fd, &st) < 0) {
        return -errno;
    }
    if (!S_ISREG(st.st_mode)) {
        return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
    }
    AUTO(buf) struct buf text;
    buf_init(&text, POOL_FILE_MAX);
    for (;;) {
        if (buf_reserve(&text, 65536) < 0 && buf_reserve(&text, 1) < 0) {
            return -EFBIG;
        }
        ssize_t n = read(fd, buf_end(&text), text.cap - text.len - 1);
        if (n < 0) {
            return -errno;
        }
        if (n == 0) {
            break;
        }
        buf_grew(&text, (size_t)n);
    }
    *len = text.len;
    *ret = buf_take(&text);
    return 0;
}

/* Its text, or what is wrong with the file said. Caller frees. */
static int load(const char *file, char **ret, size_t *len, struct pool_errors *errors)
{
    int r = read_file(file, ret, len);

    if (r < 0) {
        errors->count++;
        buf_printf(&errors->text, "%s: cannot be read: %s\n", file, strerror(-r));
        return -EINVAL;
    }
    return 0;
}

int pool_object_load(const char *file, struct pool_object *ret, struct pool_errors *errors)
{
    AUTO(str) char *text = NULL;
    size_t len = 0;
    int r = load(file, &text, &len, errors);

    return r < 0 ? r : pool_object_parse(file, text, len, ret, errors);
}

int pool_object_load_local(const char *file, struct pool_object *ret, struct pool_errors *errors,
                           struct pool_errors *warnings)
{
    AUTO(str) char *text = NULL;
    size_t len = 0;
    int r = load(file, &text, &len, errors);

    return r < 0 ? r : pool_object_parse_local(file, text, len, ret, errors, warnings);
}
