/* env_pool: a pool from the variables that the original service reads, so that our image replaces
 * it in a compose file as it stands. */
#pragma once

#include "controller/pool/object.h"

struct env_pem { /* PEM texts out of VPN_OPENVPN_*, owned */
    char *ca, *cert, *key;
    char *dh; /* NULL: none */
};

#define ENV_NOTES_MAX ((size_t)65536)

struct env_notes { /* what a person should know: one a line, for the log */
    struct buf text;
};

/* Reads the process's environment. warnings (may be NULL): of certificates. The pool is named
 * "local", its tls paths point into tls_dir, where the caller writes pem (ca.crt, server.crt,
 * server.key, dh.pem; mode 0600). -EINVAL: errors has a line for each variable that is missing,
 * unknown or contradictory. */
int env_pool_load(const char *tls_dir, uint32_t cores, struct pool_object *ret, struct env_pem *pem,
                  struct env_notes *notes, struct pool_errors *errors,
                  struct pool_errors *warnings);
void env_pem_clear(struct env_pem *pem);
