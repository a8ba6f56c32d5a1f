/* source: a client's address, IPv4 and IPv6 as one thing to compare and count. Pure. */
#pragma once

#include "common/base.h"

#include <sys/socket.h>

#define SOURCE_TEXT_MAX 46 /* with the NUL */

struct source { /* an IPv6 address, IPv4 ones mapped */
    uint8_t ip[16];
};

struct source source_of(const struct sockaddr_storage *address);
void source_format(const struct source *source, char ret[SOURCE_TEXT_MAX]);
bool source_is_v4(const struct source *source);
