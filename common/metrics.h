/* metrics: counters, gauges and histograms in Prometheus' text format. Registered once at start,
 * for ever; a series is a struct of the caller's (static), updated from any thread. */
#pragma once

#include "common/buf.h"

#include <stdatomic.h>

#define METRIC_BUCKETS_MAX 16

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric {         /* initialise by designators, then metrics_register() */
    const char *name;   /* "vpn_online_devices" */
    const char *labels; /* "result=\"ok\"", or NULL */
    const char *help;   /* one sentence; of the first series of a name */
    enum metric_kind kind;
    double buckets[METRIC_BUCKETS_MAX]; /* upper bounds, ascending; unused ones 0 */
    size_t bucket_count;                /* 1..METRIC_BUCKETS_MAX for histograms */
    /* A gauge that is computed when asked: set instead of metric_set(). */
    double (*read)(void *arg);
    void *arg;
    /* private */
    _Atomic int64_t value; /* counters and gauges */
    _Atomic uint64_t hits[METRIC_BUCKETS_MAX + 1];
    _Atomic int64_t sum_micro;
    struct metric *next;
};

void metrics_register(struct metric *m); /* main thread, before threads are started */
void metric_inc(struct metric *m);
void metric_add(struct metric *m, int64_t n);
void metric_set(struct metric *m, int64_t value);
void metric_observe(struct metric *m, double value);
int64_t metric_value(const struct metric *m);
/* All registered ones in order of name, HELP and TYPE once a name. -EMSGSIZE as buf_append(). */
int metrics_render(struct buf *out);
#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"
