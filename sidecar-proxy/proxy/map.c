#include "sidecar-proxy/proxy/map.h"

#include <assert.h>

void map_init(struct map *map, size_t buckets)
{
    assert(buckets > 0 && (buckets & (buckets - 1)) == 0);
    map->buckets = xcalloc(buckets, sizeof(struct map_node *));
    map->mask = buckets - 1;
    map->count = 0;
}

void map_clear(struct map *map)
{
    free(map->buckets);
    *map = (struct map){NULL, 0, 0};
}

struct map_node *map_find(const struct map *map, uint64_t hash, map_is is, const void *key)
{
    struct map_node *node = map->buckets[hash & map->mask];

    while (node != NULL && !(node->hash == hash && is(node, key))) {
        node = node->next;
    }
    return node;
}

void map_add(struct map *map, uint64_t hash, struct map_node *node)
{
    struct map_node **bucket = &map->buckets[hash & map->mask];

    node->hash = hash;
    node->next = *bucket;
    *bucket = node;
    map->count++;
}

void map_remove(struct map *map, struct map_node *node)
{
    struct map_node **at = &map->buckets[node->hash & map->mask];

    while (*at != node) {
        assert(*at != NULL);
        at = &(*at)->next;
    }
    *at = node->next;
    node->next = NULL;
    map->count--;
}

struct map_node *map_any(const struct map *map)
{
    for (size_t i = 0; map->count > 0 && i <= map->mask; i++) {
        if (map->buckets[i] != NULL) {
            return map->buckets[i];
        }
    }
    return NULL;
}

uint64_t map_hash(uint64_t seed, const void *bytes, size_t len)
{
    const uint8_t *p = bytes;
    uint64_t h = seed ^ 0xcbf29ce484222325ULL;

    for (size_t i = 0; i < len; i++) {
        h = (h ^ p[i]) * 0x100000001b3ULL;
    }
    return h ^ h >> 32;
}
