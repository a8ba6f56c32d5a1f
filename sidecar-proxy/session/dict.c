#include "sidecar-proxy/session/dict.h"

#include "common/secret.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define DICT_SLOTS_FIRST 64

static uint64_t rotate(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
}

static void sip_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
}

static uint64_t hash_of(const void *key, size_t len)
{
    static uint64_t seed[2];
    const uint8_t *bytes = key;
    uint64_t last = (uint64_t)len << 56;
    size_t i = 0;

    if (seed[0] == 0) {
        secret_random(seed, sizeof(seed));
        seed[0] |= 1;
    }
    uint64_t v[4] = {seed[0] ^ 0x736f6d6570736575, seed[1] ^ 0x646f72616e646f6d,
                     seed[0] ^ 0x6c7967656e657261, seed[1] ^ 0x7465646279746573};
    for (; i + 8 <= len; i += 8) {
        uint64_t word;
        memcpy(&word, bytes + i, 8);
        sip_word(v, word);
    }
    memcpy(&last, bytes + i, len - i); /* little-endian machines: the length stays on top */
    sip_word(v, last);
    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
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
