/* queue_metrics: what client-go and controller-runtime count of a work queue, under their names, so
 * that dashboards made for them work. Private to kube/. */
#pragma once

#include "controller/kube/kube_metrics.h"

struct queue;

struct queue_metrics {
    struct metric *adds, *retries, *refused;
    struct metric *waited, *worked;        /* workqueue_*_seconds */
    struct metric *ok, *ok_after, *failed; /* controller_runtime_reconcile_total */
    struct metric *errors, *time;
    struct metric *read[5]; /* gauges */
};

void queue_metrics_init(struct queue_metrics *m, const char *name, unsigned workers,
                        struct queue *q);
void queue_metrics_clear(struct queue_metrics *m, const struct queue *q);
