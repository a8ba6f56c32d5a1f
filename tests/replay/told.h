/* told: what the link tells, as the text that scenarios and scripts compare. */
#pragma once

#include "sidecar-proxy/management/link.h"

/* "connect 0 1 user="..." ...": what, client id, key id where there is one, then what is known.
 * Bytes that are not printable ASCII as \xNN. Caller frees. */
char *told_client(const char *what, const struct link_client *c);
const char *told_state(enum link_state state); /* "live" */
