/* address: numeric socket addresses from text and back. Pure. */
#pragma once

#include "common/err.h"

#include <sys/socket.h>

#define ADDRESS_TEXT_MAX 64 /* "[...]:65535", with the NUL */

struct address {
    struct sockaddr_storage storage;
    socklen_t len;
};

/* "127.0.0.1:21001", "[::1]:80", ":3128" (all addresses). Port 0 is any. -EINVAL with text. */
int address_parse_listen(const char *text, struct address *ret, struct err *err);
/* host numeric, with or without brackets. -EINVAL. */
int address_of(const char *host, uint16_t port, struct address *ret);
uint16_t address_port(const struct address *a);
void address_set_port(struct address *a, uint16_t port);
/* The host part alone, an IPv4 address that came as ::ffff:a.b.c.d as IPv4. */
void address_host(const struct sockaddr_storage *a, char ret[ADDRESS_TEXT_MAX]);
bool address_is_loopback(const char *host);
/* Do two numeric texts mean the same host? */
bool address_same_host(const char *a, const char *b);
