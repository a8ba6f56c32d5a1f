/* flaps: finds two devices that share one UUID. Each pushes the other out, so the UUID's session is
 * replaced again and again; more than FLAPS_MAX times a minute is flapping. Bounded. Pure. */
#pragma once

#include "common/uuid.h"
#include "sidecar-proxy/session/dict.h"
#include "sidecar-proxy/session/list.h"

#define FLAPS_MAX 5
#define FLAPS_WINDOW_MS (60 * 1000)

struct flaps {
    struct dict by_uuid;
    struct list in_order; /* least recently replaced first */
};

void flaps_init(struct flaps *f, size_t max);
void flaps_clear(struct flaps *f);
void flaps_add(struct flaps *f, const char *uuid, int64_t now_ms); /* its session was replaced */
bool flaps_is(const struct flaps *f, const char *uuid, int64_t now_ms);
