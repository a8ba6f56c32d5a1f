/* kube_event_limits: how much may be said about one matter, and about one object. Pure; the time
 * comes in, monotonic. Private to kube/. Figures: client-go's. */
#pragma once

#include "common/hashmap.h"

#define KUBE_EVENT_SIMILAR_MAX 10          /* different notes on a matter ... */
#define KUBE_EVENT_SIMILAR_MS (600 * 1000) /* ... in that time */
#define KUBE_EVENT_SPAM_BURST 25           /* Events about an object at once ... */
#define KUBE_EVENT_SPAM_MS (300 * 1000)    /* ... and one more each */
#define KUBE_EVENT_LIMITS_MAX 2000         /* matters, and objects, that are kept in mind */

struct kube_event_limits {
    struct hashmap matters; /* "uid, type, reason, action" to struct matter */
    struct hashmap sources; /* uid to struct source */
};

void kube_event_limits_init(struct kube_event_limits *l);
void kube_event_limits_clear(struct kube_event_limits *l);
/* One more, new note on matter: false if there were too many different ones lately. */
bool kube_event_limits_note(struct kube_event_limits *l, const char *matter, int64_t now_ms);
/* One more Event about the object: false if it has had its share. */
bool kube_event_limits_write(struct kube_event_limits *l, const char *uid, int64_t now_ms);
/* Forgets what makes no difference any more. */
void kube_event_limits_forget(struct kube_event_limits *l, int64_t now_ms);
size_t kube_event_limits_count(const struct kube_event_limits *l);
