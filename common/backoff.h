/* backoff: how long to wait before trying again: doubling from first to last, each time a random
 * part between half and all of it, so that many who failed together do not return together. */
#pragma once

#include "common/base.h"

struct backoff {
    uint32_t first_ms;
    uint32_t last_ms;  /* no wait is longer */
    unsigned attempts; /* in a row; 0 after a success */
};

uint32_t backoff_next_ms(struct backoff *b); /* counts the attempt */
void backoff_reset(struct backoff *b);
/* What backoff_next_ms() takes a random part of, after so many failures before. Pure. */
uint32_t backoff_full_ms(uint32_t first_ms, uint32_t last_ms, unsigned attempts);
/* Anything from low to high, both included. */
uint32_t backoff_between(uint32_t low, uint32_t high);
