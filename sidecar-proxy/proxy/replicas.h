/* replicas: the addresses behind a list of "host:port". A name may have several (a headless
 * Service); they are looked up again every REPLICAS_LOOK_MS, and at once when asked to. A name that
 * can not be looked up keeps what it had. Main loop only. */
#pragma once

#include "common/loop.h"

#define REPLICAS_NAMES_MAX 16
#define REPLICAS_MAX 64 /* addresses in all */
#define REPLICAS_LOOK_MS 5000

struct replicas;

/* -EINVAL: none, too many, or not host:port; text says which. */
int replicas_new(struct loop *loop, const char *list, struct replicas **ret, struct err *err);
void replicas_close(struct replicas *r);

size_t replicas_count(const struct replicas *r); /* 0: no name is known yet */
/* "192.0.2.1:8090", "[2001:db8::1]:8090"; borrowed until the loop goes on. at: below the count. */
const char *replicas_at(const struct replicas *r, size_t at);
void replicas_look(struct replicas *r); /* names again, unless that is under way */
