#include "controller/kube/kube_query.h"
#include "controller/kube/kube_store_priv.h"

#include <errno.h>
#include <string.h>

#define MAX_OBJECTS 20000
#define MAX_OBJECT_BYTES ((size_t)4 << 20)
#define WATCH_MS (5 * 60 * 1000)
/* client-go waits 0.8..30 s, times 1..2. Here no wait is over 30 s: what happened meanwhile is to
 * be known 30 s after the server is back. */
#define BACKOFF_FIRST_MS 1600
#define BACKOFF_LAST_MS (30 * 1000)
#define FLAP_MS 2000

/* --- the periodic look at everything --- */

static void arm_resync(struct kube_store *s)
{
    uint32_t ms = s->options.resync_ms;

    if (ms > 0) {
        loop_timer_start(s->resync, backoff_between(ms - ms / 10, ms + ms / 10), 0);
    }
}

static void on_resync(void *arg)
{
    struct kube_store *s = arg;

    arm_resync(s);
    if (s->synced && s->options.on_resync != NULL) {
        s->options.on_resync(s->options.arg);
    }
}

/* --- from outside --- */

static double read_size(void *arg)
{
    const struct kube_store *s = arg;

    return (double)s->objects.names.count;
}

static double read_left_out(void *arg)
{
    const struct kube_store *s = arg;

    return (double)s->objects.left_out;
}

static void register_metrics(struct kube_store *s)
{
    AUTO(str) char *plural = kube_label(s->options.resource->plural);
    AUTO(str) char *labels = xasprintf("resource=\"%s\"", plural);

    s->size =
        kube_metric_read("kube_store_objects", "Objects that are followed.", labels, read_size, s);
    s->relists = kube_metric(METRIC_COUNTER, "kube_store_lists_total",
                             "Times that all objects were asked for.", labels);
    s->failures = kube_metric(METRIC_COUNTER, "kube_store_failures_total",
                              "Lists and watches that failed.", labels);
    s->events = kube_metric(METRIC_COUNTER, "kube_store_events_total", "Changes that watches told.",
                            labels);
    s->left_out =
        kube_metric_read("kube_store_left_out",
                         "Times since the last list that an object over the maximum was not kept.",
                         labels, read_left_out, s);
}

static char *copy(const char *text)
{
    return text != NULL ? xstrdup(text) : NULL;
}

static void take_options(struct kube_store *s, const struct kube_store_options *options)
{
    s->options = *options;
    s->options.ns = copy(options->ns);
    s->options.label_selector = copy(options->label_selector);
    s->options.field_selector = copy(options->field_selector);
    if (s->options.max_objects == 0) {
        s->options.max_objects = MAX_OBJECTS;
    }
    if (s->options.max_object_bytes == 0) {
        s->options.max_object_bytes = MAX_OBJECT_BYTES;
    }
    if (s->options.watch_ms == 0) {
        s->options.watch_ms = WATCH_MS;
    }
    s->selectors = kube_selectors(options->label_selector, options->field_selector);
}

int kube_store_open(struct kube_client *client, const struct kube_store_options *options,
                    struct kube_store **ret, struct err *err)
{
    if (options->resource == NULL || (options->drop != NULL && options->keep == NULL)) {
        return err_text(err, -EINVAL, "a store needs a resource, and drop() needs keep()");
    }
    struct kube_store *s = xcalloc(1, sizeof(*s));
    s->loop = kube_client_loop(client);
    s->client = client;
    take_options(s, options);
    s->use_list = options->no_watch_list;
    s->backoff = (struct backoff){
        .first_ms = options->first_wait_ms > 0 ? options->first_wait_ms : BACKOFF_FIRST_MS,
        .last_ms = BACKOFF_LAST_MS,
    };
    s->failed_ms = s->followed_ms = INT64_MIN;
    kube_objects_init(&s->objects, &s->options, &s->closed);
    register_metrics(s);
    s->timer = loop_timer_new(s->loop, kube_store_on_timer, s);
    s->resync = loop_timer_new(s->loop, on_resync, s);
    s->listener = (struct kube_listener){.fn = kube_store_on_server_back, .arg = s};
    kube_client_listen(client, &s->listener);
    arm_resync(s);
    kube_store_begin(s);
    *ret = s;
    return 0;
}

static void store_free(void *arg)
{
    struct kube_store *s = arg;

    kube_objects_clear(&s->objects);
    free((char *)s->options.ns);
    free((char *)s->options.label_selector);
    free((char *)s->options.field_selector);
    free(s->selectors);
    free(s->version);
    free(s);
}

/* Our own frames may be on the stack: the memory goes with the loop's next round. */
void kube_store_close(struct kube_store *s)
{
    if (s == NULL || s->closed) {
        return;
    }
    s->closed = true;
    kube_metric_unread(s->size, s);
    kube_metric_unread(s->left_out, s);
    kube_client_unlisten(s->client, &s->listener);
    kube_list_cancel(s->list);
    kube_watch_cancel(s->watch);
    loop_timer_close(s->timer);
    loop_timer_close(s->resync);
    loop_post(s->loop, store_free, s);
}

const struct kube_object *kube_store_get(const struct kube_store *s, const char *name)
{
    return kube_objects_get(&s->objects, name);
}

size_t kube_store_count(const struct kube_store *s)
{
    return s->objects.names.count;
}

bool kube_store_synced(const struct kube_store *s)
{
    return s->synced;
}

bool kube_store_following(const struct kube_store *s)
{
    return s->state == STORE_STREAMING ||
           (s->followed_ms != INT64_MIN && clock_monotonic_ms() - s->followed_ms < FLAP_MS);
}

bool kube_store_next(struct kube_store_iter *iter)
{
    if (iter->in.map == NULL) {
        iter->in.map = &iter->store->objects.names;
    }
    if (!hashmap_next(&iter->in)) {
        return false;
    }
    iter->object = iter->in.value;
    return true;
}
