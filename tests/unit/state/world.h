/* world: a table with instances, told and asked in few words; all it says becomes a text that a
 * test compares: "up a@1 down a@1 stale a@1 inst 1 gone 1 dropped 1 ". Devices have one letter. */
#pragma once

#include "common/buf.h"
#include "sidecar-proxy/state/feed_in.h"
#include "sidecar-proxy/state/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define WORLD_FEEDS 8

struct world_feed {
    struct table_feed hooks;
    struct world *world;
    int number;
};

struct world {
    struct table *table;
    struct table_watcher watcher;
    struct world_feed feeds[WORLD_FEEDS];
    struct table_now now;
    struct buf said;
    bool instances_too; /* are "inst" and "gone" said? */
};

static const char *uuid_of(char letter)
{
    static char uuid[33];

    memset(uuid, letter, 32);
    uuid[32] = '\0';
    return uuid;
}

static void world_on_up(void *arg, const struct table_session *s)
{
    struct world *w = arg;
    assert_ptr_equal(s, table_find(w->table, s->device->uuid));
    buf_printf(&w->said, "up %c@%u ", s->device->uuid[0], s->instance->index);
}

static void world_on_down(void *arg, const struct table_session *s, int64_t at_ms)
{
    struct world *w = arg;
    buf_printf(&w->said, "down %c@%u ", s->device->uuid[0], s->instance->index);
}

static void world_on_instance(void *arg, const struct table_instance *i, bool gone)
{
    struct world *w = arg;
    if (w->instances_too) {
        buf_printf(&w->said, "%s %u ", gone ? "gone" : "inst", i->index);
    }
}

static void world_stale(void *arg, const char *uuid, const char *id)
{
    struct world_feed *f = arg;
    buf_printf(&f->world->said, "stale %c/%s to %d ", uuid[0], id, f->number);
}

static void world_dropped(void *arg, const char *why)
{
    struct world_feed *f = arg;
    buf_printf(&f->world->said, "dropped %d ", f->number);
}

static void world_init(struct world *w, const struct table_options *options)
{
    static const struct table_options roomy = {
        .lost_ms = 30000, .max_sessions = 1000, .max_instances = 10};

    *w = (struct world){.now = {.mono_ms = 1000, .unix_ms = 1764000000000}};
    w->table = table_new(options != NULL ? options : &roomy);
    w->watcher = (struct table_watcher){
        .on_up = world_on_up, .on_down = world_on_down, .on_instance = world_on_instance, .arg = w};
    buf_init(&w->said, 1 << 20);
    table_watch(w->table, &w->watcher);
    for (int i = 0; i < WORLD_FEEDS; i++) {
        w->feeds[i] = (struct world_feed){.world = w, .number = i};
        w->feeds[i].hooks = (struct table_feed){world_stale, world_dropped, &w->feeds[i]};
    }
}

static void world_clear(struct world *w)
{
    table_free(w->table);
    buf_clear(&w->said);
}

/* What was said since the last time. */
static inline void world_said(struct world *w, const char *expected)
{
    size_t len = w->said.len > 0 ? w->said.len - 1 : 0; /* without the last blank */
    char *said = xstrndup(buf_str(&w->said), len);
    assert_string_equal(expected, said);
    free(said);
    buf_truncate(&w->said, 0);
}

static inline struct table_instance *hello(struct world *w, int feed, uint32_t index,
                                           const char *epoch)
{
    struct table_hello h = {.pool = "fleet",
                            .index = index,
                            .service_id = 12,
                            .proxy = "127.0.0.1:21001",
                            .subnet = "100.64.0.0/20",
                            .phase = "ready"};
    struct table_instance *i = NULL;

    snprintf(h.epoch, sizeof(h.epoch), "%s", epoch);
    assert_int_equal(0, table_hello(w->table, &h, &w->feeds[feed].hooks, w->now, &i, NULL));
    return i;
}

static inline struct table_claim claim_of(const char *id, char letter, int64_t since)
{
    struct table_claim c = {.address = 0x64400003, .since_ms = since};

    snprintf(c.id, sizeof(c.id), "%s", id);
    snprintf(c.uuid, sizeof(c.uuid), "%s", uuid_of(letter));
    return c;
}

static inline void up(struct world *w, struct table_instance *i, const char *id, char letter,
                      int64_t since)
{
    struct table_claim c = claim_of(id, letter, since);
    table_up(w->table, i, &c, w->now);
}

static inline bool down(struct world *w, struct table_instance *i, const char *id)
{
    return table_down(w->table, i, id, w->now.unix_ms);
}

/* Index of the instance a device is at, 0: offline. */
static inline uint32_t where(const struct world *w, char letter)
{
    const struct table_session *s = table_find(w->table, uuid_of(letter));
    return s != NULL ? s->instance->index : 0;
}
