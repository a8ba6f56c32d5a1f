#include "sidecar-proxy/proxy/locator.h"

#include "common/hashmap.h"
#include "common/json.h"
#include "common/metrics.h"
#include "sidecar-proxy/proxy/address.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LOOKUP_TIMEOUT_MS 1000
#define CONNECT_TIMEOUT_MS 500
#define ANSWER_MAX 16384 /* bytes of a replica's answer */

struct locator_entry { /* one device: asked for, or answered a moment ago */
    struct locator *locator;
    char uuid[UUID_TEXT_MAX + 1]; /* the table's key */
    struct http_call *call;       /* NULL: answered */
    size_t tried;                 /* replicas, for this answer */
    bool starting;                /* one of them said so */
    struct locator_wait waits;    /* head of a ring */
    struct location location;
    int64_t until_ms;
    struct locator_entry *newer; /* of those that are answered, in order of until_ms */
    struct locator_entry *older;
};

struct locator {
    struct loop *loop;
    struct http_client *http;
    char *replicas[LOCATOR_REPLICAS_MAX];
    size_t replica_count;
    size_t replica; /* the one that answered last */
    struct hashmap entries;
    struct locator_entry *newest;
    struct locator_entry *oldest;
    struct loop_timer *timer; /* for the oldest */
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

static void unlink_answered(struct locator_entry *e)
{
    struct locator *l = e->locator;

    if (e->newer == NULL && e->older == NULL && l->newest != e) {
        return;
    }
    *(e->newer != NULL ? &e->newer->older : &l->newest) = e->older;
    *(e->older != NULL ? &e->older->newer : &l->oldest) = e->newer;
    e->newer = e->older = NULL;
}

static void drop(struct locator_entry *e)
{
    unlink_answered(e);
    hashmap_remove(&e->locator->entries, e->uuid);
    if (e->call != NULL) {
        http_call_cancel(e->call);
    }
    free(e);
}

static void on_timer(void *arg)
{
    struct locator *l = arg;
    int64_t now_ms = loop_now_ms(l->loop);

    while (l->oldest != NULL && l->oldest->until_ms <= now_ms) {
        drop(l->oldest);
    }
    if (l->oldest != NULL) {
        loop_timer_start(l->timer, (uint64_t)(l->oldest->until_ms - now_ms), 0);
    }
}

static int add_replica(struct locator *l, const char *text, size_t len, struct err *err)
{
    if (len == 0 || memchr(text, ':', len) == NULL || memchr(text, '/', len) != NULL) {
        return err_text(err, -EINVAL, "state service '%.*s' is no host:port", (int)len, text);
    }
    if (l->replica_count == LOCATOR_REPLICAS_MAX) {
        return err_text(err, -EINVAL, "more than %d state services", LOCATOR_REPLICAS_MAX);
    }
    l->replicas[l->replica_count++] = xstrndup(text, len);
    return 0;
}

static int add_replicas(struct locator *l, const char *list, struct err *err)
{
    int r = 0;

    for (const char *at = list; r == 0; at++) {
        size_t len = strcspn(at, ",");
        r = add_replica(l, at, len, err);
        at += len;
        if (*at == '\0') {
            break;
        }
    }
    return r;
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
    l->timer = loop_timer_new(loop, on_timer, l);
    int r = add_replicas(l, replicas, err);
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
    loop_timer_close(locator->timer);
    for (size_t i = 0; i < locator->replica_count; i++) {
        free(locator->replicas[i]);
    }
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

static void keep(struct locator_entry *e)
{
    struct locator *l = e->locator;

    e->until_ms = loop_now_ms(l->loop) + LOCATOR_SHARE_MS;
    e->older = l->newest;
    *(l->newest != NULL ? &l->newest->newer : &l->oldest) = e;
    l->newest = e;
    if (l->oldest == e) {
        loop_timer_start(l->timer, LOCATOR_SHARE_MS, 0);
    }
}

/* The entry is answered: kept if it says where, else gone before anybody hears of it. */
static void finish(struct locator_entry *e, const struct location *location)
{
    struct locator_wait due = {.prev = e->waits.prev, .next = e->waits.next};

    assert(e->waits.next != &e->waits); /* the last to leave drops the entry */
    metric_inc(&lookups[location->kind]);
    due.prev->next = &due;
    due.next->prev = &due;
    e->waits.next = e->waits.prev = &e->waits;
    e->location = *location;
    if (location->kind == LOCATED_AT) {
        keep(e);
    } else {
        drop(e);
    }
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

static void lookup(struct locator_entry *e);

static void try_next(struct locator_entry *e)
{
    struct locator *l = e->locator;
    struct location nothing = {.kind = e->starting ? LOCATED_STARTING : LOCATED_UNREACHABLE};

    l->replica = (l->replica + 1) % l->replica_count;
    e->tried++;
    if (e->tried < l->replica_count) {
        lookup(e);
    } else {
        finish(e, &nothing);
    }
}

static void on_answer(void *arg, int result, const struct http_response *res, const struct err *err)
{
    struct locator_entry *e = arg;
    struct location location = {.kind = LOCATED_NOWHERE};

    (void)err; /* a replica that is not there shows in the metric and in its own absence */
    e->call = NULL;
    if (result == 0 && res->status == 404) {
        finish(e, &location);
    } else if (result == 0 && res->status == 200 &&
               parse_location(res->body, res->body_len, &location)) {
        finish(e, &location);
    } else {
        e->starting = e->starting || (result == 0 && res->status == 503);
        try_next(e);
    }
}

static void lookup(struct locator_entry *e)
{
    struct locator *l = e->locator;
    AUTO(str) char *url = xasprintf("http://%s/v1/devices/%s", l->replicas[l->replica], e->uuid);
    struct http_request request = {
        .method = "GET",
        .url = url,
        .timeout_ms = LOOKUP_TIMEOUT_MS,
        .on_done = on_answer,
        .arg = e,
    };

    if (http_client_send(l->http, &request, &e->call, NULL) < 0) {
        e->call = NULL;
    }
}

static struct locator_entry *start(struct locator *l, const char *uuid)
{
    struct locator_entry *e = xcalloc(1, sizeof(*e));

    e->locator = l;
    snprintf(e->uuid, sizeof(e->uuid), "%s", uuid);
    e->waits.next = e->waits.prev = &e->waits;
    hashmap_put(&l->entries, e->uuid, e);
    lookup(e);
    return e;
}

bool locator_ask(struct locator *locator, const char *uuid, bool fresh, struct locator_wait *wait,
                 struct location *now)
{
    struct locator_entry *e = hashmap_get(&locator->entries, uuid);

    if (e != NULL && e->call == NULL && fresh) {
        drop(e);
        e = NULL;
    }
    if (e != NULL) {
        metric_inc(&shared);
    }
    if (e != NULL && e->call == NULL) {
        *now = e->location;
        return true;
    }
    if (e == NULL && locator->entries.count >= LOCATOR_MAX && locator->oldest != NULL) {
        drop(locator->oldest);
    }
    e = e != NULL ? e : start(locator, uuid);
    if (e->call == NULL) { /* could not even be sent */
        drop(e);
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
    if (e->waits.next == &e->waits && e->call != NULL) {
        drop(e);
    }
}
