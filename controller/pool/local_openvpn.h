/* local_openvpn: what OpenVPN itself thinks of a pool's ciphers and providers. Which there are
 * depends on its version and on the OpenSSL that it is linked with, so no list of ours could tell.
 */
#pragma once

#include "controller/pool/local_commands.h"

/* Nothing is started or written. file: of the pool, for messages. 0; -EINVAL: OpenVPN's own words
 * are in errors, with the field or the word that they are about. Without an OpenVPN, or with one
 * that does not end within 5 s, nothing is said: 0. */
int local_openvpn_check(const char *file, const struct pool_object *pool,
                        struct pool_errors *errors);
