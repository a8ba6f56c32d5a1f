/* auth: who may come in. A device's question (CONNECT, or REAUTH of a live session) is answered
 * from what we know, else by the balena API, else, while the API has no answer, by what was known
 * lately: here, or at the state services. What is not clearly yes or no is "come again" (TEMP):
 * a device that is told its key is bad gives up for a while.
 *
 *   malformed name or key       refused, nobody is asked
 *   draining, flapping          come again; sessions that are up go on (REAUTH)
 *   good within cache_s         allowed
 *   refused again and again     refused (refusals.h)
 *   API: yes / no               allowed / refused and forgotten
 *   API: no answer              allowed if good within grace_s; else a REAUTH of a live session is
 *                               kept, a new one is to come again
 *
 * Equal questions share one call. At most max_in_flight calls run, MAX_WAITING wait; a decision
 * takes no more than 10 s. Keys are wiped once asked and never logged.
 * Differs: the original lets a refused device wait 10 s; here that would hold one of OpenVPN's
 * slots, so the answer is given at once and repeated refusals cost the API nothing. */
#pragma once

#include "common/balena_api.h"
#include "sidecar-proxy/management/link.h"
#include "sidecar-proxy/session/sessions.h"
#include "sidecar-proxy/session/verdict_query.h"
#include "sidecar-proxy/session/verdicts.h"

#define AUTH_KEY_MAX 1024 /* bytes of a key; the API's have 32 */

struct auth;

struct auth_options { /* copied; what is pointed to is borrowed */
    struct loop *loop;
    struct balena_api *api;
    struct sessions *sessions;
    struct verdicts *verdicts;
    struct verdict_asker *asker;
    uint32_t cache_s, grace_s;
    size_t max_in_flight;       /* 0: 32 */
    size_t max_waiting;         /* questions, 0: 1024 */
    uint32_t patience_ms;       /* for the API while it is sane; 0: 7000 */
    uint32_t known_patience_ms; /* the same for a device that was good lately; 0: 3000 */
    uint32_t ill_patience_ms;   /* while it is not; 0: 2000 */
    /* The API said yes: others may like to know. */
    void (*on_verdict)(void *arg, const struct verdict *v);
    void *arg;
};

struct auth *auth_new(const struct auth_options *options);
void auth_close(struct auth *a); /* NULL is fine */

/* The link's events. Each question gets exactly one answer, perhaps within this call; none if the
 * client has gone, or after auth_forget(). */
void auth_ask(struct auth *a, const struct link_client *c, bool reauth);
void auth_disconnect(struct auth *a, uint64_t cid);
/* The connection to OpenVPN ended or it began a new life: CIDs may mean others now. */
void auth_forget(struct auth *a);

void auth_set_link(struct auth *a, struct link *link);
void auth_set_generation(struct auth *a, uint64_t generation);
/* From now on newcomers are to come again, also those that wait. */
void auth_set_draining(struct auth *a);
/* A session of this UUID was replaced by one at another instance. */
void auth_note_replaced(struct auth *a, const char *uuid);
