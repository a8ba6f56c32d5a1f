#include "controller/kubernetes/kubernetes_main.h"

#include "common/config.h"
#include "common/log.h"
#include "common/secret.h"
#include "controller/kubernetes/kubernetes_run.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define HOST_MAX 256

static void settings_clear(struct kubernetes_settings *s)
{
    free(s->ns);
    free(s->kubeconfig);
    free(s->context);
    free(s->listen);
    free(s->lease);
    free(s->identity);
    secret_free(s->service_key);
    secret_free(s->previous_key);
    free(s->log_format);
    free(s->log_level);
}

static int load(struct kubernetes_settings *s, int argc, char **argv, struct err *err)
{
    char host[HOST_MAX] = "";

    gethostname(host, sizeof(host) - 1); /* in a Pod: its name */
    const struct config_option options[] = {
        {.name = "namespace",
         .env = "POD_NAMESPACE",
         .kind = CONFIG_STR,
         .target = &s->ns,
         .help = "where the pools are; default: that of the service account or kubeconfig"},
        {.name = "kubeconfig",
         .kind = CONFIG_STR,
         .target = &s->kubeconfig,
         .help = "a file in place of KUBECONFIG or the service account"},
        {.name = "context",
         .kind = CONFIG_STR,
         .target = &s->context,
         .help = "of the kubeconfig; default: its current one"},
        {.name = "listen",
         .kind = CONFIG_STR,
         .target = &s->listen,
         .fallback = ":8081",
         .help = "/metrics, /healthz, /readyz"},
        {.name = "lease",
         .kind = CONFIG_STR,
         .target = &s->lease,
         .fallback = "vpn-controller",
         .help = "name of the Lease that the leader holds"},
        {.name = "identity",
         .kind = CONFIG_STR,
         .target = &s->identity,
         .fallback = host,
         .help = "who we are in the Lease and in Events"},
        {.env = "VPN_SERVICE_API_KEY",
         .kind = CONFIG_KEY,
         .target = &s->service_key,
         .required = true,
         .help = "key of the VPN service"},
        {.env = "VPN_SERVICE_API_KEY_PREVIOUS",
         .kind = CONFIG_KEY,
         .target = &s->previous_key,
         .help = "the one before, while some still have it"},
        {.name = "log-format",
         .env = "LOG_FORMAT",
         .kind = CONFIG_STR,
         .target = &s->log_format,
         .fallback = "human",
         .help = "human or json"},
        {.name = "log-level",
         .env = "LOG_LEVEL",
         .kind = CONFIG_STR,
         .target = &s->log_level,
         .fallback = "info",
         .help = "debug, info, warn or error"},
    };

    return config_load("vpn-controller kubernetes",
                       "keeps the VPNPools of a namespace as they are described", options,
                       ARRAY_LEN(options), argc, argv, NULL, err);
}

int kubernetes_main(int argc, char **argv)
{
    struct kubernetes_settings s = {0};
    struct err err;
    int r = load(&s, argc, argv, &err);

    if (r == 0) {
        r = log_open("vpn-controller", s.log_format, s.log_level, &err);
    }
    if (r < 0) {
        fprintf(stderr, "vpn-controller: %s\n", err.text);
    }
    int status = r < 0 ? 2 : r > 0 ? 0 : kubernetes_run(&s);
    settings_clear(&s);
    return status;
}
