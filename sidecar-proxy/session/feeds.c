#include "sidecar-proxy/session/feeds.h"

#include "common/secret.h"
#include "sidecar-proxy/session/feed_client.h"

#include <string.h>

struct one { /* a feed */
    struct feeds *feeds;
    struct feed_client *client;
    char text[sizeof(((struct replica *)0)->text)]; /* its address */
    bool leaving;                                   /* its address is gone, or we are */
    struct list in_feeds;
};

struct feeds {
    struct feeds_options o;
    char token[SECRET_TOKEN_MAX + 1];
    struct list all; /* of struct one, the leaving ones too */
    bool synced;
    int64_t service_id;
    const char *phase;
    bool closing;
    struct loop_timer *end; /* on_closed, from the loop */
};

static struct one *one_at(struct list *at)
{
    return CONTAINER_OF(at, struct one, in_feeds);
}

static void on_end(void *arg)
{
    struct feeds *f = arg;
    void (*on_closed)(void *arg) = f->o.on_closed;
    void *user = f->o.arg;

    loop_timer_close(f->end);
    secret_wipe(f->token, sizeof(f->token));
    free(f);
    on_closed(user);
}

static void end_if_empty(struct feeds *f)
{
    if (f->closing && list_empty(&f->all)) {
        loop_timer_start(f->end, 0, 0);
    }
}

static void on_one_closed(void *arg)
{
    struct one *one = arg;
    struct feeds *f = one->feeds;

    list_remove(&one->in_feeds);
    free(one);
    end_if_empty(f);
}

static void on_one_stale(void *arg, const char *uuid, struct session_id id)
{
    const struct one *one = arg;

    one->feeds->o.on_stale(one->feeds->o.arg, uuid, id);
}

static void on_one_change(void *arg)
{
    const struct one *one = arg;
    struct feeds *f = one->feeds;

    if (!f->closing && !feed_client_is_acked(one->client)) {
        replicas_look(f->o.states); /* it may be gone for good, and another in its place */
    }
    f->o.on_change(f->o.arg);
}

static void leave(struct one *one, bool orderly)
{
    if (!one->leaving) {
        one->leaving = true;
        feed_client_close(one->client, orderly);
    }
}

static void open_one(struct feeds *f, const struct replica *r)
{
    struct one *one = xcalloc(1, sizeof(*one));
    struct feed_client_options options = {
        .loop = f->o.loop,
        .host = r->host,
        .port = r->port,
        .token = f->token,
        .me = f->o.me,
        .sessions = f->o.sessions,
        .verdicts = f->o.verdicts,
        .on_stale = on_one_stale,
        .on_change = on_one_change,
        .on_closed = on_one_closed,
        .arg = one,
    };

    memcpy(options.address, r->address, sizeof(options.address));
    memcpy(one->text, r->text, sizeof(one->text));
    one->feeds = f;
    list_append(&f->all, &one->in_feeds);
    one->client = feed_client_open(&options);
    feed_client_info(one->client, f->service_id, f->phase);
    if (f->synced) {
        feed_client_sync(one->client);
    }
}

static bool is_listed(const struct feeds *f, const char *text)
{
    for (size_t i = 0; i < replicas_count(f->o.states); i++) {
        if (strcmp(replicas_at(f->o.states, i)->text, text) == 0) {
            return true;
        }
    }
    return false;
}

static struct one *find(const struct feeds *f, const char *text)
{
    LIST_EACH(at, &f->all)
    {
        if (!one_at(at)->leaving && strcmp(one_at(at)->text, text) == 0) {
            return one_at(at);
        }
    }
    return NULL;
}

/* The addresses are others now, perhaps. */
static void follow(void *arg)
{
    struct feeds *f = arg;

    if (f->closing) {
        return;
    }
    LIST_EACH(at, &f->all)
    {
        if (!is_listed(f, one_at(at)->text)) {
            leave(one_at(at), false);
        }
    }
    for (size_t i = 0; i < replicas_count(f->o.states); i++) {
        const struct replica *r = replicas_at(f->o.states, i);
        if (find(f, r->text) == NULL) {
            open_one(f, r);
        }
    }
}

struct feeds *feeds_open(const struct feeds_options *options)
{
    struct feeds *f = xcalloc(1, sizeof(*f));

    f->o = *options;
    f->phase = "starting";
    list_init(&f->all);
    f->end = loop_timer_new(f->o.loop, on_end, f);
    secret_token(&f->o.keys, SECRET_STATE, f->token);
    replicas_watch(f->o.states, follow, f);
    follow(f);
    return f;
}

void feeds_close(struct feeds *f, bool orderly)
{
    f->closing = true;
    LIST_EACH(at, &f->all)
    {
        leave(one_at(at), orderly);
    }
    end_if_empty(f);
}

void feeds_sync(struct feeds *f)
{
    f->synced = true;
    LIST_EACH(at, &f->all)
    {
        feed_client_sync(one_at(at)->client);
    }
}

void feeds_info(struct feeds *f, int64_t service_id, const char *phase)
{
    f->service_id = service_id;
    f->phase = phase;
    LIST_EACH(at, &f->all)
    {
        feed_client_info(one_at(at)->client, service_id, phase);
    }
}

void feeds_verdict(struct feeds *f, const struct verdict *v)
{
    LIST_EACH(at, &f->all)
    {
        feed_client_verdict(one_at(at)->client, v);
    }
}

static size_t acked(const struct feeds *f, size_t *live)
{
    size_t n = 0;

    *live = 0;
    LIST_EACH(at, &f->all)
    {
        *live += !one_at(at)->leaving;
        n += !one_at(at)->leaving && feed_client_is_acked(one_at(at)->client);
    }
    return n;
}

bool feeds_some_know(const struct feeds *f)
{
    size_t live;

    return replicas_none(f->o.states) || acked(f, &live) > 0;
}

bool feeds_all_know(const struct feeds *f)
{
    size_t live;

    return acked(f, &live) == live && replicas_known(f->o.states);
}
