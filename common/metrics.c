#include "common/metrics.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

static struct metric *metrics_first;
static pthread_mutex_t metrics_lock = PTHREAD_MUTEX_INITIALIZER;

static int compare(const struct metric *a, const struct metric *b)
{
    int names = strcmp(a->name, b->name);

    if (names != 0) {
        return names;
    }
    return strcmp(a->labels != NULL ? a->labels : "", b->labels != NULL ? b->labels : "");
}

void metrics_register(struct metric *m)
{
    assert(m->kind != METRIC_HISTOGRAM ||
           (m->bucket_count > 0 && m->bucket_count <= METRIC_BUCKETS_MAX));
    pthread_mutex_lock(&metrics_lock);
    struct metric **at = &metrics_first;
    while (*at != NULL && compare(*at, m) < 0) {
        at = &(*at)->next;
    }
    if (*at != m) { /* registering twice is harmless */
        m->next = *at;
        *at = m;
    }
    pthread_mutex_unlock(&metrics_lock);
}

void metric_inc(struct metric *m)
{
    metric_add(m, 1);
}

void metric_add(struct metric *m, int64_t n)
{
    atomic_fetch_add_explicit(&m->value, n, memory_order_relaxed);
}

void metric_set(struct metric *m, int64_t value)
{
    atomic_store_explicit(&m->value, value, memory_order_relaxed);
}

int64_t metric_value(const struct metric *m)
{
    return atomic_load_explicit(&m->value, memory_order_relaxed);
}

void metric_observe(struct metric *m, double value)
{
    size_t i = 0;

    while (i < m->bucket_count && value > m->buckets[i]) {
        i++;
    }
    atomic_fetch_add_explicit(&m->hits[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&m->sum_micro, llround(value * 1e6), memory_order_relaxed);
}

static int render_head(struct buf *out, const struct metric *m)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};

    return buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", m->name, m->help, m->name,
                      kinds[m->kind]);
}

static int render_histogram(struct buf *out, const struct metric *m)
{
    const char *labels = m->labels != NULL ? m->labels : "";
    const char *comma = labels[0] != '\0' ? "," : "";
    const char *open = labels[0] != '\0' ? "{" : "";
    const char *close = labels[0] != '\0' ? "}" : "";
    uint64_t count = 0;
    int r = 0;

    for (size_t i = 0; i < m->bucket_count && r == 0; i++) {
        count += atomic_load_explicit(&m->hits[i], memory_order_relaxed);
        r = buf_printf(out, "%s_bucket{%s%sle=\"%g\"} %llu\n", m->name, labels, comma,
                       m->buckets[i], (unsigned long long)count);
    }
    count += atomic_load_explicit(&m->hits[m->bucket_count], memory_order_relaxed);
    double sum = (double)atomic_load_explicit(&m->sum_micro, memory_order_relaxed) / 1e6;
    if (r == 0) {
        r = buf_printf(out,
                       "%s_bucket{%s%sle=\"+Inf\"} %llu\n%s_sum%s%s%s %.6f\n%s_count%s%s%s %llu\n",
                       m->name, labels, comma, (unsigned long long)count, m->name, open, labels,
                       close, sum, m->name, open, labels, close, (unsigned long long)count);
    }
    return r;
}

static int render_series(struct buf *out, const struct metric *m)
{
    if (m->kind == METRIC_HISTOGRAM) {
        return render_histogram(out, m);
    }
    double value = m->read != NULL ? m->read(m->arg) : (double)metric_value(m);
    if (m->labels != NULL) {
        return buf_printf(out, "%s{%s} %.17g\n", m->name, m->labels, value);
    }
    return buf_printf(out, "%s %.17g\n", m->name, value);
}

int metrics_render(struct buf *out)
{
    const char *last = "";
    int r = 0;

    pthread_mutex_lock(&metrics_lock);
    for (const struct metric *m = metrics_first; m != NULL && r == 0; m = m->next) {
        if (strcmp(last, m->name) != 0) {
            r = render_head(out, m);
            last = m->name;
        }
        if (r == 0) {
            r = render_series(out, m);
        }
    }
    pthread_mutex_unlock(&metrics_lock);
    return r;
}
