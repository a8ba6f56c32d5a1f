/* kube_watch_event: one line of a watch. Pure. Private to kube/. Fuzz: fuzz_kube_watch.c */
#pragma once

#include "common/json.h"

enum kube_watch_type {
    KUBE_WATCH_ADDED,
    KUBE_WATCH_MODIFIED,
    KUBE_WATCH_DELETED,
    KUBE_WATCH_BOOKMARK,
    KUBE_WATCH_ERROR,
};

struct kube_watch_event {
    enum kube_watch_type type;
    cJSON *line;   /* owned: kube_watch_event_clear() */
    cJSON *object; /* in it */
    /* Of all but ERROR; borrowed from object. name, uid: "" in a bookmark. */
    const char *name, *uid, *resource_version;
    bool initial_end;             /* a bookmark: all that there was at first has been sent */
    int code;                     /* ERROR: of the metav1.Status; 0: none said */
    const char *reason, *message; /* ERROR; or "" */
};

/* -EPROTO: it is no such line. */
int kube_watch_event_parse(const char *line, size_t len, struct kube_watch_event *ret,
                           struct err *err);
void kube_watch_event_clear(struct kube_watch_event *e);

/* metadata's name, uid ("" if absent) and resourceVersion of any object. -EPROTO. */
int kube_object_read(const cJSON *object, const char **name, const char **uid,
                     const char **resource_version, struct err *err);
