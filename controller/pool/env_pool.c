#include "controller/pool/env_pool.h"

#include "common/base64.h"
#include "common/secret.h"
#include "controller/pool/object_rules.h"
#include "controller/pool/tls_check.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define SOURCE "environment"
#define PEM_MAX ((size_t)1 << 20)
#define MS_MAX 999999999ULL /* eleven days */
#define HTTP_PORT 80        /* the original's, for /ping and metrics */

/* The pool is written as the tree that a pool file would give, so that ranges, rules and defaults
 * are the same; what is wrong is then told in the variable's name. */
struct env_reader {
    struct yaml_node *root;
    struct faults *faults;
    struct env_notes *notes;
    uint32_t cores;
};

struct variable;
typedef void (*translate_fn)(struct env_reader *r, const struct variable *v, const char *text);

static void as_is(struct env_reader *r, const struct variable *v, const char *text);
static void as_bool(struct env_reader *r, const struct variable *v, const char *text);
static void as_list(struct env_reader *r, const struct variable *v, const char *text);
static void as_protocol(struct env_reader *r, const struct variable *v, const char *text);
static void milliseconds(struct env_reader *r, const struct variable *v, const char *text);
static void instances(struct env_reader *r, const struct variable *v, const char *text);
static void cpu_map(struct env_reader *r, const struct variable *v, const char *text);

static const struct variable {
    const char *name;
    const char *path; /* of the field it sets; NULL: it sets none */
    translate_fn translate;
    const char *unused; /* why it is accepted and does nothing */
} variables[] = {
    {"VPN_PORT", "spec.haproxy.port", as_is, NULL},
    {"VPN_BASE_SUBNET", "spec.network.baseSubnet", as_is, NULL},
    {"VPN_INSTANCE_SUBNET_BITMASK", "spec.network.instancePrefixLength", as_is, NULL},
    {"VPN_GATEWAY", "spec.network.gateway", as_is, NULL},
    {"BALENA_VPN_GATEWAY", "spec.network.gateway", as_is, NULL},
    {"VPN_INSTANCE_COUNT", "spec.replicas", instances, NULL},
    {"VPN_BASE_PORT", "spec.local.basePort", as_is, NULL},
    {"VPN_CONNECT_PROXY_PORT", "spec.connectProxy.port", as_is, NULL},
    {"VPN_FORWARD_PROXY_PORT", "spec.connectProxy.forwardPort", as_is, NULL},
    {"VPN_CONNECT_INSTANCE_COUNT", "spec.connectProxy.workers", as_is, NULL},
    {"VPN_OPENVPN_PROTO", "spec.openvpn.protocol", as_protocol, NULL},
    {"VPN_UDP_SERVER_EXPLICIT_EXIT_NOTIFY", "spec.openvpn.explicitExitNotify", as_is, NULL},
    {"VPN_DATA_CIPHERS", "spec.openvpn.dataCiphers", as_list, NULL},
    {"VPN_OPENSSL_PROVIDERS", "spec.openvpn.opensslProviders", as_list, NULL},
    {"VPN_KEEPALIVE_FREQUENCY", "spec.openvpn.keepalive.intervalSeconds", as_is, NULL},
    {"VPN_KEEPALIVE_TIMEOUT", "spec.openvpn.keepalive.timeoutSeconds", as_is, NULL},
    {"VPN_BYTECOUNT_INTERVAL", "spec.openvpn.bytecountSeconds", as_is, NULL},
    {"VPN_STATUS_FILE_WRITE_INTERVAL_SECONDS", "spec.openvpn.statusIntervalSeconds", as_is, NULL},
    {"VPN_AUTH_CACHE_TIMEOUT", "spec.auth.cacheSeconds", milliseconds, NULL},
    {"DEFAULT_SIGTERM_TIMEOUT", "spec.drain.timeoutSeconds", as_is, NULL},
    {"MINIMUM_DRAIN_RATE", "spec.drain.ratePerMinute", as_is, NULL},
    {"MINIMUM_DRAIN_RATE_PER_MINUTE", "spec.drain.ratePerMinute", as_is, NULL},
    {"VPN_SERVICE_REGISTER_INTERFACE", "spec.local.registerInterface", as_is, NULL},
    {"VPN_DOWNRATE", "spec.throttle.down", as_is, NULL},
    {"VPN_UPRATE", "spec.throttle.up", as_is, NULL},
    {"VPN_HAPROXY_MAXCONN", "spec.haproxy.maxConnections", as_is, NULL},
    {"VPN_HAPROXY_TIMEOUT", "spec.haproxy.idleTimeoutSeconds", as_is, NULL},
    {"HAPROXY_NBTHREAD", "spec.haproxy.threads", as_is, NULL},
    {"HAPROXY_CPU_MAP", "spec.haproxy.cpuMap", cpu_map, NULL},
    {"VPN_HAPROXY_USEPROXYPROTOCOL", "spec.haproxy.proxyProtocol", as_bool, NULL},
    {"VPN_OPENVPN_CA_CRT", "spec.openvpn.tls.caFile", NULL, NULL}, /* see read_pems() */
    {"VPN_OPENVPN_SERVER_CRT", "spec.openvpn.tls.certFile", NULL, NULL},
    {"VPN_OPENVPN_SERVER_KEY", "spec.openvpn.tls.keyFile", NULL, NULL},
    {"VPN_OPENVPN_SERVER_DH", "spec.openvpn.tls.dhFile", NULL, NULL},
    {"VPN_SERVICE_API_KEY", NULL, NULL, NULL}, /* read by the programs themselves */
    {"VPN_SERVICE_API_KEY_PREVIOUS", NULL, NULL, NULL},
    {"VPN_GUEST_API_KEY", NULL, NULL, NULL},
    {"MONITOR_SECRET_TOKEN", NULL, NULL, NULL},
    {"VPN_BASE_MANAGEMENT_PORT", NULL, NULL, "management interfaces are unix sockets"},
    {"VPN_API_PORT", NULL, NULL, "there is no internal API"},
    {"VPN_HAPROXY_SOCKET", NULL, NULL, "the socket is haproxy.sock in the runtime directory"},
    {"VPN_VERBOSE_LOGS", NULL, NULL, "LOG_LEVEL=debug and SIGUSR2 take its place"},
    {"DELAY_ON_AUTH_FAIL", NULL, NULL, "a refusal is answered at once, repeated ones are limited"},
    {"API_DEVICE_STATE_POST_BATCH_SIZE", NULL, NULL, "batches follow the API's own limits"},
    {"METRICS_TIMEOUT", NULL, NULL, "metrics are answered by the processes themselves"},
    {"TRUST_PROXY", NULL, NULL, "there is no web framework"},
    {"UV_THREADPOOL_SIZE", NULL, NULL, "no work is done on that pool"},
};

/* --- the tree --- */

/* The parent of the last word of path, made as far as it is missing; *key: that word. */
static struct yaml_node *make_parent(struct yaml_node *root, const char *path, const char **key)
{
    struct yaml_node *at = root;

    for (const char *dot; (dot = strchr(path, '.')) != NULL; path = dot + 1) {
        AUTO(str) char *word = xstrndup(path, (size_t)(dot - path));
        struct yaml_node *inner = yaml_tree_get(at, word);
        at = inner != NULL ? inner : yaml_tree_add_map(at, word);
    }
    *key = path;
    return at;
}

static bool has(const struct env_reader *r, const char *path)
{
    const char *key = NULL;
    const struct yaml_node *parent = make_parent(r->root, path, &key);

    return yaml_tree_get(parent, key) != NULL;
}

static struct yaml_node *set(struct env_reader *r, const char *path, const char *text)
{
    const char *key = NULL;
    struct yaml_node *parent = make_parent(r->root, path, &key);

    return yaml_tree_add_text(parent, key, text);
}

static void set_number(struct env_reader *r, const char *path, uint32_t n)
{
    char text[16];

    snprintf(text, sizeof(text), "%u", n);
    set(r, path, text);
}

/* A variable that is set to nothing is not set: compose files pass on what they do not have. */
static const char *value_of(const char *name)
{
    const char *text = getenv(name);

    return text != NULL && text[0] != '\0' ? text : NULL;
}

/* What people know fields as that no variable sets. */
static const struct {
    const char *path, *name;
} fixed[] = {
    {"spec.throttle", "VPN_DOWNRATE, VPN_UPRATE"},
    {"spec.local.httpPort", "the port of /ping and metrics"},
    {"spec.state.port", "the state service's port"},
    {"spec.connectProxy.metricsPort", "the port of the connect-proxy's metrics"},
    {"spec.local.sidecarBasePort", "the ports of the sidecars' proxies"},
    {"spec.haproxy", "haproxy's settings"},
};

/* A field's variable: the one that is set, else the first that could be. */
static const char *variable_of(const char *path)
{
    const char *name = NULL;

    for (size_t i = 0; i < ARRAY_LEN(variables); i++) {
        const struct variable *v = &variables[i];
        if (v->path != NULL && strcmp(v->path, path) == 0) {
            if (value_of(v->name) != NULL) {
                return v->name;
            }
            name = name != NULL ? name : v->name;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(fixed); i++) {
        if (strcmp(path, fixed[i].path) == 0) {
            return fixed[i].name;
        }
    }
    return name != NULL ? name : path;
}

/* --- one variable --- */

static void as_is(struct env_reader *r, const struct variable *v, const char *text)
{
    set(r, v->path, text);
}

static void as_bool(struct env_reader *r, const struct variable *v, const char *text)
{
    bool yes =
        strcasecmp(text, "true") == 0 || strcasecmp(text, "yes") == 0 || strcmp(text, "1") == 0;
    bool no =
        strcasecmp(text, "false") == 0 || strcasecmp(text, "no") == 0 || strcmp(text, "0") == 0;

    set(r, v->path, yes ? "true" : no ? "false" : text);
}

/* "a:b", "a,b", "a b" */
static void as_list(struct env_reader *r, const struct variable *v, const char *text)
{
    const char *key = NULL;
    struct yaml_node *parent = make_parent(r->root, v->path, &key);
    struct yaml_node *list = yaml_tree_add_list(parent, key);
    AUTO(str) char *copy = xstrdup(text);
    char *save = NULL;

    for (char *word = strtok_r(copy, ":, ", &save); word != NULL;
         word = strtok_r(NULL, ":, ", &save)) {
        yaml_tree_add_text(list, NULL, word);
    }
}

/* OpenVPN's names: "tcp4-server" is the original's default. */
static void as_protocol(struct env_reader *r, const struct variable *v, const char *text)
{
    static const struct {
        const char *openvpn, *ours;
    } names[] = {
        {"tcp-server", "tcp"}, {"tcp4-server", "tcp4"}, {"tcp6-server", "tcp6"},
        {"tcp", "tcp"},        {"tcp4", "tcp4"},        {"tcp6", "tcp6"},
        {"udp", "udp"},        {"udp4", "udp4"},        {"udp6", "udp6"},
    };

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(text, names[i].openvpn) == 0) {
            set(r, v->path, names[i].ours);
            return;
        }
    }
    faults_add(r->faults, 0, 0, v->path,
               "'%.64s' is none of tcp-server, tcp4-server, tcp6-server, udp, udp4, udp6", text);
}

static bool is_count(const char *text)
{
    size_t len = strlen(text);

    return len > 0 && len <= 9 && strspn(text, "0123456789") == len;
}

/* The field has seconds. */
static void milliseconds(struct env_reader *r, const struct variable *v, const char *text)
{
    unsigned long long ms = is_count(text) ? strtoull(text, NULL, 10) : ULLONG_MAX;

    if (ms > MS_MAX) {
        faults_add(r->faults, 0, 0, v->path, "'%.64s' is not a number of milliseconds, 0 to %llu",
                   text, MS_MAX);
        return;
    }
    set_number(r, v->path, (uint32_t)((ms + 999) / 1000));
}

static void instances(struct env_reader *r, const struct variable *v, const char *text)
{
    if (strcmp(text, "0") == 0) {
        set_number(r, v->path, r->cores);
    } else {
        set(r, v->path, text);
    }
}

static void cpu_map(struct env_reader *r, const struct variable *v, const char *text)
{
    if (strcmp(text, "auto") != 0) { /* that is haproxy's own choice */
        set(r, v->path, text);
    }
}

/* --- all of them --- */

static void note_unused(struct env_reader *r, const char *name, const char *why)
{
    buf_printf(&r->notes->text, "%s is not used: %s\n", name, why);
}

static void read_variable(struct env_reader *r, const struct variable *v)
{
    const char *text = value_of(v->name);

    if (text == NULL) {
        return;
    }
    if (v->unused != NULL) {
        note_unused(r, v->name, v->unused);
    }
    if (v->translate == NULL) {
        return;
    }
    const char *other = variable_of(v->path);
    if (!has(r, v->path)) {
        v->translate(r, v, text);
    } else if (strcmp(value_of(other), text) != 0) {
        faults_add(r->faults, 0, 0, v->path, "'%.64s' contradicts %s, which is '%.64s'",
                   value_of(other), v->name, text);
    }
}

static bool is_known(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(variables); i++) {
        if (strcmp(variables[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), end_len = strlen(end);

    return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

/* Families of variables, and misspelt ones. */
static void note_others(struct env_reader *r)
{
    for (char **e = environ; e != NULL && *e != NULL; e++) {
        AUTO(str) char *name = xstrndup(*e, strcspn(*e, "="));
        if (value_of(name) == NULL || is_known(name)) {
            continue;
        }
        if (strncmp(name, "LEARN_ADDRESS_", 14) == 0) {
            note_unused(r, name, "throttling needs no scripts");
        } else if (ends_with(name, "_SENTRY_DSN")) {
            note_unused(r, name, "errors are in the log");
        } else if (strncmp(name, "VPN_", 4) == 0) {
            note_unused(r, name, "no such variable");
        }
    }
}

/* --- what others follow from --- */

/* One instance a core, but for udp, which cannot be balanced. */
static void default_replicas(struct env_reader *r)
{
    const char *protocol = value_of("VPN_OPENVPN_PROTO");
    bool udp = protocol != NULL && strncmp(protocol, "udp", 3) == 0;
    uint32_t most = r->cores < POOL_REPLICAS_MAX ? r->cores : POOL_REPLICAS_MAX;

    if (!has(r, "spec.replicas")) {
        set_number(r, "spec.replicas", udp || most == 0 ? 1 : most);
    }
}

/* As large as they can be for so many, but no larger than OpenVPN takes: the original's rule, so
 * that devices keep the subnets that they had. */
static void default_prefix(struct env_reader *r)
{
    const struct yaml_node *replicas = yaml_tree_locate(r->root, "spec.replicas");
    const char *text = value_of("VPN_BASE_SUBNET");
    struct subnet base;

    if (has(r, "spec.network.instancePrefixLength") || !is_count(replicas->text) ||
        subnet_parse(text != NULL ? text : "100.64.0.0/10", &base, NULL) < 0) {
        return;
    }
    uint32_t prefix = base.prefix_len;
    for (unsigned long n = 1; n < strtoul(replicas->text, NULL, 10) && prefix < 32; n *= 2) {
        prefix++;
    }
    prefix = prefix < SUBNET_INSTANCE_PREFIX_MIN ? SUBNET_INSTANCE_PREFIX_MIN : prefix;
    set_number(r, "spec.network.instancePrefixLength", prefix);
}

static void set_fixed(struct env_reader *r)
{
    const char *port = value_of("VPN_PORT");

    set(r, "apiVersion", "vpn.openbalena.io/v1alpha1");
    set(r, "kind", "VPNPool");
    set(r, "metadata.name", "local");
    if (port == NULL || strcmp(port, "80") != 0) {
        set_number(r, "spec.local.httpPort", HTTP_PORT);
    }
}

/* --- certificates --- */

/* -EINVAL also for what could be no PEM text: too long, or with a NUL in it. */
static int decode_pem(const char *text, char **ret)
{
    size_t len = 0;
    char *pem = NULL;

    if (strlen(text) > PEM_MAX || base64_decode(text, strlen(text), &pem, &len, NULL) < 0) {
        return -EINVAL;
    }
    if (len == 0 || strlen(pem) != len) {
        secret_wipe(pem, len);
        free(pem);
        return -EINVAL;
    }
    *ret = pem;
    return 0;
}

/* One of them: decoded into *ret, and its file named in the tree. */
static void read_pem(struct env_reader *r, const char *tls_dir, const char *path, const char *file,
                     bool required, char **ret)
{
    const char *text = value_of(variable_of(path));

    *ret = NULL;
    if (text == NULL) {
        if (required) {
            faults_add(r->faults, 0, 0, path, "is missing: base64 of a PEM text");
        }
        return;
    }
    if (decode_pem(text, ret) < 0) {
        faults_add(r->faults, 0, 0, path, "is not base64 of a PEM text");
        return;
    }
    AUTO(str) char *name = xasprintf("%s/%s", tls_dir, file);
    set(r, path, name);
}

static struct tls_part part_of(const char *path, const char *pem)
{
    return (struct tls_part){
        .path = path, .what = "the value", .pem = pem, .len = pem != NULL ? strlen(pem) : 0};
}

#define TLS "spec.openvpn.tls."

static void read_pems(struct env_reader *r, const char *tls_dir, struct env_pem *pem,
                      struct pool_errors *ret_warnings)
{
    AUTO(faults) struct faults warnings;

    read_pem(r, tls_dir, TLS "caFile", "ca.crt", true, &pem->ca);
    read_pem(r, tls_dir, TLS "certFile", "server.crt", true, &pem->cert);
    read_pem(r, tls_dir, TLS "keyFile", "server.key", true, &pem->key);
    read_pem(r, tls_dir, TLS "dhFile", "dh.pem", false, &pem->dh);
    struct tls_parts parts = {
        .ca = part_of(TLS "caFile", pem->ca),
        .cert = part_of(TLS "certFile", pem->cert),
        .key = part_of(TLS "keyFile", pem->key),
        .dh = part_of(TLS "dhFile", pem->dh),
    };
    faults_init(&warnings, SOURCE);
    warnings.name_of = variable_of;
    tls_check(&parts, time(NULL), NULL, r->faults, &warnings);
    if (ret_warnings != NULL) {
        faults_write(&warnings, ret_warnings);
    }
}

void env_pem_clear(struct env_pem *pem)
{
    if (pem->key != NULL) {
        secret_wipe(pem->key, strlen(pem->key));
    }
    free(pem->ca);
    free(pem->cert);
    free(pem->key);
    free(pem->dh);
    *pem = (struct env_pem){0};
}

int env_pool_load(const char *tls_dir, uint32_t cores, struct pool_object *ret, struct env_pem *pem,
                  struct env_notes *notes, struct pool_errors *errors, struct pool_errors *warnings)
{
    AUTO(faults) struct faults faults;
    struct env_reader reader = {
        .root = yaml_tree_map(), .faults = &faults, .notes = notes, .cores = cores};

    faults_init(&faults, SOURCE);
    faults.name_of = variable_of;
    buf_init(&notes->text, ENV_NOTES_MAX);
    set_fixed(&reader);
    for (size_t i = 0; i < ARRAY_LEN(variables); i++) {
        read_variable(&reader, &variables[i]);
    }
    note_others(&reader);
    default_replicas(&reader);
    default_prefix(&reader);
    read_pems(&reader, tls_dir, pem, warnings);
    int r = object_read(&faults, NULL, reader.root, ret);
    if (r < 0) {
        env_pem_clear(pem);
    }
    faults_write(&faults, errors);
    return r;
}
