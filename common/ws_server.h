/* ws_server: accepted WebSockets, behind http_server, which reads the request, finds the route and
 * checks the handshake; libwebsockets does the rest. Private to common/. The struct ws_conn of
 * http_server.h is made here. */
#pragma once

#include "common/http_server.h"

struct ws_endpoint; /* what a WebSocket route leads to */

/* handler: borrowed while the endpoint lives. */
int ws_endpoint_open(struct loop *loop, const struct ws_handler *handler, void *arg,
                     struct ws_endpoint **ret, struct err *err);
/* Runs on_closed and on_end of all that are open, then frees itself. NULL is fine. */
void ws_endpoint_close(struct ws_endpoint *endpoint);

struct ws_accepted {
    int fd;          /* becomes the endpoint's; nothing was read beyond the request */
    const char *key; /* Sec-WebSocket-Key: checked */
    loop_fn on_end;  /* once, when the connection is gone; may run before the call returns */
    void *arg;
};

/* Answers 101 and goes on as a WebSocket. */
void ws_endpoint_accept(struct ws_endpoint *endpoint, const struct ws_accepted *accepted);
