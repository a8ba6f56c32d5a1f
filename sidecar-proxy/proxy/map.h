/* map: an intrusive hash table with a fixed number of buckets. Entries are the caller's structs
 * that hold a map_node; nothing is allocated but the buckets. Keys are compared by the caller. */
#pragma once

#include "common/base.h"

struct map_node {
    struct map_node *next;
    uint64_t hash;
};

struct map {
    struct map_node **buckets;
    size_t mask; /* number of buckets - 1 */
    size_t count;
};

typedef bool (*map_is)(const struct map_node *node, const void *key);

void map_init(struct map *map, size_t buckets); /* a power of two */
void map_clear(struct map *map);                /* the entries stay the caller's */
struct map_node *map_find(const struct map *map, uint64_t hash, map_is is, const void *key);
void map_add(struct map *map, uint64_t hash, struct map_node *node);
void map_remove(struct map *map, struct map_node *node);
/* Any entry, or NULL: to empty a map. */
struct map_node *map_any(const struct map *map);

/* FNV-1a from a random start, so that callers can not choose what collides. */
uint64_t map_hash(uint64_t seed, const void *bytes, size_t len);
