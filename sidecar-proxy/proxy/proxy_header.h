/* proxy_header: what a balancer puts before a client's bytes to say who the client is: the PROXY
 * protocol, versions 1 (text) and 2 (binary). Pure. What follows the addresses in version 2 (TLVs)
 * is skipped. Source: haproxy's doc/proxy-protocol.txt. Fuzz: tests/fuzz/fuzz_proxy_header.c */
#pragma once

#include "common/base.h"

#include <sys/socket.h>

#define PROXY_HEADER_MAX 4096 /* bytes; version 1 has at most 107 */

struct proxy_header {
    bool
        has_source; /* false: the balancer's own connection, or it does not know: the peer counts */
    struct sockaddr_storage source; /* AF_INET or AF_INET6 */
};

/* Parse bytes[0..len). > 0: bytes the header takes. 0: incomplete, *ret untouched. -EPROTO: not a
 * header, or one of a kind that no TCP client can have. */
int proxy_header_parse(const char *bytes, size_t len, struct proxy_header *ret);
