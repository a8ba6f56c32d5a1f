/* sidecar_metrics: one answer with the metrics of all sidecars of this machine, so that a scrape of
 * one port has them: asks each that has a socket in the runtime directory, at once, and merges what
 * comes within 2 s, with index="1" on each series. Who does not answer is left out. */
#pragma once

#include "common/http_server.h"

struct sidecar_metrics;

/* folder: the runtime directory; copied. */
int sidecar_metrics_new(struct loop *loop, const char *folder, struct sidecar_metrics **ret,
                        struct err *err);
void sidecar_metrics_close(struct sidecar_metrics *m); /* before the server. NULL is fine */
/* Answers x, later; at once with 503 while too many are being answered. */
void sidecar_metrics_answer(struct sidecar_metrics *m, struct http_exchange *x);

/* "sidecar-12.sock" -> 12, 0 for others. Pure, for tests. */
unsigned sidecar_metrics_index(const char *file_name);
