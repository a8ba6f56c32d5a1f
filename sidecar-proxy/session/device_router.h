/* device_router: where the sidecar's own CONNECT proxy finds a device: in the table of sessions, or
 * nowhere. */
#pragma once

#include "sidecar-proxy/proxy/proxy.h"
#include "sidecar-proxy/session/sessions.h"

struct proxy_router device_router(const struct sessions *sessions); /* borrowed */
