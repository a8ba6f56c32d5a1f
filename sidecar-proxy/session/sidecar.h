/* sidecar: one OpenVPN's sidecar as a whole: makes the parts, connects them, knows the phase.
 * Decisions are the parts'. */
#pragma once

#include "common/loop.h"
#include "sidecar-proxy/session/control.h"

struct sidecar;

struct sidecar_options { /* texts are borrowed until on_stopped */
    struct loop *loop;
    const char *pool;
    int64_t index;
    const char *epoch;
    const char *management;       /* path of OpenVPN's socket */
    const char *subnet;           /* "100.64.0.0/20" */
    const char *control;          /* listeners of the control API, with commas */
    const char *nss;              /* or NULL */
    const char *record;           /* or NULL: nothing is remembered */
    const char *proxy_listen;     /* or NULL: no CONNECT proxy */
    const char *proxy_advertise;  /* what is told to the state services; NULL: proxy_listen */
    const char *register_address; /* or NULL */
    const char *states;           /* "host:port,host:port", or NULL */
    int64_t cache_s, grace_s, max_in_flight;
    struct control_drain drain;
    int64_t drain_delay_s;  /* before a drain moves anybody */
    int64_t drain_linger_s; /* after it has moved all */
    int64_t bytecount_s;
    const char *api_url;
    const char *api_ca; /* PEM, or NULL */
    struct service_keys keys;
    const char *guest_key;         /* or NULL */
    void (*on_stopped)(void *arg); /* once, after sidecar_stop(); it is gone then */
    void *arg;
};

/* -EINVAL: an option does not fit, -EADDRINUSE ...: text says all. */
int sidecar_open(const struct sidecar_options *options, struct sidecar **ret, struct err *err);

/* Ends in order: goes on as ever until the balena API knows all and no tunnel is left, for at most
 * 10 s. OpenVPN and its devices live on. Again: at once. */
void sidecar_stop(struct sidecar *s);
