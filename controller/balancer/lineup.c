#include "controller/balancer/lineup.h"

#include <string.h>

static struct lineup_entry *find(struct lineup *l, const char *name)
{
    for (size_t i = 0; i < l->count; i++) {
        if (strcmp(l->items[i].name, name) == 0) {
            return &l->items[i];
        }
    }
    return NULL;
}

static void add(struct lineup *l, const struct server *s, int64_t leaving_ms)
{
    if (l->count < SERVERS_MAX) { /* else when others are out */
        struct lineup_entry *e = &l->items[l->count++];
        *e = (struct lineup_entry){.leaving_ms = leaving_ms};
        memcpy(e->name, s->name, sizeof(e->name));
        memcpy(e->address, s->address, sizeof(e->address));
    }
}

static bool is_at(const struct lineup_entry *e, const struct server *s)
{
    return s != NULL && strcmp(s->address, e->address) == 0;
}

/* Ours of an earlier life. */
static void adopt(struct lineup *l, const struct server_list *observed, int64_t now_ms)
{
    l->begun = true;
    for (size_t i = 0; i < observed->count; i++) {
        add(l, &observed->items[i], now_ms);
    }
}

static void come_and_go(struct lineup *l, const struct server_list *endpoints, int64_t now_ms)
{
    for (size_t i = 0; i < l->count; i++) {
        struct lineup_entry *e = &l->items[i];
        if (is_at(e, servers_find(endpoints, e->name))) {
            e->leaving_ms = -1;
            e->told = false;
        } else if (e->leaving_ms < 0) {
            e->leaving_ms = now_ms;
        }
    }
    for (size_t i = 0; i < endpoints->count; i++) {
        if (find(l, endpoints->items[i].name) == NULL) {
            add(l, &endpoints->items[i], -1);
        }
    }
}

/* Does haproxy say that nobody is connected and nobody will be? */
static bool is_empty(const struct lineup_entry *e, const struct server *has)
{
    return !is_at(e, has) || (has->mode != SERVER_READY && has->sessions == 0);
}

static bool is_out(struct lineup *l, const struct lineup_entry *e,
                   const struct server_list *observed, bool fresh, int64_t now_ms)
{
    const struct server *has = servers_find(observed, e->name);

    if (e->leaving_ms < 0) {
        return false;
    }
    if (fresh && e->told && is_empty(e, has)) {
        return true;
    }
    bool over = now_ms - e->leaving_ms >= l->gone_ms;
    l->cut += over && is_at(e, has) ? has->sessions : 0;
    return over;
}

static void let_go(struct lineup *l, const struct server_list *observed, bool fresh, int64_t now_ms)
{
    size_t kept = 0;

    for (size_t i = 0; i < l->count; i++) {
        if (!is_out(l, &l->items[i], observed, fresh, now_ms)) {
            l->items[kept++] = l->items[i];
        }
    }
    l->count = kept;
}

static void write_down(struct lineup *l, const struct server_list *endpoints,
                       struct server_list *desired)
{
    l->leaving = 0;
    desired->count = 0;
    for (size_t i = 0; i < l->count; i++) {
        struct lineup_entry *e = &l->items[i];
        struct server *s = &desired->items[desired->count++];
        const struct server *endpoint = servers_find(endpoints, e->name);
        *s = (struct server){.mode = SERVER_DRAIN};
        memcpy(s->name, e->name, sizeof(s->name));
        memcpy(s->address, e->address, sizeof(s->address));
        e->told = e->leaving_ms >= 0;
        l->leaving += e->told;
        if (!e->told && endpoint != NULL) {
            s->mode = endpoint->mode;
        }
    }
}

void lineup_plan(struct lineup *l, const struct server_list *endpoints,
                 const struct server_list *observed, bool fresh, int64_t now_ms,
                 struct server_list *desired)
{
    if (!l->begun) {
        adopt(l, observed, now_ms);
    }
    come_and_go(l, endpoints, now_ms);
    let_go(l, observed, fresh, now_ms);
    come_and_go(l, endpoints, now_ms); /* whose old address is out now */
    write_down(l, endpoints, desired);
}
