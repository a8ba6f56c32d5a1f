#include "controller/kube/kube_watch.h"

#include "common/http_client.h"
#include "controller/kube/kube_answer.h"
#include "controller/kube/kube_lines.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MARGIN_MS 5000        /* after the time at which the server is to end it */
#define LINE_EXTRA 1024       /* bytes of an event around its object */
#define SHORT_MS 1000         /* a watch that ends sooner, with nothing said, is a fault */
#define INITIAL_IDLE_MS 30000 /* initial events come at once, or this server does not send them */

struct kube_watch {
    struct kube_client *client;
    struct kube_call *call;
    struct loop_timer *initial; /* the end of the initial events is overdue */
    struct kube_lines lines;
    bool initial_events;
    bool in_event; /* on_event is on the stack */
    bool cancelled;
    int64_t started_ms;
    uint64_t events;
    bool broken;             /* our own reader ended the stream */
    struct err err;          /* why */
    enum kube_watch_end end; /* with err */
    void (*on_event)(void *arg, struct kube_watch_event *event);
    void (*on_end)(void *arg, enum kube_watch_end end, const char *text);
    void *arg;
};

static void watch_free(struct kube_watch *w)
{
    kube_call_cancel(w->call);
    loop_timer_close(w->initial);
    kube_lines_clear(&w->lines);
    free(w);
}

void kube_watch_cancel(struct kube_watch *w)
{
    if (w == NULL) {
        return;
    }
    if (w->in_event) { /* its line is still being read */
        w->cancelled = true;
    } else {
        watch_free(w);
    }
}

static void watch_end(struct kube_watch *w, enum kube_watch_end end, const char *text)
{
    void (*on_end)(void *arg, enum kube_watch_end end, const char *text) = w->on_end;
    void *arg = w->arg;

    watch_free(w);
    on_end(arg, end, text);
}

/* --- what comes in --- */

static int on_error_event(struct kube_watch *w, const struct kube_watch_event *e, struct err *err)
{
    bool gone =
        e->code == 410 || strcmp(e->reason, "Expired") == 0 || strcmp(e->reason, "Gone") == 0;

    w->end = gone ? KUBE_WATCH_GONE : KUBE_WATCH_FAILED;
    return err_text(err, -EREMOTEIO, "the stream says %d %s: %.200s", e->code, e->reason,
                    e->message);
}

static int on_line(void *arg, const char *line, size_t len, struct err *err)
{
    struct kube_watch *w = arg;
    struct kube_watch_event e;
    int r = kube_watch_event_parse(line, len, &e, err);

    if (r < 0) {
        return r;
    }
    w->events++;
    if (e.type == KUBE_WATCH_ERROR) {
        r = on_error_event(w, &e, err);
        kube_watch_event_clear(&e);
        return r;
    }
    if (e.initial_end) {
        loop_timer_stop(w->initial);
    }
    w->in_event = true;
    w->on_event(w->arg, &e);
    w->in_event = false;
    kube_watch_event_clear(&e);
    return w->cancelled ? -ECANCELED : 0;
}

static bool on_bytes(void *arg, const char *bytes, size_t len)
{
    struct kube_watch *w = arg;
    int r = kube_lines_feed(&w->lines, bytes, len, on_line, w, &w->err);

    if (w->cancelled) {
        watch_free(w); /* http_client sees that the call is gone */
        return false;
    }
    w->broken = r < 0;
    return r >= 0;
}

/* --- its end --- */

/* Servers that know no initial events say so in several ways. */
static bool is_refusal(const struct kube_answer *answer)
{
    switch (answer->status) {
    case 400:
    case 403:
    case 405:
    case 406:
    case 415:
    case 422:
    case 501:
        return true;
    default:
        return false;
    }
}

static enum kube_watch_end end_of(const struct kube_watch *w, const struct kube_answer *answer)
{
    if (kube_answer_lost_version(answer)) {
        return KUBE_WATCH_GONE;
    }
    if (w->initial_events && is_refusal(answer)) {
        return KUBE_WATCH_REFUSED;
    }
    return KUBE_WATCH_FAILED;
}

static void on_done(void *arg, struct kube_answer *answer)
{
    struct kube_watch *w = arg;
    bool is_short = w->events == 0 && clock_monotonic_ms() - w->started_ms < SHORT_MS;

    w->call = NULL;
    if (w->broken) {
        struct err err = w->err;
        watch_end(w, w->end, err.text);
    } else if (answer->outcome != KUBE_OK) {
        watch_end(w, end_of(w, answer), answer->text);
    } else if (w->lines.line.len > 0) {
        watch_end(w, KUBE_WATCH_FAILED, "the stream ends in the middle of an event");
    } else if (is_short) {
        watch_end(w, KUBE_WATCH_FAILED, "the stream ends at once, without an event");
    } else {
        watch_end(w, KUBE_WATCH_CLOSED, "");
    }
}

static void on_initial_overdue(void *arg)
{
    watch_end(arg, KUBE_WATCH_REFUSED, "initial events do not end");
}

/* --- its beginning --- */

static char *make_query(const struct kube_watch_options *o)
{
    AUTO(str) char *version = http_url_escape(o->resource_version);

    return xasprintf("watch=true&allowWatchBookmarks=true&timeoutSeconds=%u%s&resourceVersion=%s%s",
                     o->timeout_ms / 1000,
                     o->initial_events ? "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
                                       : "",
                     version, o->selectors);
}

static uint32_t margin_ms(uint32_t timeout_ms)
{
    return timeout_ms / 2 < MARGIN_MS ? timeout_ms / 2 : MARGIN_MS;
}

int kube_watch_start(struct kube_client *client, const struct kube_watch_options *options,
                     struct kube_watch **ret, struct err *err)
{
    struct kube_watch *w = xcalloc(1, sizeof(*w));
    AUTO(str) char *path = kube_path(options->resource, options->ns, NULL, NULL);
    AUTO(str) char *query = make_query(options);
    struct kube_request request = {
        .method = "GET",
        .path = path,
        .query = query,
        .on_done = on_done,
        .on_body = on_bytes,
        .timeout_ms = options->timeout_ms + margin_ms(options->timeout_ms),
        .arg = w,
    };

    w->client = client;
    w->initial_events = options->initial_events;
    w->started_ms = clock_monotonic_ms();
    w->end = KUBE_WATCH_FAILED;
    w->on_event = options->on_event;
    w->on_end = options->on_end;
    w->arg = options->arg;
    kube_lines_init(&w->lines, options->max_object_bytes + LINE_EXTRA);
    w->initial = loop_timer_new(kube_client_loop(client), on_initial_overdue, w);
    if (options->initial_events) {
        loop_timer_start(w->initial, INITIAL_IDLE_MS, 0);
    }
    int r = kube_client_send(client, &request, &w->call, err);
    if (r < 0) {
        watch_free(w);
        return r;
    }
    *ret = w;
    return 0;
}
