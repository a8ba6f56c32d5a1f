#include "sidecar-proxy/session/flaps.h"

#include <stdio.h>
#include <string.h>

struct flapper {
    char uuid[UUID_TEXT_MAX + 1];
    int64_t at_ms[FLAPS_MAX + 1]; /* of the latest replacements, a ring */
    size_t count;                 /* ever */
    struct dict_node by_uuid;
    struct list in_order;
};

void flaps_init(struct flaps *f, size_t max)
{
    dict_init(&f->by_uuid, max > 0 ? max : 1);
    list_init(&f->in_order);
}

static struct flapper *entry_of(struct list *at)
{
    return CONTAINER_OF(at, struct flapper, in_order);
}

static void forget(struct flaps *f, struct flapper *entry)
{
    dict_remove(&f->by_uuid, &entry->by_uuid);
    list_remove(&entry->in_order);
    free(entry);
}

void flaps_clear(struct flaps *f)
{
    LIST_EACH(at, &f->in_order)
    {
        forget(f, entry_of(at));
    }
    dict_clear(&f->by_uuid);
}

static struct flapper *lookup(const struct flaps *f, const char *uuid)
{
    struct dict_node *node = dict_find(&f->by_uuid, uuid, strlen(uuid));

    return node != NULL ? CONTAINER_OF(node, struct flapper, by_uuid) : NULL;
}

static struct flapper *entry_new(struct flaps *f, const char *uuid)
{
    if (f->by_uuid.count == f->by_uuid.max) {
        forget(f, entry_of(f->in_order.next));
    }
    struct flapper *entry = xcalloc(1, sizeof(*entry));
    snprintf(entry->uuid, sizeof(entry->uuid), "%s", uuid);
    list_init(&entry->in_order);
    dict_add(&f->by_uuid, &entry->by_uuid, entry->uuid, strlen(entry->uuid));
    return entry;
}

void flaps_add(struct flaps *f, const char *uuid, int64_t now_ms)
{
    struct flapper *entry = lookup(f, uuid);

    if (entry == NULL) {
        entry = entry_new(f, uuid);
    }
    entry->at_ms[entry->count++ % ARRAY_LEN(entry->at_ms)] = now_ms;
    list_remove(&entry->in_order);
    list_append(&f->in_order, &entry->in_order);
}

bool flaps_is(const struct flaps *f, const char *uuid, int64_t now_ms)
{
    const struct flapper *entry = lookup(f, uuid);

    if (entry == NULL || entry->count <= FLAPS_MAX) {
        return false;
    }
    int64_t oldest = entry->at_ms[entry->count % ARRAY_LEN(entry->at_ms)];
    return now_ms - oldest < FLAPS_WINDOW_MS;
}
