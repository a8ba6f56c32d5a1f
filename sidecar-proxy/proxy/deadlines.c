#include "sidecar-proxy/proxy/deadlines.h"

void deadlines_init(struct deadlines *d)
{
    *d = (struct deadlines){NULL, 0, 0};
}

void deadlines_clear(struct deadlines *d)
{
    for (size_t i = 1; i <= d->count; i++) {
        d->heap[i]->place = 0;
    }
    free(d->heap);
    deadlines_init(d);
}

static void put(struct deadlines *d, struct deadline *item, size_t place)
{
    d->heap[place] = item;
    item->place = place;
}

static void rise(struct deadlines *d, struct deadline *item, size_t place)
{
    while (place > 1 && d->heap[place / 2]->at_us > item->at_us) {
        put(d, d->heap[place / 2], place);
        place /= 2;
    }
    put(d, item, place);
}

static void sink(struct deadlines *d, struct deadline *item, size_t place)
{
    for (size_t child; (child = 2 * place) <= d->count; place = child) {
        if (child < d->count && d->heap[child + 1]->at_us < d->heap[child]->at_us) {
            child++;
        }
        if (d->heap[child]->at_us >= item->at_us) {
            break;
        }
        put(d, d->heap[child], place);
    }
    put(d, item, place);
}

static void settle(struct deadlines *d, struct deadline *item, size_t place)
{
    if (place > 1 && d->heap[place / 2]->at_us > item->at_us) {
        rise(d, item, place);
    } else {
        sink(d, item, place);
    }
}

void deadline_set(struct deadlines *d, struct deadline *item, int64_t at_us)
{
    item->at_us = at_us;
    if (item->place != 0) {
        settle(d, item, item->place);
        return;
    }
    if (d->count + 1 >= d->room) {
        d->room = d->room == 0 ? 64 : 2 * d->room;
        d->heap = xrealloc(d->heap, d->room * sizeof(struct deadline *));
    }
    d->count++;
    rise(d, item, d->count);
}

void deadline_unset(struct deadlines *d, struct deadline *item)
{
    if (item->place == 0) {
        return;
    }
    size_t place = item->place;
    struct deadline *last = d->heap[d->count--];
    item->place = 0;
    if (last != item) {
        settle(d, last, place);
    }
}

struct deadline *deadlines_first(const struct deadlines *d)
{
    return d->count > 0 ? d->heap[1] : NULL;
}
