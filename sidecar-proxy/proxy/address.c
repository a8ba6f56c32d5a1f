#include "sidecar-proxy/proxy/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

int address_of(const char *host, uint16_t port, struct address *ret)
{
    char plain[INET6_ADDRSTRLEN];
    size_t len = strlen(host);
    struct sockaddr_in *in = (struct sockaddr_in *)&ret->storage;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&ret->storage;

    if (len > 1 && host[0] == '[' && host[len - 1] == ']') {
        host++;
        len -= 2;
    }
    if (len >= sizeof(plain)) {
        return -EINVAL;
    }
    memcpy(plain, host, len);
    plain[len] = '\0';
    memset(ret, 0, sizeof(*ret));
    if (inet_pton(AF_INET, plain, &in->sin_addr) == 1) {
        in->sin_family = AF_INET;
        ret->len = sizeof(*in);
    } else if (inet_pton(AF_INET6, plain, &in6->sin6_addr) == 1) {
        in6->sin6_family = AF_INET6;
        ret->len = sizeof(*in6);
    } else {
        return -EINVAL;
    }
    address_set_port(ret, port);
    return 0;
}

int address_parse_listen(const char *text, struct address *ret, struct err *err)
{
    const char *colon = strrchr(text, ':');
    char host[ADDRESS_TEXT_MAX];
    char *end = NULL;

    if (colon == NULL || (size_t)(colon - text) >= sizeof(host) ||
        strspn(colon + 1, "0123456789") != strlen(colon + 1)) {
        return err_text(err, -EINVAL, "'%.64s' is no address:port", text);
    }
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (end == colon + 1 || port > 65535) {
        return err_text(err, -EINVAL, "'%.64s' has no port of 0 to 65535", text);
    }
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    if (address_of(host[0] != '\0' ? host : "::", (uint16_t)port, ret) < 0) {
        return err_text(err, -EINVAL, "'%.64s' has no numeric address", text);
    }
    return 0;
}

uint16_t address_port(const struct address *a)
{
    if (a->storage.ss_family == AF_INET6) {
        return ntohs(((const struct sockaddr_in6 *)&a->storage)->sin6_port);
    }
    return ntohs(((const struct sockaddr_in *)&a->storage)->sin_port);
}

void address_set_port(struct address *a, uint16_t port)
{
    if (a->storage.ss_family == AF_INET6) {
        ((struct sockaddr_in6 *)&a->storage)->sin6_port = htons(port);
    } else {
        ((struct sockaddr_in *)&a->storage)->sin_port = htons(port);
    }
}

void address_host(const struct sockaddr_storage *a, char ret[ADDRESS_TEXT_MAX])
{
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)a;

    ret[0] = '\0';
    if (a->ss_family == AF_INET) {
        inet_ntop(AF_INET, &((const struct sockaddr_in *)a)->sin_addr, ret, ADDRESS_TEXT_MAX);
    } else if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
        inet_ntop(AF_INET, &in6->sin6_addr.s6_addr[12], ret, ADDRESS_TEXT_MAX);
    } else {
        inet_ntop(AF_INET6, &in6->sin6_addr, ret, ADDRESS_TEXT_MAX);
    }
}

/* Numeric text in its one canonical form; "" for what is none. */
static void canonical(const char *host, char ret[ADDRESS_TEXT_MAX])
{
    struct address a;

    ret[0] = '\0';
    if (address_of(host, 0, &a) == 0) {
        address_host(&a.storage, ret);
    }
}

bool address_is_loopback(const char *host)
{
    char text[ADDRESS_TEXT_MAX];

    canonical(host, text);
    return strncmp(text, "127.", 4) == 0 || strcmp(text, "::1") == 0;
}

bool address_same_host(const char *a, const char *b)
{
    char one[ADDRESS_TEXT_MAX];
    char two[ADDRESS_TEXT_MAX];

    canonical(a, one);
    canonical(b, two);
    return one[0] != '\0' && strcmp(one, two) == 0;
}
