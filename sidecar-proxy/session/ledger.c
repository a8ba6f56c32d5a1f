#include "sidecar-proxy/session/ledger.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

struct entry {
    char uuid[UUID_TEXT_MAX + 1];
    bool wanted;
    struct session_id want;
    enum ledger_told told;
    struct session_id told_for; /* of TOLD_ON; generation 0: by an earlier life of ours */
    bool is_on_way;
    struct session_id on_way_for;
    bool is_held;
    bool listed; /* during ledger_compare() */
    bool is_suspect;
    struct session_id suspect; /* delivered, but missing in the last comparison */
    int64_t since_ms;
    struct dict_node by_uuid;
    struct list in_list; /* clean, dirty, on_way or held */
};

void ledger_init(struct ledger *l, size_t max)
{
    *l = (struct ledger){0};
    dict_init(&l->by_uuid, max > 0 ? max : 1);
    list_init(&l->clean);
    list_init(&l->dirty);
    list_init(&l->on_way);
    list_init(&l->held);
}

static struct entry *entry_of(struct list *at)
{
    return CONTAINER_OF(at, struct entry, in_list);
}

static void forget(struct ledger *l, struct entry *e)
{
    dict_remove(&l->by_uuid, &e->by_uuid);
    list_remove(&e->in_list);
    free(e);
}

void ledger_clear(struct ledger *l)
{
    struct list *const lists[] = {&l->clean, &l->dirty, &l->on_way, &l->held};

    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        LIST_EACH(at, lists[i])
        {
            forget(l, entry_of(at));
        }
    }
    dict_clear(&l->by_uuid);
    l->dirty_count = 0;
}

static struct entry *lookup(const struct ledger *l, const char *uuid)
{
    struct dict_node *node = dict_find(&l->by_uuid, uuid, strlen(uuid));

    return node != NULL ? CONTAINER_OF(node, struct entry, by_uuid) : NULL;
}

static struct entry *entry_new(struct ledger *l, const char *uuid)
{
    struct entry *e = xcalloc(1, sizeof(*e));

    snprintf(e->uuid, sizeof(e->uuid), "%s", uuid);
    if (dict_add(&l->by_uuid, &e->by_uuid, e->uuid, strlen(e->uuid)) < 0) {
        free(e);
        return NULL;
    }
    list_init(&e->in_list);
    list_append(&l->clean, &e->in_list);
    return e;
}

static bool is_dirty(const struct entry *e)
{
    if (!e->wanted) {
        return e->told != TOLD_OFF;
    }
    return e->told != TOLD_ON || !session_id_equal(e->told_for, e->want);
}

/* Puts the entry where it belongs; one that waits keeps its place. May free it. */
static void place(struct ledger *l, struct entry *e, bool was_dirty)
{
    bool dirty = !e->is_held && is_dirty(e);

    if (e->is_on_way) {
        return; /* ledger_end() places it */
    }
    if (dirty && was_dirty) {
        return;
    }
    list_remove(&e->in_list);
    l->dirty_count += (size_t)dirty - (size_t)was_dirty;
    if (dirty) {
        list_append(&l->dirty, &e->in_list);
    } else if (e->is_held) {
        list_append(&l->held, &e->in_list);
    } else if (e->wanted) {
        list_append(&l->clean, &e->in_list);
    } else {
        forget(l, e);
    }
}

static bool is_placed_dirty(const struct entry *e)
{
    return !e->is_held && !e->is_on_way && is_dirty(e);
}

static bool set(struct ledger *l, const char *uuid, const struct session_id *id, bool adopted,
                int64_t now_ms)
{
    struct entry *e = lookup(l, uuid);

    if (e == NULL && id == NULL) {
        return true;
    }
    if (e == NULL) {
        e = entry_new(l, uuid);
        if (e == NULL) {
            return false;
        }
        e->is_held = adopted;
        e->told = adopted ? TOLD_UNKNOWN : TOLD_OFF;
    }
    bool was_dirty = is_placed_dirty(e);
    e->wanted = id != NULL;
    e->want = id != NULL ? *id : (struct session_id){0};
    e->is_held = e->is_held && adopted;
    e->since_ms = now_ms;
    place(l, e, was_dirty);
    return true;
}

bool ledger_set(struct ledger *l, const char *uuid, const struct session_id *id, int64_t now_ms)
{
    return set(l, uuid, id, false, now_ms);
}

bool ledger_adopt(struct ledger *l, const char *uuid, const struct session_id *id, int64_t now_ms)
{
    return set(l, uuid, id, true, now_ms);
}

size_t ledger_begin(struct ledger *l, size_t max, bool *connected, const char **uuids)
{
    size_t count = 0;

    assert(list_empty(&l->on_way));
    if (list_empty(&l->dirty)) {
        return 0;
    }
    l->on_way_connected = entry_of(l->dirty.next)->wanted;
    LIST_EACH(at, &l->dirty)
    {
        struct entry *e = entry_of(at);
        if (count == max) {
            break;
        }
        if (e->wanted == l->on_way_connected) {
            e->is_on_way = true;
            e->on_way_for = e->want;
            list_remove(at);
            list_append(&l->on_way, at);
            uuids[count++] = e->uuid;
        }
    }
    *connected = l->on_way_connected;
    return count;
}

static void learn(struct entry *e, bool connected, enum ledger_outcome outcome)
{
    if (outcome == LEDGER_DELIVERED) {
        e->told = connected ? TOLD_ON : TOLD_OFF;
        e->told_for = e->on_way_for;
        e->is_suspect = false;
    } else if (outcome == LEDGER_UNKNOWN) {
        e->told = TOLD_UNKNOWN;
    }
}

void ledger_end(struct ledger *l, enum ledger_outcome outcome,
                void (*on_lag)(void *arg, int64_t since_ms), void *arg)
{
    LIST_EACH(at, &l->on_way)
    {
        struct entry *e = entry_of(at);
        bool still = e->wanted == l->on_way_connected && session_id_equal(e->want, e->on_way_for);
        e->is_on_way = false;
        learn(e, l->on_way_connected, outcome);
        if (outcome == LEDGER_DELIVERED && still && on_lag != NULL) {
            on_lag(arg, e->since_ms);
        }
        list_remove(at);
        list_append(&l->dirty, at);
        place(l, e, true);
    }
}

/* Calls act on each entry; act may change it, not place it. */
static void for_all(struct ledger *l, void (*act)(struct entry *e, void *arg), void *arg)
{
    struct list all;
    struct list *const lists[] = {&l->dirty, &l->held, &l->clean};

    assert(list_empty(&l->on_way));
    list_init(&all);
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        list_move_all(lists[i], &all);
    }
    l->dirty_count = 0;
    LIST_EACH(at, &all)
    {
        struct entry *e = entry_of(at);
        act(e, arg);
        place(l, e, false);
    }
}

static void reset_entry(struct entry *e, void *arg)
{
    (void)arg;
    e->told = TOLD_OFF;
    e->is_held = false;
    e->is_suspect = false;
}

void ledger_reset(struct ledger *l)
{
    for_all(l, reset_entry, NULL);
}

struct comparison {
    bool trusted;
    int64_t now_ms;
    struct ledger_difference found;
};

static void compare_listed(struct entry *e, struct comparison *c)
{
    e->is_suspect = false;
    if (e->told == TOLD_UNKNOWN || !e->wanted) {
        e->told = TOLD_ON;
        e->told_for = e->wanted ? e->want : (struct session_id){0};
    }
    c->found.extra += !e->wanted;
}

static void compare_missing(struct entry *e, struct comparison *c)
{
    bool delivered = e->told == TOLD_ON && session_id_equal(e->told_for, e->want);
    bool again = e->is_suspect && session_id_equal(e->suspect, e->want);

    if (!e->wanted || !delivered || (again && c->trusted)) {
        e->told = TOLD_OFF;
        e->is_suspect = false;
        c->found.missing += e->wanted;
        return;
    }
    e->is_suspect = true;
    e->suspect = e->want;
    c->found.suspects++;
}

static void compare_entry(struct entry *e, void *arg)
{
    struct comparison *c = arg;

    if (e->is_held) {
        e->is_held = false;
        e->since_ms = c->now_ms;
    }
    if (e->listed) {
        compare_listed(e, c);
    } else {
        compare_missing(e, c);
    }
    e->listed = false;
}

struct ledger_difference ledger_compare(struct ledger *l, const char *const *uuids, size_t count,
                                        bool trusted, int64_t now_ms)
{
    struct comparison c = {.trusted = trusted, .now_ms = now_ms};

    for (size_t i = 0; i < count; i++) {
        struct entry *e = lookup(l, uuids[i]);
        if (e == NULL) {
            e = entry_new(l, uuids[i]);
            if (e == NULL) {
                break; /* full: the rest is found next time */
            }
            e->since_ms = now_ms;
        }
        e->listed = true;
    }
    for_all(l, compare_entry, &c);
    return c.found;
}

size_t ledger_unreported(const struct ledger *l)
{
    return l->dirty_count;
}

int64_t ledger_oldest(const struct ledger *l)
{
    if (!list_empty(&l->on_way)) {
        return entry_of(l->on_way.next)->since_ms;
    }
    return list_empty(&l->dirty) ? 0 : entry_of(l->dirty.next)->since_ms;
}
