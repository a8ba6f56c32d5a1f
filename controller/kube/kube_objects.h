/* kube_objects: the objects of a store by name, and what of a change is to be told. No input or
 * output. Private to kube/. */
#pragma once

#include "controller/kube/kube_store.h"

struct kube_objects {
    const struct kube_store_options *options; /* borrowed */
    struct hashmap names;                     /* to struct entry, private */
    unsigned round;                           /* of listing: what a round does not meet is gone */
    uint64_t left_out;                        /* over max_objects, since the round began */
    const bool *closed; /* set in a callback: nothing is to be told any more */
};

void kube_objects_init(struct kube_objects *o, const struct kube_store_options *options,
                       const bool *closed);
void kube_objects_clear(struct kube_objects *o); /* tells nothing */

/* object was added, changed or listed; it may be taken apart. -EPROTO: it has no name or version.
 */
int kube_objects_put(struct kube_objects *o, cJSON *object, struct err *err);
/* object is how it was when it was deleted. */
int kube_objects_remove(struct kube_objects *o, cJSON *object, struct err *err);
void kube_objects_round(struct kube_objects *o); /* a list begins */
void kube_objects_sweep(struct kube_objects *o); /* it was all: the rest is gone */

const struct kube_object *kube_objects_get(const struct kube_objects *o, const char *name);
