/* vpn-connect-proxy: wires its parts together. Decides nothing. */
#include "common/config.h"
#include "common/http_server.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/secret.h"
#include "sidecar-proxy/proxy/address.h"
#include "sidecar-proxy/proxy/host_router.h"
#include "sidecar-proxy/proxy/networks.h"
#include "sidecar-proxy/proxy/tls.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define METRICS_MAX (1024 * 1024)

struct settings {
    char *listen;
    char *tls_cert;
    char *tls_key;
    bool proxy_protocol;
    char *proxy_protocol_from;
    char *metrics_listen;
    char *state;
    char *self_address;
    char *owner;
    int64_t workers;
    int64_t forward_port;
    int64_t default_port;
    int64_t drain_delay_s;
    int64_t drain_timeout_s;
    int64_t head_timeout_s;
    int64_t answer_timeout_s;
    int64_t connect_timeout_s;
    int64_t idle_timeout_s;
    int64_t access_cache_s;
    int64_t access_grace_s;
    int64_t max_tunnels;
    int64_t max_tunnels_per_source;
    int64_t max_tunnels_per_caller;
    char *service_key;
    char *previous_key;
    char *guest_key;
    char *log_format;
    char *log_level;
};

struct program {
    struct settings settings;
    char *api_url;
    char *api_ca;
    char self_id[32];
    struct loop *loop;
    struct loop_signal *term, *interrupt, *debug, *hangup;
    struct loop_timer *drain_delay;
    struct balena_api *api;
    struct locator *locator;
    struct host_router *router;
    struct http_server *server;
    struct proxy *proxy;
    bool draining;
};

static int load(struct settings *s, int argc, char **argv, struct err *err)
{
    const struct config_option options[] = {
        {"listen", "VPN_CONNECT_PROXY_LISTEN", CONFIG_STR, &s->listen, "0.0.0.0:3128",
         .help = "address:port on which CONNECT is answered"},
        {"tls-cert", NULL, CONFIG_STR, &s->tls_cert,
         .help =
             "PEM file of a certificate with its chain: callers speak TLS; read again on change"},
        {"tls-key", NULL, CONFIG_STR, &s->tls_key, .help = "PEM file of the certificate's key"},
        {"proxy-protocol", NULL, CONFIG_BOOL, &s->proxy_protocol,
         .help = "connections begin with a balancer's PROXY protocol, version 1 or 2"},
        {"proxy-protocol-from", NULL, CONFIG_LIST, &s->proxy_protocol_from,
         .help = "... only those from these networks, others do without; default: all"},
        {"metrics-listen", NULL, CONFIG_STR, &s->metrics_listen, "127.0.0.1:8091",
         .help = "address:port of /metrics, /healthz and /readyz"},
        {"state", NULL, CONFIG_LIST, &s->state, "127.0.0.1:8090",
         .help = "host:port of the state service; a name means all of its addresses"},
        {"self-address", NULL, CONFIG_LIST, &s->self_address,
         .help = "address that is registered with the API for this host"},
        {"workers", "VPN_CONNECT_INSTANCE_COUNT", CONFIG_INT, &s->workers, "0", 0, 64,
         .help = "relay threads; 0: one a core"},
        {"forward-port", "VPN_FORWARD_PROXY_PORT", CONFIG_INT, &s->forward_port, "3128", 1, 65535,
         .help = "port of other VPN hosts' proxies"},
        {"default-port", NULL, CONFIG_INT, &s->default_port, "80", 1, 65535,
         .help = "port of a request that names none"},
        {"drain-delay-seconds", NULL, CONFIG_INT, &s->drain_delay_s, "0", 0, 3600,
         .help = "how long after SIGTERM callers are still taken while /readyz says 503 already"},
        {"drain-timeout-seconds", NULL, CONFIG_INT, &s->drain_timeout_s, "120", 0, 86400,
         .help = "how long tunnels may last after that"},
        {"head-timeout-seconds", NULL, CONFIG_INT, &s->head_timeout_s, "10", 1, 600,
         .help = "within which a request's head must come"},
        {"answer-timeout-seconds", NULL, CONFIG_INT, &s->answer_timeout_s, "8", 1, 600,
         .help = "within which every request is answered"},
        {"connect-timeout-seconds", NULL, CONFIG_INT, &s->connect_timeout_s, "5", 1, 600,
         .help = "of a connection to the next hop"},
        {"idle-timeout-seconds", NULL, CONFIG_INT, &s->idle_timeout_s, "3600", 1, 604800,
         .help = "after which a silent tunnel is closed"},
        {"access-cache-seconds", NULL, CONFIG_INT, &s->access_cache_s, "5", 1, 3600,
         .help = "how long a decision about a caller is kept"},
        {"access-grace-seconds", NULL, CONFIG_INT, &s->access_grace_s, "0", 0, 86400,
         .help = "how long an earlier yes counts while the API does not answer"},
        {"max-tunnels", NULL, CONFIG_INT, &s->max_tunnels, "10000", 1, 1000000,
         .help = "more are refused with 503"},
        {"max-tunnels-per-source", NULL, CONFIG_INT, &s->max_tunnels_per_source, "0", 0, 1000000,
         .help = "connections of one address; more are refused with 429; 0: no limit"},
        {"max-tunnels-per-caller", NULL, CONFIG_INT, &s->max_tunnels_per_caller, "0", 0, 1000000,
         .help = "of one key, or one address without; more are refused with 429; 0: no limit"},
        {"owner", NULL, CONFIG_STR, &s->owner,
         .help =
             "control socket of the vpn-controller that keeps it, which finds it again by that"},
        {NULL, "VPN_SERVICE_API_KEY", CONFIG_KEY, &s->service_key, .required = true,
         .help = "key of the VPN service"},
        {NULL, "VPN_SERVICE_API_KEY_PREVIOUS", CONFIG_KEY, &s->previous_key,
         .help = "the one before, while some still have it"},
        {NULL, "VPN_GUEST_API_KEY", CONFIG_KEY, &s->guest_key,
         .help = "key for callers that send none"},
        {"log-format", "LOG_FORMAT", CONFIG_STR, &s->log_format, "human", .help = "human or json"},
        {"log-level", "LOG_LEVEL", CONFIG_STR, &s->log_level, "info",
         .help = "debug, info, warn or error"},
    };

    return config_load("vpn-connect-proxy", "HTTP CONNECT to devices, {uuid}.balena:{port}",
                       options, ARRAY_LEN(options), argc, argv, NULL, err);
}

/* Read once more when it starts: what is wrong is told before. */
static int check_tls(const struct settings *s, struct err *err)
{
    struct tls_server *tls = NULL;

    if (s->tls_cert == NULL) {
        return 0;
    }
    int r = tls_server_new(s->tls_cert, s->tls_key, &tls, err);
    tls_server_free(tls);
    return r < 0 ? err_wrap(err, "--tls-cert, --tls-key") : 0;
}

static int check(const struct settings *s, struct err *err)
{
    struct networks networks;
    struct address address;

    if (address_parse_listen(s->listen, &address, err) < 0) {
        return err_wrap(err, "--listen");
    }
    if (http_listen_check(s->metrics_listen, err) < 0) {
        return err_wrap(err, "--metrics-listen");
    }
    if ((s->tls_cert == NULL) != (s->tls_key == NULL)) {
        return err_text(err, -EINVAL, "TLS needs both, --tls-cert and --tls-key");
    }
    int r = networks_parse(s->proxy_protocol_from != NULL ? s->proxy_protocol_from : "", &networks,
                           err);
    return r < 0 ? err_wrap(err, "--proxy-protocol-from") : check_tls(s, err);
}

/* All that can be wrong before anything runs. */
static int prepare(struct program *p, int argc, char **argv, struct err *err)
{
    int r = load(&p->settings, argc, argv, err);

    if (r != 0) {
        return r;
    }
    r = log_open("vpn-connect-proxy", p->settings.log_format, p->settings.log_level, err);
    if (r == 0) {
        r = check(&p->settings, err);
    }
    if (r == 0) {
        r = balena_api_url_from_env(&p->api_url, err);
    }
    if (r == 0 && p->api_url == NULL) {
        r = err_text(err, -EINVAL, "BALENA_API_HOST or BALENA_API_INTERNAL_HOST must be set");
    }
    return r < 0 ? r : balena_api_ca_from_env(&p->api_ca, err);
}

static void reply(struct http_exchange *x, int status, const char *text)
{
    http_reply(x, status, NULL, text, strlen(text), NULL);
}

static void on_metrics(void *arg, struct http_exchange *x,
                       const struct http_server_request *request)
{
    AUTO(buf) struct buf out;

    (void)arg;
    (void)request;
    buf_init(&out, METRICS_MAX);
    if (metrics_render(&out) < 0) {
        reply(x, 500, "too many metrics\n");
        return;
    }
    http_reply(x, 200, METRICS_CONTENT_TYPE, out.data, out.len, NULL);
}

static void on_health(void *arg, struct http_exchange *x, const struct http_server_request *request)
{
    (void)arg;
    (void)request;
    reply(x, 200, "ok\n");
}

static void on_ready(void *arg, struct http_exchange *x, const struct http_server_request *request)
{
    const struct program *p = arg;

    (void)request;
    if (p->draining || p->proxy == NULL) {
        reply(x, 503, p->draining ? "draining\n" : "starting\n");
    } else {
        reply(x, 200, "ok\n");
    }
}

static int listen_metrics(struct program *p, struct err *err)
{
    static struct http_route routes[3];
    const struct http_route wanted[] = {
        {.method = "GET", .path = "/metrics", .handler = on_metrics},
        {.method = "GET", .path = "/healthz", .handler = on_health},
        {.method = "GET", .path = "/readyz", .handler = on_ready, .arg = p},
    };
    struct http_listen_options options = {
        .address = p->settings.metrics_listen,
        .routes = routes,
        .route_count = ARRAY_LEN(routes),
    };

    memcpy(routes, wanted, sizeof(wanted));
    int r = http_server_new(p->loop, &p->server, err);
    return r < 0 ? r : http_server_listen(p->server, &options, err);
}

static void on_drained(void *arg)
{
    struct program *p = arg;

    loop_stop(p->loop);
}

static void on_drain_delay(void *arg)
{
    struct program *p = arg;

    log_info("draining", "tunnels", NUM(proxy_tunnels(p->proxy)), "seconds_at_most",
             NUM(p->settings.drain_timeout_s), NULL);
    if (p->settings.owner != NULL) { /* a successor may be waiting for this port as well */
        http_server_close(p->server);
        p->server = NULL;
    }
    proxy_drain(p->proxy, (uint32_t)p->settings.drain_timeout_s * 1000, on_drained, p);
}

/* Balancers see by /readyz that it goes, and need a moment for it. The second signal ends it at
 * once. */
static void on_term(void *arg)
{
    struct program *p = arg;

    if (p->draining) {
        loop_stop(p->loop);
        return;
    }
    p->draining = true;
    if (p->settings.drain_delay_s == 0) {
        on_drain_delay(p);
        return;
    }
    log_info("not ready any more", "drains_in_seconds", NUM(p->settings.drain_delay_s), NULL);
    loop_timer_start(p->drain_delay, (uint64_t)p->settings.drain_delay_s * 1000, 0);
}

static void on_hangup(void *arg)
{
    struct program *p = arg;

    if (p->proxy != NULL) {
        proxy_reload(p->proxy);
    }
}

static void on_debug(void *arg)
{
    (void)arg;
    log_toggle_debug();
}

static int open_signals(struct program *p, struct err *err)
{
    int r = loop_signal_new(p->loop, SIGTERM, on_term, p, &p->term, err);

    if (r == 0) {
        r = loop_signal_new(p->loop, SIGINT, on_term, p, &p->interrupt, err);
    }
    if (r == 0) {
        r = loop_signal_new(p->loop, SIGHUP, on_hangup, p, &p->hangup, err);
    }
    p->drain_delay = loop_timer_new(p->loop, on_drain_delay, p);
    return r < 0 ? r : loop_signal_new(p->loop, SIGUSR2, on_debug, p, &p->debug, err);
}

static int open_routing(struct program *p, struct err *err)
{
    const struct settings *s = &p->settings;
    struct balena_api_options api = {
        .base_url = p->api_url,
        .service_key = s->service_key,
        .ca_pem = p->api_ca,
        .max_in_flight = 256,
    };

    int r = balena_api_new(p->loop, &api, &p->api, err);
    if (r == 0) {
        r = locator_new(p->loop, s->state, &p->locator, err);
    }
    if (r < 0) {
        return r;
    }
    struct host_router_options router = {
        .locator = p->locator,
        .api = p->api,
        .self_addresses = s->self_address,
        .forward_port = (uint16_t)s->forward_port,
        .answer_timeout_ms = (uint32_t)s->answer_timeout_s * 1000,
    };
    p->router = host_router_new(p->loop, &router);
    return 0;
}

/* Both options are needed: a network alone does not change what its connections begin with. */
static const char *balancers(const struct settings *s)
{
    if (!s->proxy_protocol) {
        return NULL;
    }
    return s->proxy_protocol_from != NULL ? s->proxy_protocol_from : "::/0";
}

static int open_proxy(struct program *p, struct err *err)
{
    const struct settings *s = &p->settings;
    struct proxy_options options = {
        .listen = s->listen,
        .tls_cert_file = s->tls_cert,
        .tls_key_file = s->tls_key,
        .balancers = balancers(s),
        .workers = (int)s->workers,
        .keys = {s->service_key, s->previous_key},
        .guest_key = s->guest_key,
        .self_id = p->self_id,
        .api = p->api,
        .router = host_router_proxy(p->router),
        .head_timeout_ms = (uint32_t)s->head_timeout_s * 1000,
        .answer_timeout_ms = (uint32_t)s->answer_timeout_s * 1000,
        .connect_timeout_ms = (uint32_t)s->connect_timeout_s * 1000,
        .idle_timeout_ms = (uint32_t)s->idle_timeout_s * 1000,
        .access_cache_ms = (uint32_t)s->access_cache_s * 1000,
        .access_grace_ms = (uint32_t)s->access_grace_s * 1000,
        .max_tunnels = (uint32_t)s->max_tunnels,
        .max_tunnels_per_source = (uint32_t)s->max_tunnels_per_source,
        .max_tunnels_per_caller = (uint32_t)s->max_tunnels_per_caller,
        .default_port = (uint32_t)s->default_port,
    };
    uint64_t id;

    secret_random(&id, sizeof(id)); /* each process its own: only our own requests are loops */
    snprintf(p->self_id, sizeof(p->self_id), "vpn-%016" PRIx64, id);
    return proxy_open(p->loop, &options, &p->proxy, err);
}

static int open_all(struct program *p, struct err *err)
{
    int r = loop_new(&p->loop, err);

    if (r == 0) {
        r = open_signals(p, err);
    }
    if (r == 0) {
        r = listen_metrics(p, err);
    }
    if (r == 0) {
        r = open_routing(p, err);
    }
    return r < 0 ? r : open_proxy(p, err);
}

static void close_all(struct program *p)
{
    proxy_close(p->proxy);
    host_router_free(p->router);
    locator_close(p->locator);
    if (p->api != NULL) {
        balena_api_close(p->api);
    }
    http_server_close(p->server);
    loop_signal_close(p->term);
    loop_signal_close(p->interrupt);
    loop_signal_close(p->debug);
    loop_signal_close(p->hangup);
    loop_timer_close(p->drain_delay);
    if (p->loop != NULL) {
        loop_free(p->loop);
    }
}

static void clear_settings(struct program *p)
{
    struct settings *s = &p->settings;
    char *const texts[] = {s->tls_cert,     s->tls_key,        s->proxy_protocol_from,
                           s->listen,       s->metrics_listen, s->state,
                           s->self_address, s->log_format,     s->log_level,
                           p->api_url,      p->api_ca,         s->owner};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        free(texts[i]);
    }
    secret_free(s->service_key);
    secret_free(s->previous_key);
    secret_free(s->guest_key);
}

int main(int argc, char **argv)
{
    struct program p = {.draining = false};
    struct err err = {0, ""};

    log_open_early("vpn-connect-proxy");
    int r = prepare(&p, argc, argv, &err);
    if (r != 0) {
        if (r < 0) {
            log_error("bad settings", "why", err.text, NULL);
        }
        clear_settings(&p);
        return r < 0 ? 2 : 0;
    }
    r = open_all(&p, &err);
    if (r == 0) {
        log_info("answering CONNECT", "listen", p.settings.listen, "port", NUM(proxy_port(p.proxy)),
                 "tls", p.settings.tls_cert, "state", p.settings.state, "api", p.api_url, NULL);
        loop_run(p.loop);
        log_info("stopped", NULL);
    } else {
        log_error("can not start", "why", err.text, NULL);
    }
    close_all(&p);
    clear_settings(&p);
    return r < 0 ? 1 : 0;
}
