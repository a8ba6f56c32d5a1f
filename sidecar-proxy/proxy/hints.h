/* hints: where devices were found a moment ago. Any thread. A hint may be wrong by the time it is
 * followed: whoever is dialled must know its own devices, and who is sent away asks anew. So it
 * saves the question, never the check. Bounded; a full table forgets what was put in first. */
#pragma once

#include "common/base.h"
#include "common/uuid.h"

struct hints;

struct hint {
    char address[46]; /* numeric */
    uint16_t port;
};

struct hints *hints_new(size_t max_entries, uint32_t ttl_ms);
void hints_free(struct hints *h);
/* Replaces what was there. The clock (monotonic) is the caller's. */
void hints_put(struct hints *h, const char *uuid, const struct hint *hint, int64_t now_ms);
void hints_drop(struct hints *h, const char *uuid);
bool hints_find(struct hints *h, const char *uuid, int64_t now_ms, struct hint *ret);
size_t hints_count(struct hints *h); /* those that are too old are counted until they are met */
