/* base64: RFC 4648 section 4, for certificates in variables and for Basic credentials. Pure. */
#pragma once

#include "common/err.h"

/* Decodes text[0..len); blanks and line ends are skipped, missing padding is accepted. *ret is
 * owned by the caller and NUL-terminated behind *ret_len bytes. -EINVAL: another byte, or a length
 * that no bytes give. */
int base64_decode(const char *text, size_t len, char **ret, size_t *ret_len, struct err *err);
