/* vpn-state: who is where. Wires, decides nothing. */
#include "common/config.h"
#include "common/http_server.h"
#include "common/log.h"
#include "sidecar-proxy/state/service.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define CONNECTIONS_MAX 8192

struct settings {
    char *listen, *owner, *service_key, *previous_key, *log_format, *log_level;
    int64_t lost_seconds, start_grace_seconds, verdict_seconds, max_sessions, max_verdicts;
};

struct program {
    struct settings settings;
    struct loop *loop;
    struct http_server *server;
    struct service service;
    struct loop_signal *term, *interrupt, *user2;
};

static int read_settings(struct settings *s, int argc, char **argv, struct err *err)
{
    const struct config_option options[] = {
        {"listen", NULL, CONFIG_STR, &s->listen, "127.0.0.1:8090", .help = "address and port"},
        {"lost-seconds", NULL, CONFIG_INT, &s->lost_seconds, "30", 1, 3600, false,
         "how long an instance whose feed broke keeps its sessions"},
        {"start-grace-seconds", NULL, CONFIG_INT, &s->start_grace_seconds, "10", 0, 600, false,
         "ready after that time at the latest"},
        {"verdict-seconds", NULL, CONFIG_INT, &s->verdict_seconds, "86400", 0, 30 * 86400, false,
         "how long a device's authentication is remembered"},
        {"max-sessions", NULL, CONFIG_INT, &s->max_sessions, "1000000", 1, 10000000, false,
         "sessions in all"},
        {"max-verdicts", NULL, CONFIG_INT, &s->max_verdicts, "1000000", 1, 10000000, false,
         "authentications that are remembered"},
        {"owner", NULL, CONFIG_STR, &s->owner,
         .help =
             "control socket of the vpn-controller that keeps it, which finds it again by that"},
        {NULL, "VPN_SERVICE_API_KEY", CONFIG_KEY, &s->service_key, .required = true,
         .help = "key of the VPN service; the feed's token is derived from it"},
        {NULL, "VPN_SERVICE_API_KEY_PREVIOUS", CONFIG_KEY, &s->previous_key,
         .help = "the one before, while some still have it"},
        {NULL, "LOG_FORMAT", CONFIG_STR, &s->log_format, "human", .help = "human or json"},
        {NULL, "LOG_LEVEL", CONFIG_STR, &s->log_level, "info", .help = "debug, info, warn, error"},
    };

    return config_load("vpn-state", "Knows which device is at which VPN instance.", options,
                       ARRAY_LEN(options), argc, argv, NULL, err);
}

static void free_settings(struct settings *s)
{
    secret_free(s->service_key);
    secret_free(s->previous_key);
    free(s->listen);
    free(s->owner);
    free(s->log_format);
    free(s->log_level);
}

static void on_end(void *arg)
{
    struct program *p = arg;

    loop_stop(p->loop);
}

static void on_user2(void *arg)
{
    log_toggle_debug();
}

static int watch_signals(struct program *p, struct err *err)
{
    int r = loop_signal_new(p->loop, SIGTERM, on_end, p, &p->term, err);

    signal(SIGPIPE, SIG_IGN);
    r = r < 0 ? r : loop_signal_new(p->loop, SIGINT, on_end, p, &p->interrupt, err);
    return r < 0 ? r : loop_signal_new(p->loop, SIGUSR2, on_user2, p, &p->user2, err);
}

static int serve(struct program *p, struct err *err)
{
    struct http_listen_options options = {.address = p->settings.listen,
                                          .max_connections = CONNECTIONS_MAX};

    options.routes = service_routes(&p->service, &options.route_count);
    int r = http_server_new(p->loop, &p->server, err);
    r = r < 0 ? r : http_server_listen(p->server, &options, err);
    if (r < 0) {
        return r;
    }
    log_info("listening", "address", p->settings.listen, NULL);
    loop_run(p->loop);
    log_info("ends", NULL);
    return 0;
}

static int run(struct program *p, struct err *err)
{
    const struct settings *s = &p->settings;
    int r = loop_new(&p->loop, err);

    if (r < 0) {
        return r;
    }
    service_init(&p->service, p->loop,
                 &(struct service_options){.keys = {s->service_key, s->previous_key},
                                           .lost_seconds = s->lost_seconds,
                                           .start_grace_seconds = s->start_grace_seconds,
                                           .verdict_seconds = s->verdict_seconds,
                                           .max_sessions = (size_t)s->max_sessions,
                                           .max_verdicts = (size_t)s->max_verdicts});
    r = watch_signals(p, err);
    r = r < 0 ? r : serve(p, err);
    p->service.ending = true;
    http_server_close(p->server);
    service_clear(&p->service);
    loop_signal_close(p->term);
    loop_signal_close(p->interrupt);
    loop_signal_close(p->user2);
    loop_free(p->loop);
    return r;
}

int main(int argc, char **argv)
{
    struct program p = {0};
    struct err err = {0};

    int r = read_settings(&p.settings, argc, argv, &err);
    if (r > 0) {
        free_settings(&p.settings);
        return 0;
    }
    r = r < 0 ? r : log_open("vpn-state", p.settings.log_format, p.settings.log_level, &err);
    if (r == 0 && (r = http_listen_check(p.settings.listen, &err)) < 0) {
        r = err_wrap(&err, "--listen");
    }
    if (r < 0) {
        fprintf(stderr, "vpn-state: %s\n", err.text);
        free_settings(&p.settings);
        return 2;
    }
    r = run(&p, &err);
    if (r < 0) {
        log_error("can not go on", "why", err.text, NULL);
    }
    free_settings(&p.settings);
    return r < 0 ? 1 : 0;
}
