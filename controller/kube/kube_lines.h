/* kube_lines: cuts the body of a watch into its lines, each one JSON object, as bytes come in. A
 * line over its maximum is an error, so that a broken server can not fill our memory. Private to
 * kube/. */
#pragma once

#include "common/buf.h"
#include "common/err.h"

struct kube_lines {
    struct buf line; /* the one that is not complete yet */
};

void kube_lines_init(struct kube_lines *l, size_t max_line_bytes);
void kube_lines_clear(struct kube_lines *l);

/* A complete line without its end, NUL behind, borrowed during the call; empty ones are left out.
 * A result below 0 ends the feeding and is returned. */
typedef int (*kube_line_fn)(void *arg, const char *line, size_t len, struct err *err);

/* -EMSGSIZE: a line is longer than the maximum. */
int kube_lines_feed(struct kube_lines *l, const char *bytes, size_t len, kube_line_fn fn, void *arg,
                    struct err *err);
