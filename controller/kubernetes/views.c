#include "controller/kubernetes/views.h"

#include <string.h>

struct view { /* one of the two */
    struct views *owner;
    char *name;
    struct state_view *state;
    struct balancer_view *balancer;
};

struct views {
    struct loop *loop;
    struct http_client *http;
    struct service_keys keys;
    struct view *items[VIEWS_MAX];
    size_t count;
    void (*on_change)(void *arg, const char *name);
    void *arg;
};

static void on_view(void *arg)
{
    struct view *view = arg;

    view->owner->on_change(view->owner->arg, view->name);
}

struct views *views_new(struct loop *loop, struct http_client *http,
                        const struct service_keys *keys,
                        void (*on_change)(void *arg, const char *name), void *arg)
{
    struct views *v = xcalloc(1, sizeof(*v));

    *v = (struct views){
        .loop = loop, .http = http, .keys = *keys, .on_change = on_change, .arg = arg};
    return v;
}

static void view_free(struct view *view)
{
    state_view_close(view->state);
    balancer_view_close(view->balancer);
    free(view->name);
    free(view);
}

void views_close(struct views *v)
{
    if (v != NULL) {
        for (size_t i = 0; i < v->count; i++) {
            view_free(v->items[i]);
        }
        free(v);
    }
}

static struct view *find(const struct views *v, const char *name, bool state)
{
    for (size_t i = 0; i < v->count; i++) {
        if ((v->items[i]->state != NULL) == state && strcmp(v->items[i]->name, name) == 0) {
            return v->items[i];
        }
    }
    return NULL;
}

static struct view *make(struct views *v, const char *name, bool state)
{
    struct view *view = xcalloc(1, sizeof(*view));

    view->owner = v;
    view->name = xstrdup(name);
    if (state) {
        view->state = state_view_new(v->loop, v->http, name, &v->keys, on_view, view);
    } else {
        view->balancer = balancer_view_new(v->loop, v->http, name, on_view, view);
    }
    if (view->state == NULL && view->balancer == NULL) {
        view_free(view);
        return NULL;
    }
    v->items[v->count++] = view;
    return view;
}

static struct view *find_or_make(struct views *v, const char *name, bool state)
{
    struct view *view = find(v, name, state);

    return view != NULL || v->count == VIEWS_MAX ? view : make(v, name, state);
}

struct state_view *views_state(struct views *v, const char *name)
{
    struct view *view = find_or_make(v, name, true);

    return view != NULL ? view->state : NULL;
}

struct balancer_view *views_balancer(struct views *v, const char *name)
{
    struct view *view = find_or_make(v, name, false);

    return view != NULL ? view->balancer : NULL;
}

bool views_each_state(struct views *v, size_t *at, const char **name, struct state_view **ret)
{
    while (*at < v->count) {
        const struct view *view = v->items[(*at)++];
        if (view->state != NULL) {
            *name = view->name;
            *ret = view->state;
            return true;
        }
    }
    return false;
}

void views_prune(struct views *v, bool (*is_used)(void *arg, const char *name), void *arg)
{
    for (size_t i = 0; i < v->count;) {
        if (is_used(arg, v->items[i]->name)) {
            i++;
        } else {
            view_free(v->items[i]);
            v->items[i] = v->items[--v->count];
        }
    }
}
