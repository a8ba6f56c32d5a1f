/* lease: at most one leader, by a Lease object that its holder renews. Whoever sees it not renewed
 * for a whole duration, on its own clock (the times written in it are other people's), takes it.
 * The holder stops before that: when renew_deadline has passed without a renewal it has lost,
 * whatever the server may say later. Between losing and anybody else's start lie 5 s for what is
 * under way. Source: the Lease API; figures: client-go's (15, 10, 2 s, jitter 1.2). */
#pragma once

#include "controller/kube/kube_client.h"

struct lease;

struct lease_options {
    struct kube_client *client; /* its urgent connection is used */
    const char *ns, *name;      /* copied, as is identity */
    const char *identity; /* who we are: must differ between replicas and lives: "{pod}_{random}" */
    uint32_t duration_s;  /* 0: 15 */
    uint32_t renew_deadline_ms;    /* 0: 10000 */
    uint32_t retry_ms;             /* 0: 2000; a quarter to a half of it while waiting for it */
    void (*on_started)(void *arg); /* we lead */
    /* We do not any more (lost; not after lease_release()). Whoever acted on it should end at once.
     */
    void (*on_stopped)(void *arg, const char *why);
    void (*on_leader)(void *arg, const char *identity); /* someone leads, perhaps us; may be NULL */
    void *arg;
};

int lease_open(struct loop *loop, const struct lease_options *options, struct lease **ret,
               struct err *err);
/* In order: stop acting first, then this. Writes that nobody holds it, so that the next one need
 * not wait; on_released(arg) when that is done or, at the latest, at the renew deadline. on_stopped
 * does not run. A waiting candidate: on_released in the loop's next round. */
void lease_release(struct lease *l, void (*on_released)(void *arg), void *arg);
void lease_close(struct lease *l); /* gives nothing up; NULL is fine */

bool lease_is_held(const struct lease *l); /* do we lead? */
/* False: we lead by our own words, but the last renewal is over a duration ago: the loop was stuck.
 * For liveness. */
bool lease_is_healthy(const struct lease *l);
const char *lease_leader(const struct lease *l); /* identity last seen, or "" */
