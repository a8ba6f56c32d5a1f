#include "controller/pool/openvpn_args.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define RENEGOTIATE_BYTES "1073741824"
#define TLS_TIMEOUT_S "20" /* between retries of a control packet */
#define MAX_CLIENTS 32768

static void add(struct openvpn_args *a, const char *word)
{
    assert(a->count + 1 < OPENVPN_ARGS_MAX);
    a->argv[a->count++] = xstrdup(word);
}

/* An option with its parameters; ended by NULL. */
static void add_all(struct openvpn_args *a, ...) __attribute__((sentinel));

static void add_all(struct openvpn_args *a, ...)
{
    va_list args;

    va_start(args, a);
    for (const char *word; (word = va_arg(args, const char *)) != NULL;) {
        add(a, word);
    }
    va_end(args);
}

static void add_number(struct openvpn_args *a, const char *option, uint32_t n)
{
    char text[16];

    snprintf(text, sizeof(text), "%u", n);
    add_all(a, option, text, NULL);
}

static void add_push(struct openvpn_args *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void add_push(struct openvpn_args *a, const char *fmt, ...)
{
    char text[128];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    add_all(a, "--push", text, NULL);
}

static bool is_udp(enum pool_protocol protocol)
{
    return protocol >= POOL_UDP;
}

static void add_socket(struct openvpn_args *a, const struct pool_openvpn *o,
                       const struct openvpn_paths *paths)
{
    static const char *const protocols[] = {
        [POOL_TCP] = "tcp-server", [POOL_TCP4] = "tcp4-server", [POOL_TCP6] = "tcp6-server",
        [POOL_UDP] = "udp",        [POOL_UDP4] = "udp4",        [POOL_UDP6] = "udp6",
    };

    add_all(a, "--proto", protocols[o->protocol], NULL);
    if (paths->listen_address != NULL) {
        add_all(a, "--local", paths->listen_address, NULL);
    }
    add_number(a, "--port", paths->port);
    if (is_udp(o->protocol) && o->explicit_exit_notify > 0) {
        add_number(a, "--explicit-exit-notify", o->explicit_exit_notify);
    }
    if (!is_udp(o->protocol)) {
        add(a, "--tcp-nodelay");
    }
}

/* One address a device; the far end of the link is an address that nobody has. */
static void add_network(struct openvpn_args *a, const struct subnet_block *b, uint32_t gateway,
                        uint32_t index)
{
    char dev[16];

    snprintf(dev, sizeof(dev), "tun%u", index);
    add_all(a, "--dev", dev, "--dev-type", "tun", "--topology", "p2p", NULL);
    add_all(a, "--ifconfig", address_format(gateway).text, address_format(b->peer).text, NULL);
    add_all(a, "--ifconfig-pool", address_format(b->first).text, address_format(b->last).text,
            NULL);
    add_all(a, "--route", address_format(b->subnet.network).text, address_format(b->netmask).text,
            NULL);
    add_push(a, "route %s", address_format(gateway).text);
    add_number(a, "--max-clients", b->count < MAX_CLIENTS ? b->count : MAX_CLIENTS);
}

static void add_keepalive(struct openvpn_args *a, const struct pool_openvpn *o)
{
    add_number(a, "--ping", o->keepalive_interval_s);
    add_number(a, "--ping-exit", 2 * o->keepalive_timeout_s);
    add_push(a, "ping %u", o->keepalive_interval_s);
    add_push(a, "ping-exit %u", o->keepalive_timeout_s);
    add_push(a, "sndbuf 0");
    add_push(a, "rcvbuf 0");
}

/* "legacy:default" -> "legacy" "default". */
static void add_providers(struct openvpn_args *a, const char *providers)
{
    AUTO(str) char *copy = xstrdup(providers);

    add(a, "--providers");
    for (char *rest = copy, *word; (word = strsep(&rest, ":")) != NULL;) {
        add(a, word);
    }
}

static void add_crypto(struct openvpn_args *a, const struct pool_openvpn *o,
                       const struct openvpn_paths *paths)
{
    add_all(a, "--tls-server", "--tls-version-min", "1.2", "--dh",
            paths->dh_file != NULL ? paths->dh_file : "none", NULL);
    add_all(a, "--ca", paths->ca_file, "--cert", paths->cert_file, "--key", paths->key_file, NULL);
    add_all(a, "--data-ciphers", o->data_ciphers, "--compress", "migrate", NULL);
    if (o->openssl_providers != NULL) {
        add_providers(a, o->openssl_providers);
    }
    add_number(a, "--hand-window", o->hand_window_s);
    add_all(a, "--tls-timeout", TLS_TIMEOUT_S, "--reneg-sec", "0", "--reneg-bytes",
            RENEGOTIATE_BYTES, NULL);
}

/* The user name is the device's UUID; the sidecar says who may come in. */
static void add_management(struct openvpn_args *a, const struct openvpn_paths *paths)
{
    add_all(a, "--verify-client-cert", "none", "--username-as-common-name", NULL);
    add_all(a, "--management", paths->management, "unix", "--management-hold",
            "--management-client-auth", NULL);
    if (paths->management_user != NULL) {
        add_all(a, "--management-client-user", paths->management_user, NULL);
    }
}

int openvpn_args_make(const struct pool_object *pool, uint32_t index,
                      const struct openvpn_paths *paths, struct openvpn_args *ret, struct err *err)
{
    struct subnet_block b;
    int r = subnet_block(pool->network.base, pool->network.instance_prefix_len, index, &b, err);

    if (r < 0) {
        return r;
    }
    *ret = (struct openvpn_args){.count = 0};
    add_all(ret, paths->program, "--mode", "server", NULL);
    add_socket(ret, &pool->openvpn, paths);
    add_network(ret, &b, pool->network.gateway != 0 ? pool->network.gateway : b.gateway, index);
    add_keepalive(ret, &pool->openvpn);
    add_crypto(ret, &pool->openvpn, paths);
    add_management(ret, paths);
    if (paths->status_file != NULL) {
        add_all(ret, "--status", paths->status_file, NULL);
        char seconds[16];
        snprintf(seconds, sizeof(seconds), "%u", pool->openvpn.status_interval_s);
        add_all(ret, seconds, "--status-version", "2", NULL);
    }
    if (!paths->keep_user) {
        add_all(ret, "--user", "nobody", "--group", "nogroup", NULL);
    }
    add_all(ret, "--persist-key", "--persist-tun", "--verb", "1", NULL);
    return 0;
}

void openvpn_args_clear(struct openvpn_args *a)
{
    for (size_t i = 0; i < a->count; i++) {
        free(a->argv[i]);
    }
    *a = (struct openvpn_args){.count = 0};
}

char *openvpn_args_text(const struct openvpn_args *a)
{
    struct buf text;

    buf_init(&text, (size_t)1 << 16);
    for (size_t i = 0; i < a->count; i++) {
        bool plain = strpbrk(a->argv[i], " '\"\\$`") == NULL && a->argv[i][0] != '\0';
        buf_printf(&text, plain ? "%s%s" : "%s'%s'", i > 0 ? " " : "", a->argv[i]);
    }
    return buf_take(&text);
}
