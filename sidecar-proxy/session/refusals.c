#include "sidecar-proxy/session/refusals.h"

#include <stdio.h>
#include <string.h>

struct refused {
    char uuid[UUID_TEXT_MAX + 1];
    struct fingerprint last;
    unsigned same_key; /* times in a row */
    unsigned any_key;  /* in this window */
    int64_t at_ms;
    struct dict_node by_uuid;
    struct list in_order;
};

void refusals_init(struct refusals *r, size_t max)
{
    dict_init(&r->by_uuid, max > 0 ? max : 1);
    list_init(&r->in_order);
}

static struct refused *entry_of(struct list *at)
{
    return CONTAINER_OF(at, struct refused, in_order);
}

static void forget(struct refusals *r, struct refused *entry)
{
    dict_remove(&r->by_uuid, &entry->by_uuid);
    list_remove(&entry->in_order);
    free(entry);
}

void refusals_clear(struct refusals *r)
{
    LIST_EACH(at, &r->in_order)
    {
        forget(r, entry_of(at));
    }
    dict_clear(&r->by_uuid);
}

static struct refused *lookup(const struct refusals *r, const char *uuid)
{
    struct dict_node *node = dict_find(&r->by_uuid, uuid, strlen(uuid));

    return node != NULL ? CONTAINER_OF(node, struct refused, by_uuid) : NULL;
}

static bool same_key(const struct refused *entry, const struct fingerprint *f)
{
    return strcmp(entry->last.text, f->text) == 0;
}

enum refusals_advice refusals_advise(const struct refusals *r, const char *uuid,
                                     const struct fingerprint *f, int64_t now_ms)
{
    const struct refused *entry = lookup(r, uuid);

    if (entry == NULL || now_ms - entry->at_ms >= REFUSALS_WINDOW_MS) {
        return REFUSALS_ASK;
    }
    if (same_key(entry, f)) {
        return entry->same_key >= REFUSALS_SAME_KEY ? REFUSALS_REFUSE : REFUSALS_ASK;
    }
    return entry->any_key >= REFUSALS_ANY_KEY ? REFUSALS_LATER : REFUSALS_ASK;
}

static struct refused *entry_new(struct refusals *r, const char *uuid)
{
    if (r->by_uuid.count == r->by_uuid.max) {
        forget(r, entry_of(r->in_order.next));
    }
    struct refused *entry = xcalloc(1, sizeof(*entry));
    snprintf(entry->uuid, sizeof(entry->uuid), "%s", uuid);
    list_init(&entry->in_order);
    dict_add(&r->by_uuid, &entry->by_uuid, entry->uuid, strlen(entry->uuid));
    return entry;
}

void refusals_add(struct refusals *r, const char *uuid, const struct fingerprint *f, int64_t now_ms)
{
    struct refused *entry = lookup(r, uuid);

    if (entry == NULL) {
        entry = entry_new(r, uuid);
    }
    bool in_window = now_ms - entry->at_ms < REFUSALS_WINDOW_MS;
    entry->any_key = in_window ? entry->any_key + 1 : 1;
    entry->same_key = same_key(entry, f) ? entry->same_key + 1 : 1;
    entry->last = *f;
    entry->at_ms = now_ms;
    list_remove(&entry->in_order);
    list_append(&r->in_order, &entry->in_order);
}

bool refusals_has(const struct refusals *r, const char *uuid, const struct fingerprint *f)
{
    const struct refused *entry = lookup(r, uuid);

    return entry != NULL && same_key(entry, f);
}

void refusals_forget(struct refusals *r, const char *uuid)
{
    struct refused *entry = lookup(r, uuid);

    if (entry != NULL) {
        forget(r, entry);
    }
}

size_t refusals_count(const struct refusals *r)
{
    return r->by_uuid.count;
}
