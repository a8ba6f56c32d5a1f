/* feed_server: the connections that sidecars feed us through. Carries messages between WebSockets
 * and feed_in.c, acknowledges in one message what one round of the loop brought, and closes who
 * never says hello. Logs the life of each feed. */
#pragma once

#include "common/http_server.h"
#include "sidecar-proxy/state/feed_in.h"

struct service;
struct feed_server;

#define FEED_GREETING_MS 10000 /* from the connection to its hello */

struct feed_server *feed_server_new(struct service *service);
/* After the last connection is gone. */
void feed_server_free(struct feed_server *s);
/* For the WebSocket route; its arg is the service. */
extern const struct ws_handler feed_server_handler;
void feed_server_tick(struct feed_server *s); /* each second */
size_t feed_server_count(const struct feed_server *s);
