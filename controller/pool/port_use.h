/* port_use: is a port free here, and if not, who has it? A program that cannot have its port says
 * "Address already in use"; a person wants to know by whom.
 * Source: proc(5) net/tcp, net/udp; the kernel tells an owner only by its descriptors' inode. */
#pragma once

#include "common/err.h"

/* Could somebody listen on it now? address: numeric IPv4 or IPv6, NULL: all addresses. -EADDRINUSE:
 * "port 443 is taken by nginx (process 812)". Whatever else is wrong with it the program that wants
 * it says by itself: 0. Looks only at what is there: two programs that share a port (SO_REUSEPORT)
 * would divide the connections between them, so that counts as taken. */
int port_check(bool udp, const char *address, uint16_t port, struct err *err);
