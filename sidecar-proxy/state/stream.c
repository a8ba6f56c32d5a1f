#include "sidecar-proxy/state/stream.h"

#include "common/buf.h"
#include "sidecar-proxy/state/render.h"
#include "sidecar-proxy/state/state_metrics.h"

#include <string.h>

static const char synced_line[] = "{\"type\":\"synced\"}\n";
static const char slow_line[] = "{\"type\":\"slow\"}\n";

struct stream {
    struct streams *owner;
    struct http_exchange *x;
    struct stream *previous, *next;
    struct table_cursor cursor;
    struct stream_filter filter;
    uint32_t rows;
    bool walking; /* rows are still to come */
    bool watch;   /* and then events */
};

struct streams {
    struct table *table;
    struct table_watcher watcher;
    struct stream *first;
    size_t count;
    struct loop_timer *starter; /* writes a new stream's first rows, outside its handler */
};

static void stop_walking(struct stream *st)
{
    if (st->walking) {
        table_cursor_close(st->owner->table, &st->cursor);
        st->walking = false;
    }
}

static void stream_free(struct stream *st)
{
    stop_walking(st);
    *(st->previous != NULL ? &st->previous->next : &st->owner->first) = st->next;
    if (st->next != NULL) {
        st->next->previous = st->previous;
    }
    st->owner->count--;
    free(st);
}

static void on_gone(void *arg)
{
    stream_free(arg);
}

static void end(struct stream *st)
{
    struct http_exchange *x = st->x;

    stream_free(st);
    http_stream_end(x);
}

/* STREAM_QUEUE_MAX is below the server's own limit: there always is room for the last word. */
static void cut(struct stream *st)
{
    metric_inc(&state_metrics.streams_slow);
    http_stream_write(st->x, slow_line, sizeof(slow_line) - 1);
    end(st);
}

static bool passes(const struct stream_filter *f, const struct table_session *s)
{
    return (f->index == 0 || f->index == s->instance->index) &&
           strncmp(s->device->uuid, f->prefix, strlen(f->prefix)) == 0;
}

static bool write_row(struct stream *st, const struct table_session *s)
{
    AUTO(buf) struct buf b;

    buf_init(&b, RENDER_LINE_MAX);
    render_session(&b, st->watch ? "up" : NULL, s, -1);
    buf_append_str(&b, "\n");
    st->rows++;
    return http_stream_write(st->x, buf_str(&b), b.len) == 0;
}

/* The walk is over: the watch goes on, the list is done. */
static void walked(struct stream *st)
{
    stop_walking(st);
    if (!st->watch) {
        end(st);
        return;
    }
    if (http_stream_write(st->x, synced_line, sizeof(synced_line) - 1) < 0) {
        cut(st);
    }
}

static void walk(void *arg)
{
    struct stream *st = arg;

    while (st->walking && http_stream_queued(st->x) < STREAM_CHUNK_BYTES) {
        const struct table_session *s = table_cursor_next(&st->cursor);
        bool more = s != NULL && (st->filter.limit == 0 || st->rows < st->filter.limit);
        if (!more) {
            walked(st);
            return;
        }
        if (passes(&st->filter, s) && !write_row(st, s)) {
            cut(st);
            return;
        }
    }
}

static void broadcast(struct streams *s, const struct buf *line)
{
    struct stream *next = NULL;

    for (struct stream *st = s->first; st != NULL; st = next) {
        next = st->next;
        if (st->watch && (http_stream_queued(st->x) + line->len > STREAM_QUEUE_MAX ||
                          http_stream_write(st->x, buf_str(line), line->len) < 0)) {
            cut(st);
        }
    }
}

static void on_up(void *arg, const struct table_session *s)
{
    if (((struct streams *)arg)->count == 0) { /* the usual case: nothing to be written */
        return;
    }
    AUTO(buf) struct buf b;
    buf_init(&b, RENDER_LINE_MAX);
    render_session(&b, "up", s, -1);
    buf_append_str(&b, "\n");
    broadcast(arg, &b);
}

static void on_down(void *arg, const struct table_session *s, int64_t at_ms)
{
    if (((struct streams *)arg)->count == 0) {
        return;
    }
    AUTO(buf) struct buf b;
    buf_init(&b, RENDER_LINE_MAX);
    render_session(&b, "down", s, at_ms);
    buf_append_str(&b, "\n");
    broadcast(arg, &b);
}

static void on_instance(void *arg, const struct table_instance *i, bool gone)
{
    AUTO(buf) struct buf b;

    buf_init(&b, RENDER_LINE_MAX);
    render_instance(&b, "instance", i, gone);
    buf_append_str(&b, "\n");
    broadcast(arg, &b);
}

static void start_all(void *arg)
{
    struct streams *s = arg;
    struct stream *next = NULL;

    for (struct stream *st = s->first; st != NULL; st = next) {
        next = st->next;
        walk(st);
    }
}

static void begin(struct streams *s, struct http_exchange *x, const struct stream_filter *filter,
                  bool watch)
{
    if (s->count >= STREAMS_MAX) {
        static const char body[] = "{\"error\":\"too many streams\"}";
        metric_inc(&state_metrics.streams_refused);
        http_reply(x, 503, "application/json", body, sizeof(body) - 1, "Retry-After: 1");
        return;
    }
    struct stream *st = xcalloc(1, sizeof(*st));
    *st = (struct stream){
        .owner = s, .x = x, .next = s->first, .filter = *filter, .walking = true, .watch = watch};
    if (s->first != NULL) {
        s->first->previous = st;
    }
    s->first = st;
    s->count++;
    table_cursor_open(s->table, &st->cursor);
    http_stream_begin(x, 200, STREAM_CONTENT_TYPE, walk, on_gone, st);
    loop_timer_start(s->starter, 0, 0);
}

void streams_list(struct streams *s, struct http_exchange *x, const struct stream_filter *filter)
{
    begin(s, x, filter, false);
}

void streams_watch(struct streams *s, struct http_exchange *x)
{
    begin(s, x, &(struct stream_filter){0}, true);
}

size_t streams_count(const struct streams *s)
{
    return s->count;
}

struct streams *streams_new(struct loop *loop, struct table *table)
{
    struct streams *s = xcalloc(1, sizeof(*s));

    s->table = table;
    s->starter = loop_timer_new(loop, start_all, s);
    s->watcher = (struct table_watcher){
        .on_up = on_up, .on_down = on_down, .on_instance = on_instance, .arg = s};
    table_watch(table, &s->watcher);
    return s;
}

void streams_free(struct streams *s)
{
    while (s->first != NULL) { /* their exchanges ended with the server */
        stream_free(s->first);
    }
    table_unwatch(s->table, &s->watcher);
    loop_timer_close(s->starter);
    free(s);
}
