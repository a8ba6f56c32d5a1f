/* uuid: names of devices. 32 or 62 lower-case hex digits, nothing else ever gets past here: what
 * is not a UUID never reaches a URL, a command or a table. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define UUID_TEXT_MAX 62 /* bytes, without the NUL */

/* Is text[0..len) 32 or 62 digits of 0-9a-f? */
bool uuid_valid(const char *text, size_t len);
bool uuid_valid_str(const char *text); /* NUL-terminated; NULL is not */

/* Copies at most UUID_TEXT_MAX bytes and folds A-F to a-f (host names are case-insensitive).
 * False, out untouched, when the result would not be valid. out has UUID_TEXT_MAX + 1 bytes. */
bool uuid_fold(const char *text, size_t len, char *out);
