/* pool_view: what the driver keeps of a VPNPool in its cache: all but the status, which it reads
 * from the API server itself. */
#pragma once

#include "common/json.h"

struct pool_view {
    char *uid;
    int64_t generation;
    bool deleting;
    cJSON *object; /* apiVersion, kind, metadata.name, spec */
};

/* Takes what it needs out of object. NULL: it has no uid or no name. */
struct pool_view *pool_view_new(cJSON *object);
void pool_view_free(struct pool_view *v); /* NULL is fine */
