/* hashmap: strings to pointers, in no order. Keys and values are the caller's; a key must live as
 * long as its entry (it is usually part of the value). SipHash-1-3 under a random key, so that who
 * chooses the keys can not choose what collides. Unbounded by itself: the caller bounds the count.
 *     for (struct hashmap_iter i = {.map = &m}; hashmap_next(&i);) { use(i.key, i.value); } */
#pragma once

#include "common/base.h"

struct hashmap_slot;

struct hashmap {
    struct hashmap_slot *slots; /* owned; NULL until the first entry */
    size_t slot_count;          /* 0 or a power of two */
    size_t taken;               /* slots that hold an entry or did since the last rehash */
    size_t count;               /* entries */
};

struct hashmap_iter {
    const struct hashmap *map;
    size_t slot;     /* private */
    const char *key; /* of the current entry, as is value */
    void *value;
};

void hashmap_init(struct hashmap *m);
void hashmap_clear(struct hashmap *m); /* the entries stay the caller's; m can be used again */

/* NULL: no such entry. Values are never NULL. */
void *hashmap_get(const struct hashmap *m, const char *key);
/* Returns the value that was replaced (the entry has the new key pointer then), or NULL. */
void *hashmap_put(struct hashmap *m, const char *key, void *value);
/* Returns the value that was removed, or NULL. */
void *hashmap_remove(struct hashmap *m, const char *key);

/* Moves to the next entry, false at the end. Any entry may be removed meanwhile (it does not come
 * again); adding one ends the iteration's right to go on. */
bool hashmap_next(struct hashmap_iter *i);

/* SipHash with one compression and three finalization rounds, 64 bits. Pure. */
uint64_t siphash13(const uint8_t key[16], const void *bytes, size_t len);
