/* subnet: cuts a base subnet into the blocks of the instances. Pure; IPv4, host byte order.
 * Index i (1-based) has block i-1. In a block the first usable address is the gateway, the second
 * the far end of the point-to-point link, the third to the last are the devices'.
 *     100.64.0.0/10 by /20: index 1 is 100.64.0.0/20, index 1024 is 100.127.240.0/20. */
#pragma once

#include "common/err.h"

#define SUBNET_INSTANCE_PREFIX_MIN 16 /* OpenVPN's pool holds no more than a /16 */
#define SUBNET_INSTANCE_PREFIX_MAX 29 /* 6 usable: gateway, peer, 4 devices */
#define SUBNET_TEXT_MAX 18            /* "255.255.255.255/32" without the NUL */

struct subnet {
    uint32_t network;   /* host byte order, host bits zero */
    uint8_t prefix_len; /* 0..32 */
};

struct subnet_block { /* one instance's addresses, all host byte order */
    struct subnet subnet;
    uint32_t netmask;
    uint32_t gateway; /* first usable */
    uint32_t peer;    /* second usable */
    uint32_t first;   /* first device address: third usable */
    uint32_t last;    /* last usable */
    uint32_t count;   /* devices that fit: last - first + 1 */
};

struct subnet_text {
    char text[SUBNET_TEXT_MAX + 1];
};

/* "100.64.0.0/10". -EINVAL: not an IPv4 CIDR, or host bits set (err says which). */
int subnet_parse(const char *text, struct subnet *ret, struct err *err);
/* "100.64.0.1" in dotted quads without leading zeros. -EINVAL otherwise. */
int address_parse(const char *text, uint32_t *ret, struct err *err);
struct subnet_text subnet_format(struct subnet s);
struct subnet_text address_format(uint32_t address);
uint32_t subnet_netmask(uint8_t prefix_len);
bool subnet_contains(struct subnet s, uint32_t address);
bool subnet_overlaps(struct subnet a, struct subnet b);

/* How many instances fit: 0 when instance_prefix_len is out of 16..29 or shorter than the base. */
uint32_t subnet_instances(struct subnet base, uint8_t instance_prefix_len);

/* The block of index (1-based). -ERANGE: index 0 or over subnet_instances(); -EINVAL: prefix. */
int subnet_block(struct subnet base, uint8_t instance_prefix_len, uint32_t index,
                 struct subnet_block *ret, struct err *err);
