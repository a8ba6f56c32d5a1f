/* kube_store: all objects of one resource in one namespace (those that a selector names), kept in
 * step with the API server by a list and a watch, for ever: an informer.
 *     struct kube_store_options options = {
 *         .resource = &kube_pods, .ns = "vpn", .label_selector = "vpn.openbalena.io/pool",
 *         .on_add = on_pod, .on_update = on_pod_update, .on_delete = on_pod_gone,
 *         .on_synced = on_pods_known, .arg = self};
 *     kube_store_open(client, &options, &self->pods, &err);
 *
 * What it promises: on_add, on_update and on_delete alternate for each name as they should,
 * whatever the connection does: an object is never added twice or deleted twice, none is missed for
 * longer than an outage, and what came and went during one is not told. An object that was deleted
 * and made again under the same name (another UID) meanwhile is told as on_delete, then on_add.
 * Memory: what keep() leaves of each object; nothing grows with the length of the watch.
 *
 * How: initial events by the watch itself (sendInitialEvents) if the server can, else list in pages
 * ("0" first: any state will do; later not older than seen; after an expiry the newest) and watch
 * with bookmarks. 410 as a status or as an event: lists anew. A stream ends after 5..10 minutes by
 * the server, 5 s later by us; failures are waited out by 0.8..30 s with jitter, cut short when the
 * server answers something else again. It logs: when it cannot follow, and when it can again. */
#pragma once

#include "common/hashmap.h"
#include "controller/kube/kube_client.h"

struct kube_store;

struct kube_object { /* one entry; borrowed: until the store's next callback or kube_store_close()
                      */
    const char *name;
    const char *uid;
    const char *resource_version; /* opaque: equal or not, never more or less */
    void *kept;                   /* what keep() made; without keep() the object, a cJSON */
};

struct kube_store_options { /* texts are copied */
    const struct kube_resource *resource;
    const char *ns; /* NULL: a cluster's resource (names are the keys: no all-namespaces) */
    const char *label_selector; /* as kubectl -l, not escaped; or NULL */
    const char *field_selector; /* or NULL */
    size_t max_objects;         /* 0: 20000. More: they are left out, with a warning and a metric */
    size_t max_object_bytes;    /* JSON of one object; 0: 4 MiB */
    uint32_t page;              /* 0: 500 */
    uint32_t resync_ms;         /* on_resync that often, +-10 %; 0: never */
    uint32_t watch_ms;          /* how long a watch is to last, times 1..2; 0: 5 min */
    uint32_t first_wait_ms;     /* after a failure, half to all of it, then doubled; 0: 1600 */
    bool no_watch_list;         /* do not try sendInitialEvents */
    /* What to keep of an object, so that memory is small: called for each one, pure. object is the
     * callee's to take apart, and is freed by the store afterwards unless it is what is returned.
     * NULL result: the object is none of ours (as if it were not there). drop() frees what was
     * kept. Without both: the whole object but metadata.managedFields. */
    void *(*keep)(void *arg, cJSON *object);
    void (*drop)(void *arg, void *kept);
    /* Any may be NULL. The store may be closed in them; get and iterate are allowed. */
    void (*on_add)(void *arg, const struct kube_object *object);
    void (*on_update)(void *arg, const struct kube_object *object, const void *kept_before);
    void (*on_delete)(void *arg, const struct kube_object *object); /* as last seen */
    /* All that the server had when first asked is here: on_add has been called for each. Once. */
    void (*on_synced)(void *arg);
    void (*on_resync)(void *arg);
    void *arg;
};

/* -EINVAL: bad options. An unreachable server is no error: it is tried for ever. */
int kube_store_open(struct kube_client *client, const struct kube_store_options *options,
                    struct kube_store **ret, struct err *err);
/* Before the client. No callback after it. NULL is fine. */
void kube_store_close(struct kube_store *store);

/* NULL: none of that name. */
const struct kube_object *kube_store_get(const struct kube_store *store, const char *name);
size_t kube_store_count(const struct kube_store *store);
bool kube_store_synced(const struct kube_store *store);
/* Is a stream up now (or was within the last 2 s)? For readiness, which should not flap. */
bool kube_store_following(const struct kube_store *store);

/* for (struct kube_store_iter i = {.store = s}; kube_store_next(&i);) { use(i.object); }   No
 * order. */
struct kube_store_iter {
    const struct kube_store *store;
    const struct kube_object *object;
    struct hashmap_iter in; /* private */
};
bool kube_store_next(struct kube_store_iter *iter);
