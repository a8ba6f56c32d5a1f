/* dict: finds the caller's structs by a key of any bytes (common/hashmap.h knows texts only).
 * Intrusive, so that an entry is one allocation; bounded; grows by itself; the hash is keyed, since
 * keys come from strangers. */
#pragma once

#include "common/base.h"

struct dict_node { /* a member of the caller's struct, which also holds the key */
    struct dict_node *next;
    const void *key; /* must stay as it is while the node is in a dict */
    size_t key_len;
    uint64_t hash;
};

struct dict {
    struct dict_node **slots; /* NULL while empty */
    size_t slot_count;        /* a power of two */
    size_t count;
    size_t max;
};

void dict_init(struct dict *d, size_t max);
void dict_clear(struct dict *d); /* forgets the nodes, which stay the caller's */
/* The key must not be there yet. -ENOSPC: the dict holds its maximum. */
int dict_add(struct dict *d, struct dict_node *node, const void *key, size_t key_len);
struct dict_node *dict_find(const struct dict *d, const void *key, size_t key_len);
void dict_remove(struct dict *d, struct dict_node *node);
