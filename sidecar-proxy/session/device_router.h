/* device_router: where the sidecar's own CONNECT proxy finds a device: in the table of sessions, or
 * nowhere. Relay threads are told without asking the main loop, from a copy of who has which
 * address that follows the table's every change: an address is given to another device only after
 * its session's end was seen, so nobody is led to the wrong one. */
#pragma once

#include "sidecar-proxy/proxy/proxy.h"
#include "sidecar-proxy/session/sessions.h"

struct device_router;

struct device_router *device_router_new(struct sessions *sessions); /* borrowed */
void device_router_free(struct device_router *r); /* after proxy_close(); NULL is fine */
struct proxy_router device_router_proxy(struct device_router *r);
