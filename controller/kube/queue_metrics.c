#include "controller/kube/queue_metrics.h"

#include "controller/kube/queue.h"
#include "controller/kube/queue_priv.h"

static double read_depth(void *arg)
{
    return (double)queue_depth(arg);
}

static double read_unfinished(void *arg)
{
    return (double)queue_unfinished_ms(arg) / 1000;
}

static double read_longest(void *arg)
{
    return (double)queue_longest_ms(arg) / 1000;
}

static double read_at_work(void *arg)
{
    return (double)queue_at_work(arg);
}

static void init_queue(struct queue_metrics *m, const char *labels, struct queue *q)
{
    static const double bounds[] = {1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 1, 10, 100, 1000};

    m->adds = kube_metric(METRIC_COUNTER, "workqueue_adds_total", "Keys added.", labels);
    m->retries = kube_metric(METRIC_COUNTER, "workqueue_retries_total",
                             "Keys added again after a failure.", labels);
    m->refused = kube_metric(METRIC_COUNTER, "workqueue_refused_total",
                             "Keys that were not added to a full queue.", labels);
    m->waited =
        kube_histogram("workqueue_queue_duration_seconds", "Seconds that a key was in the queue.",
                       labels, bounds, ARRAY_LEN(bounds));
    m->worked = kube_histogram("workqueue_work_duration_seconds", "Seconds of work on a key.",
                               labels, bounds, ARRAY_LEN(bounds));
    m->read[0] = kube_metric_read("workqueue_depth", "Keys in the queue.", labels, read_depth, q);
    m->read[1] =
        kube_metric_read("workqueue_unfinished_work_seconds",
                         "Seconds of work in progress, all together.", labels, read_unfinished, q);
    m->read[2] = kube_metric_read("workqueue_longest_running_processor_seconds",
                                  "Seconds that the oldest work in progress has taken.", labels,
                                  read_longest, q);
}

static struct metric *result(const char *name, const char *text)
{
    AUTO(str) char *labels = xasprintf("controller=\"%s\",result=\"%s\"", name, text);

    return kube_metric(METRIC_COUNTER, "controller_runtime_reconcile_total",
                       "Looks at an object, by result.", labels);
}

static void init_controller(struct queue_metrics *m, const char *name, unsigned workers,
                            struct queue *q)
{
    static const double bounds[] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60};
    AUTO(str) char *labels = xasprintf("controller=\"%s\"", name);

    m->ok = result(name, "success");
    m->ok_after = result(name, "requeue_after");
    m->failed = result(name, "error");
    m->errors = kube_metric(METRIC_COUNTER, "controller_runtime_reconcile_errors_total",
                            "Looks at an object that failed.", labels);
    m->time = kube_histogram("controller_runtime_reconcile_time_seconds",
                             "Seconds of a look at an object.", labels, bounds, ARRAY_LEN(bounds));
    m->read[3] = kube_metric_read("controller_runtime_active_workers",
                                  "Looks at objects in progress.", labels, read_at_work, q);
    m->read[4] = kube_metric(METRIC_GAUGE, "controller_runtime_max_concurrent_reconciles",
                             "Looks at objects that may be in progress at once.", labels);
    metric_set(m->read[4], workers);
}

void queue_metrics_init(struct queue_metrics *m, const char *name, unsigned workers,
                        struct queue *q)
{
    AUTO(str) char *label = kube_label(name);
    AUTO(str) char *labels = xasprintf("name=\"%s\"", label);

    init_queue(m, labels, q);
    init_controller(m, label, workers, q);
}

void queue_metrics_clear(struct queue_metrics *m, const struct queue *q)
{
    for (size_t i = 0; i < ARRAY_LEN(m->read); i++) {
        kube_metric_unread(m->read[i], q);
    }
}
