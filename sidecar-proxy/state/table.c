#include "sidecar-proxy/state/table.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

struct table {
    struct table_options options;
    struct table_instance *instances; /* in order of pool and index */
    struct hashmap devices;
    struct table_device *oldest, *newest; /* devices in order of coming online */
    struct table_watcher *watchers;
    struct table_cursor *cursors;
    struct table_counts counts;
};

struct table *table_new(const struct table_options *options)
{
    struct table *t = xcalloc(1, sizeof(*t));

    t->options = *options;
    hashmap_init(&t->devices);
    return t;
}

void table_watch(struct table *t, struct table_watcher *w)
{
    struct table_watcher **end = &t->watchers;

    while (*end != NULL) {
        end = &(*end)->next;
    }
    w->next = NULL;
    *end = w;
}

void table_unwatch(struct table *t, struct table_watcher *w)
{
    struct table_watcher **at = &t->watchers;

    while (*at != NULL && *at != w) {
        at = &(*at)->next;
    }
    if (*at != NULL) {
        *at = w->next;
    }
}

static void tell_up(struct table *t, const struct table_session *s)
{
    t->counts.ups++;
    for (struct table_watcher *w = t->watchers; w != NULL; w = w->next) {
        if (w->on_up != NULL) {
            w->on_up(w->arg, s);
        }
    }
}

static void tell_down(struct table *t, const struct table_session *s, int64_t at_ms)
{
    t->counts.downs++;
    for (struct table_watcher *w = t->watchers; w != NULL; w = w->next) {
        if (w->on_down != NULL) {
            w->on_down(w->arg, s, at_ms);
        }
    }
}

static void tell_instance(struct table *t, const struct table_instance *i, bool gone)
{
    for (struct table_watcher *w = t->watchers; w != NULL; w = w->next) {
        if (w->on_instance != NULL) {
            w->on_instance(w->arg, i, gone);
        }
    }
}

static void tell_stale(struct table *t, const struct table_instance *i, const char *uuid,
                       const char *id)
{
    t->counts.stale++;
    if (i->feed != NULL) {
        i->feed->stale(i->feed->arg, uuid, id);
    }
}

/* --- devices and cursors --- */

static struct table_device *device_new(struct table *t, const char *uuid)
{
    size_t len = strlen(uuid);
    struct table_device *d = xmalloc(sizeof(*d) + len + 1);

    *d = (struct table_device){.older = t->newest};
    memcpy(d->uuid, uuid, len + 1);
    if (t->newest != NULL) {
        t->newest->newer = d;
    } else {
        t->oldest = d;
    }
    t->newest = d;
    hashmap_put(&t->devices, d->uuid, d);
    return d;
}

static void device_free(struct table *t, struct table_device *d)
{
    for (struct table_cursor *c = t->cursors; c != NULL; c = c->other) {
        if (c->at == d) {
            c->at = d->newer;
        }
    }
    *(d->older != NULL ? &d->older->newer : &t->oldest) = d->newer;
    *(d->newer != NULL ? &d->newer->older : &t->newest) = d->older;
    hashmap_remove(&t->devices, d->uuid);
    free(d);
}

void table_cursor_open(struct table *t, struct table_cursor *c)
{
    *c = (struct table_cursor){.at = t->oldest, .other = t->cursors};
    t->cursors = c;
}

const struct table_session *table_cursor_next(struct table_cursor *c)
{
    struct table_device *d = c->at;

    if (d == NULL) {
        return NULL;
    }
    c->at = d->newer;
    return d->current;
}

void table_cursor_close(struct table *t, struct table_cursor *c)
{
    struct table_cursor **at = &t->cursors;

    while (*at != NULL && *at != c) {
        at = &(*at)->other;
    }
    if (*at != NULL) {
        *at = c->other;
    }
}

/* --- sessions --- */

static struct table_session *session_new(struct table *t, struct table_instance *i,
                                         struct table_device *d, const struct table_claim *claim)
{
    size_t len = strlen(claim->id);
    struct table_session *s = xmalloc(sizeof(*s) + len + 1);

    *s = (struct table_session){.instance = i,
                                .device = d,
                                .since_ms = claim->since_ms,
                                .round = i->round,
                                .address = claim->address};
    memcpy(s->id, claim->id, len + 1);
    hashmap_put(&i->sessions, s->id, s);
    t->counts.sessions++;
    return s;
}

static void session_unlink(struct table_session *s)
{
    struct table_session **at = &s->device->current;

    while (*at != s) {
        at = &(*at)->reserve;
    }
    *at = s->reserve;
}

static void session_free(struct table *t, struct table_session *s)
{
    session_unlink(s);
    hashmap_remove(&s->instance->sessions, s->id);
    t->counts.sessions--;
    free(s);
}

static void session_end(struct table *t, struct table_session *s, int64_t at_ms)
{
    struct table_device *d = s->device;
    bool was_current = d->current == s;

    if (was_current && s->reserve == NULL) {
        tell_down(t, s, at_ms);
    }
    session_free(t, s);
    if (d->current == NULL) {
        device_free(t, d);
    } else if (was_current) {
        tell_up(t, d->current);
    }
}

/* Newest first; among equals the one that came later. */
static void session_link(struct table_device *d, struct table_session *s)
{
    struct table_session **at = &d->current;

    while (*at != NULL && (*at)->since_ms > s->since_ms) {
        at = &(*at)->reserve;
    }
    s->reserve = *at;
    *at = s;
}

/* The device is at i now: what it has elsewhere is over, and its sidecar told. */
static void end_elsewhere(struct table *t, struct table_device *d, const struct table_instance *i)
{
    while (d->current != NULL && d->current->instance != i) {
        tell_stale(t, d->current->instance, d->uuid, d->current->id);
        session_free(t, d->current);
    }
}

/* Has the device a session elsewhere that wins over this claim? The newer since does. Between
 * equals an arrival wins, but a snapshot only repeats what has arrived some time before. */
static bool beaten(const struct table_device *d, const struct table_instance *i,
                   const struct table_claim *claim, bool arrival)
{
    if (d == NULL || d->current->instance == i) {
        return false;
    }
    return arrival ? d->current->since_ms > claim->since_ms
                   : d->current->since_ms >= claim->since_ms;
}

/* Who only moves takes no more room than before. */
static bool no_room(const struct table *t, const struct table_device *d,
                    const struct table_instance *i)
{
    bool more = d == NULL || d->current->instance == i;

    return (more && t->counts.sessions >= t->options.max_sessions) ||
           i->sessions.count >= TABLE_INSTANCE_SESSIONS;
}

static void add(struct table *t, struct table_instance *i, const struct table_claim *claim,
                bool arrival)
{
    struct table_device *d = hashmap_get(&t->devices, claim->uuid);

    if (beaten(d, i, claim, arrival)) {
        tell_stale(t, i, claim->uuid, claim->id);
        return;
    }
    if (no_room(t, d, i)) {
        t->counts.refused++;
        return;
    }
    if (d == NULL) {
        d = device_new(t, claim->uuid);
    }
    struct table_session *s = session_new(t, i, d, claim);
    end_elsewhere(t, d, i);
    session_link(d, s);
    if (d->current == s) {
        tell_up(t, s);
    }
}

/* The same session again: nothing has happened. Its start may be told more coarsely than before
 * (OpenVPN's own list has whole seconds), which may change the order among reserves. */
static void restate(struct table *t, struct table_session *s, const struct table_claim *claim)
{
    struct table_device *d = s->device;
    const struct table_session *was = d->current;
    bool moved = s->address != claim->address;

    s->round = s->instance->round;
    s->address = claim->address;
    if (s->since_ms != claim->since_ms) {
        s->since_ms = claim->since_ms;
        session_unlink(s);
        session_link(d, s);
    }
    if (d->current != was || (moved && d->current == s)) {
        tell_up(t, d->current);
    }
}

static void state_session(struct table *t, struct table_instance *i,
                          const struct table_claim *claim, bool arrival, int64_t at_ms)
{
    struct table_session *known = hashmap_get(&i->sessions, claim->id);

    if (known != NULL && strcmp(known->device->uuid, claim->uuid) == 0) {
        restate(t, known, claim);
        return;
    }
    if (known != NULL) { /* the sidecar corrects itself: what it said first never was */
        session_end(t, known, at_ms);
    }
    add(t, i, claim, arrival);
}

void table_up(struct table *t, struct table_instance *i, const struct table_claim *claim,
              struct table_now now)
{
    state_session(t, i, claim, true, now.unix_ms);
}

bool table_down(struct table *t, struct table_instance *i, const char *id, int64_t at_ms)
{
    struct table_session *s = hashmap_get(&i->sessions, id);

    if (s == NULL) {
        return false;
    }
    session_end(t, s, at_ms);
    return true;
}

/* Ends what the last round left out; reserves first, so that none steps in only to go as well. */
static void end_unmarked(struct table *t, struct table_instance *i, int64_t at_ms)
{
    for (int current = 0; current <= 1; current++) {
        for (struct hashmap_iter at = {.map = &i->sessions}; hashmap_next(&at);) {
            struct table_session *s = at.value;
            if (s->round != i->round && (current == 1 || s->device->current != s)) {
                session_end(t, s, at_ms);
            }
        }
    }
}

void table_snapshot(struct table *t, struct table_instance *i, const struct table_claim *claims,
                    size_t count, struct table_now now)
{
    i->round++;
    for (size_t n = 0; n < count; n++) {
        state_session(t, i, &claims[n], false, now.unix_ms);
    }
    end_unmarked(t, i, now.unix_ms);
    i->synced = true;
    tell_instance(t, i, false);
}

const struct table_session *table_find(const struct table *t, const char *uuid)
{
    const struct table_device *d = hashmap_get(&t->devices, uuid);

    return d != NULL ? d->current : NULL;
}

/* --- instances --- */

struct table_instance *table_instances(const struct table *t)
{
    return t->instances;
}

static int instance_order(const struct table_instance *i, const char *pool, uint32_t index)
{
    int order = strcmp(i->pool, pool);

    return order != 0 ? order : (i->index > index) - (i->index < index);
}

struct table_instance *table_find_instance(const struct table *t, const char *pool, uint32_t index)
{
    struct table_instance *i = t->instances;

    while (i != NULL && instance_order(i, pool, index) != 0) {
        i = i->next;
    }
    return i;
}

static struct table_instance *instance_new(struct table *t, const struct table_hello *h,
                                           struct table_now now)
{
    struct table_instance *i = xcalloc(1, sizeof(*i));
    struct table_instance **at = &t->instances;

    memcpy(i->pool, h->pool, sizeof(i->pool));
    memcpy(i->epoch, h->epoch, sizeof(i->epoch));
    i->index = h->index;
    i->since_ms = now.unix_ms;
    hashmap_init(&i->sessions);
    while (*at != NULL && instance_order(*at, h->pool, h->index) < 0) {
        at = &(*at)->next;
    }
    i->next = *at;
    *at = i;
    t->counts.instances++;
    return i;
}

static void instance_free(struct table *t, struct table_instance *i)
{
    struct table_instance **at = &t->instances;

    while (*at != i) {
        at = &(*at)->next;
    }
    *at = i->next;
    t->counts.instances--;
    hashmap_clear(&i->sessions);
    free(i);
}

static void let_feed_go(struct table_instance *i, const char *why)
{
    struct table_feed *feed = i->feed;

    i->feed = NULL;
    if (feed != NULL) {
        feed->dropped(feed->arg, why);
    }
}

/* What this index was before, if it is another life of it. */
static void end_other_epoch(struct table *t, const struct table_hello *h, struct table_now now)
{
    struct table_instance *i = table_find_instance(t, h->pool, h->index);

    if (i != NULL && strcmp(i->epoch, h->epoch) != 0) {
        table_drop(t, i, i->feed, "a new epoch of this index has come", now);
    }
}

int table_hello(struct table *t, const struct table_hello *h, struct table_feed *feed,
                struct table_now now, struct table_instance **ret, struct err *err)
{
    end_other_epoch(t, h, now);
    struct table_instance *i = table_find_instance(t, h->pool, h->index);
    if (i == NULL && t->counts.instances >= t->options.max_instances) {
        return err_set(err, -ENOSPC, "instance %u of pool '%s'", h->index, h->pool);
    }
    if (i == NULL) {
        i = instance_new(t, h, now);
    }
    let_feed_go(i, "another connection of this instance has come");
    i->feed = feed;
    memcpy(i->proxy, h->proxy, sizeof(i->proxy));
    memcpy(i->subnet, h->subnet, sizeof(i->subnet));
    memcpy(i->phase, h->phase, sizeof(i->phase));
    i->service_id = h->service_id;
    tell_instance(t, i, false);
    *ret = i;
    return 0;
}

void table_info(struct table *t, struct table_instance *i, int64_t service_id, const char *phase)
{
    i->service_id = service_id;
    size_t len = strnlen(phase, TABLE_PHASE_MAX);
    memmove(i->phase, phase, len);
    i->phase[len] = '\0';
    tell_instance(t, i, false);
}

void table_feed_ended(struct table *t, struct table_instance *i, struct table_now now)
{
    i->feed = NULL;
    i->lost_at_ms = now.mono_ms + t->options.lost_ms;
    tell_instance(t, i, false);
}

void table_drop(struct table *t, struct table_instance *i, struct table_feed *told, const char *why,
                struct table_now now)
{
    i->feed = NULL; /* nothing that ends now is worth a word to it */
    i->round++;
    end_unmarked(t, i, now.unix_ms);
    tell_instance(t, i, true);
    instance_free(t, i);
    if (told != NULL) {
        told->dropped(told->arg, why);
    }
}

void table_tick(struct table *t, struct table_now now)
{
    struct table_instance *next = NULL;

    for (struct table_instance *i = t->instances; i != NULL; i = next) {
        next = i->next;
        if (i->feed == NULL && now.mono_ms >= i->lost_at_ms) {
            t->counts.lost++;
            table_drop(t, i, NULL, "lost", now);
        }
    }
}

struct table_counts table_counts(const struct table *t)
{
    struct table_counts counts = t->counts;

    counts.devices = t->devices.count;
    return counts;
}

void table_free(struct table *t)
{
    t->watchers = NULL;
    while (t->instances != NULL) {
        table_drop(t, t->instances, NULL, "the end", (struct table_now){0});
    }
    assert(t->devices.count == 0 && t->counts.sessions == 0);
    hashmap_clear(&t->devices);
    free(t);
}
