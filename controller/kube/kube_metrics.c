#include "controller/kube/kube_metrics.h"

#include "common/hashmap.h"

#include <string.h>

static struct hashmap series; /* "name{labels" to struct metric */

static struct metric *find_or_add(const struct metric *like)
{
    static struct metric overflow = {.name = "", .help = ""};
    const char *labels = like->labels != NULL ? like->labels : "";
    AUTO(str) char *key = xasprintf("%s{%s", like->name, labels);
    struct metric *m = hashmap_get(&series, key);

    if (m != NULL) {
        return m;
    }
    if (series.count >= KUBE_SERIES_MAX) {
        return &overflow;
    }
    m = xmalloc(sizeof(*m));
    *m = *like;
    m->labels = like->labels != NULL ? xstrdup(like->labels) : NULL;
    hashmap_put(&series, MOVE(key), m);
    metrics_register(m);
    return m;
}

struct metric *kube_metric(enum metric_kind kind, const char *name, const char *help,
                           const char *labels)
{
    struct metric like = {.name = name, .help = help, .labels = labels, .kind = kind};

    return find_or_add(&like);
}

struct metric *kube_histogram(const char *name, const char *help, const char *labels,
                              const double *bounds, size_t count)
{
    struct metric like = {.name = name, .help = help, .labels = labels, .kind = METRIC_HISTOGRAM};

    memcpy(like.buckets, bounds, count * sizeof(*bounds));
    like.bucket_count = count;
    return find_or_add(&like);
}

struct metric *kube_metric_read(const char *name, const char *help, const char *labels,
                                double (*read)(void *arg), void *arg)
{
    struct metric *m = kube_metric(METRIC_GAUGE, name, help, labels);

    m->arg = arg;
    m->read = read;
    return m;
}

void kube_metric_unread(struct metric *m, const void *arg)
{
    if (m->arg == arg) { /* else a later one of that name reads it */
        m->read = NULL;
        m->arg = NULL;
    }
}

char *kube_label(const char *text)
{
    char *label = xmalloc(strlen(text) * 2 + 1);
    char *to = label;

    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\') {
            *to++ = '\\';
        }
        *to++ = (unsigned char)*text < ' ' ? '_' : *text;
    }
    *to = '\0';
    return label;
}
