#include "sidecar-proxy/state/recent.h"

#include <inttypes.h>
#include <string.h>

static struct recent_event *next_event(struct recent *r, enum recent_kind kind)
{
    struct recent_event *e = &r->events[r->event_count++ % RECENT_EVENTS];

    *e = (struct recent_event){.at_ms = r->now(r->now_arg).unix_ms, .kind = kind};
    return e;
}

/* Empties the seconds that have passed without an event. */
static size_t this_second(struct recent *r)
{
    int64_t second = r->now(r->now_arg).mono_ms / 1000;
    int64_t from = second - RECENT_SECONDS > r->second ? second - RECENT_SECONDS : r->second;

    for (int64_t s = from + 1; s <= second; s++) {
        r->came[s % RECENT_SECONDS] = 0;
        r->went[s % RECENT_SECONDS] = 0;
    }
    r->second = second;
    return (size_t)(second % RECENT_SECONDS);
}

static void fill_device(struct recent_event *e, const struct table_session *s)
{
    memcpy(e->uuid, s->device->uuid, strlen(s->device->uuid) + 1);
    memcpy(e->pool, s->instance->pool, sizeof(e->pool));
    e->index = s->instance->index;
    e->address = s->address;
}

static void on_up(void *arg, const struct table_session *s)
{
    struct recent *r = arg;

    if (r->now(r->now_arg).unix_ms - s->since_ms > RECENT_NEWS_MS) {
        return;
    }
    r->came[this_second(r)]++;
    fill_device(next_event(r, RECENT_ONLINE), s);
}

static void on_down(void *arg, const struct table_session *s, int64_t at_ms)
{
    struct recent *r = arg;

    r->went[this_second(r)]++;
    fill_device(next_event(r, RECENT_OFFLINE), s);
}

static const char *what_happened(const struct table_instance *i, bool gone)
{
    if (gone) {
        return "gone";
    }
    if (i->feed == NULL) {
        return "lost its feed";
    }
    return strcmp(i->phase, "draining") == 0 ? "draining" : i->synced ? "in step" : "greets";
}

static void on_instance(void *arg, const struct table_instance *i, bool gone)
{
    struct recent *r = arg;
    struct recent_event *e = next_event(r, RECENT_INSTANCE);

    memcpy(e->pool, i->pool, sizeof(e->pool));
    e->index = i->index;
    e->what = what_happened(i, gone);
}

void recent_init(struct recent *r, struct table *t, struct table_now (*now)(void *arg),
                 void *now_arg)
{
    *r = (struct recent){.table = t, .now = now, .now_arg = now_arg};
    r->second = now(now_arg).mono_ms / 1000;
    r->watcher = (struct table_watcher){
        .on_up = on_up, .on_down = on_down, .on_instance = on_instance, .arg = r};
    table_watch(t, &r->watcher);
}

void recent_clear(struct recent *r)
{
    table_unwatch(r->table, &r->watcher);
}

void recent_sample(struct recent *r)
{
    r->samples[r->sample_count++ % RECENT_SAMPLES] = (uint32_t)table_counts(r->table).devices;
}

const struct recent_event *recent_event(const struct recent *r, size_t n)
{
    if (n >= RECENT_EVENTS || n >= r->event_count) {
        return NULL;
    }
    return &r->events[(r->event_count - 1 - n) % RECENT_EVENTS];
}

void recent_rates(struct recent *r, uint32_t *came, uint32_t *went)
{
    this_second(r);
    *came = *went = 0;
    for (size_t s = 0; s < RECENT_SECONDS; s++) {
        *came += r->came[s];
        *went += r->went[s];
    }
}

static void render_event(struct buf *b, const struct recent_event *e)
{
    static const char *const kinds[] = {"online", "offline", "instance"};

    buf_printf(b, "{\"at\":%" PRId64 ",\"type\":\"%s\",\"pool\":\"%s\",\"index\":%" PRIu32,
               e->at_ms, kinds[e->kind], e->pool, e->index);
    if (e->kind == RECENT_INSTANCE) {
        buf_printf(b, ",\"what\":\"%s\"}", e->what);
    } else {
        buf_printf(b, ",\"uuid\":\"%s\",\"address\":\"%s\"}", e->uuid,
                   address_format(e->address).text);
    }
}

void recent_render(struct recent *r, struct buf *b)
{
    uint32_t came = 0, went = 0;
    uint64_t first = r->sample_count > RECENT_SAMPLES ? r->sample_count - RECENT_SAMPLES : 0;

    recent_rates(r, &came, &went);
    buf_printf(b, "{\"devices\":%zu,\"came\":%" PRIu32 ",\"went\":%" PRIu32 ",\"events\":[",
               table_counts(r->table).devices, came, went);
    for (size_t n = 0; recent_event(r, n) != NULL; n++) {
        buf_append_str(b, n > 0 ? "," : "");
        render_event(b, recent_event(r, n));
    }
    buf_append_str(b, "],\"samples\":[");
    for (uint64_t n = first; n < r->sample_count; n++) {
        buf_printf(b, "%s%" PRIu32, n > first ? "," : "", r->samples[n % RECENT_SAMPLES]);
    }
    buf_append_str(b, "]}");
}
