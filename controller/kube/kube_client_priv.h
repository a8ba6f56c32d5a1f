/* kube_client_priv: what the files behind kube_client.h share. kube_client.c: the client, its
 * connections, who listens. kube_call.c: the life of a request. Private to kube/. */
#pragma once

#include "common/http_client.h"
#include "controller/kube/bucket.h"
#include "controller/kube/kube_client.h"
#include "controller/kube/kube_credentials.h"

/* Connections that were made with one generation of certificates, and that nothing bad is known of.
 * When either ends, new requests get a new channel, and this one goes with its last request. */
struct kube_channel {
    struct http_client *http;
    unsigned generation; /* of the certificates */
    size_t calls;
    bool retired;
};

struct kube_client {
    struct loop *loop;
    struct kube_config *config;
    struct kube_credentials *credentials;
    struct kube_channel *normal, *urgent; /* NULL: to be made for the next request */
    struct bucket bucket;
    struct bucket retries;
    struct kube_call *first, *last; /* all */
    size_t count;
    char *user_agent; /* a header line */
    char *host;       /* host:port of the server, for metrics */
    size_t max_response;
    uint32_t reread_ms;
    unsigned failed_generation; /* certificates that make no client (a key half replaced) */
    bool answers;               /* the last attempt got an answer */
    int64_t answered_ms;        /* on the loop's clock; -1: never */
    struct loop_timer *wake;    /* the listeners are to be told */
    struct kube_listener *listeners;
    struct kube_listener *next_listener; /* while they are told */
};

/* --- kube_client.c --- */
/* The one to send on now. -EINVAL: the certificates are no good. */
int kube_client_channel(struct kube_client *c, bool urgent, struct kube_channel **ret,
                        struct err *err);
void kube_channel_release(struct kube_channel *channel); /* a call on it has ended */
/* It does not answer: the next request goes over new connections. */
void kube_client_retire(struct kube_client *c, struct kube_channel *channel);
void kube_client_heard(struct kube_client *c, bool answered);

/* --- kube_call.c --- */
void kube_calls_resume(struct kube_client *c); /* those that wait for credentials */
