/* line: bytes from the management socket become lines. Pure but for one allocation at birth.
 * OpenVPN ends a line with CRLF; LF alone does as well. Exactly one CR is taken off, and nothing
 * is trimmed: a password may end in blanks. A line can hold any byte; the two that would confuse
 * whoever reads it as text, NUL and a CR inside, become '?' (OpenVPN sends neither).
 * Fuzz: tests/fuzz/fuzz_management_line.c */
#pragma once

#include "common/base.h"

#include <sys/types.h>

#define LINE_MAX_BYTES 16384 /* without its end; OpenVPN's own limit is about 10 kB */

struct line_reader {
    char *data; /* owned; holds the line that is growing, or the one that was just returned */
    size_t len;
    bool complete; /* data is a returned line: the next call starts anew */
};

void line_reader_init(struct line_reader *r);
void line_reader_clear(struct line_reader *r); /* wipes and frees; init before further use */
void line_reader_reset(struct line_reader *r); /* wipes what was read, for a new connection */

/* Takes bytes of bytes[0..len) up to and including the first line end; returns how many (at least
 * 1 when len is). *ret is the line, NUL-terminated, the caller's to cut up until the next call,
 * which wipes it (there may be a password in it); NULL: it goes on in the bytes to come.
 * -EMSGSIZE: longer than LINE_MAX_BYTES; the reader is of no use until it is reset. */
ssize_t line_take(struct line_reader *r, const char *bytes, size_t len, char **ret);
