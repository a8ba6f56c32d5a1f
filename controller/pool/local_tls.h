/* local_tls: certificates that came in variables, as files: OpenVPN reads no others. */
#pragma once

#include "controller/pool/env_pool.h"
#include "controller/pool/local_commands.h"

/* Puts what is in pem (nothing: the pool file names its own) into paths->tls_dir, mode 0600: all of
 * it or nothing, as certificate and key are a pair. What is there already is not written anew, so
 * that takes no room on a full disk. */
int local_tls_write(const struct local_paths *paths, const struct env_pem *pem, struct err *err);
void local_tls_remove(const struct local_paths *paths);
