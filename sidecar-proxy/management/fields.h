/* fields: numbers, addresses and columns in the lines of the management interface. Pure. */
#pragma once

#include "common/base.h"

/* Is text one to twenty digits and nothing else, and fits? *ret is written then. */
bool field_u64(const char *text, uint64_t *ret);

/* A dotted IPv4 address in host byte order. False for anything else ("10.0.0.0/8", IPv6). */
bool field_ipv4(const char *text, uint32_t *ret);

/* Cuts line at each separator, in place: fields[0..result) point into it. The last of max fields
 * keeps the rest, separators included. max is at least 1, so is the result. */
size_t fields_split(char *line, char separator, char **fields, size_t max);
