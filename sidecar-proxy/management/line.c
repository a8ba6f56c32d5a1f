#include "sidecar-proxy/management/line.h"

#include "common/secret.h"

#include <errno.h>
#include <string.h>

/* All of it at once: growing would leave copies of passwords in freed memory. */
#define LINE_ALLOCATED (LINE_MAX_BYTES + sizeof("\r"))

void line_reader_init(struct line_reader *r)
{
    *r = (struct line_reader){.data = xcalloc(1, LINE_ALLOCATED)};
}

void line_reader_clear(struct line_reader *r)
{
    line_reader_reset(r);
    free(r->data);
    r->data = NULL;
}

void line_reader_reset(struct line_reader *r)
{
    secret_wipe(r->data, r->len);
    r->len = 0;
    r->complete = false;
}

static char *finish(struct line_reader *r)
{
    size_t text_len = r->len;

    if (text_len > 0 && r->data[text_len - 1] == '\r') {
        text_len--;
    }
    for (size_t i = 0; i < text_len; i++) {
        if (r->data[i] == '\0' || r->data[i] == '\r') {
            r->data[i] = '?';
        }
    }
    r->data[text_len] = '\0';
    r->complete = true;
    return r->data;
}

ssize_t line_take(struct line_reader *r, const char *bytes, size_t len, char **ret)
{
    const char *end = memchr(bytes, '\n', len);
    size_t part = end != NULL ? (size_t)(end - bytes) : len;

    if (r->complete) {
        line_reader_reset(r);
    }
    if (part > LINE_MAX_BYTES + 1 - r->len) { /* + 1: its CR */
        return -EMSGSIZE;
    }
    memcpy(r->data + r->len, bytes, part);
    r->len += part;
    if (end == NULL) {
        *ret = NULL;
        return (ssize_t)part;
    }
    *ret = finish(r);
    return (ssize_t)part + 1;
}
