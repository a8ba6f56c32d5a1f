/* networks: a list of networks of both families, "192.0.2.0/24,2001:db8::/32,198.51.100.7". Pure.
 */
#pragma once

#include "common/err.h"
#include "sidecar-proxy/proxy/source.h"

#define NETWORKS_MAX 64

struct network {
    struct source base; /* bits behind the prefix are zero */
    uint8_t bits;       /* 0..128; of an IPv4 network 96 and more */
};

struct networks {
    struct network all[NETWORKS_MAX];
    size_t count;
};

/* Blanks around entries are fine, an empty list is. -EINVAL: text names the entry; host bits that
 * are set are one of the faults. */
int networks_parse(const char *list, struct networks *ret, struct err *err);
bool networks_contain(const struct networks *networks, const struct source *source);
