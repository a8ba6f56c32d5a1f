#include "controller/kubernetes/kubernetes_run.h"

#include "common/http_server.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/secret.h"
#include "controller/kube/lease.h"
#include "controller/kubernetes/driver.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define METRICS_MAX ((size_t)4 << 20)
#define STUCK_MS 120000 /* a look at a pool that takes longer hangs */
#define STOP_MS 4500    /* from SIGTERM to the end, whatever the API server does */

struct controller {
    const struct kubernetes_settings *settings;
    struct loop *loop;
    struct kube_config *config;
    struct kube_client *client;
    struct http_client *http;
    struct balena_api *api;
    struct driver *driver;
    struct lease *lease;
    struct http_server *server;
    struct http_route routes[3];
    struct loop_signal *signals[3];
    struct loop_timer *deadline;
    char *ns, *identity;
    bool stopping;
    int status;
};

/* --- health and metrics --- */

static void reply_text(struct http_exchange *x, int status, const char *text)
{
    http_reply(x, status, NULL, text, strlen(text), NULL);
}

/* A standby has no lease to lose: it is well while its loop turns. */
static void on_health(void *arg, struct http_exchange *x, const struct http_server_request *request)
{
    const struct controller *c = arg;

    if (!lease_is_healthy(c->lease)) {
        reply_text(x, 503, "the lease was not renewed in time\n");
    } else if (driver_busy_ms(c->driver) > STUCK_MS) {
        reply_text(x, 503, "a look at a pool does not end\n");
    } else {
        reply_text(x, 200, "ok\n");
    }
}

static void on_ready(void *arg, struct http_exchange *x, const struct http_server_request *request)
{
    const struct controller *c = arg;

    if (!driver_synced(c->driver)) {
        reply_text(x, 503, "not all pools and Pods are known yet\n");
    } else {
        reply_text(x, 200, lease_is_held(c->lease) ? "ok, leads\n" : "ok, stands by\n");
    }
}

static void on_metrics(void *arg, struct http_exchange *x,
                       const struct http_server_request *request)
{
    const struct controller *c = arg;
    struct buf text;

    buf_init(&text, METRICS_MAX);
    int r = metrics_render(&text);
    if (r == 0) {
        r = driver_metrics(c->driver, &text);
    }
    http_reply(x, r == 0 ? 200 : 500, METRICS_CONTENT_TYPE, buf_str(&text), text.len, NULL);
    buf_clear(&text);
}

static int listen_http(struct controller *c, struct err *err)
{
    c->routes[0] = (struct http_route){"GET", "/metrics", on_metrics, 0, NULL, c};
    c->routes[1] = (struct http_route){"GET", "/healthz", on_health, 0, NULL, c};
    c->routes[2] = (struct http_route){"GET", "/readyz", on_ready, 0, NULL, c};
    struct http_listen_options options = {.address = c->settings->listen,
                                          .max_connections = 64,
                                          .routes = c->routes,
                                          .route_count = ARRAY_LEN(c->routes)};
    int r = http_server_new(c->loop, &c->server, err);

    return r == 0 ? http_server_listen(c->server, &options, err) : r;
}

/* --- the end --- */

static void end(struct controller *c, int status)
{
    c->status = status;
    loop_stop(c->loop);
}

static void on_released(void *arg)
{
    end(arg, 0);
}

static void on_idle(void *arg)
{
    struct controller *c = arg;

    lease_release(c->lease, on_released, c);
}

static void on_deadline(void *arg)
{
    log_warn("ends although not everything is in order", NULL);
    end(arg, 1);
}

/* Stop acting, then give up the lease, so that the next one may act at once. */
static void on_stop(void *arg)
{
    struct controller *c = arg;

    if (c->stopping) {
        return;
    }
    c->stopping = true;
    log_info("ending", NULL);
    loop_timer_start(c->deadline, STOP_MS, 0);
    driver_stop(c->driver, on_idle, c);
}

static void on_debug(void *arg)
{
    log_toggle_debug();
}

/* --- the lease --- */

static void on_lead(void *arg)
{
    struct controller *c = arg;

    log_info("leads", "identity", c->identity, NULL);
    driver_lead(c->driver);
}

/* Somebody else may act from now on, and what we believe may be old: begin with nothing. */
static void on_lost(void *arg, const char *why)
{
    log_error("the lease is lost", "why", why, NULL);
    end(arg, 1);
}

static void on_leader(void *arg, const char *identity)
{
    struct controller *c = arg;

    if (strcmp(identity, c->identity) != 0) {
        log_info("another one leads", "identity", identity, NULL);
    }
}

static int open_lease(struct controller *c, struct err *err)
{
    struct lease_options options = {.client = c->client,
                                    .ns = c->ns,
                                    .name = c->settings->lease,
                                    .identity = c->identity,
                                    .on_started = on_lead,
                                    .on_stopped = on_lost,
                                    .on_leader = on_leader,
                                    .arg = c};

    return lease_open(c->loop, &options, &c->lease, err);
}

/* --- the beginning --- */

static int open_client(struct controller *c, struct err *err)
{
    const struct kubernetes_settings *s = c->settings;
    int r = kube_config_load(s->kubeconfig, s->context, &c->config, err);

    if (r < 0) {
        return r;
    }
    struct kube_client_options options = {.config = c->config,
                                          .user_agent = "vpn-controller/" VPN_VERSION};
    c->ns = xstrdup(s->ns != NULL && s->ns[0] != '\0' ? s->ns : c->config->ns);
    log_info("starting", "version", VPN_VERSION, "namespace", c->ns, "server", c->config->server,
             "credentials", c->config->origin, NULL);
    return kube_client_new(c->loop, &options, &c->client, err);
}

static int open_api(struct controller *c, struct err *err)
{
    AUTO(str) char *url = NULL;
    AUTO(str) char *ca = NULL;
    struct http_client_options http = {.max_response = (size_t)16 << 20};
    int r = http_client_new(c->loop, &http, &c->http, err);

    if (r < 0 || (r = balena_api_url_from_env(&url, err)) < 0 ||
        (r = balena_api_ca_from_env(&ca, err)) < 0) {
        return r;
    }
    if (url == NULL) {
        return err_text(err, -EINVAL, "neither BALENA_API_HOST nor API_HOST is set");
    }
    struct balena_api_options options = {
        .base_url = url, .service_key = c->settings->service_key, .ca_pem = ca};
    return balena_api_new(c->loop, &options, &c->api, err);
}

static int open_driver(struct controller *c, struct err *err)
{
    struct driver_options options = {.client = c->client,
                                     .http = c->http,
                                     .api = c->api,
                                     .ns = c->ns,
                                     .keys = {c->settings->service_key, c->settings->previous_key},
                                     .identity = c->settings->identity};

    return driver_open(c->loop, &options, &c->driver, err);
}

static int open_signals(struct controller *c, struct err *err)
{
    int r = loop_signal_new(c->loop, SIGTERM, on_stop, c, &c->signals[0], err);

    if (r == 0) {
        r = loop_signal_new(c->loop, SIGINT, on_stop, c, &c->signals[1], err);
    }
    return r == 0 ? loop_signal_new(c->loop, SIGUSR2, on_debug, c, &c->signals[2], err) : r;
}

/* Two lives of one Pod are not the same holder. */
static char *make_identity(const char *name)
{
    uint8_t bytes[4];

    secret_random(bytes, sizeof(bytes));
    return xasprintf("%s_%02x%02x%02x%02x", name, bytes[0], bytes[1], bytes[2], bytes[3]);
}

static int open_all(struct controller *c, struct err *err)
{
    int r;

    c->identity = make_identity(c->settings->identity);
    c->deadline = loop_timer_new(c->loop, on_deadline, c);
    if ((r = open_client(c, err)) < 0 || (r = open_api(c, err)) < 0 ||
        (r = open_driver(c, err)) < 0 || (r = open_lease(c, err)) < 0 ||
        (r = listen_http(c, err)) < 0) {
        return r;
    }
    return open_signals(c, err);
}

static void close_all(struct controller *c)
{
    for (size_t i = 0; i < ARRAY_LEN(c->signals); i++) {
        loop_signal_close(c->signals[i]);
    }
    http_server_close(c->server);
    lease_close(c->lease);
    driver_close(c->driver);
    balena_api_close(c->api);
    http_client_close(c->http);
    kube_client_close(c->client);
    kube_config_free(c->config);
    loop_timer_close(c->deadline);
    free(c->ns);
    free(c->identity);
}

int kubernetes_run(const struct kubernetes_settings *settings)
{
    struct controller c = {.settings = settings};
    struct err err;
    int r = loop_new(&c.loop, &err);

    if (r < 0) {
        fprintf(stderr, "vpn-controller: %s\n", err.text);
        return 1;
    }
    r = open_all(&c, &err);
    if (r < 0) {
        fprintf(stderr, "vpn-controller: %s\n", err.text);
        c.status = r == -EINVAL || r == -ENOENT ? 2 : 1;
    } else {
        loop_run(c.loop);
        log_info("ended", NULL);
    }
    close_all(&c);
    loop_free(c.loop);
    return c.status;
}
