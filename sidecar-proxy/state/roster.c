#include "sidecar-proxy/state/roster.h"

#include <string.h>

void roster_init(struct roster *r, int64_t grace_ends_ms)
{
    *r = (struct roster){.grace_ends_ms = grace_ends_ms};
}

void roster_clear(struct roster *r)
{
    free(r->entries);
    roster_init(r, r->grace_ends_ms);
}

static bool names(const struct roster *r, uint32_t index, const char *epoch)
{
    for (size_t n = 0; n < r->count; n++) {
        if (r->entries[n].index == index && strcmp(r->entries[n].epoch, epoch) == 0) {
            return true;
        }
    }
    return false;
}

void roster_set(struct roster *r, struct roster_entry *entries, size_t count, struct table *t,
                struct table_now now)
{
    struct table_instance *next = NULL;

    free(r->entries);
    r->entries = entries;
    r->count = count;
    r->told = true;
    for (struct table_instance *i = table_instances(t); i != NULL; i = next) {
        next = i->next;
        if (!names(r, i->index, i->epoch)) {
            table_drop(t, i, i->feed, "the controller says that this instance is gone", now);
        }
    }
}

bool roster_heard(const struct roster_entry *entry, const struct table *t)
{
    for (const struct table_instance *i = table_instances(t); i != NULL; i = i->next) {
        if (i->index == entry->index && strcmp(i->epoch, entry->epoch) == 0) {
            return i->synced;
        }
    }
    return false;
}

bool roster_admits(const struct roster *r, const struct table *t, const struct table_hello *h)
{
    const struct table_instance *i = table_find_instance(t, h->pool, h->index);

    return i == NULL || i->feed == NULL || strcmp(i->epoch, h->epoch) == 0 ||
           !names(r, i->index, i->epoch) || names(r, h->index, h->epoch);
}

bool roster_ready(struct roster *r, const struct table *t, int64_t mono_ms)
{
    if (r->ready) {
        return true;
    }
    bool all = r->told;
    for (size_t n = 0; n < r->count && all; n++) {
        all = roster_heard(&r->entries[n], t);
    }
    r->ready = all || mono_ms >= r->grace_ends_ms;
    return r->ready;
}
