#include "common/hashmap.h"

#include "common/secret.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

#define SLOTS_MIN 16

struct hashmap_slot {
    const char *key; /* NULL: never taken since the last rehash, a search ends here */
    void *value;     /* NULL beside a key: the entry was removed, a search goes on */
    uint64_t hash;
};

static inline uint64_t rotate(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

static uint64_t little_endian(const uint8_t *bytes, size_t len)
{
    uint64_t x = 0;

    for (size_t i = 0; i < len; i++) {
        x |= (uint64_t)bytes[i] << (8 * i);
    }
    return x;
}

uint64_t siphash13(const uint8_t key[16], const void *bytes, size_t len)
{
    const uint8_t *p = bytes;
    uint64_t k0 = little_endian(key, 8);
    uint64_t k1 = little_endian(key + 8, 8);
    uint64_t v[4] = {k0 ^ UINT64_C(0x736f6d6570736575), k1 ^ UINT64_C(0x646f72616e646f6d),
                     k0 ^ UINT64_C(0x6c7967656e657261), k1 ^ UINT64_C(0x7465646279746573)};
    size_t left = len;

    for (; left >= 8; left -= 8, p += 8) {
        uint64_t word = little_endian(p, 8);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    uint64_t last = little_endian(p, left) | (uint64_t)len << 56;
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++) {
        sip_round(v);
    }
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* One random key a process, drawn at first use by whichever thread comes first. */
static uint8_t secret_key[16];

static void draw_key(void)
{
    secret_random(secret_key, sizeof(secret_key));
}

static uint64_t hash_key(const char *key)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, draw_key);
    return siphash13(secret_key, key, strlen(key));
}

void hashmap_init(struct hashmap *m)
{
    *m = (struct hashmap){0};
}

void hashmap_clear(struct hashmap *m)
{
    free(m->slots);
    hashmap_init(m);
}

/* The entry of key, else NULL and *room is where it may be put. There always is a free slot. */
static struct hashmap_slot *find(const struct hashmap *m, const char *key, uint64_t hash,
                                 struct hashmap_slot **room)
{
    *room = NULL;
    for (size_t i = hash & (m->slot_count - 1);; i = (i + 1) & (m->slot_count - 1)) {
        struct hashmap_slot *slot = &m->slots[i];
        if (slot->value == NULL) {
            *room = *room != NULL ? *room : slot;
            if (slot->key == NULL) {
                return NULL;
            }
        } else if (slot->hash == hash && strcmp(slot->key, key) == 0) {
            return slot;
        }
    }
}

/* Twice as many slots as entries to come, and no traces of removed ones. */
static void rehash(struct hashmap *m)
{
    struct hashmap_slot *old = m->slots;
    size_t old_count = m->slot_count;

    m->slot_count = SLOTS_MIN;
    while (m->slot_count < 2 * (m->count + 1)) {
        m->slot_count *= 2;
    }
    m->slots = xcalloc(m->slot_count, sizeof(*m->slots));
    m->taken = m->count;
    for (size_t i = 0; i < old_count; i++) {
        if (old[i].value != NULL) {
            struct hashmap_slot *room = NULL;
            find(m, old[i].key, old[i].hash, &room);
            *room = old[i];
        }
    }
    free(old);
}

void *hashmap_get(const struct hashmap *m, const char *key)
{
    struct hashmap_slot *room = NULL;

    if (m->count == 0) {
        return NULL;
    }
    struct hashmap_slot *slot = find(m, key, hash_key(key), &room);
    return slot != NULL ? slot->value : NULL;
}

void *hashmap_put(struct hashmap *m, const char *key, void *value)
{
    struct hashmap_slot *room = NULL;
    uint64_t hash = hash_key(key);

    assert(value != NULL);
    if (m->slot_count == 0 || m->taken + 1 > m->slot_count / 4 * 3) {
        rehash(m);
    }
    struct hashmap_slot *slot = find(m, key, hash, &room);
    void *old = slot != NULL ? slot->value : NULL;
    if (slot == NULL) {
        slot = room;
        m->count++;
        m->taken += slot->key == NULL;
    }
    *slot = (struct hashmap_slot){.key = key, .value = value, .hash = hash};
    return old;
}

void *hashmap_remove(struct hashmap *m, const char *key)
{
    static const char removed[] = ""; /* the key's own bytes may be freed after this */
    struct hashmap_slot *room = NULL;
    struct hashmap_slot *slot = m->count > 0 ? find(m, key, hash_key(key), &room) : NULL;

    if (slot == NULL) {
        return NULL;
    }
    void *value = slot->value;
    *slot = (struct hashmap_slot){.key = removed};
    m->count--;
    return value;
}

bool hashmap_next(struct hashmap_iter *i)
{
    while (i->slot < i->map->slot_count) {
        const struct hashmap_slot *slot = &i->map->slots[i->slot++];
        if (slot->value != NULL) {
            i->key = slot->key;
            i->value = slot->value;
            return true;
        }
    }
    return false;
}
