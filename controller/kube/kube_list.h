/* kube_list: one live, consistent LIST, page by page, object by object: no page is ever in memory
 * as a whole. For what must not be believed from a cache: an expectation that is overdue, a count.
 * (kube_store.h is the one to follow a resource with.) */
#pragma once

#include "controller/kube/kube_client.h"

struct kube_list;

struct kube_list_options { /* texts are copied */
    const struct kube_resource *resource;
    const char *ns;               /* NULL: all namespaces, or a cluster's resource */
    const char *label_selector;   /* "a=b,c!=d", not escaped; or NULL */
    const char *field_selector;   /* or NULL */
    const char *resource_version; /* NULL: the newest (quorum); "0": any; else not older than */
    uint32_t page;                /* objects a page; 0: 500 */
    size_t max_object_bytes;      /* 0: 4 MiB */
    /* Each object, during the call. False: end the list (KUBE_UNREACHABLE, -ECANCELED). */
    bool (*on_item)(void *arg, cJSON *object); /* to keep it: cJSON_Duplicate() */
    /* A page's continue token had expired: the list begins anew, forget all items. May be NULL. */
    void (*on_restart)(void *arg);
    /* Once, last. KUBE_OK: resource_version is the list's; else answer->text says why not. */
    void (*on_done)(void *arg, const struct kube_answer *answer, const char *resource_version);
    void *arg;
};

int kube_list_start(struct kube_client *client, const struct kube_list_options *options,
                    struct kube_list **ret, struct err *err);
/* on_done will not run. Not after it ran. NULL is fine. */
void kube_list_cancel(struct kube_list *list);
