#include "sidecar-proxy/drain_main.h"

#include "common/config.h"
#include "common/log.h"
#include "common/secret.h"
#include "sidecar-proxy/session/drain_command.h"

#include <errno.h>
#include <string.h>

struct drain_run {
    struct loop *loop;
    int status;
};

static void on_end(void *arg, enum drain_command_end end, const char *text)
{
    struct drain_run *run = arg;

    if (end == DRAIN_COMMAND_EMPTY) {
        log_info("drained", NULL);
    } else if (end == DRAIN_COMMAND_TIME_OVER) {
        log_warn("the time for the drain is over", "what", text, NULL);
    } else {
        log_error(text, NULL);
        run->status = 1;
    }
    loop_stop(run->loop);
}

static int run_drain(struct drain_command_options *options, struct err *err)
{
    struct drain_run run = {0};
    struct drain_command *command;
    int r = loop_new(&run.loop, err);

    if (r < 0) {
        return r;
    }
    options->loop = run.loop;
    options->on_end = on_end;
    options->arg = &run;
    r = drain_command_open(options, &command, err);
    if (r == 0) {
        loop_run(run.loop);
    }
    loop_free(run.loop);
    return r < 0 ? r : run.status;
}

int drain_main(int argc, char **argv)
{
    struct drain_command_options drain = {0};
    AUTO(str) char *control = NULL;
    char *service_key = NULL;
    char *previous_key = NULL;
    struct err err = {0};
    const struct config_option options[] = {
        {.name = "control",
         .kind = CONFIG_STR,
         .target = &control,
         .required = true,
         .help = "the sidecar's control API: unix:PATH or host:port"},
        {.name = "rate-per-minute",
         .kind = CONFIG_INT,
         .target = &drain.rate_per_minute,
         .fallback = "0",
         .min = 0,
         .max = 1000000,
         .help = "devices to move; 0: as the sidecar is set"},
        {.name = "timeout-seconds",
         .kind = CONFIG_INT,
         .target = &drain.timeout_s,
         .fallback = "-1",
         .min = -1,
         .max = 86400,
         .help = "time that it may take; -1: as the sidecar is set"},
        {.env = "VPN_SERVICE_API_KEY",
         .kind = CONFIG_KEY,
         .target = &service_key,
         .help = "key of the VPN service, needed over TCP"},
        {.env = "VPN_SERVICE_API_KEY_PREVIOUS",
         .kind = CONFIG_KEY,
         .target = &previous_key,
         .help = "the one before, while some still have it"},
    };

    log_open_early("vpn-sidecar");
    int r = config_load("vpn-sidecar drain", "moves an instance's devices elsewhere, and waits",
                        options, ARRAY_LEN(options), argc, argv, NULL, &err);
    if (r == 0) {
        drain.control = control;
        drain.keys = (struct service_keys){service_key, previous_key};
        r = run_drain(&drain, &err);
    } else if (r > 0) {
        return 0; /* help */
    }
    secret_free(service_key);
    secret_free(previous_key);
    if (r < 0) {
        log_error(err.text, NULL);
        return r == -EINVAL ? 2 : 1;
    }
    return r;
}
