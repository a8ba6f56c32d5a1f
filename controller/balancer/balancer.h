/* balancer: one haproxy's servers from one Service's EndpointSlices, over its whole life. Input and
 * output around endpoints.h (what there is), lineup.h (what there should be) and members.h
 * (haproxy).
 *
 * Nothing is taken from haproxy before the API server has said all that there is; while it does not
 * answer, haproxy goes on with what it has, and gets it again when it is restarted. */
#pragma once

#include "common/loop.h"
#include "controller/kube/kube_client.h"

struct balancer;

struct balancer_options { /* texts are borrowed until balancer_close() */
    struct loop *loop;
    struct kube_client *client;
    const char *ns; /* of the Service */
    const char *service;
    const char *port_name; /* of the Service's port for devices */
    const char *socket;    /* path of haproxy's runtime socket */
    const char *backend;   /* haproxy's name for the servers together */
    const char *listen;    /* of the HTTP side, or NULL */
    int64_t gone_s;        /* a server that is gone is cut after so long */
};

/* -EINVAL, -EADDRINUSE...: text says all. */
int balancer_open(const struct balancer_options *options, struct balancer **ret, struct err *err);
/* haproxy keeps its servers. NULL is fine. Before the client. */
void balancer_close(struct balancer *b);
