#include "sidecar-proxy/session/device_router.h"

#include "common/hashmap.h"
#include "common/subnet.h"

#include <pthread.h>
#include <stdio.h>

struct place {
    char uuid[UUID_TEXT_MAX + 1]; /* the map's key */
    uint32_t address;
};

struct device_router {
    struct sessions *sessions;
    struct sessions_watcher watcher;
    pthread_mutex_t lock;
    struct hashmap places; /* as many as sessions */
};

/* As the table has it now: the newest session of a device counts. */
static void follow(struct device_router *r, const char *uuid)
{
    const struct session *s = sessions_find(r->sessions, uuid);

    pthread_mutex_lock(&r->lock);
    struct place *place = hashmap_get(&r->places, uuid);
    if (s == NULL && place != NULL) {
        hashmap_remove(&r->places, place->uuid);
        free(place);
    } else if (s != NULL) {
        if (place == NULL) {
            place = xcalloc(1, sizeof(*place));
            snprintf(place->uuid, sizeof(place->uuid), "%s", uuid);
            hashmap_put(&r->places, place->uuid, place);
        }
        place->address = s->address;
    }
    pthread_mutex_unlock(&r->lock);
}

static void on_up(void *arg, const struct session *s)
{
    follow(arg, s->uuid);
}

static void on_down(void *arg, const struct session *s, int64_t at_ms)
{
    (void)at_ms;
    follow(arg, s->uuid);
}

static bool known(void *arg, const char *uuid, uint16_t port, struct route *ret)
{
    struct device_router *r = arg;

    pthread_mutex_lock(&r->lock);
    const struct place *place = hashmap_get(&r->places, uuid);
    bool found = place != NULL;
    uint32_t address = found ? place->address : 0;
    pthread_mutex_unlock(&r->lock);
    if (found) {
        *ret = (struct route){.kind = ROUTE_DEVICE, .port = port, .why = "its session is here"};
        snprintf(ret->address, sizeof(ret->address), "%s", address_format(address).text);
    }
    return found;
}

static void find(void *arg, struct route_query *query, const struct route_request *request)
{
    struct route route;

    if (!known(arg, request->uuid, request->port, &route)) {
        route = (struct route){.kind = ROUTE_OFFLINE, .why = "no session here"};
    }
    proxy_route_answer(query, &route);
}

static void cancel(void *arg, struct route_query *query)
{
    /* each query is answered within find() */
}

struct device_router *device_router_new(struct sessions *sessions)
{
    struct device_router *r = xcalloc(1, sizeof(*r));

    r->sessions = sessions;
    pthread_mutex_init(&r->lock, NULL);
    hashmap_init(&r->places);
    LIST_EACH(at, &sessions->in_order)
    {
        follow(r, sessions_at(at)->uuid);
    }
    r->watcher = (struct sessions_watcher){.on_up = on_up, .on_down = on_down, .arg = r};
    sessions_watch(sessions, &r->watcher);
    return r;
}

void device_router_free(struct device_router *r)
{
    if (r == NULL) {
        return;
    }
    sessions_unwatch(r->sessions, &r->watcher);
    for (struct hashmap_iter i = {.map = &r->places}; hashmap_next(&i);) {
        free(i.value);
    }
    hashmap_clear(&r->places);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

struct proxy_router device_router_proxy(struct device_router *r)
{
    return (struct proxy_router){.known = known, .find = find, .cancel = cancel, .arg = r};
}
