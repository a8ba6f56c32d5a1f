/* rfc3339: times as the API server writes them. Pure. Source: RFC 3339 5.6, metav1.Time. */
#pragma once

#include "common/base.h"

#define RFC3339_MAX 32 /* bytes with the NUL */

/* "2026-11-23T22:26:37Z", any fraction of a second, any offset -> Unix ms. False: not such a one.
 */
bool rfc3339_parse(const char *text, int64_t *ret);
/* To the second, in UTC. */
void rfc3339_format(int64_t unix_ms, char ret[RFC3339_MAX]);
/* With milliseconds. */
void rfc3339_format_ms(int64_t unix_ms, char ret[RFC3339_MAX]);
