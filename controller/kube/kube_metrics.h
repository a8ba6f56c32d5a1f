/* kube_metrics: series that come into being when they are first needed: their labels are names of
 * hosts, queues and status codes. Bounded: over KUBE_SERIES_MAX they all count into one that is not
 * shown. For ever, as all metrics are. Private to kube/. Main thread. */
#pragma once

#include "common/metrics.h"

#define KUBE_SERIES_MAX 1024

/* name and help are borrowed for ever (literals), labels are copied: "host=\"a:1\",code=\"200\"",
 * or NULL. kind: counter or gauge. */
struct metric *kube_metric(enum metric_kind kind, const char *name, const char *help,
                           const char *labels);
/* count bounds, ascending; copied. */
struct metric *kube_histogram(const char *name, const char *help, const char *labels,
                              const double *bounds, size_t count);
/* A gauge that is computed; read(arg) is not called any more after kube_metric_unread(). */
struct metric *kube_metric_read(const char *name, const char *help, const char *labels,
                                double (*read)(void *arg), void *arg);
void kube_metric_unread(struct metric *m, const void *arg);
/* What may stand between the quotes of a label. Caller frees. */
char *kube_label(const char *text);
