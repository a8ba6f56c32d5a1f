/* host_router: vpn-connect-proxy's decision where a device is: at one of our sidecars, on another
 * VPN host, or nowhere. Main loop only. */
#pragma once

#include "sidecar-proxy/proxy/locator.h"
#include "sidecar-proxy/proxy/proxy.h"

struct host_router;

struct host_router_options { /* copied; locator and api are borrowed */
    struct locator *locator;
    struct balena_api *api;
    const char *self_addresses; /* "192.0.2.1,2001:db8::1": also us, or NULL */
    uint16_t forward_port;      /* on which other hosts' proxies are dialled */
    uint32_t answer_timeout_ms; /* the proxy's; the router gives up a little before */
};

struct host_router *host_router_new(struct loop *loop, const struct host_router_options *options);
void host_router_free(struct host_router *router); /* after the proxy was closed */
struct proxy_router host_router_proxy(struct host_router *router);
