#include "common/subnet.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* One dotted quad at *text; moves *text behind it. False: not one. */
static bool parse_quads(const char **text, uint32_t *ret)
{
    const char *p = *text;
    uint32_t address = 0;

    for (int i = 0; i < 4; i++) {
        if (i > 0 && *p++ != '.') {
            return false;
        }
        unsigned value = 0;
        int digits = 0;
        while (*p >= '0' && *p <= '9' && digits < 4) {
            value = value * 10 + (unsigned)(*p++ - '0');
            digits++;
        }
        if (digits == 0 || digits > 3 || value > 255 || (digits > 1 && p[-digits] == '0')) {
            return false;
        }
        address = address << 8 | value;
    }
    *text = p;
    *ret = address;
    return true;
}

int address_parse(const char *text, uint32_t *ret, struct err *err)
{
    const char *p = text;
    uint32_t address = 0;

    if (!parse_quads(&p, &address) || *p != '\0') {
        return err_text(err, -EINVAL, "'%.64s' is not an IPv4 address", text);
    }
    *ret = address;
    return 0;
}

uint32_t subnet_netmask(uint8_t prefix_len)
{
    return prefix_len == 0 ? 0 : ~(uint32_t)0 << (32 - prefix_len);
}

int subnet_parse(const char *text, struct subnet *ret, struct err *err)
{
    const char *p = text;
    uint32_t address = 0;
    unsigned prefix = 0;
    int digits = 0;

    if (!parse_quads(&p, &address) || *p++ != '/') {
        return err_text(err, -EINVAL, "'%.64s' is not an IPv4 subnet such as 100.64.0.0/10", text);
    }
    while (*p >= '0' && *p <= '9' && digits < 3) {
        prefix = prefix * 10 + (unsigned)(*p++ - '0');
        digits++;
    }
    if (digits == 0 || *p != '\0' || prefix > 32 || (digits > 1 && p[-digits] == '0')) {
        return err_text(err, -EINVAL, "'%.64s' has no prefix length of 0 to 32", text);
    }
    struct subnet s = {.network = address & subnet_netmask((uint8_t)prefix),
                       .prefix_len = (uint8_t)prefix};
    if (s.network != address) {
        return err_text(err, -EINVAL, "'%.64s' has host bits set, its network is %s", text,
                        subnet_format(s).text);
    }
    *ret = s;
    return 0;
}

struct subnet_text address_format(uint32_t address)
{
    struct subnet_text t;

    snprintf(t.text, sizeof(t.text), "%u.%u.%u.%u", address >> 24 & 255, address >> 16 & 255,
             address >> 8 & 255, address & 255);
    return t;
}

struct subnet_text subnet_format(struct subnet s)
{
    struct subnet_text t = address_format(s.network);
    size_t len = strlen(t.text);

    snprintf(t.text + len, sizeof(t.text) - len, "/%u", s.prefix_len);
    return t;
}

bool subnet_contains(struct subnet s, uint32_t address)
{
    return (address & subnet_netmask(s.prefix_len)) == s.network;
}

bool subnet_overlaps(struct subnet a, struct subnet b)
{
    return subnet_contains(a, b.network) || subnet_contains(b, a.network);
}

uint32_t subnet_instances(struct subnet base, uint8_t instance_prefix_len)
{
    if (instance_prefix_len < SUBNET_INSTANCE_PREFIX_MIN ||
        instance_prefix_len > SUBNET_INSTANCE_PREFIX_MAX || instance_prefix_len < base.prefix_len) {
        return 0;
    }
    return (uint32_t)1 << (instance_prefix_len - base.prefix_len);
}

int subnet_block(struct subnet base, uint8_t instance_prefix_len, uint32_t index,
                 struct subnet_block *ret, struct err *err)
{
    uint32_t fit = subnet_instances(base, instance_prefix_len);

    if (fit == 0) {
        return err_text(err, -EINVAL, "instances of /%u do not fit into %s", instance_prefix_len,
                        subnet_format(base).text);
    }
    if (index == 0 || index > fit) {
        return err_text(err, -ERANGE, "index %u is not in 1 to %u, what %s holds of /%u", index,
                        fit, subnet_format(base).text, instance_prefix_len);
    }
    uint32_t size = (uint32_t)1 << (32 - instance_prefix_len);
    uint32_t network = base.network + (index - 1) * size;
    *ret = (struct subnet_block){
        .subnet = {.network = network, .prefix_len = instance_prefix_len},
        .netmask = subnet_netmask(instance_prefix_len),
        .gateway = network + 1,
        .peer = network + 2,
        .first = network + 3,
        .last = network + size - 2,
        .count = size - 4,
    };
    return 0;
}
