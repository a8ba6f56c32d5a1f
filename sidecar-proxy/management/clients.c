#include "sidecar-proxy/management/clients.h"

#include <string.h>

void clients_init(struct clients *t)
{
    *t = (struct clients){.size = 0};
}

void clients_clear(struct clients *t)
{
    free(t->slots);
    clients_init(t);
}

/* Fibonacci hashing: ids are small and in sequence, and their places should not be. */
static size_t home(const struct clients *t, uint64_t cid)
{
    return (size_t)((cid * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (t->size - 1);
}

/* The place of cid, or the empty one where it would go. */
static struct client *probe(const struct clients *t, uint64_t cid)
{
    size_t i = home(t, cid);

    while (t->slots[i].state != CLIENT_NONE && t->slots[i].cid != cid) {
        i = (i + 1) & (t->size - 1);
    }
    return &t->slots[i];
}

struct client *clients_find(const struct clients *t, uint64_t cid)
{
    if (t->size == 0) {
        return NULL;
    }
    struct client *c = probe(t, cid);
    return c->state != CLIENT_NONE ? c : NULL;
}

static void grow(struct clients *t)
{
    struct clients bigger = {.size = t->size > 0 ? t->size * 2 : 64, .count = t->count};

    bigger.slots = xcalloc(bigger.size, sizeof(*bigger.slots));
    for (size_t i = 0; i < t->size; i++) {
        if (t->slots[i].state != CLIENT_NONE) {
            *probe(&bigger, t->slots[i].cid) = t->slots[i];
        }
    }
    free(t->slots);
    *t = bigger;
}

struct client *clients_add(struct clients *t, uint64_t cid)
{
    if (t->count == CLIENTS_MAX) {
        return NULL;
    }
    if ((t->count + 1) * 2 > t->size) {
        grow(t);
    }
    struct client *c = probe(t, cid);
    *c = (struct client){.cid = cid, .state = CLIENT_ASKING};
    t->count++;
    return c;
}

/* Moves later ones of the same run into the gap, so that no mark of the removed one has to stay. */
static void close_gap(struct clients *t, size_t gap)
{
    size_t mask = t->size - 1;

    for (size_t i = (gap + 1) & mask; t->slots[i].state != CLIENT_NONE; i = (i + 1) & mask) {
        size_t from_home = (i - home(t, t->slots[i].cid)) & mask;
        if (from_home >= ((i - gap) & mask)) {
            t->slots[gap] = t->slots[i];
            gap = i;
        }
    }
    t->slots[gap].state = CLIENT_NONE;
}

void clients_remove(struct clients *t, uint64_t cid)
{
    struct client *c = clients_find(t, cid);

    if (c != NULL) {
        close_gap(t, (size_t)(c - t->slots));
        t->count--;
    }
}

/* A removal may move another into the place: look at it again. */
void clients_sweep(struct clients *t, uint32_t seen)
{
    for (size_t i = 0; i < t->size;) {
        if (t->slots[i].state != CLIENT_NONE && t->slots[i].seen != seen) {
            close_gap(t, i);
            t->count--;
        } else {
            i++;
        }
    }
}

void clients_disconnected(struct clients *t)
{
    for (size_t i = 0; i < t->size; i++) {
        if (t->slots[i].state == CLIENT_AUTHORISED) {
            t->slots[i].state = CLIENT_UNSURE;
        }
    }
}

bool client_asks(const struct client *c, uint64_t kid)
{
    return c != NULL && (c->state == CLIENT_ASKING || c->state == CLIENT_UP_ASKING) &&
           c->kid == kid;
}

/* A device whose renewed key is refused stays up until OpenVPN ends it. */
void client_answered(struct client *c, bool allowed)
{
    if (c->state == CLIENT_UP_ASKING) {
        c->state = CLIENT_UP;
    } else {
        c->state = allowed ? CLIENT_AUTHORISED : CLIENT_REFUSED;
    }
}

void client_count_bytes(struct client *c, uint64_t bytes_in, uint64_t bytes_out)
{
    c->bytes_in = bytes_in > c->bytes_in ? bytes_in : c->bytes_in;
    c->bytes_out = bytes_out > c->bytes_out ? bytes_out : c->bytes_out;
}

static bool was_allowed(const struct client *c)
{
    return c->state == CLIENT_AUTHORISED || c->state == CLIENT_UNSURE;
}

enum client_verdict client_established(struct client *c)
{
    if (c == NULL || client_is_up(c) || (c->state == CLIENT_UNSURE && c->address == 0)) {
        return CLIENT_IGNORE;
    }
    if (!was_allowed(c) || c->address == 0) {
        c->state = CLIENT_REFUSED;
        return CLIENT_KILL;
    }
    c->state = CLIENT_UP;
    return CLIENT_REPORT;
}

enum client_verdict client_in_status(const struct client *c, uint32_t address)
{
    if (c == NULL) {
        return address != 0 ? CLIENT_REPORT : CLIENT_KILL;
    }
    if (address == 0) {
        bool open = c->state == CLIENT_ASKING || c->state == CLIENT_AUTHORISED;
        return open ? CLIENT_KEEP : CLIENT_KILL;
    }
    return client_is_up(c) || was_allowed(c) ? CLIENT_REPORT : CLIENT_KILL;
}
