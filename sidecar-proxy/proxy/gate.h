/* gate: may this caller open that port? From the cache of decisions, else from the API; equal
 * questions share one call. Main loop only, but for gate_knows().
 * What is no clear yes or no is an outage: never kept, and answered from an earlier yes if one is
 * within the grace (after GATE_GRACE_AFTER_MS when the API is silent). */
#pragma once

#include "sidecar-proxy/proxy/access.h"
#include "sidecar-proxy/proxy/ask.h"

#define GATE_CACHE_MAX 16384
#define GATE_GRACE_AFTER_MS 2000

struct gate;

enum verdict_kind { VERDICT_ALLOWED, VERDICT_REFUSED, VERDICT_NO_ANSWER };

struct verdict {
    enum verdict_kind kind;
    int64_t device_id; /* of VERDICT_ALLOWED */
    enum decision_source source;
    const char *why; /* borrowed during the callback; NULL if there is nothing to say */
};

struct gate_options {
    struct balena_api *api;
    const char *guest_key; /* or NULL; copied */
    uint32_t cache_ms;
    uint32_t grace_ms;
    void (*on_verdict)(void *arg, struct gate_wait *wait, const struct verdict *verdict);
    void *arg;
};

struct gate *gate_new(struct loop *loop, const struct gate_options *options);
void gate_free(struct gate *gate); /* nobody waits any more */

/* The key that the API sees for a caller: its own, or the guests'. */
const char *gate_key(const struct gate *gate, const char *caller_key);
/* Any thread: is the verdict in the cache? */
bool gate_knows(struct gate *gate, const struct ask *ask, struct verdict *now);
/* True: *now has the verdict. False: on_verdict(wait) will run, unless it is cancelled. */
bool gate_ask(struct gate *gate, struct gate_wait *wait, const struct ask *ask,
              struct verdict *now);
void gate_cancel(struct gate *gate, struct gate_wait *wait);
size_t gate_cached(const struct gate *gate);
