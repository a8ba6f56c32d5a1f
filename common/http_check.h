/* http_check: is it safe to put into a request? A byte too many in a header is another header.
 * Pure. Private to common/. */
#pragma once

#include "common/err.h"

bool http_is_token(const char *s);  /* a method, a header's name: RFC 9110 5.6.2 */
bool http_is_bearer(const char *s); /* printable ASCII without blanks, not empty */
bool http_is_url(const char *url);  /* http: or https:, no blanks, no control bytes */
bool http_is_value(const char *s);  /* of a header: no control bytes */
/* "Name: value" lines, NULL-terminated; or NULL. -EINVAL. */
int http_check_headers(const char *const *headers, struct err *err);
