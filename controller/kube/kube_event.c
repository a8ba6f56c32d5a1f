#include "controller/kube/kube_event.h"

#include "common/hashmap.h"
#include "common/secret.h"
#include "controller/kube/kube_event_limits.h"
#include "controller/kube/kube_metrics.h"
#include "controller/kube/kube_time.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NOTE_MAX 1024 /* bytes; figures of the API */
#define NAME_PART_MAX 200
#define SERIES_MAX 2000 /* in memory */
#define SERIES_IDLE_MS (6 * 60 * 1000)
#define TELL_COUNTS_MS (30 * 1000)
#define IN_FLIGHT_MAX 50
#define FLUSH_MS 2000

/* The same said again: one Event, and a count. */
struct series {
    char *key;  /* object, type, reason, action, note */
    char *path; /* of the Event */
    unsigned count;
    unsigned told; /* count that the server knows; 0: not even the Event */
    bool writing;
    int64_t last_ms; /* Unix time */
};

struct write {
    struct kube_event_writer *writer;
    struct series *series; /* NULL: it was forgotten meanwhile */
    unsigned count;
    struct kube_call *call;
    struct write *prev, *next;
};

struct kube_event_writer {
    struct loop *loop;
    struct kube_client *client;
    char *controller, *instance;
    struct hashmap series;
    struct kube_event_limits limits;
    struct write *writes;
    size_t in_flight;
    struct loop_timer *tick;
    struct loop_timer *flush; /* kube_event_flush() */
    void (*on_flushed)(void *arg);
    void *flushed_arg;
    struct metric *written, *dropped, *failed;
};

/* --- forgetting --- */

static void series_free(struct kube_event_writer *w, struct series *s)
{
    for (struct write *write = w->writes; write != NULL; write = write->next) {
        if (write->series == s) {
            write->series = NULL;
        }
    }
    free(s->key);
    free(s->path);
    free(s);
}

static void forget_old(struct kube_event_writer *w)
{
    int64_t now = clock_realtime_ms();

    for (struct hashmap_iter i = {.map = &w->series}; hashmap_next(&i);) {
        struct series *s = i.value;
        if (now - s->last_ms > SERIES_IDLE_MS && s->count == s->told) {
            hashmap_remove(&w->series, s->key);
            series_free(w, s);
        }
    }
    kube_event_limits_forget(&w->limits, clock_monotonic_ms());
}

/* --- writing --- */

static void write_end(struct write *write)
{
    struct kube_event_writer *w = write->writer;

    if (write->prev != NULL) {
        write->prev->next = write->next;
    } else {
        w->writes = write->next;
    }
    if (write->next != NULL) {
        write->next->prev = write->prev;
    }
    w->in_flight--;
    free(write);
}

static bool is_idle(const struct kube_event_writer *w)
{
    return w->in_flight == 0;
}

static void check_flushed(struct kube_event_writer *w)
{
    if (w->on_flushed != NULL && is_idle(w)) {
        loop_timer_start(w->flush, 0, 0);
    }
}

/* One that could not be written is as if never said: the next time it is written anew. */
static void on_written(void *arg, struct kube_answer *answer)
{
    struct write *write = arg;
    struct kube_event_writer *w = write->writer;
    struct series *s = write->series;

    metric_inc(answer->outcome == KUBE_OK ? w->written : w->failed);
    if (s != NULL) {
        s->writing = false;
    }
    if (s != NULL && answer->outcome == KUBE_OK) {
        s->told = write->count;
    } else if (s != NULL) {
        hashmap_remove(&w->series, s->key);
        series_free(w, s);
    }
    write_end(write);
    check_flushed(w);
}

static void send(struct kube_event_writer *w, struct series *s, const char *method,
                 const char *path, const char *content_type, const cJSON *body)
{
    if (w->in_flight >= IN_FLIGHT_MAX) {
        metric_inc(w->dropped);
        return;
    }
    struct write *write = xcalloc(1, sizeof(*write));
    char *text = cJSON_PrintUnformatted(body);
    struct kube_request request = {
        .method = method,
        .path = path,
        .body = text,
        .content_type = content_type,
        .on_done = on_written,
        .arg = write,
    };
    *write = (struct write){.writer = w, .series = s, .count = s->count, .next = w->writes};
    if (w->writes != NULL) {
        w->writes->prev = write;
    }
    w->writes = write;
    w->in_flight++;
    s->writing = true;
    if (kube_client_send(w->client, &request, &write->call, NULL) < 0) {
        s->writing = false;
        metric_inc(w->dropped);
        write_end(write);
    }
    cJSON_free(text);
}

static void tell_count(struct kube_event_writer *w, struct series *s)
{
    AUTO(json) cJSON *patch = cJSON_CreateObject();
    cJSON *series = cJSON_AddObjectToObject(patch, "series");

    cJSON_AddNumberToObject(series, "count", s->count);
    cJSON_AddStringToObject(series, "lastObservedTime", kube_time_micro(s->last_ms).text);
    send(w, s, "PATCH", s->path, KUBE_MERGE_PATCH, patch);
}

static void tell_counts(struct kube_event_writer *w)
{
    for (struct hashmap_iter i = {.map = &w->series}; hashmap_next(&i);) {
        struct series *s = i.value;
        if (s->told > 0 && s->count > s->told && !s->writing) {
            tell_count(w, s);
        }
    }
}

static void arm(struct kube_event_writer *w)
{
    if (!loop_timer_active(w->tick)) {
        loop_timer_start(w->tick, TELL_COUNTS_MS, 0);
    }
}

static void on_tick(void *arg)
{
    struct kube_event_writer *w = arg;

    tell_counts(w);
    forget_old(w);
    if (w->series.count + kube_event_limits_count(&w->limits) > 0) {
        arm(w);
    }
}

/* --- an event --- */

static void cut(char *text, size_t max)
{
    if (strlen(text) <= max) {
        return;
    }
    while (max > 0 && ((unsigned char)text[max] & 0xc0) == 0x80) {
        max--;
    }
    text[max] = '\0';
}

static cJSON *make_event(const struct kube_event_writer *w, const struct kube_event_about *about,
                         const char *name, const char *type, const char *reason, const char *action,
                         const char *note)
{
    cJSON *event = cJSON_CreateObject();
    cJSON *metadata = cJSON_AddObjectToObject(event, "metadata");

    cJSON_AddStringToObject(event, "apiVersion", "events.k8s.io/v1");
    cJSON_AddStringToObject(event, "kind", "Event");
    cJSON_AddStringToObject(metadata, "name", name);
    cJSON_AddStringToObject(metadata, "namespace", about->ns);
    cJSON_AddStringToObject(event, "eventTime", kube_time_micro(clock_realtime_ms()).text);
    cJSON_AddStringToObject(event, "type", type);
    cJSON_AddStringToObject(event, "reason", reason);
    cJSON_AddStringToObject(event, "action", action);
    cJSON_AddStringToObject(event, "note", note);
    cJSON_AddStringToObject(event, "reportingController", w->controller);
    cJSON_AddStringToObject(event, "reportingInstance", w->instance);
    cJSON *regarding = cJSON_AddObjectToObject(event, "regarding");
    cJSON_AddStringToObject(regarding, "apiVersion", about->api_version);
    cJSON_AddStringToObject(regarding, "kind", about->kind);
    cJSON_AddStringToObject(regarding, "namespace", about->ns);
    cJSON_AddStringToObject(regarding, "name", about->name);
    cJSON_AddStringToObject(regarding, "uid", about->uid);
    return event;
}

static char *make_name(const struct kube_event_about *about)
{
    uint64_t random;

    secret_random(&random, sizeof(random));
    return xasprintf("%.*s.%016llx", NAME_PART_MAX, about->name, (unsigned long long)random);
}

static void say_first(struct kube_event_writer *w, const struct kube_event_about *about,
                      const char *key, const char *type, const char *reason, const char *action,
                      const char *note)
{
    AUTO(str)
    char *source = xasprintf("%s %s", about->uid, type); /* faults are told in a busy hour, too */

    if (w->series.count >= SERIES_MAX ||
        !kube_event_limits_write(&w->limits, source, clock_monotonic_ms())) {
        metric_inc(w->dropped);
        return;
    }
    AUTO(str) char *name = make_name(about);
    AUTO(str) char *all = kube_path(&kube_events, about->ns, NULL, NULL);
    AUTO(json)
    cJSON *event = make_event(w, about, name, type, reason, action, note);
    struct series *s = xcalloc(1, sizeof(*s));
    *s = (struct series){
        .key = xstrdup(key),
        .path = kube_path(&kube_events, about->ns, name, NULL),
        .count = 1,
        .last_ms = clock_realtime_ms(),
    };
    hashmap_put(&w->series, s->key, s);
    send(w, s, "POST", all, KUBE_JSON, event);
    if (!s->writing) { /* too much is under way */
        hashmap_remove(&w->series, s->key);
        series_free(w, s);
    }
    arm(w);
}

static bool is_again(struct kube_event_writer *w, const char *key)
{
    struct series *s = hashmap_get(&w->series, key);

    if (s == NULL) {
        return false;
    }
    s->count++;
    s->last_ms = clock_realtime_ms();
    arm(w);
    return true;
}

static void say(struct kube_event_writer *w, const struct kube_event_about *about, const char *type,
                const char *reason, const char *action, const char *note)
{
    AUTO(str)
    char *matter = xasprintf("%s\n%s\n%s\n%s", about->uid, type, reason, action);
    AUTO(str) char *key = xasprintf("%s\n%s", matter, note);

    if (is_again(w, key)) {
        return;
    }
    if (kube_event_limits_note(&w->limits, matter, clock_monotonic_ms())) {
        say_first(w, about, key, type, reason, action, note);
        return;
    }
    AUTO(str) char *combined = xasprintf("(combined from similar events): %s", note);
    cut(combined, NOTE_MAX);
    if (!is_again(w, matter)) {
        say_first(w, about, matter, type, reason, action, combined);
    }
}

void kube_event(struct kube_event_writer *w, const struct kube_event_about *about,
                enum kube_event_type type, const char *reason, const char *action, const char *note,
                ...)
{
    va_list args;
    AUTO(str) char *text = NULL;

    va_start(args, note);
    if (vasprintf(&text, note, args) < 0) {
        abort(); /* out of memory, as in xmalloc() */
    }
    va_end(args);
    cut(text, NOTE_MAX);
    say(w, about, type == KUBE_EVENT_WARNING ? "Warning" : "Normal", reason, action, text);
}

/* --- from outside --- */

static void on_flush(void *arg)
{
    struct kube_event_writer *w = arg;
    void (*fn)(void *) = w->on_flushed;

    w->on_flushed = NULL;
    if (fn != NULL) {
        fn(w->flushed_arg);
    }
}

void kube_event_flush(struct kube_event_writer *w, void (*on_flushed)(void *arg), void *arg)
{
    w->on_flushed = on_flushed;
    w->flushed_arg = arg;
    tell_counts(w);
    loop_timer_start(w->flush, is_idle(w) ? 0 : FLUSH_MS, 0);
}

struct kube_event_writer *kube_event_writer_new(struct loop *loop,
                                                const struct kube_event_options *options)
{
    struct kube_event_writer *w = xcalloc(1, sizeof(*w));

    w->loop = loop;
    w->client = options->client;
    w->controller = xstrdup(options->controller);
    w->instance = xstrdup(options->instance);
    cut(w->instance, 128);
    hashmap_init(&w->series);
    kube_event_limits_init(&w->limits);
    w->tick = loop_timer_new(loop, on_tick, w);
    w->flush = loop_timer_new(loop, on_flush, w);
    w->written = kube_metric(METRIC_COUNTER, "kube_events_total",
                             "Events that were to be written, by result.", "result=\"written\"");
    w->dropped = kube_metric(METRIC_COUNTER, "kube_events_total",
                             "Events that were to be written, by result.", "result=\"dropped\"");
    w->failed = kube_metric(METRIC_COUNTER, "kube_events_total",
                            "Events that were to be written, by result.", "result=\"failed\"");
    return w;
}

void kube_event_writer_close(struct kube_event_writer *w)
{
    if (w == NULL) {
        return;
    }
    while (w->writes != NULL) {
        kube_call_cancel(w->writes->call);
        write_end(w->writes);
    }
    for (struct hashmap_iter i = {.map = &w->series}; hashmap_next(&i);) {
        series_free(w, i.value);
    }
    hashmap_clear(&w->series);
    kube_event_limits_clear(&w->limits);
    loop_timer_close(w->tick);
    loop_timer_close(w->flush);
    free(w->controller);
    free(w->instance);
    free(w);
}
