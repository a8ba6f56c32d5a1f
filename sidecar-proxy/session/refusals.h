/* refusals: keeps a device whose key is bad from costing the balena API a question each time it
 * returns. Counts by UUID; but anyone may claim a UUID, so a stranger's wrong keys never shut the
 * owner of a key that was good lately out (the caller does not ask here then), and a key that has
 * not been refused itself is told to come again, not that it is bad. Bounded. Pure. */
#pragma once

#include "sidecar-proxy/session/verdicts.h"

#define REFUSALS_SAME_KEY 3 /* the API's refusals of one key, then we answer by ourselves */
#define REFUSALS_ANY_KEY 20 /* of any keys of one UUID within the window */
#define REFUSALS_WINDOW_MS (30 * 1000) /* since the API's last refusal */

enum refusals_advice {
    REFUSALS_ASK,    /* ask the API */
    REFUSALS_REFUSE, /* this very key has been refused again and again */
    REFUSALS_LATER,  /* too many other keys of this UUID have been */
};

struct refusals {
    struct dict by_uuid;
    struct list in_order; /* least recently refused first */
};

void refusals_init(struct refusals *r, size_t max);
void refusals_clear(struct refusals *r);
enum refusals_advice refusals_advise(const struct refusals *r, const char *uuid,
                                     const struct fingerprint *f, int64_t now_ms);
void refusals_add(struct refusals *r, const char *uuid, const struct fingerprint *f,
                  int64_t now_ms); /* the API said no */
/* Was this very key the last to be refused? However long ago, as far as is remembered. */
bool refusals_has(const struct refusals *r, const char *uuid, const struct fingerprint *f);
void refusals_forget(struct refusals *r, const char *uuid); /* the API said yes */
size_t refusals_count(const struct refusals *r);
