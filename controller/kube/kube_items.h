/* kube_items: takes a list ({"metadata":{...},"items":[{...},...]}) apart while its bytes come in,
 * so that one object of it is in memory, not all. Pure. Private to kube/. Fuzz: fuzz_kube_list.c */
#pragma once

#include "common/buf.h"
#include "common/json.h"

struct kube_items {
    struct buf value; /* the object that is being gathered */
    unsigned depth;   /* of open brackets; 1: between the list's own members */
    unsigned gather;  /* depth at which the gathered value began; 0: none is */
    bool in_string, escaped;
    bool is_key;   /* the next string at depth 1 is a member's name */
    bool in_items; /* inside the array */
    bool ended;    /* the list's last bracket came */
    char key[16];  /* of the current member, cut */
    size_t key_len;
};

struct kube_items_to {
    /* Each item; borrowed, may be taken apart. A result below 0 ends the feeding. */
    int (*on_item)(void *arg, cJSON *object, struct err *err);
    /* The list's metadata; before or after the items. */
    int (*on_metadata)(void *arg, cJSON *metadata, struct err *err);
    void *arg;
};

void kube_items_init(struct kube_items *k, size_t max_object_bytes);
void kube_items_clear(struct kube_items *k);
/* -EPROTO: it is no such list. -EMSGSIZE: an item is over the maximum. */
int kube_items_feed(struct kube_items *k, const char *bytes, size_t len,
                    const struct kube_items_to *to, struct err *err);
/* -EPROTO: the body ended within the list. */
int kube_items_end(const struct kube_items *k, struct err *err);
