#include "sidecar-proxy/proxy/proxy.h"

#include "common/log.h"
#include "common/metrics.h"
#include "sidecar-proxy/proxy/address.h"
#include "sidecar-proxy/proxy/broker.h"
#include "sidecar-proxy/proxy/tunnel.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#define BACKLOG 4096
#define CERTIFICATE_LOOK_MS 5000
#define OTHER_DESCRIPTORS 256 /* pipes, the program's own */

struct proxy {
    struct loop *loop;
    struct worker_shared shared;
    struct worker *workers[WORKERS_MAX];
    int worker_count;
    uint16_t port;
    struct loop_timer *drain_timer;
    struct loop_timer *certificate_timer; /* looks whether the files have changed */
    loop_fn on_drained;                   /* NULL: not draining, or told already */
    void *on_drained_arg;
};

static struct metric certificate_expiry = {
    .name = "vpn_proxy_tls_certificate_expiry_timestamp_seconds",
    .help = "When the certificate in use ends, Unix time; 0: no TLS.",
    .kind = METRIC_GAUGE,
};
static struct metric reloads_good = {
    .name = "vpn_proxy_tls_reloads_total",
    .labels = "result=\"ok\"",
    .help = "Times the certificate's files were read again.",
    .kind = METRIC_COUNTER,
};
static struct metric reloads_bad = {
    .name = "vpn_proxy_tls_reloads_total",
    .labels = "result=\"error\"",
    .help = "Times the certificate's files were read again.",
    .kind = METRIC_COUNTER,
};

static uint32_t or_default(uint32_t value, uint32_t fallback)
{
    return value != 0 ? value : fallback;
}

/* The answer has to be with the caller in time, not to start then. */
static int64_t answer_timeout_us(uint32_t ms)
{
    return (int64_t)ms * 1000 / 16 * 15;
}

static struct proxy_settings settings_of(const struct proxy_options *o)
{
    struct proxy_settings s = {
        .self_id = xstrdup(o->self_id),
        .head_timeout_us = (int64_t)or_default(o->head_timeout_ms, 10000) * 1000,
        .answer_timeout_us = answer_timeout_us(or_default(o->answer_timeout_ms, 8000)),
        .connect_timeout_us = (int64_t)or_default(o->connect_timeout_ms, 5000) * 1000,
        .idle_timeout_us = (int64_t)or_default(o->idle_timeout_ms, 3600000) * 1000,
        .default_port = (uint16_t)or_default(o->default_port, 80),
    };

    secrets_derive(&o->keys, SECRET_TICKET, &s.ticket_keys);
    return s;
}

/* A tunnel is two descriptors; what the system allows is taken in full first. */
static uint32_t affordable_tunnels(uint32_t wanted)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        return wanted;
    }
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= 2 * (rlim_t)wanted) {
        return wanted;
    }
    rlim_t others = limit.rlim_cur / 2 < OTHER_DESCRIPTORS ? 0 : OTHER_DESCRIPTORS;
    uint32_t fit = (uint32_t)((limit.rlim_cur - others) / 2);
    log_warn("fewer tunnels than wanted: too few descriptors (ulimit -n)", "wanted", NUM(wanted),
             "tunnels", NUM(fit), NULL);
    return fit;
}

/* Accepted sockets inherit the options. */
static int open_listener(const struct address *address, int *ret)
{
    const int one = 1;
    const int off = 0;
    AUTO(fd)
    int fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        return -errno;
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (address->storage.ss_family == AF_INET6) { /* [::] is for both families */
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    }
    if (bind(fd, (const struct sockaddr *)&address->storage, address->len) < 0 ||
        listen(fd, BACKLOG) < 0) {
        return -errno;
    }
    *ret = fd;
    fd = -1;
    return 0;
}

/* SO_REUSEPORT would let a second program of ours share the port unnoticed. */
static int check_free(const struct address *address)
{
    const int one = 1;
    AUTO(fd) int fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        return -errno;
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    return bind(fd, (const struct sockaddr *)&address->storage, address->len) < 0 ? -errno : 0;
}

static int learn_port(struct proxy *p, int listener, struct address *address)
{
    struct address bound = {.len = sizeof(bound.storage)};

    if (getsockname(listener, (struct sockaddr *)&bound.storage, &bound.len) < 0) {
        return -errno;
    }
    p->port = address_port(&bound);
    address_set_port(address, p->port); /* the other threads' listeners share it */
    return 0;
}

static int add_worker(struct proxy *p, struct address *address, struct err *err)
{
    int listener = -1;
    int r = open_listener(address, &listener);

    if (r < 0) {
        return err_set(err, r, "listen");
    }
    r = learn_port(p, listener, address);
    if (r < 0) {
        close(listener);
        return err_set(err, r, "listen");
    }
    r = worker_new(&p->shared, p->worker_count, listener, &p->workers[p->worker_count], err);
    p->worker_count += r == 0;
    return r;
}

static int add_workers(struct proxy *p, const struct proxy_options *options, struct err *err)
{
    struct address address;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int count = options->workers > 0 ? options->workers : (int)cores;

    int r = address_parse_listen(options->listen, &address, err);
    if (r < 0) {
        return r;
    }
    r = check_free(&address);
    if ((r == -EAFNOSUPPORT || r == -EADDRNOTAVAIL) && options->listen[0] == ':') {
        address_of("0.0.0.0", address_port(&address), &address); /* a machine without IPv6 */
        r = check_free(&address);
    }
    if (r < 0) {
        return err_set(err, r, "listen on '%s'", options->listen);
    }
    for (int i = 0; i < count && i < WORKERS_MAX; i++) {
        r = add_worker(p, &address, err);
        if (r < 0) {
            return err_wrap(err, "'%s'", options->listen);
        }
    }
    for (int i = 0; i < p->worker_count; i++) {
        r = worker_start(p->workers[i], err);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static void tell_drained(struct proxy *p)
{
    loop_fn on_drained = p->on_drained;

    p->on_drained = NULL;
    loop_timer_stop(p->drain_timer);
    on_drained(p->on_drained_arg);
}

static void on_changed(void *arg)
{
    struct proxy *p = arg;

    if (p->on_drained != NULL && atomic_load(&p->shared.limits.connections) == 0) {
        tell_drained(p);
    }
}

static void on_drain_timer(void *arg)
{
    struct proxy *p = arg;

    if (p->on_drained != NULL) {
        tell_drained(p);
    }
}

void proxy_reload(struct proxy *proxy)
{
    struct tls_server *tls = proxy->shared.tls;
    struct err err;

    if (tls == NULL) {
        return;
    }
    if (tls_server_reload(tls, &err) < 0) {
        metric_inc(&reloads_bad);
        log_error("the new certificate is not taken, the earlier stays", "why", err.text, NULL);
        return;
    }
    metric_inc(&reloads_good);
    metric_set(&certificate_expiry, tls_server_expiry_s(tls));
    log_info("certificate read again", NULL);
}

static void on_certificate_timer(void *arg)
{
    struct proxy *p = arg;

    if (tls_server_changed(p->shared.tls)) {
        proxy_reload(p);
    }
}

static int open_tls(struct proxy *p, const struct proxy_options *o, struct err *err)
{
    if (o->tls_cert_file == NULL && o->tls_key_file == NULL) {
        return 0;
    }
    if (o->tls_cert_file == NULL || o->tls_key_file == NULL) {
        return err_text(err, -EINVAL, "TLS needs both, certificate and key");
    }
    int r = tls_server_new(o->tls_cert_file, o->tls_key_file, &p->shared.tls, err);
    if (r < 0) {
        return r;
    }
    metric_set(&certificate_expiry, tls_server_expiry_s(p->shared.tls));
    p->certificate_timer = loop_timer_new(p->loop, on_certificate_timer, p);
    loop_timer_start(p->certificate_timer, CERTIFICATE_LOOK_MS, CERTIFICATE_LOOK_MS);
    return 0;
}

static void register_metrics(void)
{
    tunnel_metrics_register();
    metrics_register(&certificate_expiry);
    metrics_register(&reloads_good);
    metrics_register(&reloads_bad);
}

static struct proxy_options with_defaults(const struct proxy_options *options)
{
    struct proxy_options o = *options;

    o.access_cache_ms = or_default(o.access_cache_ms, 5000);
    o.max_tunnels = or_default(o.max_tunnels, 10000);
    return o;
}

int proxy_open(struct loop *loop, const struct proxy_options *options, struct proxy **ret,
               struct err *err)
{
    struct proxy *p = xcalloc(1, sizeof(*p));
    struct proxy_options o = with_defaults(options);

    signal(SIGPIPE, SIG_IGN); /* splice() knows no MSG_NOSIGNAL */
    register_metrics();
    p->loop = loop;
    p->shared.settings = settings_of(&o);
    const struct limits_max max = {
        .tunnels = affordable_tunnels(o.max_tunnels),
        .by_source = o.max_tunnels_per_source,
        .by_caller = o.max_tunnels_per_caller,
    };
    limits_init(&p->shared.limits, &max);
    p->drain_timer = loop_timer_new(loop, on_drain_timer, p);
    int r =
        networks_parse(o.balancers != NULL ? o.balancers : "", &p->shared.settings.balancers, err);
    if (r == 0) {
        r = open_tls(p, &o, err);
    }
    if (r == 0) {
        r = loop_wake_new(loop, on_changed, p, &p->shared.changed, err);
    }
    if (r == 0) {
        r = broker_open(loop, &o, &p->shared.broker, err);
    }
    if (r == 0) {
        r = add_workers(p, &o, err);
    }
    if (r < 0) {
        proxy_close(p);
        return r;
    }
    *ret = p;
    return 0;
}

static void ring_all(struct proxy *p)
{
    for (int i = 0; i < p->worker_count; i++) {
        worker_ring(p->workers[i]);
    }
}

void proxy_drain(struct proxy *proxy, uint32_t grace_ms, loop_fn on_drained, void *arg)
{
    proxy->on_drained = on_drained;
    proxy->on_drained_arg = arg;
    loop_timer_start(proxy->drain_timer, grace_ms, 0);
    atomic_store(&proxy->shared.draining, true);
    ring_all(proxy); /* each says when it has begun, in case there is nothing to wait for */
}

void proxy_close(struct proxy *proxy)
{
    if (proxy == NULL) {
        return;
    }
    atomic_store(&proxy->shared.stopping, true);
    for (int i = 0; i < proxy->worker_count; i++) {
        worker_join(proxy->workers[i]);
    }
    broker_close(proxy->shared.broker);
    for (int i = 0; i < proxy->worker_count; i++) {
        worker_free(proxy->workers[i]);
    }
    loop_wake_close(proxy->shared.changed);
    loop_timer_close(proxy->drain_timer);
    loop_timer_close(proxy->certificate_timer);
    tls_server_free(proxy->shared.tls);
    limits_clear(&proxy->shared.limits);
    secret_wipe(&proxy->shared.settings.ticket_keys, sizeof(struct secrets));
    free(proxy->shared.settings.self_id);
    free(proxy);
}

uint32_t proxy_tunnels(const struct proxy *proxy)
{
    return atomic_load(&((struct proxy *)proxy)->shared.limits.tunnels);
}

uint16_t proxy_port(const struct proxy *proxy)
{
    return proxy->port;
}
