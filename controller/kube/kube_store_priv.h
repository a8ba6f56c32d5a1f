/* kube_store_priv: a store and its life. kube_store_life.c: states, events, what is done.
 * kube_store.c: opening, closing, looking. Private to kube_store*.c. */
#pragma once

#include "common/backoff.h"
#include "controller/kube/kube_list.h"
#include "controller/kube/kube_metrics.h"
#include "controller/kube/kube_objects.h"
#include "controller/kube/kube_watch.h"

enum store_state { STORE_WAITING, STORE_LISTING, STORE_SYNCING, STORE_STREAMING, STORE_STATES };

enum store_event {
    EV_BEGIN_LIST, /* the wait is over: how to go on depends on what we know */
    EV_BEGIN_SYNC,
    EV_BEGIN_STREAM,
    EV_LISTED,  /* the list is complete */
    EV_CURRENT, /* so are the initial events of the watch */
    EV_CLOSED,  /* the stream ended in order */
    EV_GONE,    /* our resourceVersion is of no use any more */
    EV_REFUSED, /* this server sends no initial events */
    EV_FAILED,
    STORE_EVENTS,
};

struct kube_store {
    struct loop *loop;
    struct kube_client *client;
    struct kube_store_options options; /* its texts are ours */
    char *selectors;
    enum store_state state;
    struct kube_objects objects;
    char *version; /* last seen; NULL: none yet */
    bool expired;  /* version is of no use: the newest is to be listed */
    bool use_list; /* no initial events */
    bool complete; /* objects hold a whole list: a stream from version may go on */
    bool synced;   /* on_synced has been called */
    struct kube_list *list;
    struct kube_watch *watch;
    struct loop_timer *timer; /* WAITING: its end. Else: what was to be started was not */
    struct loop_timer *resync;
    struct backoff backoff;
    bool backing_off; /* WAITING: for a failure to pass */
    bool kicked;      /* since it last went well */
    bool said_left_out;
    bool said_failing;   /* a warning is out */
    int64_t failed_ms;   /* last; INT64_MIN: never */
    int64_t followed_ms; /* a stream was up; INT64_MIN: never */
    struct err err;      /* of EV_FAILED */
    struct kube_listener listener;
    struct metric *size, *relists, *failures, *events, *left_out;
    bool closed;
};

void kube_store_begin(struct kube_store *s); /* its first turn */
void kube_store_on_timer(void *arg);         /* of s->timer */
void kube_store_on_server_back(void *arg);   /* of s->listener */
