/* deadlines: when something is due, soonest first: a binary heap. Whoever waits holds a struct
 * deadline in its own struct. Pure: the clock is the caller's. */
#pragma once

#include "common/base.h"

struct deadline {
    int64_t at_us;
    size_t place; /* in the heap, 1-based; 0: not set */
};

struct deadlines {
    struct deadline **heap; /* heap[0] is unused */
    size_t count;
    size_t room;
};

void deadlines_init(struct deadlines *d);
void deadlines_clear(struct deadlines *d); /* what is set in it is forgotten */
void deadline_set(struct deadlines *d, struct deadline *item, int64_t at_us); /* or moves it */
void deadline_unset(struct deadlines *d, struct deadline *item);              /* unset is fine */
struct deadline *deadlines_first(const struct deadlines *d);                  /* or NULL */
