/* vpn-balancer: beside each haproxy in Kubernetes; its servers are the Pods of one Service. Reads
 * the settings, runs one balancer until it is told to end. Decides nothing. */
#include "common/config.h"
#include "common/log.h"
#include "controller/balancer/balancer.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

struct settings {
    char *service, *ns, *kubeconfig, *context, *port_name, *haproxy, *backend, *listen;
    char *log_format, *log_level;
    int64_t gone_s;
};

static void settings_clear(struct settings *s)
{
    char *const texts[] = {s->service, s->ns,      s->kubeconfig, s->context,    s->port_name,
                           s->haproxy, s->backend, s->listen,     s->log_format, s->log_level};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        free(texts[i]);
    }
}

#define STR(field) .kind = CONFIG_STR, .target = &s->field

static int load_options(struct settings *s, int argc, char **argv, struct err *err)
{
    const struct config_option options[] = {
        {.name = "service", STR(service), .required = true, .help = "whose Pods are the servers"},
        {.name = "namespace", STR(ns), .help = "of the Service; default: ours"},
        {.name = "kubeconfig",
         STR(kubeconfig),
         .help = "a file; default: KUBECONFIG, else the Pod's service account"},
        {.name = "context", STR(context), .help = "of the kubeconfig; default: its current one"},
        {.name = "port-name",
         STR(port_name),
         .fallback = "vpn",
         .help = "the Service's port for devices"},
        {.name = "haproxy",
         STR(haproxy),
         .fallback = "unix:/run/haproxy/runtime.sock",
         .help = "its runtime socket, unix:PATH"},
        {.name = "backend",
         STR(backend),
         .fallback = "instances",
         .help = "haproxy's name for the servers together"},
        {.name = "listen", STR(listen), .fallback = ":8082", .help = "what is told over HTTP"},
        {.name = "gone-seconds",
         .kind = CONFIG_INT,
         .target = &s->gone_s,
         .fallback = "120",
         .max = 86400,
         .help = "what is still connected to a Pod that is gone is cut after so long"},
        {.env = "LOG_FORMAT", STR(log_format), .fallback = "human", .help = "human or json"},
        {.env = "LOG_LEVEL",
         STR(log_level),
         .fallback = "info",
         .help = "debug, info, warn or error"},
    };

    return config_load("vpn-balancer", "keeps haproxy's servers as a Service's Pods are", options,
                       ARRAY_LEN(options), argc, argv, NULL, err);
}

static int check(const struct settings *s, struct err *err)
{
    if (strncmp(s->haproxy, "unix:", 5) != 0 || s->haproxy[5] == '\0') {
        return err_text(err, -EINVAL, "--haproxy: '%.64s' is not unix:PATH", s->haproxy);
    }
    if (s->backend[0] == '\0' || strpbrk(s->backend, " ;/\r\n") != NULL) {
        return err_text(err, -EINVAL, "--backend: '%.64s' is no name", s->backend);
    }
    return 0;
}

static void on_end(void *arg)
{
    loop_stop(arg);
}

static void on_debug(void *arg)
{
    log_toggle_debug();
}

static int run_balancer(const struct settings *s, struct loop *loop, struct kube_client *client,
                        struct err *err)
{
    const struct balancer_options options = {
        .loop = loop,
        .client = client,
        .ns = s->ns != NULL ? s->ns : kube_client_namespace(client),
        .service = s->service,
        .port_name = s->port_name,
        .socket = s->haproxy + strlen("unix:"),
        .backend = s->backend,
        .listen = s->listen,
        .gone_s = s->gone_s,
    };
    struct loop_signal *signals[3] = {NULL, NULL, NULL};
    struct balancer *balancer = NULL;
    int r = balancer_open(&options, &balancer, err);

    if (r == 0) {
        loop_signal_new(loop, SIGTERM, on_end, loop, &signals[0], NULL);
        loop_signal_new(loop, SIGINT, on_end, loop, &signals[1], NULL);
        loop_signal_new(loop, SIGUSR2, on_debug, NULL, &signals[2], NULL);
        log_info("balancing", "namespace", options.ns, "service", s->service, NULL);
        loop_run(loop);
    }
    for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
        loop_signal_close(signals[i]);
    }
    balancer_close(balancer);
    return r;
}

static int run(const struct settings *s, struct err *err)
{
    AUTO(kube_config) struct kube_config *config = NULL;
    struct kube_client *client = NULL;
    struct loop *loop = NULL;
    int r = kube_config_load(s->kubeconfig, s->context, &config, err);

    if (r == 0) {
        r = loop_new(&loop, err);
    }
    if (r < 0) {
        return r;
    }
    const struct kube_client_options options = {.config = config,
                                                .user_agent = "vpn-balancer/" VPN_VERSION};
    r = kube_client_new(loop, &options, &client, err);
    if (r == 0) {
        r = run_balancer(s, loop, client, err);
    }
    kube_client_close(client);
    loop_free(loop);
    return r;
}

int main(int argc, char **argv)
{
    struct settings s = {0};
    struct err err = {0};

    signal(SIGPIPE, SIG_IGN);
    log_open_early("vpn-balancer");
    int r = load_options(&s, argc, argv, &err);
    if (r == 0) {
        r = log_open("vpn-balancer", s.log_format, s.log_level, &err);
    }
    if (r == 0) {
        r = check(&s, &err);
    }
    bool bad_settings = r < 0;
    if (r == 0) {
        r = run(&s, &err);
    }
    settings_clear(&s);
    if (r < 0) {
        log_error(err.text, NULL);
        return bad_settings || r == -EINVAL || r == -ENOENT ? 2 : 1;
    }
    return 0;
}
