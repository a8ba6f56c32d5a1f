#include "sidecar-proxy/session/dict.h"

#include "common/hashmap.h"
#include "common/secret.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define DICT_SLOTS_FIRST 64

static uint64_t hash_of(const void *key, size_t len)
{
    static uint8_t seed[16];
    static bool seeded;

    if (!seeded) {
        secret_random(seed, sizeof(seed));
        seeded = true;
    }
    return siphash13(seed, key, len);
}

void dict_init(struct dict *d, size_t max)
{
    *d = (struct dict){.max = max};
}

void dict_clear(struct dict *d)
{
    free(d->slots);
    dict_init(d, d->max);
}

static void insert(struct dict *d, struct dict_node *node)
{
    struct dict_node **slot = &d->slots[node->hash & (d->slot_count - 1)];

    node->next = *slot;
    *slot = node;
}

static void grow(struct dict *d)
{
    struct dict_node **old = d->slots;
    size_t old_count = d->slot_count;

    d->slot_count = old_count == 0 ? DICT_SLOTS_FIRST : old_count * 2;
    d->slots = xcalloc(d->slot_count, sizeof(struct dict_node *));
    for (size_t i = 0; i < old_count; i++) {
        for (struct dict_node *node = old[i], *next; node != NULL; node = next) {
            next = node->next;
            insert(d, node);
        }
    }
    free(old);
}

int dict_add(struct dict *d, struct dict_node *node, const void *key, size_t key_len)
{
    assert(dict_find(d, key, key_len) == NULL);
    if (d->count >= d->max) {
        return -ENOSPC;
    }
    if (d->count >= d->slot_count) {
        grow(d);
    }
    node->key = key;
    node->key_len = key_len;
    node->hash = hash_of(key, key_len);
    insert(d, node);
    d->count++;
    return 0;
}

struct dict_node *dict_find(const struct dict *d, const void *key, size_t key_len)
{
    if (d->count == 0) {
        return NULL;
    }
    uint64_t hash = hash_of(key, key_len);
    struct dict_node *node = d->slots[hash & (d->slot_count - 1)];
    while (node != NULL && !(node->hash == hash && node->key_len == key_len &&
                             memcmp(node->key, key, key_len) == 0)) {
        node = node->next;
    }
    return node;
}

void dict_remove(struct dict *d, struct dict_node *node)
{
    struct dict_node **at = &d->slots[node->hash & (d->slot_count - 1)];

    while (*at != node) {
        assert(*at != NULL);
        at = &(*at)->next;
    }
    *at = node->next;
    node->next = NULL;
    d->count--;
}
