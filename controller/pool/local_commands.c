#include "controller/pool/local_commands.h"

#include "common/secret.h"
#include "controller/pool/port_use.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *const local_tool_names[LOCAL_TOOLS] = {
    [TOOL_OPENVPN] = "openvpn", [TOOL_HAPROXY] = "haproxy",
    [TOOL_NFT] = "nft",         [TOOL_SIDECAR] = "vpn-sidecar",
    [TOOL_STATE] = "vpn-state", [TOOL_CONNECT_PROXY] = "vpn-connect-proxy",
};

/* --- paths --- */

void local_paths_init(struct local_paths *p, const char *runtime_dir, const char *state_dir)
{
    *p = (struct local_paths){
        .runtime_dir = xstrdup(runtime_dir),
        .state_dir = xstrdup(state_dir),
        .state_file = xasprintf("%s/controller.json", runtime_dir),
        .lock_file = xasprintf("%s/controller.lock", runtime_dir),
        .control_socket = xasprintf("%s/controller.sock", runtime_dir),
        .tls_dir = xasprintf("%s/tls", runtime_dir),
        .haproxy_config = xasprintf("%s/haproxy.cfg", runtime_dir),
        .haproxy_socket = xasprintf("%s/haproxy.sock", runtime_dir),
        .haproxy_output = xasprintf("%s/haproxy.out", runtime_dir),
    };
}

void local_paths_clear(struct local_paths *p)
{
    char *const texts[] = {p->runtime_dir,    p->state_dir,      p->state_file,
                           p->lock_file,      p->control_socket, p->tls_dir,
                           p->haproxy_config, p->haproxy_socket, p->haproxy_output};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        free(texts[i]);
    }
    *p = (struct local_paths){0};
}

static const struct {
    const char *before, *after;
} instance_files[INSTANCE_PATHS] = {
    [PATH_MANAGEMENT] = {"server-", ".sock"}, [PATH_STATUS] = {"server-", ".status"},
    [PATH_SIDECAR] = {"sidecar-", ".sock"},   [PATH_NSS] = {"nss-", ".sock"},
    [PATH_RECORD] = {"sidecar-", ".json"},    [PATH_OUTPUT] = {"server-", ".out"},
};

char *local_instance_path(const struct local_paths *p, enum instance_path what, uint32_t index)
{
    return xasprintf("%s/%s%u%s", p->runtime_dir, instance_files[what].before, index,
                     instance_files[what].after);
}

bool local_instance_path_parse(const char *name, enum instance_path *what, uint32_t *index)
{
    uint32_t number = (uint32_t)strtoul(name + strcspn(name, "0123456789"), NULL, 10);

    for (int w = 0; number > 0 && w < INSTANCE_PATHS; w++) {
        AUTO(str)
        char *same = xasprintf("%s%u%s", instance_files[w].before, number, instance_files[w].after);
        if (strcmp(same, name) == 0) {
            *what = (enum instance_path)w;
            *index = number;
            return true;
        }
    }
    return false;
}

/* --- programs and what they see of our environment --- */

#define ENV_SYSTEM                                                                           \
    "PATH", "HOME", "LANG", "LC_ALL", "TZ", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", \
        "TSAN_OPTIONS"
#define ENV_OURS \
    ENV_SYSTEM, "LOG_FORMAT", "LOG_LEVEL", "VPN_SERVICE_API_KEY", "VPN_SERVICE_API_KEY_PREVIOUS"
#define ENV_API                                                                                  \
    ENV_OURS, "VPN_GUEST_API_KEY", "BALENA_API_INTERNAL_HOST", "API_INTERNAL_HOST",              \
        "BALENA_API_HOST", "API_HOST", "ROOT_CA", "SSL_CERT_FILE", "SSL_CERT_DIR", "http_proxy", \
        "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"

static const char *const env_names[LOCAL_TOOLS][32] = {
    [TOOL_OPENVPN] = {ENV_SYSTEM, "OPENSSL_CONF", "OPENSSL_MODULES"},
    [TOOL_HAPROXY] = {ENV_SYSTEM, "MONITOR_SECRET_TOKEN"},
    [TOOL_NFT] = {ENV_SYSTEM},
    [TOOL_SIDECAR] = {ENV_API},
    [TOOL_STATE] = {ENV_OURS},
    [TOOL_CONNECT_PROXY] = {ENV_API},
};

static char **make_env(const char *const *names)
{
    char **env = xcalloc(ARRAY_LEN(env_names[0]) + 1, sizeof(*env));
    size_t count = 0;

    for (size_t i = 0; i < ARRAY_LEN(env_names[0]) && names[i] != NULL; i++) {
        const char *value = getenv(names[i]);
        if (value != NULL) {
            env[count++] = xasprintf("%s=%s", names[i], value);
        }
    }
    return env;
}

int local_tools_find(struct local_tools *t, struct err *err)
{
    *t = (struct local_tools){.user = geteuid() == 0 ? "nobody" : NULL};
    for (int i = 0; i < LOCAL_TOOLS; i++) {
        int r = process_find_program(local_tool_names[i], i >= TOOL_SIDECAR, &t->paths[i], err);
        if (r < 0) {
            local_tools_clear(t);
            return r;
        }
        t->env[i] = make_env(env_names[i]);
    }
    return 0;
}

void local_tools_clear(struct local_tools *t)
{
    for (int i = 0; i < LOCAL_TOOLS; i++) {
        for (char **e = t->env[i]; e != NULL && *e != NULL; e++) {
            secret_wipe(*e, strlen(*e));
            free(*e);
        }
        free(t->env[i]);
        free(t->paths[i]);
    }
    *t = (struct local_tools){0};
}

/* --- command lines --- */

bool pool_is_udp(const struct pool_object *pool)
{
    return pool->openvpn.protocol >= POOL_UDP;
}

void args_add(struct args *a, const char *text)
{
    assert(a->count + 1 < KEEPER_ARGS_MAX);
    a->items[a->count++] = xstrdup(text);
}

void args_addf(struct args *a, const char *fmt, ...)
{
    va_list list;
    char *text = NULL;

    va_start(list, fmt);
    int len = vasprintf(&text, fmt, list);
    va_end(list);
    if (len < 0) {
        abort(); /* out of memory */
    }
    args_add(a, text);
    free(text);
}

void args_clear(struct args *a)
{
    for (size_t i = 0; i < a->count; i++) {
        free(a->items[i]);
    }
    *a = (struct args){0};
}

static void option(struct args *a, const char *name, const char *value)
{
    args_addf(a, "--%s", name);
    args_add(a, value);
}

static void option_number(struct args *a, const char *name, uint64_t value)
{
    args_addf(a, "--%s", name);
    args_addf(a, "%llu", (unsigned long long)value);
}

static void option_path(struct args *a, const char *name, const char *prefix,
                        const struct local_paths *paths, enum instance_path what, uint32_t index)
{
    AUTO(str) char *path = local_instance_path(paths, what, index);

    args_addf(a, "--%s", name);
    args_addf(a, "%s%s", prefix, path);
}

int local_sidecar_args(const struct pool_object *pool, const struct local_paths *paths,
                       uint32_t index, const char *epoch, const char *register_address,
                       struct args *ret, struct err *err)
{
    struct subnet_block block;
    int r = subnet_block(pool->network.base, pool->network.instance_prefix_len, index, &block, err);

    if (r < 0) {
        return r;
    }
    args_add(ret, local_tool_names[TOOL_SIDECAR]);
    option(ret, "pool", pool->name);
    option_number(ret, "index", index);
    option(ret, "epoch", epoch);
    option_path(ret, "management", "", paths, PATH_MANAGEMENT, index);
    option(ret, "subnet", subnet_format(block.subnet).text);
    option_path(ret, "control", "unix:", paths, PATH_SIDECAR, index);
    option_path(ret, "nss", "unix:", paths, PATH_NSS, index);
    option_path(ret, "record", "", paths, PATH_RECORD, index);
    args_add(ret, "--proxy-listen");
    args_addf(ret, "127.0.0.1:%u", pool->local.sidecar_base_port + index);
    args_add(ret, "--proxy-advertise");
    args_addf(ret, "127.0.0.1:%u", pool->local.sidecar_base_port + index);
    if (register_address != NULL) {
        option(ret, "register-address", register_address);
    }
    args_add(ret, "--state");
    args_addf(ret, "127.0.0.1:%u", pool->state_port);
    option_number(ret, "auth-cache-seconds", pool->auth.cache_s);
    option_number(ret, "auth-grace-seconds", pool->auth.grace_s);
    option_number(ret, "auth-max-in-flight", pool->auth.max_in_flight);
    option_number(ret, "drain-rate-per-minute", pool->drain.rate_per_minute);
    option_number(ret, "drain-timeout-seconds", pool->drain.timeout_s);
    option_number(ret, "bytecount-seconds", pool->openvpn.bytecount_s);
    return 0;
}

void local_state_args(const struct pool_object *pool, const struct local_paths *paths,
                      struct args *ret)
{
    args_add(ret, local_tool_names[TOOL_STATE]);
    args_add(ret, "--listen");
    args_addf(ret, "127.0.0.1:%u", pool->state_port);
    option(ret, "owner", paths->control_socket);
}

/* "::1" needs brackets before a port. */
static void option_listen(struct args *a, const char *name, const char *address, uint16_t port)
{
    bool bare6 = strchr(address, ':') != NULL && address[0] != '[';

    args_addf(a, "--%s", name);
    args_addf(a, bare6 ? "[%s]:%u" : "%s:%u", address, port);
}

void local_connect_proxy_args(const struct pool_object *pool, const struct local_paths *paths,
                              const char *self_addresses, struct args *ret)
{
    const struct pool_connect_proxy *c = &pool->connect_proxy;

    args_add(ret, local_tool_names[TOOL_CONNECT_PROXY]);
    option_listen(ret, "listen", c->listen, c->port);
    option_listen(ret, "metrics-listen", "127.0.0.1", c->metrics_port);
    option_number(ret, "workers", c->workers);
    args_add(ret, "--state");
    args_addf(ret, "127.0.0.1:%u", pool->state_port);
    if (self_addresses[0] != '\0') {
        option(ret, "self-address", self_addresses);
    }
    option_number(ret, "forward-port", c->forward_port);
    if (c->cert_file != NULL) {
        option(ret, "tls-cert", c->cert_file);
        option(ret, "tls-key", c->key_file);
    }
    if (c->proxy_protocol) {
        args_add(ret, "--proxy-protocol");
    }
    option_number(ret, "drain-timeout-seconds", pool->drain.timeout_s);
    option(ret, "owner", paths->control_socket);
}

void local_haproxy_args(const struct local_paths *paths, pid_t old, struct args *ret)
{
    args_add(ret, local_tool_names[TOOL_HAPROXY]);
    args_add(ret, "-db"); /* stays the process that was started */
    args_add(ret, "-f");
    args_add(ret, paths->haproxy_config);
    if (old > 0) {
        args_add(ret, "-x");
        args_add(ret, paths->haproxy_socket);
        args_add(ret, "-sf");
        args_addf(ret, "%d", (int)old);
    }
}

/* --- ports --- */

#define LOOPBACK "127.0.0.1"

static const char *listen_address(const char *text)
{
    return strcmp(text, "0.0.0.0") == 0 || strcmp(text, "::") == 0 ? NULL : text;
}

int local_program_ports_check(const struct pool_object *pool, enum local_program which,
                              struct err *err)
{
    const struct pool_connect_proxy *c = &pool->connect_proxy;
    int r = 0;

    switch (which) {
    case LOCAL_HAPROXY:
        r = port_check(false, NULL, pool->haproxy.port, err);
        return r < 0 ? r : port_check(false, NULL, pool->local.http_port, err);
    case LOCAL_STATE:
        return port_check(false, LOOPBACK, pool->state_port, err);
    case LOCAL_CONNECT_PROXY:
        r = port_check(false, listen_address(c->listen), c->port, err);
        return r < 0 ? r : port_check(false, LOOPBACK, c->metrics_port, err);
    case LOCAL_PROGRAMS:
        break;
    }
    return r;
}

int local_instance_ports_check(const struct pool_object *pool, enum local_tool which,
                               uint32_t index, struct err *err)
{
    if (which == TOOL_SIDECAR) {
        return port_check(false, LOOPBACK, (uint16_t)(pool->local.sidecar_base_port + index), err);
    }
    return pool_is_udp(pool)
               ? port_check(true, NULL, pool->haproxy.port, err)
               : port_check(false, LOOPBACK, (uint16_t)(pool->local.base_port + index), err);
}

void args_revision(const struct args *a, char ret[17])
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a: nobody gains by a collision */

    for (size_t i = 0; i < a->count; i++) {
        const char *p = a->items[i];
        do {
            hash = (hash ^ (uint8_t)*p) * 1099511628211u;
        } while (*p++ != '\0');
    }
    snprintf(ret, 17, "%016llx", (unsigned long long)hash);
}

/* --- this machine's addresses --- */

static bool address_text(const struct ifaddrs *i, char ret[INET_ADDRSTRLEN])
{
    if (i->ifa_addr == NULL || i->ifa_addr->sa_family != AF_INET) {
        return false;
    }
    const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)i->ifa_addr;
    return inet_ntop(AF_INET, &in->sin_addr, ret, INET_ADDRSTRLEN) != NULL;
}

int interface_address(const char *name, char ret[16], struct err *err)
{
    struct ifaddrs *all = NULL;
    bool found = false;

    if (getifaddrs(&all) != 0) {
        return err_set(err, -errno, "list network interfaces");
    }
    for (struct ifaddrs *i = all; i != NULL && !found; i = i->ifa_next) {
        found = strcmp(i->ifa_name, name) == 0 && address_text(i, ret);
    }
    freeifaddrs(all);
    return found
               ? 0
               : err_text(err, -ENODEV, "interface '%s' is not there or has no IPv4 address", name);
}
