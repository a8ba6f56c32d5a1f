/* tls_check: do these certificates and this key make a TLS server? Looks at PEM texts in memory, so
 * that files and variables are judged alike, before anything is written or started. Private to the
 * object and the variables. */
#pragma once

#include "common/yaml_tree.h"
#include "controller/pool/faults.h"

#include <time.h>

struct tls_part {     /* borrowed */
    const char *path; /* of the field: "spec.openvpn.tls.caFile" */
    const char *what; /* "'tls/ca.crt'", "the value": begins the sentence */
    const char *pem;  /* NULL: not given, or not readable (said elsewhere): not looked at */
    size_t len;
};

struct tls_parts {
    struct tls_part ca, cert, key, dh;
};

/* Text in front of a PEM block is skipped, as openssl writes it; a certificate may be a chain.
 * warnings: what will be wrong soon, or wrong for devices only. root: for places, may be NULL. */
void tls_check(const struct tls_parts *parts, time_t now, const struct yaml_node *root,
               struct faults *errors, struct faults *warnings);
