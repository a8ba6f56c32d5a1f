/* pod_render: the Pod of one instance. Pure. What it holds is in ARCHITECTURE.md, "A Pod".
 * Passes Pod Security "restricted" but for what OpenVPN needs: root with NET_ADMIN, and the host's
 * /dev/net/tun. No privileged container, no other capability, no token. */
#pragma once

#include "common/json.h"
#include "controller/kubernetes/pod_template.h"
#include "controller/kubernetes/pod_view.h"
#include "controller/pool/object.h"

#define POD_VPN_PORT 1194
#define POD_PROXY_PORT 3128
#define POD_CONTROL_PORT 8080
#define POD_SIDECAR_USER 65532
#define POD_GRACE_RESERVE_S                                              \
    30 /* beyond the drain: 10 for OpenVPN's end, 20 for the last report \
        */

#define POD_NAME_MAX 64 /* a pool's name is at most 52 bytes */

struct pod_owner { /* borrowed */
    const char *ns;
    const char *pool_uid;
};

/* "{pool}-{index}" */
void pod_name(const char *pool, uint32_t index, char ret[POD_NAME_MAX]);
/* *ret is the whole object, ready to be created; owned by the caller. template may be NULL.
 * -ERANGE: index does not fit into the network. */
int pod_render(const struct pool_object *pool, const struct pod_owner *owner, uint32_t index,
               cJSON **ret, struct pod_template *template, struct err *err);
const char *pod_sidecar_image(const struct pool_object *pool);
