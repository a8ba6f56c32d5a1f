#include "controller/kube/kube_lines.h"

#include <errno.h>
#include <string.h>

#define KEPT_BYTES (64 * 1024) /* of the line's buffer: one long object does not stay for ever */

void kube_lines_init(struct kube_lines *l, size_t max_line_bytes)
{
    buf_init(&l->line, max_line_bytes);
}

void kube_lines_clear(struct kube_lines *l)
{
    buf_clear(&l->line);
}

static void forget(struct kube_lines *l)
{
    if (l->line.cap > KEPT_BYTES) {
        buf_clear(&l->line);
    } else {
        buf_truncate(&l->line, 0);
    }
}

static int hand_over(struct kube_lines *l, kube_line_fn fn, void *arg, struct err *err)
{
    if (l->line.len > 0 && l->line.data[l->line.len - 1] == '\r') {
        buf_truncate(&l->line, l->line.len - 1);
    }
    int r = l->line.len > 0 ? fn(arg, buf_str(&l->line), l->line.len, err) : 0;
    forget(l);
    return r < 0 ? r : 0;
}

int kube_lines_feed(struct kube_lines *l, const char *bytes, size_t len, kube_line_fn fn, void *arg,
                    struct err *err)
{
    while (len > 0) {
        const char *end = memchr(bytes, '\n', len);
        size_t part = end != NULL ? (size_t)(end - bytes) : len;
        if (buf_append(&l->line, bytes, part) < 0) {
            return err_text(err, -EMSGSIZE, "an event of the watch is over %zu bytes", l->line.max);
        }
        if (end == NULL) {
            return 0;
        }
        int r = hand_over(l, fn, arg, err);
        if (r < 0) {
            return r;
        }
        bytes += part + 1;
        len -= part + 1;
    }
    return 0;
}
