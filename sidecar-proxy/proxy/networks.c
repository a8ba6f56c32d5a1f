#include "sidecar-proxy/proxy/networks.h"

#include "sidecar-proxy/proxy/address.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static bool bit(const struct source *source, unsigned at)
{
    return (source->ip[at / 8] >> (7 - at % 8) & 1) != 0;
}

/* The digits behind the slash, all of them. */
static bool parse_bits(const char *text, unsigned max, unsigned *ret)
{
    char *end = NULL;

    if (strspn(text, "0123456789") != strlen(text) || text[0] == '\0' || strlen(text) > 3) {
        return false;
    }
    *ret = (unsigned)strtoul(text, &end, 10);
    return *ret <= max;
}

static bool parse_one(char *text, struct network *ret)
{
    struct address address;
    char *slash = strchr(text, '/');

    if (slash != NULL) {
        *slash = '\0';
    }
    if (address_of(text, 0, &address) < 0) {
        return false;
    }
    unsigned size = address.storage.ss_family == AF_INET6 ? 128 : 32;
    unsigned bits = size;
    if (slash != NULL && !parse_bits(slash + 1, size, &bits)) {
        return false;
    }
    ret->base = source_of(&address.storage);
    ret->bits = (uint8_t)(128 - size + bits);
    for (unsigned i = ret->bits; i < 128; i++) {
        if (bit(&ret->base, i)) {
            return false;
        }
    }
    return true;
}

static int add(struct networks *networks, const char *text, size_t len, struct err *err)
{
    char one[ADDRESS_TEXT_MAX];

    if (networks->count == NETWORKS_MAX) {
        return err_text(err, -EINVAL, "more than %d networks", NETWORKS_MAX);
    }
    snprintf(one, sizeof(one), "%.*s", (int)len, text);
    if (len >= sizeof(one) || !parse_one(one, &networks->all[networks->count])) {
        return err_text(err, -EINVAL, "'%.*s' is no network such as 192.0.2.0/24",
                        len < sizeof(one) ? (int)len : (int)sizeof(one), text);
    }
    networks->count++;
    return 0;
}

int networks_parse(const char *list, struct networks *ret, struct err *err)
{
    static const char blanks[] = " \t";

    ret->count = 0;
    for (const char *at = list + strspn(list, blanks); *at != '\0';) {
        size_t len = strcspn(at, ",");
        size_t text_len = len;
        while (text_len > 0 && strchr(blanks, at[text_len - 1]) != NULL) {
            text_len--;
        }
        int r = add(ret, at, text_len, err);
        if (r < 0) {
            return r;
        }
        at += len + (at[len] == ',');
        at += strspn(at, blanks);
    }
    return 0;
}

static bool contains(const struct network *network, const struct source *source)
{
    size_t whole = network->bits / 8;

    if (memcmp(network->base.ip, source->ip, whole) != 0) {
        return false;
    }
    for (unsigned i = (unsigned)whole * 8; i < network->bits; i++) {
        if (bit(&network->base, i) != bit(source, i)) {
            return false;
        }
    }
    return true;
}

bool networks_contain(const struct networks *networks, const struct source *source)
{
    for (size_t i = 0; i < networks->count; i++) {
        if (contains(&networks->all[i], source)) {
            return true;
        }
    }
    return false;
}
