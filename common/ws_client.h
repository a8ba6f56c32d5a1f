/* ws_client: one outgoing WebSocket on the loop (libwebsockets). Does not reconnect: its owner
 * does, after on_closed. libwebsockets' own DNS blocks, so the address is numeric (loop_resolve
 * first). */
#pragma once

#include "common/loop.h"

struct ws_client;

struct ws_client_options { /* borrowed during ws_client_open() only */
    const char *address;   /* numeric IPv4 or IPv6 */
    uint16_t port;
    const char *host;            /* Host header; NULL: address */
    const char *path;            /* "/v1/feed" */
    const char *protocol;        /* subprotocol; a server that does not accept it is closed */
    const char *bearer;          /* or NULL */
    size_t max_message_bytes;    /* of incoming messages */
    size_t max_queued_bytes;     /* of outgoing ones */
    uint32_t connect_timeout_ms; /* 0: 5000 */
    uint32_t idle_ping_ms; /* ping when silent that long, closed after as much again; 0: 10000 */
    void (*on_open)(void *arg);
    void (*on_message)(void *arg, const char *text, size_t len); /* whole; NUL behind */
    /* Once, last; also when it never opened. The ws_client is gone after it. why: for a log line.
     */
    void (*on_closed)(void *arg, const char *why);
    void *arg;
};

int ws_client_open(struct loop *loop, const struct ws_client_options *options,
                   struct ws_client **ret, struct err *err);
/* -EMSGSIZE: over max_queued_bytes, nothing queued. -ENOTCONN: not open yet or closing. */
int ws_client_send(struct ws_client *client, const char *text, size_t len);
size_t ws_client_queued(const struct ws_client *client); /* bytes not yet given to the kernel */
/* Ends soon: queued messages are still written if the peer reads; on_closed follows. */
void ws_client_close(struct ws_client *client);
