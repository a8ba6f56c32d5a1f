/* replicas: the addresses behind a name ("vpn-state:8090", a headless Service), looked up again
 * and again. IPv4 if there is any, else IPv6: the same replica is not to be counted twice. */
#pragma once

#include "common/loop.h"

#define REPLICAS_MAX 64
#define REPLICAS_LOOKUP_MS 5000

struct replicas;

/* name: "host:port", "[::1]:port"; copied. on_change(arg): the list is another one now. NULL: name
 * is none. */
struct replicas *replicas_new(struct loop *loop, const char *name, loop_fn on_change, void *arg);
void replicas_close(struct replicas *r); /* NULL is fine */

size_t replicas_count(const struct replicas *r);
const char *replicas_url(const struct replicas *r, size_t i); /* "http://192.0.2.1:8090"; borrowed
                                                                  until on_change */
