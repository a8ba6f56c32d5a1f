/* via: how loops between proxies end. Each of ours has an id (proxy_options.self_id) that it puts
 * into Via and Forwarded of every CONNECT it sends on; one that finds its own id in a request has
 * seen that request before. Source: RFC 9110 7.6.3, RFC 7239 4 (by=). Pure. */
#pragma once

#include "sidecar-proxy/proxy/connect_head.h"

#define VIA_MAX 1024 /* bytes of a chain; a longer one has gone round long enough */
#define VIA_SELF_MAX 64

/* Has the request been here? Also true for a chain over VIA_MAX. */
bool via_looped(const struct connect_head *head, const char *self);
/* The chain to send on: that of the request with self behind. Caller frees. */
char *via_chain(const struct connect_head *head, const char *self);
