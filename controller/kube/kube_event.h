/* kube_event: events about an object, for people (kubectl describe). events.k8s.io/v1. What repeats
 * becomes one Event with a count; more than 10 different notes on one thing in 10 minutes become
 * one; and of one object's events 25 go out at once, then one each 5 minutes. They are for people
 * only: one that cannot be written is counted and forgotten, and the caller is never told. */
#pragma once

#include "controller/kube/kube_client.h"

struct kube_event_writer;

struct kube_event_about {    /* the object; all borrowed */
    const char *api_version; /* "vpn.openbalena.io/v1alpha1" */
    const char *kind;
    const char *ns;
    const char *name;
    const char *uid;
};

struct kube_event_options {
    struct kube_client *client;
    const char *controller; /* who says so: "vpn.openbalena.io/vpn-controller"; copied */
    const char *instance;   /* our Pod's name; copied */
};

struct kube_event_writer *kube_event_writer_new(struct loop *loop,
                                                const struct kube_event_options *options);
/* Sends the counts that are not out yet; on_flushed(arg) when that is done or after 2 s. */
void kube_event_flush(struct kube_event_writer *w, void (*on_flushed)(void *arg), void *arg);
void kube_event_writer_close(struct kube_event_writer *w); /* drops what is queued; NULL is fine */

enum kube_event_type { KUBE_EVENT_NORMAL, KUBE_EVENT_WARNING };

/* reason: CamelCase, why: "PodCreated". action: CamelCase, what was done: "CreatePod". The note is
 * cut to 1024 bytes, never within a character. */
void kube_event(struct kube_event_writer *w, const struct kube_event_about *about,
                enum kube_event_type type, const char *reason, const char *action, const char *note,
                ...) PRINTF_LIKE(6, 7);
