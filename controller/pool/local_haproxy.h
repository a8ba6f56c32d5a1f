/* local_haproxy: haproxy's file of a pool on this machine, and what haproxy itself thinks of it. */
#pragma once

#include "controller/pool/local_commands.h"

#define HAPROXY_FILE_MAX ((size_t)65536)

/* As many connections of those wanted as haproxy may have descriptors for (ulimit -n). */
uint32_t local_haproxy_connections(uint32_t wanted);

/* user: to become, or NULL. -EMSGSIZE, -EINVAL as haproxy_config_render(). */
int local_haproxy_render(const struct pool_object *pool, const struct local_paths *paths,
                         const char *user, struct buf *ret, struct err *err);

/* Lets haproxy read (-c) what it would run with; nothing is started or written. file: of the pool,
 * for messages. 0; -EINVAL: haproxy's own words are in errors, with the field that they are about.
 * Without a haproxy, or with one that does not end within 5 s, nothing is said: 0. */
int local_haproxy_check(const char *file, const struct pool_object *pool,
                        const struct local_paths *paths, struct pool_errors *errors);
