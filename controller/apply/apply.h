/* apply: what `vpn-controller apply` sends for a pool file, given what the cluster has. Pure. */
#pragma once

#include "common/json.h"
#include "controller/pool/object.h"

#define APPLY_FIELD_MANAGER "vpn-apply"

struct apply_keep { /* what stays as the cluster has it */
    bool scale;     /* spec.replicas; it stays also if the file has none */
    bool image;     /* spec.kubernetes.image */
};

/* pool: of pool_object_load(). live: the VPNPool as it is, or NULL. *ret: what to apply, owned by
 * the caller: apiVersion, kind, name, namespace, labels, annotations and spec. -EMSGSIZE: the
 * file's object is too long. */
int apply_object(const struct pool_object *pool, const char *ns, const cJSON *live,
                 struct apply_keep keep, cJSON **ret, struct err *err);

/* "created", "configured", "unchanged". before: NULL if there was none. */
const char *apply_result(const cJSON *before, const cJSON *after);
