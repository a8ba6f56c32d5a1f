#include "controller/pool/burials.h"

#include "common/log.h"
#include "common/metrics.h"

#include <stdio.h>
#include <string.h>

#define PAUSE_FIRST_MS 1000
#define PAUSE_MAX_MS 60000

struct burials {
    struct loop *loop;
    struct balena_api *api;
    struct burials_store store;
    struct burial items[BURIALS_MAX]; /* oldest first */
    size_t count;
    size_t pending;        /* as counted into the metric */
    struct api_call *call; /* of the burial of current */
    int64_t current;       /* service id, 0: none */
    int64_t last; /* the one tried before, so that one that fails does not hold up others */
    size_t reported;
    uint32_t pause_ms;
    struct loop_timer *timer;
    struct loop_timer *notify; /* on_change, so that it never runs inside a call of the owner's */
    char why[ERR_TEXT_MAX];
    loop_fn on_change;
    void *arg;
};

static struct metric done_total = {
    .name = "vpn_burials_total",
    .help = "Service instances of ours whose devices the API lists no more.",
    .kind = METRIC_COUNTER,
};
static struct metric given_up_total = {
    .name = "vpn_burials_given_up_total",
    .help = "Burials dropped because too many waited.",
    .kind = METRIC_COUNTER,
};
static struct metric pending = {
    .name = "vpn_burials_pending",
    .help = "Service instances that wait for their burial.",
    .kind = METRIC_GAUGE,
};
static bool registered;

/* --- keeping --- */

static int save(struct burials *b, struct err *err)
{
    size_t before = b->pending;

    b->pending = burials_count_pending(b);
    metric_add(&pending, (int64_t)b->pending - (int64_t)before);
    return b->store.save(b->store.arg, b->items, b->count, err);
}

static void save_or_log(struct burials *b)
{
    struct err err;

    if (save(b, &err) < 0) { /* it is done at worst twice after a restart: harmless */
        log_error("burials are not kept", "why", err.text, NULL);
    }
}

/* --- a burial: list, report, list again until there is none --- */

static void bury_next(struct burials *b);
static void list_devices(struct burials *b);

static struct burial *find(const struct burials *b, int64_t service_id)
{
    for (size_t i = 0; i < b->count; i++) {
        if (b->items[i].service_id == service_id) {
            return (struct burial *)&b->items[i];
        }
    }
    return NULL;
}

static void drop(struct burials *b, struct burial *item)
{
    size_t at = (size_t)(item - b->items);

    memmove(item, item + 1, (b->count - at - 1) * sizeof(*item));
    b->count--;
}

static void done(struct burials *b)
{
    struct burial *item = find(b, b->current);

    log_info("the API lists no device under a service instance that is gone", "serviceId",
             NUM(b->current), "reported", NUM(b->reported), NULL);
    metric_inc(&done_total);
    if (item != NULL) {
        drop(b, item);
        save_or_log(b);
    }
    b->pause_ms = 0;
    b->why[0] = '\0';
    b->current = 0;
    bury_next(b);
    loop_timer_start(b->notify, 0, 0);
}

static void failed(struct burials *b, const char *why)
{
    b->pause_ms = b->pause_ms == 0 ? PAUSE_FIRST_MS : b->pause_ms * 2;
    if (b->pause_ms > PAUSE_MAX_MS) {
        b->pause_ms = PAUSE_MAX_MS;
    }
    if (strcmp(b->why, why) != 0) {
        log_warn("a burial has to wait", "serviceId", NUM(b->current), "why", why, NULL);
        snprintf(b->why, sizeof(b->why), "%s", why);
    }
    b->last = b->current;
    b->current = 0;
    loop_timer_start(b->timer, b->pause_ms, 0);
}

static void on_reported(void *arg, const struct api_result *result)
{
    struct burials *b = arg;

    b->call = NULL;
    if (result->answer != API_YES) {
        failed(b, result->why != NULL ? result->why : "the report was refused");
        return;
    }
    list_devices(b);
}

static void on_listed(void *arg, const struct api_result *result)
{
    struct burials *b = arg;
    size_t count = result->uuid_count;

    b->call = NULL;
    if (result->answer != API_YES) {
        failed(b, result->why != NULL ? result->why : "the list was refused");
        return;
    }
    if (count == 0) {
        done(b);
        return;
    }
    if (count > API_BATCH_MAX) {
        count = API_BATCH_MAX; /* the rest comes with the next list */
    }
    b->reported += count;
    b->call = api_report(b->api, false, b->current, result->uuids, count, on_reported, b);
}

static void list_devices(struct burials *b)
{
    b->call = api_list_devices(b->api, b->current, on_listed, b);
}

/* The first that waits behind the one tried last, else the first of all. */
static const struct burial *choose(const struct burials *b)
{
    const struct burial *first = NULL;
    bool behind = false;

    for (size_t i = 0; i < b->count; i++) {
        const struct burial *item = &b->items[i];
        if (item->gone && behind) {
            return item;
        }
        if (item->gone && first == NULL) {
            first = item;
        }
        behind |= item->service_id == b->last;
    }
    return first;
}

static void bury_next(struct burials *b)
{
    const struct burial *item = choose(b);

    if (b->current != 0 || item == NULL || loop_timer_active(b->timer)) {
        return;
    }
    b->current = item->service_id;
    b->reported = 0;
    list_devices(b);
}

static void on_timer(void *arg)
{
    bury_next(arg);
}

static void on_notify(void *arg)
{
    struct burials *b = arg;

    b->on_change(b->arg);
}

/* --- from outside --- */

struct burials *burials_new(struct loop *loop, const struct burials_store *store,
                            struct balena_api *api, loop_fn on_change, void *arg)
{
    struct burials *b = xcalloc(1, sizeof(*b));

    b->loop = loop;
    b->store = *store;
    b->api = api;
    b->on_change = on_change;
    b->arg = arg;
    b->timer = loop_timer_new(loop, on_timer, b);
    b->notify = loop_timer_new(loop, on_notify, b);
    if (!registered) {
        registered = true;
        metrics_register(&pending);
        metrics_register(&done_total);
        metrics_register(&given_up_total);
    }
    return b;
}

bool burials_restore(struct burials *b, const struct burial *item)
{
    if (b->count == BURIALS_MAX || find(b, item->service_id) != NULL) {
        return false;
    }
    b->items[b->count++] = *item;
    b->pending += item->gone;
    metric_add(&pending, item->gone);
    bury_next(b);
    return true;
}

void burials_close(struct burials *b)
{
    if (b != NULL) {
        metric_add(&pending, -(int64_t)b->pending);
        api_call_cancel(b->call);
        loop_timer_close(b->timer);
        loop_timer_close(b->notify);
        if (b->store.close != NULL) {
            b->store.close(b->store.arg);
        }
        free(b);
    }
}

/* Makes room: a pool whose burials never succeed must not grow for ever. */
static void give_up_oldest(struct burials *b)
{
    for (size_t i = 0; i < b->count; i++) {
        if (b->items[i].gone && b->items[i].service_id != b->current) {
            log_error("too many burials wait: the oldest is given up", "serviceId",
                      NUM(b->items[i].service_id), NULL);
            metric_inc(&given_up_total);
            drop(b, &b->items[i]);
            return;
        }
    }
}

int burials_live(struct burials *b, uint32_t index, const char *epoch, int64_t service_id,
                 struct err *err)
{
    if (find(b, service_id) != NULL) {
        return 0;
    }
    if (b->count == BURIALS_MAX) {
        give_up_oldest(b);
    }
    burials_gone(b, index, epoch); /* an older id of the same epoch: the API forgot it */
    struct burial *item = &b->items[b->count++];
    *item = (struct burial){.service_id = service_id, .index = index};
    snprintf(item->epoch, sizeof(item->epoch), "%s", epoch);
    int r = save(b, err);
    if (r < 0) {
        b->count--; /* not known until it is kept: the next call tries again */
    }
    return r;
}

static bool is_of(const struct burial *item, uint32_t index, const char *epoch)
{
    return item->index == index && strcmp(item->epoch, epoch) == 0;
}

bool burials_gone(struct burials *b, uint32_t index, const char *epoch)
{
    bool changed = false;

    for (size_t i = 0; i < b->count; i++) {
        if (is_of(&b->items[i], index, epoch) && !b->items[i].gone) {
            b->items[i].gone = true;
            changed = true;
        }
    }
    if (changed) {
        save_or_log(b);
        bury_next(b);
    }
    return burials_pending(b, index, epoch);
}

bool burials_pending(const struct burials *b, uint32_t index, const char *epoch)
{
    for (size_t i = 0; i < b->count; i++) {
        if (is_of(&b->items[i], index, epoch) && b->items[i].gone) {
            return true;
        }
    }
    return false;
}

void burials_gone_unless(struct burials *b,
                         bool (*is_alive)(void *arg, uint32_t index, const char *epoch), void *arg)
{
    for (size_t i = 0; i < b->count; i++) {
        b->items[i].gone |= !is_alive(arg, b->items[i].index, b->items[i].epoch);
    }
    save_or_log(b);
    bury_next(b);
}

size_t burials_count_pending(const struct burials *b)
{
    size_t count = 0;

    for (size_t i = 0; i < b->count; i++) {
        count += b->items[i].gone;
    }
    return count;
}

const struct burial *burials_items(const struct burials *b, size_t *count)
{
    *count = b->count;
    return b->items;
}

const char *burials_why(const struct burials *b)
{
    return b->why;
}
