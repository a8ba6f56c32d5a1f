/* feed_client: keeps one state service told of our sessions (vpn-state.v1), over its whole life:
 * connect, hello, snapshot, then each change as it happens; and again from the start for ever. It
 * holds no queue of its own: what does not fit into the socket's is told by the next snapshot.
 * Nothing is said of sessions before feed_client_sync(): until we are in step with OpenVPN, what
 * the service knew before is nearer to the truth. */
#pragma once

#include "common/loop.h"
#include "sidecar-proxy/session/feed_message.h"

struct feed_client;

struct feed_client_options { /* copied; what is pointed to is borrowed */
    struct loop *loop;
    char address[48]; /* numeric */
    uint16_t port;
    const char *host;  /* its name */
    const char *token; /* hex; borrowed */
    struct feed_identity me;
    struct sessions *sessions;
    struct verdicts *verdicts;
    /* The service knows a newer session of the device elsewhere. */
    void (*on_stale)(void *arg, const char *uuid, struct session_id id);
    void (*on_change)(void *arg); /* feed_client_is_acked() is another now */
    void (*on_closed)(void *arg); /* once, last, after feed_client_close() */
    void *arg;
};

struct feed_client *feed_client_open(const struct feed_client_options *options);
/* orderly: our instance has ended, its sessions with it ("bye"). Otherwise they are kept there for
 * our successor. on_closed follows; then it is gone. */
void feed_client_close(struct feed_client *f, bool orderly);

void feed_client_sync(struct feed_client *f); /* we are in step: once, then for ever */
void feed_client_info(struct feed_client *f, int64_t service_id, const char *phase); /* a literal */
void feed_client_verdict(struct feed_client *f, const struct verdict *v);
/* Has the service what we know: is it connected, and our snapshot acknowledged? */
bool feed_client_is_acked(const struct feed_client *f);
