/* buf: bytes that grow up to a maximum given at birth. Over it, appending fails and the buf is
 * unchanged. data is always NUL-terminated behind len (len does not count it). An AUTO(buf) is to
 * be initialised before the first return: what is released at the end of the scope must be one. */
#pragma once

#include "common/base.h"

struct buf {
    char *data; /* owned; NULL until the first byte */
    size_t len; /* bytes used */
    size_t cap; /* bytes allocated */
    size_t max; /* bytes, never more */
};

void buf_init(struct buf *b, size_t max);
void buf_clear(struct buf *b); /* frees; b can be used again with the same maximum */

/* 0 or -EMSGSIZE. */
int buf_append(struct buf *b, const void *bytes, size_t len);
int buf_append_str(struct buf *b, const char *s);
int buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Makes room for len more bytes (0 or -EMSGSIZE); write at buf_end(), then buf_grew(). */
int buf_reserve(struct buf *b, size_t len);
char *buf_end(struct buf *b);
void buf_grew(struct buf *b, size_t len);

void buf_consume(struct buf *b, size_t len); /* drops the first len bytes */
void buf_truncate(struct buf *b, size_t len);
const char *buf_str(const struct buf *b); /* "" when empty; borrowed */
char *buf_take(struct buf *b);            /* the text, owned by the caller; b is empty after */
void buf_wipe(struct buf *b);             /* overwrites with zeros, then clears: for secrets */

static inline void auto_buf(struct buf *b)
{
    buf_clear(b);
}
