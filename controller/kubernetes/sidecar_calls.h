/* sidecar_calls: what the controller asks sidecars themselves, over their control port: to drain,
 * and how they are where the state service does not know. By epoch. */
#pragma once

#include "common/http_client.h"
#include "common/secret.h"
#include "controller/kubernetes/pods_observe.h"

#define SIDECAR_CALLS_MAX 4096

struct sidecar_calls;

struct sidecar_where { /* borrowed */
    const char *pool;  /* given to on_change */
    const char *epoch;
    const char *ip; /* of its Pod */
};

/* on_change(arg, pool): something of it was answered. */
struct sidecar_calls *sidecar_calls_new(struct loop *loop, struct http_client *http,
                                        const struct service_keys *keys,
                                        void (*on_change)(void *arg, const char *pool), void *arg);
void sidecar_calls_close(struct sidecar_calls *c); /* NULL is fine */

/* POST /v1/drain, until it is accepted; then nothing more for a while. Call it again and again as
 * long as the sidecar is to drain and does not say that it does. */
void sidecar_calls_drain(struct sidecar_calls *c, const struct sidecar_where *where,
                         uint32_t rate_per_minute, uint32_t timeout_s);
bool sidecar_calls_drain_accepted(const struct sidecar_calls *c, const char *epoch);
/* GET /v1/status, at most once a second. */
void sidecar_calls_ask(struct sidecar_calls *c, const struct sidecar_where *where);
/* What it said last. False: nothing, or long ago. */
bool sidecar_calls_report(const struct sidecar_calls *c, const char *epoch,
                          struct instance_report *ret);
void sidecar_calls_forget(struct sidecar_calls *c, const char *epoch);
