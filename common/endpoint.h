/* endpoint: "host:port" as options have it; "[::1]:8090" for IPv6. Pure. */
#pragma once

#include "common/err.h"

#define ENDPOINT_HOST_MAX 255 /* bytes, without the NUL */

struct endpoint {
    char host[ENDPOINT_HOST_MAX + 1]; /* name or numeric address, without brackets */
    uint16_t port;                    /* 1..65535 */
};

/* -EINVAL: text says what is wrong. */
int endpoint_parse(const char *text, struct endpoint *ret, struct err *err);
/* A list with commas into ret[0..max); blanks around entries are fine, an empty list is.
 * -E2BIG: more than max. */
int endpoint_parse_list(const char *text, struct endpoint *ret, size_t max, size_t *count,
                        struct err *err);
/* "http://host:port", brackets as needed. Caller frees. */
char *endpoint_url(const struct endpoint *e);
