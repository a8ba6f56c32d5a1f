/* query: a value out of a URL's query. Pure. Source: WHATWG URL, application/x-www-form-urlencoded.
 */
#pragma once

#include "common/base.h"

/* The decoded value of name, without blanks around it. False: absent, malformed, holds a NUL, or
 * does not fit into size bytes with its NUL; out is "" then. */
bool query_get(const char *query, const char *name, char *out, size_t size);
/* The same as a number of 1..max. False if it is absent or no such number. */
bool query_number(const char *query, const char *name, uint32_t max, uint32_t *ret);
