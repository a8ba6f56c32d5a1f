/* kube_watch: one watch, from one resourceVersion until its stream ends. What to do then is
 * kube_store.h's. Private to kube/. */
#pragma once

#include "controller/kube/kube_client.h"
#include "controller/kube/kube_watch_event.h"

struct kube_watch;

enum kube_watch_end {
    KUBE_WATCH_CLOSED,  /* in order: go on from where it was */
    KUBE_WATCH_GONE,    /* 410, as a status or as an event: that version is no more */
    KUBE_WATCH_REFUSED, /* initial events are not to be had from this server */
    KUBE_WATCH_FAILED,  /* all else; text says what */
};

struct kube_watch_options { /* borrowed during kube_watch_start() only */
    const struct kube_resource *resource;
    const char *ns;
    const char *selectors;        /* of kube_selectors() */
    const char *resource_version; /* "": the newest */
    bool initial_events;
    uint32_t timeout_ms; /* the server is to end it then; we do 5 s later */
    size_t max_object_bytes;
    /* Borrowed, and may be taken apart; not for ERROR. The watch may be cancelled in it. */
    void (*on_event)(void *arg, struct kube_watch_event *event);
    /* Once, last. */
    void (*on_end)(void *arg, enum kube_watch_end end, const char *text);
    void *arg;
};

int kube_watch_start(struct kube_client *client, const struct kube_watch_options *options,
                     struct kube_watch **ret, struct err *err);
void kube_watch_cancel(struct kube_watch *w); /* NULL is fine */
