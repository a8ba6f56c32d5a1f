/* vpn-sidecar: reads the settings, runs one sidecar until it is told to end; `vpn-sidecar drain` is
 * a client of one. Decides nothing. */
#include "common/balena_api.h"
#include "common/config.h"
#include "common/log.h"
#include "common/secret.h"
#include "sidecar-proxy/drain_main.h"
#include "sidecar-proxy/session/sidecar.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

struct settings {
    struct sidecar_options sidecar;
    char *pool, *epoch, *management, *subnet, *control, *nss, *record;
    char *proxy_listen, *proxy_advertise, *register_address, *states;
    char *api_url, *api_ca, *service_key, *previous_key, *guest_key;
    char *log_format, *log_level;
    char *instance; /* "fleet-1", in each line of the log */
};

struct program {
    struct loop *loop;
    struct sidecar *sidecar;
};

static void settings_clear(struct settings *s)
{
    char *const texts[] = {
        s->pool,   s->epoch,        s->management,      s->subnet,           s->control, s->nss,
        s->record, s->proxy_listen, s->proxy_advertise, s->register_address, s->states,  s->api_url,
        s->api_ca, s->log_format,   s->log_level,       s->instance};
    char *const secrets[] = {s->service_key, s->previous_key, s->guest_key};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        free(texts[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(secrets); i++) {
        secret_free(secrets[i]);
    }
}

#define STR(field) .kind = CONFIG_STR, .target = &s->field
#define KEY(field) .kind = CONFIG_KEY, .target = &s->field
#define INT(field, low, high) \
    .kind = CONFIG_INT, .target = &s->sidecar.field, .min = (low), .max = (high)

static int load_options(struct settings *s, int argc, char **argv, struct err *err)
{
    const struct config_option options[] = {
        {.name = "pool", STR(pool), .required = true, .help = "name of the pool"},
        {.name = "index", INT(index, 1, 65536), .required = true, .help = "which instance"},
        {.name = "epoch", STR(epoch), .required = true, .help = "this life of the index"},
        {.name = "management",
         STR(management),
         .required = true,
         .help = "path of OpenVPN's management socket"},
        {.name = "subnet", STR(subnet), .required = true, .help = "of this instance, a.b.c.d/n"},
        {.name = "control",
         .kind = CONFIG_LIST,
         .target = &s->control,
         .required = true,
         .help = "listener of the control API: unix:PATH or host:port; may be given twice"},
        {.name = "nss", STR(nss), .help = "listener for host names of devices: unix:PATH"},
        {.name = "record", STR(record), .help = "file that a restart goes on from"},
        {.name = "proxy-listen", STR(proxy_listen), .help = "listener of the CONNECT proxy"},
        {.name = "proxy-advertise",
         STR(proxy_advertise),
         .help = "where others reach that; default: the listener"},
        {.name = "register-address",
         STR(register_address),
         .help = "address for the balena API; default: the one we call from"},
        {.name = "state",
         .kind = CONFIG_LIST,
         .target = &s->states,
         .help = "state services, host:port"},
        {.name = "auth-cache-seconds",
         INT(cache_s, 0, 86400),
         .fallback = "60",
         .help = "a key that was good is not asked about again for so long"},
        {.name = "auth-grace-seconds",
         INT(grace_s, 0, 2592000),
         .fallback = "3600",
         .help = "and lets its device in for so long while the API is ill"},
        {.name = "auth-max-in-flight",
         INT(max_in_flight, 1, 1024),
         .fallback = "32",
         .help = "questions to the API at a time"},
        {.name = "drain-rate-per-minute",
         INT(drain.rate_per_minute, 1, 1000000),
         .fallback = "500",
         .help = "devices that a drain moves at least"},
        {.name = "drain-timeout-seconds",
         INT(drain.timeout_s, 0, 86400),
         .fallback = "120",
         .help = "time that a drain may take"},
        {.name = "drain-delay-seconds",
         INT(drain_delay_s, 0, 3600),
         .fallback = "0",
         .help = "of it, before anybody is moved: for haproxy to let go"},
        {.name = "drain-linger-seconds",
         INT(drain_linger_s, 0, 3600),
         .fallback = "0",
         .help = "of it, after the last has gone: for devices to be back elsewhere"},
        {.name = "bytecount-seconds",
         INT(bytecount_s, 0, 3600),
         .fallback = "60",
         .help = "how often traffic is counted; 0: not"},
        {.env = "VPN_SERVICE_API_KEY",
         KEY(service_key),
         .required = true,
         .help = "key of the VPN service"},
        {.env = "VPN_SERVICE_API_KEY_PREVIOUS",
         KEY(previous_key),
         .help = "the one before, while some still have it"},
        {.env = "VPN_GUEST_API_KEY", KEY(guest_key), .help = "key of callers that have none"},
        {.env = "LOG_FORMAT", STR(log_format), .fallback = "human", .help = "human or json"},
        {.env = "LOG_LEVEL",
         STR(log_level),
         .fallback = "info",
         .help = "debug, info, warn or error"},
    };

    return config_load("vpn-sidecar", "looks after one OpenVPN and its devices", options,
                       ARRAY_LEN(options), argc, argv, NULL, err);
}

static int load_log(struct settings *s, struct err *err)
{
    int r = log_open("vpn-sidecar", s->log_format, s->log_level, err);

    if (r < 0) {
        return r;
    }
    s->instance = xasprintf("%s-%lld", s->pool, (long long)s->sidecar.index);
    log_mark("instance", s->instance);
    return 0;
}

static int load_api(struct settings *s, struct err *err)
{
    int r = balena_api_url_from_env(&s->api_url, err);

    if (r == 0 && s->api_url == NULL) {
        return err_text(err, -EINVAL, "BALENA_API_INTERNAL_HOST or BALENA_API_HOST is required");
    }
    return r < 0 ? r : balena_api_ca_from_env(&s->api_ca, err);
}

/* "$(POD_IP):3128" of a Pod with an IPv6 address has no brackets. */
static void bracket_advertised(struct settings *s)
{
    const char *last = s->proxy_advertise != NULL ? strrchr(s->proxy_advertise, ':') : NULL;

    if (last != NULL && s->proxy_advertise[0] != '[' && strchr(s->proxy_advertise, ':') != last) {
        char *bracketed =
            xasprintf("[%.*s]%s", (int)(last - s->proxy_advertise), s->proxy_advertise, last);
        free(s->proxy_advertise);
        s->proxy_advertise = bracketed;
    }
}

static int settings_load(struct settings *s, int argc, char **argv, struct err *err)
{
    int r = load_options(s, argc, argv, err);

    if (r == 0) {
        r = load_log(s, err);
    }
    if (r == 0) {
        r = load_api(s, err);
    }
    bracket_advertised(s);
    s->sidecar.pool = s->pool;
    s->sidecar.epoch = s->epoch;
    s->sidecar.management = s->management;
    s->sidecar.subnet = s->subnet;
    s->sidecar.control = s->control;
    s->sidecar.nss = s->nss;
    s->sidecar.record = s->record;
    s->sidecar.proxy_listen = s->proxy_listen;
    s->sidecar.proxy_advertise = s->proxy_advertise;
    s->sidecar.register_address = s->register_address;
    s->sidecar.states = s->states;
    s->sidecar.api_url = s->api_url;
    s->sidecar.api_ca = s->api_ca;
    s->sidecar.keys = (struct service_keys){s->service_key, s->previous_key};
    s->sidecar.guest_key = s->guest_key;
    return r;
}

static void on_end(void *arg)
{
    sidecar_stop(((struct program *)arg)->sidecar);
}

static void on_debug(void *arg)
{
    log_toggle_debug();
}

static void on_stopped(void *arg)
{
    struct program *p = arg;

    p->sidecar = NULL;
    loop_stop(p->loop);
}

static int run(struct settings *s, struct err *err)
{
    struct program p = {0};
    struct loop_signal *signals[3] = {NULL, NULL, NULL};
    int r = loop_new(&p.loop, err);

    if (r < 0) {
        return r;
    }
    s->sidecar.loop = p.loop;
    s->sidecar.on_stopped = on_stopped;
    s->sidecar.arg = &p;
    r = sidecar_open(&s->sidecar, &p.sidecar, err);
    if (r == 0) {
        loop_signal_new(p.loop, SIGTERM, on_end, &p, &signals[0], NULL);
        loop_signal_new(p.loop, SIGINT, on_end, &p, &signals[1], NULL);
        loop_signal_new(p.loop, SIGUSR2, on_debug, NULL, &signals[2], NULL);
        loop_run(p.loop);
    }
    for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
        loop_signal_close(signals[i]);
    }
    loop_free(p.loop);
    return r;
}

int main(int argc, char **argv)
{
    struct settings s = {0};
    struct err err = {0};

    signal(SIGPIPE, SIG_IGN);
    if (argc > 1 && strcmp(argv[1], "drain") == 0) {
        return drain_main(argc - 1, argv + 1);
    }
    log_open_early("vpn-sidecar");
    int r = settings_load(&s, argc, argv, &err);
    bool bad_settings = r < 0;
    if (r == 0) {
        r = run(&s, &err);
    }
    if (r < 0) {
        log_error(err.text, NULL);
    }
    log_mark(NULL, NULL);
    settings_clear(&s);
    if (r >= 0) {
        return 0;
    }
    return bad_settings || r == -EINVAL || r == -ENAMETOOLONG ? 2 : 1;
}
