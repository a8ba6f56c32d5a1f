#include "common/http_server.h"

#include "common/http_conn.h"
#include "common/http_listen.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/ws_server.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

#define DEFAULT_CONNECTIONS 1024
#define ACCEPTS_A_ROUND 64
#define ACCEPT_PAUSE_MS 100

struct http_listener {
    struct http_server *server;
    struct http_site site;
    struct listen_socket socket;
    struct loop_io *io;
    struct loop_timer *pause; /* accept() failed: no descriptors, no memory */
    size_t max_connections;
    size_t connections;
    bool is_full; /* newcomers wait in the kernel's backlog */
    struct http_listener *next;
};

struct http_server {
    struct loop *loop;
    struct http_listener *listeners;
    bool closed;
};

static struct metric connections = {
    .name = "vpn_http_server_connections",
    .help = "Connections to our HTTP listeners, WebSockets included.",
    .kind = METRIC_GAUGE,
};
static struct metric idle_closed = {
    .name = "vpn_http_server_idle_closed_total",
    .help = "Idle connections closed early to make room for new ones.",
    .kind = METRIC_COUNTER,
};
static struct metric accept_failures = {
    .name = "vpn_http_server_accept_failures_total",
    .help = "Failed accepts, after each of which the listener pauses.",
    .kind = METRIC_COUNTER,
};

static void register_metrics(void)
{
    metrics_register(&connections);
    metrics_register(&idle_closed);
    metrics_register(&accept_failures);
}

/* Is there room for one more? An idle connection gives way. */
static bool make_room(struct http_listener *l)
{
    if (l->connections < l->max_connections) {
        return true;
    }
    if (!http_conn_close_idle(&l->site)) {
        return false;
    }
    metric_inc(&idle_closed);
    return true;
}

static void resume(void *arg)
{
    struct http_listener *l = arg;

    loop_io_set(l->io, LOOP_READ);
}

static void on_accept_failed(struct http_listener *l, int error)
{
    if (error == EAGAIN || error == EINTR || error == ECONNABORTED) {
        return;
    }
    log_warn("can not accept a connection", "error", strerror(error), NULL);
    metric_inc(&accept_failures);
    loop_io_set(l->io, 0);
    loop_timer_start(l->pause, ACCEPT_PAUSE_MS, 0);
}

static void on_acceptable(void *arg, int events, int error)
{
    struct http_listener *l = arg;

    (void)events;
    (void)error;
    for (int i = 0; i < ACCEPTS_A_ROUND; i++) {
        if (i > 0 && l->connections >= l->max_connections) {
            return; /* is there a newcomer at all? If so, we are called again */
        }
        if (!make_room(l)) {
            l->is_full = true;
            loop_io_set(l->io, 0);
            return;
        }
        int fd = accept4(l->socket.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            on_accept_failed(l, errno);
            return;
        }
        l->connections++;
        metric_add(&connections, 1);
        http_conn_open(&l->site, fd);
    }
}

/* There may be room again. */
static void on_conn_idle(void *arg)
{
    struct http_listener *l = arg;

    if (l->is_full && !l->server->closed) {
        l->is_full = false;
        loop_io_set(l->io, LOOP_READ);
    }
}

static void on_conn_end(void *arg)
{
    struct http_listener *l = arg;

    l->connections--;
    metric_add(&connections, -1);
    on_conn_idle(l);
}

static void listener_free(void *arg)
{
    struct http_listener *l = arg;

    free(l->site.endpoints);
    free(l);
}

/* Everything ends before it returns; the memory goes with the loop's next round, for callers up the
 * stack. */
static void listener_close(struct http_listener *l)
{
    loop_io_close(l->io);
    loop_timer_close(l->pause);
    listen_socket_close(&l->socket);
    http_conn_close_all(&l->site);
    for (size_t i = 0; i < l->site.route_count; i++) {
        ws_endpoint_close(l->site.endpoints[i]);
    }
    loop_post(l->server->loop, listener_free, l);
}

static int open_endpoints(struct http_site *site, struct err *err)
{
    for (size_t i = 0; i < site->route_count; i++) {
        const struct http_route *route = &site->routes[i];
        if (route->ws == NULL) {
            continue;
        }
        int r = ws_endpoint_open(site->loop, route->ws, route->arg, &site->endpoints[i], err);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static struct http_listener *listener_new(struct http_server *server,
                                          const struct http_listen_options *options)
{
    struct http_listener *l = xcalloc(1, sizeof(*l));

    l->server = server;
    l->max_connections =
        options->max_connections > 0 ? options->max_connections : DEFAULT_CONNECTIONS;
    l->site = (struct http_site){
        .loop = server->loop,
        .routes = options->routes,
        .route_count = options->route_count,
        .endpoints = xcalloc(options->route_count + 1, sizeof(struct ws_endpoint *)),
        .on_idle = on_conn_idle,
        .on_end = on_conn_end,
        .arg = l,
    };
    ring_init(&l->site.conns);
    ring_init(&l->site.idle);
    return l;
}

int http_server_listen(struct http_server *server, const struct http_listen_options *options,
                       struct err *err)
{
    struct http_listener *l = listener_new(server, options);

    l->socket.fd = -1;
    int r = listen_socket_open(options->address, options->unix_mode, &l->socket, err);
    if (r < 0) {
        listener_free(l);
        return r;
    }
    r = loop_io_new(server->loop, l->socket.fd, on_acceptable, l, &l->io, err);
    if (r == 0) {
        r = open_endpoints(&l->site, err);
    }
    l->pause = loop_timer_new(server->loop, resume, l);
    if (r < 0) {
        listener_close(l);
        return r;
    }
    loop_io_set(l->io, LOOP_READ);
    l->next = server->listeners;
    server->listeners = l;
    return 0;
}

int http_server_new(struct loop *loop, struct http_server **ret, struct err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct http_server *server = xcalloc(1, sizeof(*server));

    (void)err;
    pthread_once(&once, register_metrics);
    server->loop = loop;
    *ret = server;
    return 0;
}

static void server_free(void *arg)
{
    free(arg);
}

void http_server_close(struct http_server *server)
{
    if (server == NULL || server->closed) {
        return;
    }
    server->closed = true;
    while (server->listeners != NULL) {
        struct http_listener *l = server->listeners;
        server->listeners = l->next;
        listener_close(l);
    }
    loop_post(server->loop, server_free, server);
}
