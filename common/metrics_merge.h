/* metrics_merge: the metrics of several processes of one kind as one text, so that one scrape has
 * all of them: each series gets a label that says whose it is, and what belongs to one name stays
 * together. Pure. Source: Prometheus' text format 0.0.4, as metrics_render() writes it. */
#pragma once

#include "common/buf.h"

struct metrics_merge;

struct metrics_merge *metrics_merge_new(void);
void metrics_merge_free(struct metrics_merge *m); /* NULL is fine */
/* text: one process's; label: "index=\"1\"". Lines that are none of the format's are left out. */
void metrics_merge_add(struct metrics_merge *m, const char *text, const char *label);
/* Names in order of their first appearance. -EMSGSIZE as buf_append(). */
int metrics_merge_render(const struct metrics_merge *m, struct buf *out);
