/* feeds: one feed (feed_client.h) for each address of the state services, as these come and go. An
 * address that is no longer there loses its feed; the service keeps the sessions for a while, since
 * the devices are still connected. */
#pragma once

#include "common/replicas.h"
#include "common/secret.h"
#include "sidecar-proxy/session/feed_message.h"

struct feeds;

struct feeds_options { /* copied; what is pointed to is borrowed */
    struct loop *loop;
    struct replicas *states;  /* watched from now on */
    struct service_keys keys; /* the token is derived from them; not kept */
    struct feed_identity me;
    struct sessions *sessions;
    struct verdicts *verdicts;
    void (*on_stale)(void *arg, const char *uuid, struct session_id id);
    void (*on_change)(void *arg); /* who knows our sessions is another now */
    void (*on_closed)(void *arg); /* once, last, after feeds_close() */
    void *arg;
};

struct feeds *feeds_open(const struct feeds_options *options);
/* orderly as in feed_client.h. on_closed follows, from the loop; then they are gone. */
void feeds_close(struct feeds *f, bool orderly);

/* To each, now and to those that come later. */
void feeds_sync(struct feeds *f);
void feeds_info(struct feeds *f, int64_t service_id, const char *phase); /* a literal */
void feeds_verdict(struct feeds *f, const struct verdict *v);            /* now only */

/* Has some, has every state service what we know? Both are true when there is none to be told. */
bool feeds_some_know(const struct feeds *f);
bool feeds_all_know(const struct feeds *f);
