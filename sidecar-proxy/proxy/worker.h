/* worker: a relay thread: its epoll, its listener (SO_REUSEPORT: the kernel spreads connections
 * over the threads), its tunnels. Only what is marked shared is touched by others while it runs. */
#pragma once

#include "sidecar-proxy/proxy/ask.h"
#include "sidecar-proxy/proxy/broker.h"
#include "sidecar-proxy/proxy/deadlines.h"
#include "sidecar-proxy/proxy/limits.h"
#include "sidecar-proxy/proxy/networks.h"
#include "sidecar-proxy/proxy/relay.h"

#include "common/metrics.h"
#include "common/secret.h"

struct tunnel;

struct proxy_settings { /* of all threads; read-only while they run */
    struct secrets ticket_keys;
    char *self_id;
    int64_t head_timeout_us;
    int64_t answer_timeout_us;
    int64_t connect_timeout_us;
    int64_t idle_timeout_us;
    uint16_t default_port;
    struct networks balancers; /* whose connections begin with the PROXY protocol */
};

struct worker_shared {
    struct proxy_settings settings;
    struct limits limits;
    struct broker *broker;
    struct tls_server *tls;    /* NULL: plain */
    struct loop_wake *changed; /* the main loop looks whether a drain is over */
    _Atomic bool draining;
    _Atomic bool stopping;
};

struct worker {
    struct worker_shared *shared;
    pthread_t thread;
    bool started;
    int epoll;
    int listener;         /* -1 once it drains */
    int bell;             /* eventfd: letters, or draining or stopping was set; shared */
    struct mailbox inbox; /* shared */
    struct deadlines deadlines;
    struct deadline accept_pause; /* out of descriptors: no listening until then */
    struct relay_thread relay;
    struct tunnel *tunnels;  /* all that live */
    struct tunnel *ready;    /* those with more to do at once */
    struct tunnel *dead;     /* ended, freed after the round: an event may still point at one */
    struct ask asks;         /* head of a ring: those that the broker has */
    struct metric *accepted; /* lives for ever */
    bool drains;             /* has seen draining */
};

#define WORKERS_MAX 64

/* Takes the listening socket over. number: below WORKERS_MAX, for metrics. */
int worker_new(struct worker_shared *shared, int number, int listener, struct worker **ret,
               struct err *err);
int worker_start(struct worker *w, struct err *err);
void worker_ring(struct worker *w); /* any thread */
/* stopping must be set: waits for the thread. */
void worker_join(struct worker *w);
void worker_free(struct worker *w); /* after broker_close() */
