#include "sidecar-proxy/proxy/locator.h"

#include "common/hashmap.h"
#include "common/json.h"
#include "common/metrics.h"
#include "common/replicas.h"
#include "sidecar-proxy/proxy/address.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LOOKUP_TIMEOUT_MS 1000
#define CONNECT_TIMEOUT_MS 500
#define ANSWER_MAX 16384 /* bytes of a replica's answer */

struct locator_entry { /* one device that is asked for */
    struct locator *locator;
    char uuid[UUID_TEXT_MAX + 1]; /* the table's key */
    struct http_call *call;
    size_t replica;            /* that is asked; may be over the count since */
    size_t tried;              /* replicas */
    bool starting;             /* one of them said so */
    struct locator_wait waits; /* head of a ring */
};

struct locator {
    struct loop *loop;
    struct http_client *http;
    struct replicas *replicas;
    size_t replica;         /* the one that answered last */
    struct hashmap entries; /* at most as many as requests that wait */
};

static struct metric lookups[] = {
    [LOCATED_AT] = {.labels = "result=\"found\""},
    [LOCATED_NOWHERE] = {.labels = "result=\"nowhere\""},
    [LOCATED_STARTING] = {.labels = "result=\"starting\""},
    [LOCATED_UNREACHABLE] = {.labels = "result=\"unreachable\""},
};
static struct metric shared = {
    .name = "vpn_proxy_state_shared_total",
    .help = "Requests that shared another's lookup.",
    .kind = METRIC_COUNTER,
};

static void register_metrics(void)
{
    for (size_t i = 0; i < ARRAY_LEN(lookups); i++) {
        lookups[i].name = "vpn_proxy_state_lookups_total";
        lookups[i].help = "Lookups in the state service by result.";
        lookups[i].kind = METRIC_COUNTER;
        metrics_register(&lookups[i]);
    }
    metrics_register(&shared);
}

static void drop(struct locator_entry *e)
{
    hashmap_remove(&e->locator->entries, e->uuid);
    if (e->call != NULL) {
        http_call_cancel(e->call);
    }
    free(e);
}

int locator_new(struct loop *loop, const char *replicas, struct locator **ret, struct err *err)
{
    struct locator *l = xcalloc(1, sizeof(*l));
    struct http_client_options options = {
        .max_response = ANSWER_MAX,
        .connect_timeout_ms = CONNECT_TIMEOUT_MS,
    };

    register_metrics();
    l->loop = loop;
    hashmap_init(&l->entries);
    int r = replicas_new(loop, replicas, &l->replicas, err);
    if (r == 0 && replicas_none(l->replicas)) {
        r = err_text(err, -EINVAL, "no state service is named");
    }
    if (r == 0) {
        r = http_client_new(loop, &options, &l->http, err);
    }
    if (r < 0) {
        locator_close(l);
        return r;
    }
    *ret = l;
    return 0;
}

void locator_close(struct locator *locator)
{
    if (locator == NULL) {
        return;
    }
    for (struct hashmap_iter i = {.map = &locator->entries}; hashmap_next(&i);) {
        drop(i.value);
    }
    hashmap_clear(&locator->entries);
    http_client_close(locator->http);
    replicas_close(locator->replicas);
    free(locator);
}

static void wait_leave(struct locator_wait *wait)
{
    wait->prev->next = wait->next;
    wait->next->prev = wait->prev;
    wait->entry = NULL;
}

static void wait_join(struct locator_entry *e, struct locator_wait *wait)
{
    wait->entry = e;
    wait->next = &e->waits;
    wait->prev = e->waits.prev;
    wait->prev->next = wait;
    e->waits.prev = wait;
}

/* The entry is gone before anybody hears of it, so that a new question is a new lookup. */
static void finish(struct locator_entry *e, const struct location *location)
{
    struct locator_wait due = {.prev = e->waits.prev, .next = e->waits.next};

    assert(e->waits.next != &e->waits); /* the last to leave drops the entry */
    metric_inc(&lookups[location->kind]);
    due.prev->next = &due;
    due.next->prev = &due;
    drop(e);
    while (due.next != &due) {
        struct locator_wait *wait = due.next;
        wait_leave(wait);
        wait->on_located(wait, location);
    }
}

/* False: the replica's answer makes no sense. */
static bool parse_location(const char *body, size_t len, struct location *ret)
{
    AUTO(json) cJSON *json = NULL;
    const cJSON *instance = NULL;
    const char *proxy = NULL;
    struct address address;
    char host[ADDRESS_TEXT_MAX];

    if (json_parse(body, len, &json, NULL) < 0 ||
        json_object(json, "instance", &instance, NULL) < 0 ||
        json_str(instance, "proxy", &proxy, NULL) < 0 ||
        address_parse_listen(proxy, &address, NULL) < 0 || address_port(&address) == 0) {
        return false;
    }
    address_host(&address.storage, host);
    *ret = (struct location){.kind = LOCATED_AT, .port = address_port(&address)};
    snprintf(ret->address, sizeof(ret->address), "%.45s", host);
    return true;
}

static bool lookup(struct locator_entry *e);

static void try_next(struct locator_entry *e)
{
    struct locator *l = e->locator;
    struct location nothing = {.kind = e->starting ? LOCATED_STARTING : LOCATED_UNREACHABLE};

    e->replica++;
    e->tried++;
    if (e->tried < replicas_count(l->replicas) && lookup(e)) {
        return;
    }
    if (!e->starting) {
        replicas_look(l->replicas); /* perhaps they are elsewhere now */
    }
    finish(e, &nothing);
}

static void found(struct locator_entry *e, const struct location *location)
{
    e->locator->replica = e->replica;
    finish(e, location);
}

static void on_answer(void *arg, int result, const struct http_response *res, const struct err *err)
{
    struct locator_entry *e = arg;
    struct location location = {.kind = LOCATED_NOWHERE};

    (void)err; /* a replica that is not there shows in the metric and in its own absence */
    e->call = NULL;
    if (result == 0 && res->status == 404) {
        found(e, &location);
    } else if (result == 0 && res->status == 200 &&
               parse_location(res->body, res->body_len, &location)) {
        found(e, &location);
    } else {
        e->starting = e->starting || (result == 0 && res->status == 503);
        try_next(e);
    }
}

static bool lookup(struct locator_entry *e)
{
    struct locator *l = e->locator;

    e->replica %= replicas_count(l->replicas);
    AUTO(str)
    char *url =
        xasprintf("http://%s/v1/devices/%s", replicas_at(l->replicas, e->replica)->text, e->uuid);
    struct http_request request = {
        .method = "GET",
        .url = url,
        .timeout_ms = LOOKUP_TIMEOUT_MS,
        .on_done = on_answer,
        .arg = e,
    };

    int r = http_client_send(l->http, &request, &e->call, NULL);
    if (r < 0) {
        e->call = NULL;
    }
    return r == 0;
}

/* NULL: could not even be sent. */
static struct locator_entry *start(struct locator *l, const char *uuid)
{
    struct locator_entry *e = xcalloc(1, sizeof(*e));

    e->locator = l;
    e->replica = l->replica;
    snprintf(e->uuid, sizeof(e->uuid), "%s", uuid);
    e->waits.next = e->waits.prev = &e->waits;
    hashmap_put(&l->entries, e->uuid, e);
    if (!lookup(e)) {
        drop(e);
        return NULL;
    }
    return e;
}

bool locator_ask(struct locator *locator, const char *uuid, struct locator_wait *wait,
                 struct location *now)
{
    struct locator_entry *e = hashmap_get(&locator->entries, uuid);

    if (e != NULL) {
        metric_inc(&shared);
    } else if (replicas_count(locator->replicas) > 0) {
        e = start(locator, uuid);
    } else {
        replicas_look(locator->replicas);
    }
    if (e == NULL) {
        *now = (struct location){.kind = LOCATED_UNREACHABLE};
        return true;
    }
    wait_join(e, wait);
    return false;
}

void locator_cancel(struct locator_wait *wait)
{
    struct locator_entry *e = wait->entry;

    if (e == NULL) {
        return;
    }
    wait_leave(wait);
    if (e->waits.next == &e->waits) {
        drop(e);
    }
}
