#include "sidecar-proxy/session/sessions.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SESSIONS_DEAD_MAX 4096

struct dead {
    struct session_id id;
    struct dict_node by_id;
    struct list in_order;
};

void sessions_init(struct sessions *t, size_t max)
{
    dict_init(&t->by_id, max);
    dict_init(&t->by_uuid, max);
    list_init(&t->in_order);
    dict_init(&t->dead, SESSIONS_DEAD_MAX);
    list_init(&t->dead_in_order);
    list_init(&t->watchers);
}

static void forget_dead(struct sessions *t, struct dead *d)
{
    dict_remove(&t->dead, &d->by_id);
    list_remove(&d->in_order);
    free(d);
}

void sessions_clear(struct sessions *t)
{
    LIST_EACH(at, &t->in_order)
    {
        list_remove(at);
        free(sessions_at(at));
    }
    LIST_EACH(at, &t->dead_in_order)
    {
        forget_dead(t, CONTAINER_OF(at, struct dead, in_order));
    }
    dict_clear(&t->by_id);
    dict_clear(&t->by_uuid);
    dict_clear(&t->dead);
}

void sessions_watch(struct sessions *t, struct sessions_watcher *w)
{
    list_append(&t->watchers, &w->in_watchers);
}

void sessions_unwatch(struct sessions *t, struct sessions_watcher *w)
{
    (void)t;
    list_remove(&w->in_watchers);
}

static struct dead *find_dead(const struct sessions *t, struct session_id id)
{
    struct dict_node *node = dict_find(&t->dead, &id, sizeof(id));

    return node != NULL ? CONTAINER_OF(node, struct dead, by_id) : NULL;
}

static void remember_dead(struct sessions *t, struct session_id id)
{
    if (find_dead(t, id) != NULL) {
        return;
    }
    if (t->dead.count == SESSIONS_DEAD_MAX) {
        forget_dead(t, CONTAINER_OF(t->dead_in_order.next, struct dead, in_order));
    }
    struct dead *d = xcalloc(1, sizeof(*d));
    d->id = id;
    dict_add(&t->dead, &d->by_id, &d->id, sizeof(d->id));
    list_append(&t->dead_in_order, &d->in_order);
}

static bool is_newer(const struct session *a, const struct session *b)
{
    return a->id.generation != b->id.generation ? a->id.generation > b->id.generation
                                                : a->id.cid > b->id.cid;
}

/* The dict holds the newest of a UUID, the others hang on it in falling order. */
static void link_by_uuid(struct sessions *t, struct session *s)
{
    struct session *newest = sessions_find(t, s->uuid);

    if (newest == NULL || is_newer(s, newest)) {
        if (newest != NULL) {
            dict_remove(&t->by_uuid, &newest->by_uuid);
        }
        s->older = newest;
        dict_add(&t->by_uuid, &s->by_uuid, s->uuid, strlen(s->uuid));
        return;
    }
    struct session **at = &newest->older;
    while (*at != NULL && is_newer(*at, s)) {
        at = &(*at)->older;
    }
    s->older = *at;
    *at = s;
}

static void unlink_by_uuid(struct sessions *t, struct session *s)
{
    struct session *newest = sessions_find(t, s->uuid);

    if (newest == s) {
        dict_remove(&t->by_uuid, &s->by_uuid);
        if (s->older != NULL) {
            dict_add(&t->by_uuid, &s->older->by_uuid, s->older->uuid, strlen(s->older->uuid));
        }
        return;
    }
    struct session **at = &newest->older;
    while (*at != s) {
        at = &(*at)->older;
    }
    *at = s->older;
}

static struct session *session_new(const struct session_claim *c)
{
    struct session *s = xcalloc(1, sizeof(*s));

    s->id = c->id;
    snprintf(s->uuid, sizeof(s->uuid), "%s", c->uuid);
    s->address = c->address;
    s->since_ms = c->since_ms;
    s->bytes_in = c->bytes_in;
    s->bytes_out = c->bytes_out;
    s->marked = true;
    return s;
}

static enum sessions_result add(struct sessions *t, const struct session_claim *c, bool adopted)
{
    struct session *s = session_new(c);

    s->adopted = adopted;
    if (dict_add(&t->by_id, &s->by_id, &s->id, sizeof(s->id)) < 0) {
        free(s);
        return SESSIONS_FULL;
    }
    list_append(&t->in_order, &s->in_order);
    link_by_uuid(t, s);
    LIST_EACH(at, &t->watchers)
    {
        struct sessions_watcher *w = CONTAINER_OF(at, struct sessions_watcher, in_watchers);
        w->on_up(w->arg, s);
    }
    return SESSIONS_UP;
}

static void drop(struct sessions *t, struct session *s, int64_t at_ms)
{
    dict_remove(&t->by_id, &s->by_id);
    list_remove(&s->in_order);
    unlink_by_uuid(t, s);
    remember_dead(t, s->id);
    LIST_EACH(at, &t->watchers)
    {
        struct sessions_watcher *w = CONTAINER_OF(at, struct sessions_watcher, in_watchers);
        w->on_down(w->arg, s, at_ms);
    }
    free(s);
}

enum sessions_result sessions_up(struct sessions *t, const struct session_claim *c)
{
    struct session *s = sessions_find_id(t, c->id);

    if (s != NULL) {
        s->marked = true;
        return SESSIONS_KNOWN;
    }
    return find_dead(t, c->id) != NULL ? SESSIONS_DEAD : add(t, c, false);
}

enum sessions_result sessions_adopt(struct sessions *t, const struct session_claim *c)
{
    struct session *s = sessions_find_id(t, c->id);
    struct dead *d = find_dead(t, c->id);

    if (s != NULL && strcmp(s->uuid, c->uuid) == 0) {
        s->marked = true;
        sessions_bytes(t, s->id, c->bytes_in, c->bytes_out);
        return SESSIONS_KNOWN;
    }
    if (s != NULL) { /* the id is another device's now: a life of OpenVPN went by unseen */
        drop(t, s, c->since_ms);
        d = find_dead(t, c->id);
    }
    if (d != NULL) {
        forget_dead(t, d);
    }
    return add(t, c, true);
}

bool sessions_down(struct sessions *t, struct session_id id, int64_t at_ms)
{
    struct session *s = sessions_find_id(t, id);

    if (s == NULL) {
        remember_dead(t, id);
        return false;
    }
    drop(t, s, at_ms);
    return true;
}

void sessions_bytes(struct sessions *t, struct session_id id, uint64_t in, uint64_t out)
{
    struct session *s = sessions_find_id(t, id);

    if (s != NULL) {
        s->bytes_in = in > s->bytes_in ? in : s->bytes_in;
        s->bytes_out = out > s->bytes_out ? out : s->bytes_out;
    }
}

void sessions_unmark(struct sessions *t)
{
    LIST_EACH(at, &t->in_order)
    {
        sessions_at(at)->marked = false;
    }
}

size_t sessions_drop_unmarked(struct sessions *t, int64_t at_ms)
{
    size_t dropped = 0;

    LIST_EACH(at, &t->in_order)
    {
        if (!sessions_at(at)->marked) {
            drop(t, sessions_at(at), at_ms);
            dropped++;
        }
    }
    return dropped;
}

size_t sessions_drop_before(struct sessions *t, uint64_t generation, int64_t at_ms)
{
    size_t dropped = 0;

    LIST_EACH(at, &t->in_order)
    {
        if (sessions_at(at)->id.generation < generation) {
            drop(t, sessions_at(at), at_ms);
            dropped++;
        }
    }
    return dropped;
}

struct session *sessions_find(const struct sessions *t, const char *uuid)
{
    struct dict_node *node = dict_find(&t->by_uuid, uuid, strlen(uuid));

    return node != NULL ? CONTAINER_OF(node, struct session, by_uuid) : NULL;
}

struct session *sessions_find_id(const struct sessions *t, struct session_id id)
{
    struct dict_node *node = dict_find(&t->by_id, &id, sizeof(id));

    return node != NULL ? CONTAINER_OF(node, struct session, by_id) : NULL;
}

size_t sessions_count(const struct sessions *t)
{
    return t->by_id.count;
}

struct session *sessions_at(struct list *at)
{
    return CONTAINER_OF(at, struct session, in_order);
}

struct session_id_text session_id_format(struct session_id id)
{
    struct session_id_text t;

    snprintf(t.text, sizeof(t.text), "%llu.%llu", (unsigned long long)id.generation,
             (unsigned long long)id.cid);
    return t;
}

static const char *parse_number(const char *text, uint64_t *ret)
{
    char *end = NULL;

    if (!isdigit((unsigned char)text[0]) || (text[0] == '0' && isdigit((unsigned char)text[1]))) {
        return NULL;
    }
    errno = 0;
    *ret = strtoull(text, &end, 10);
    return errno == 0 ? end : NULL;
}

bool session_id_parse(const char *text, struct session_id *ret)
{
    struct session_id id;
    const char *at = parse_number(text, &id.generation);

    if (at == NULL || *at != '.') {
        return false;
    }
    at = parse_number(at + 1, &id.cid);
    if (at == NULL || *at != '\0') {
        return false;
    }
    *ret = id;
    return true;
}

bool session_id_equal(struct session_id a, struct session_id b)
{
    return a.generation == b.generation && a.cid == b.cid;
}
