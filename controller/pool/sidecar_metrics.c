#include "controller/pool/sidecar_metrics.h"

#include "common/http_client.h"
#include "common/metrics.h"
#include "common/metrics_merge.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#define ANSWER_MS 2000
#define SIDECARS_MAX 1024
#define SCRAPES_MAX 4 /* at once: Prometheus comes in pairs, and somebody may look with curl */
#define ONE_MAX ((size_t)1 << 20)
#define ALL_MAX ((size_t)64 << 20)

struct scrape;

struct question {
    struct scrape *scrape;
    unsigned index;
    struct http_call *call; /* NULL: answered */
    char *text;             /* owned; NULL: none */
};

struct scrape {
    struct sidecar_metrics *owner;
    struct http_exchange *x;
    struct question *questions; /* owned, in order of index */
    size_t count, open;
    struct loop_timer *done; /* when nobody was to be asked */
    struct scrape *next;
};

struct sidecar_metrics {
    struct loop *loop;
    char *folder;
    struct http_client *http;
    struct scrape *scrapes;
    size_t scrape_count;
};

unsigned sidecar_metrics_index(const char *file_name)
{
    unsigned index = 0;
    int end = 0;

    if (strncmp(file_name, "sidecar-", 8) != 0 || !isdigit((unsigned char)file_name[8]) ||
        sscanf(file_name + 8, "%5u.sock%n", &index, &end) != 1 || end == 0 ||
        file_name[8 + end] != '\0') {
        return 0;
    }
    return index;
}

static void scrape_free(struct scrape *s)
{
    struct scrape **at = &s->owner->scrapes;

    while (*at != s) {
        at = &(*at)->next;
    }
    *at = s->next;
    s->owner->scrape_count--;
    for (size_t i = 0; i < s->count; i++) {
        if (s->questions[i].call != NULL) {
            http_call_cancel(s->questions[i].call);
        }
        free(s->questions[i].text);
    }
    loop_timer_close(s->done);
    free(s->questions);
    free(s);
}

static void finish(void *arg)
{
    struct scrape *s = arg;
    struct metrics_merge *merge = metrics_merge_new();
    AUTO(buf) struct buf out;
    char label[32];

    buf_init(&out, ALL_MAX);
    for (size_t i = 0; i < s->count; i++) {
        if (s->questions[i].text != NULL) {
            snprintf(label, sizeof(label), "index=\"%u\"", s->questions[i].index);
            metrics_merge_add(merge, s->questions[i].text, label);
        }
    }
    int r = metrics_merge_render(merge, &out);
    http_reply(s->x, r == 0 ? 200 : 500, METRICS_CONTENT_TYPE, buf_str(&out), out.len, NULL);
    metrics_merge_free(merge);
    scrape_free(s);
}

static void on_answer(void *arg, int result, const struct http_response *res, const struct err *err)
{
    struct question *q = arg;

    q->call = NULL;
    if (result == 0 && res->status == 200) {
        q->text = xstrdup(res->body);
    }
    if (--q->scrape->open == 0) {
        finish(q->scrape);
    }
}

static void ask(struct question *q)
{
    struct sidecar_metrics *m = q->scrape->owner;
    AUTO(str) char *socket = xasprintf("%s/sidecar-%u.sock", m->folder, q->index);
    const struct http_request request = {.method = "GET",
                                         .url = "http://localhost/metrics",
                                         .unix_socket = socket,
                                         .timeout_ms = ANSWER_MS,
                                         .on_done = on_answer,
                                         .arg = q};

    if (http_client_send(m->http, &request, &q->call, NULL) == 0) {
        q->scrape->open++;
    } else {
        q->call = NULL;
    }
}

static int by_index(const void *a, const void *b)
{
    unsigned x = ((const struct question *)a)->index;
    unsigned y = ((const struct question *)b)->index;

    return (x > y) - (x < y);
}

static void find_sidecars(struct scrape *s)
{
    DIR *folder = opendir(s->owner->folder);

    s->questions = xcalloc(SIDECARS_MAX, sizeof(*s->questions));
    if (folder == NULL) {
        return;
    }
    for (const struct dirent *e; s->count < SIDECARS_MAX && (e = readdir(folder)) != NULL;) {
        unsigned index = sidecar_metrics_index(e->d_name);
        if (index > 0) {
            s->questions[s->count++] = (struct question){.scrape = s, .index = index};
        }
    }
    closedir(folder);
    qsort(s->questions, s->count, sizeof(*s->questions), by_index);
}

void sidecar_metrics_answer(struct sidecar_metrics *m, struct http_exchange *x)
{
    if (m->scrape_count >= SCRAPES_MAX) {
        http_reply(x, 503, NULL, "busy\n", 5, "Retry-After: 5");
        return;
    }
    struct scrape *s = xcalloc(1, sizeof(*s));
    *s = (struct scrape){.owner = m, .x = x, .next = m->scrapes};
    m->scrapes = s;
    m->scrape_count++;
    s->done = loop_timer_new(m->loop, finish, s);
    find_sidecars(s);
    for (size_t i = 0; i < s->count; i++) {
        ask(&s->questions[i]);
    }
    if (s->open == 0) {
        loop_timer_start(s->done, 0, 0);
    }
}

int sidecar_metrics_new(struct loop *loop, const char *folder, struct sidecar_metrics **ret,
                        struct err *err)
{
    const struct http_client_options options = {.max_response = ONE_MAX};
    struct sidecar_metrics *m = xcalloc(1, sizeof(*m));
    int r = http_client_new(loop, &options, &m->http, err);

    if (r < 0) {
        free(m);
        return r;
    }
    m->loop = loop;
    m->folder = xstrdup(folder);
    *ret = m;
    return 0;
}

/* Exchanges that are still open are answered, to nobody perhaps. */
void sidecar_metrics_close(struct sidecar_metrics *m)
{
    if (m == NULL) {
        return;
    }
    while (m->scrapes != NULL) {
        http_reply(m->scrapes->x, 503, NULL, "stopping\n", 9, NULL);
        scrape_free(m->scrapes);
    }
    http_client_close(m->http);
    free(m->folder);
    free(m);
}
