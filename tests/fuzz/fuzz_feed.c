/* Frames of several sidecars against the real feed and table. The input is lines: the first byte
 * says which of four feeds speaks ('0'..'3', the rest is the frame), or what else happens:
 * 'x' + digit: that feed breaks; 't' + digit: so many times 10 s pass; 'r' + digit: the
 * controller's list has so many instances. After each line what must always hold is checked. */
#include "sidecar-proxy/state/feed_in.h"
#include "sidecar-proxy/state/render.h"

#include <stdio.h>
#include <string.h>

#define FEEDS 4
#define MUST(condition)                                                     \
    do {                                                                    \
        if (!(condition)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                        \
        }                                                                   \
    } while (0)

struct run {
    struct table *table;
    struct verdicts verdicts;
    struct roster roster;
    struct feed_world world;
    struct feed_in feeds[FEEDS];
    struct table_watcher watcher;
    struct table_now now;
};

static void on_stale(void *arg, const char *uuid, const char *id)
{
    MUST(uuid_valid_str(uuid) && strchr(id, '.') != NULL);
}

static void on_dropped(void *arg, const char *why)
{
    struct feed_in *f = arg;
    MUST(f->state == FEED_ENDED && f->instance == NULL);
}

/* Whoever is told of an end may still look at it. */
static void on_down(void *arg, const struct table_session *s, int64_t at_ms)
{
    struct run *run = arg;
    MUST(table_find(run->table, s->device->uuid) == s && s->reserve == NULL);
}

static void open_feed(struct run *run, size_t n)
{
    run->feeds[n] = (struct feed_in){.world = &run->world,
                                     .on_stale = on_stale,
                                     .on_dropped = on_dropped,
                                     .arg = &run->feeds[n]};
    feed_in_init(&run->feeds[n]);
}

static void reopen_feed(struct run *run, size_t n)
{
    feed_in_clear(&run->feeds[n], run->now);
    open_feed(run, n);
}

static void check_instances(struct run *run)
{
    size_t sessions = 0, instances = 0;

    for (const struct table_instance *i = table_instances(run->table); i != NULL; i = i->next) {
        instances++;
        sessions += i->sessions.count;
        for (struct hashmap_iter at = {.map = &i->sessions}; hashmap_next(&at);) {
            const struct table_session *s = at.value;
            MUST(s->instance == i && strcmp(s->id, at.key) == 0);
            MUST(table_find(run->table, s->device->uuid)->instance == i);
        }
        MUST(i->next == NULL || strcmp(i->pool, i->next->pool) < 0 ||
             (strcmp(i->pool, i->next->pool) == 0 && i->index < i->next->index));
    }
    MUST(instances == table_counts(run->table).instances);
    MUST(sessions == table_counts(run->table).sessions);
}

static void check_devices(struct run *run)
{
    struct table_cursor c;
    const struct table_session *s = NULL;
    size_t devices = 0, sessions = 0;

    table_cursor_open(run->table, &c);
    while ((s = table_cursor_next(&c)) != NULL) {
        devices++;
        MUST(table_find(run->table, s->device->uuid) == s);
        for (const struct table_session *at = s; at != NULL; at = at->reserve) {
            sessions++;
            MUST(at->instance == s->instance && at->device == s->device);
            MUST(at->reserve == NULL || at->since_ms >= at->reserve->since_ms);
            MUST(hashmap_get(&at->instance->sessions, at->id) == at);
        }
        AUTO(buf) struct buf b;
        buf_init(&b, RENDER_LINE_MAX);
        render_session(&b, "up", s, INT64_MAX);
        MUST(b.len > 0 && b.data[b.len - 1] == '}');
    }
    table_cursor_close(run->table, &c);
    MUST(devices == table_counts(run->table).devices);
    MUST(sessions == table_counts(run->table).sessions);
}

static void check_feeds(struct run *run)
{
    for (size_t n = 0; n < FEEDS; n++) {
        const struct feed_in *f = &run->feeds[n];
        MUST((f->instance != NULL) == (f->state != FEED_GREETING && f->state != FEED_ENDED));
        MUST(f->instance == NULL || f->instance->feed == &f->hooks);
        MUST(f->staged == NULL || f->state == FEED_STAGING || f->state == FEED_ENDED);
    }
}

static void expect(struct run *run, unsigned count)
{
    struct roster_entry *entries = xcalloc(count, sizeof(*entries));

    for (unsigned n = 0; n < count; n++) {
        entries[n].index = n + 1;
        strcpy(entries[n].epoch, "e");
    }
    roster_set(&run->roster, entries, count, run->table, run->now);
}

static void happen(struct run *run, const char *line, size_t len)
{
    unsigned digit = len > 1 && line[1] >= '0' && line[1] <= '9' ? (unsigned)(line[1] - '0') : 0;

    if (line[0] == 'x') {
        reopen_feed(run, digit % FEEDS);
    } else if (line[0] == 't') {
        run->now.mono_ms += 10000 * digit;
        run->now.unix_ms += 10000 * digit;
        table_tick(run->table, run->now);
        verdicts_sweep(&run->verdicts, run->now.unix_ms);
    } else if (line[0] == 'r') {
        expect(run, digit);
    } else if (line[0] >= '0' && line[0] < '0' + FEEDS) {
        size_t n = (size_t)(line[0] - '0');
        struct err err;
        int r = feed_in_message(&run->feeds[n], line + 1, len - 1, run->now, &err);
        if (r < 0) {
            MUST(err.text[0] != '\0');
            reopen_feed(run, n); /* as the server closes the connection */
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct run run = {.now = {.mono_ms = 1, .unix_ms = 1764000000000}};
    const char *at = (const char *)data;
    const char *end = at + size;

    run.table = table_new(
        &(struct table_options){.lost_ms = 30000, .max_sessions = 12, .max_instances = 3});
    verdicts_init(&run.verdicts, 60000, 3);
    roster_init(&run.roster, 10000);
    run.world = (struct feed_world){run.table, &run.verdicts, &run.roster};
    run.watcher = (struct table_watcher){.on_down = on_down, .arg = &run};
    table_watch(run.table, &run.watcher);
    for (size_t n = 0; n < FEEDS; n++) {
        open_feed(&run, n);
    }
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        stop = stop != NULL ? stop : end;
        if (stop > at) {
            happen(&run, at, (size_t)(stop - at));
            check_instances(&run);
            check_devices(&run);
            check_feeds(&run);
            MUST(verdicts_count(&run.verdicts) <= 3);
        }
        at = stop + 1;
    }
    for (size_t n = 0; n < FEEDS; n++) {
        feed_in_clear(&run.feeds[n], run.now);
    }
    table_free(run.table);
    verdicts_clear(&run.verdicts);
    roster_clear(&run.roster);
    return 0;
}
