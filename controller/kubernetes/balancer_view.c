#include "controller/kubernetes/balancer_view.h"

#include "common/hashmap.h"
#include "common/json.h"
#include "common/log.h"
#include "common/replicas.h"

#include <string.h>

#define POLL_MS 500
#define REST_MS 5000 /* between questions that nobody waits for */
#define ANSWER_MS 2000
#define WANTED_MS 5000 /* so long after the last question */
#define STALE_MS 5000
#define SERVERS_MAX 20000

struct balancer {
    struct balancer_view *owner;
    char *url;
    struct http_call *call;
    cJSON *names; /* what keeps the keys of listed; owned */
    struct hashmap listed;
    int64_t heard_ms; /* monotonic; 0: never */
};

struct balancer_view {
    struct loop *loop;
    struct http_client *http;
    struct replicas *addresses;
    struct balancer balancers[REPLICAS_MAX];
    size_t count;
    struct loop_timer *poll;
    int64_t wanted_ms;
    int64_t heard_ms; /* monotonic: when one last answered, or the view was made */
    bool resting, silent;
    loop_fn on_change;
    void *arg;
};

static void forget(struct balancer *r)
{
    hashmap_clear(&r->listed);
    cJSON_Delete(r->names);
    r->names = NULL;
}

/* True: others than before. */
static bool take(struct balancer *r, cJSON *root, const cJSON *servers)
{
    struct hashmap listed;
    const cJSON *item;
    bool changed = false;

    hashmap_init(&listed);
    cJSON_ArrayForEach(item, servers)
    {
        const char *name = "";
        if (json_str(item, "name", &name, NULL) == 0 && listed.count < SERVERS_MAX) {
            hashmap_put(&listed, name, (void *)(uintptr_t)name);
            changed |= hashmap_get(&r->listed, name) == NULL;
        }
    }
    changed |= listed.count != r->listed.count || r->heard_ms == 0;
    forget(r);
    r->listed = listed;
    r->names = root;
    return changed;
}

static void on_answer(void *arg, int result, const struct http_response *res, const struct err *err)
{
    struct balancer *r = arg;
    cJSON *root = NULL;
    const cJSON *servers = NULL;

    r->call = NULL;
    if (result < 0 || res->status != 200) {
        return;
    }
    if (json_parse(res->body, res->body_len, &root, NULL) < 0 ||
        json_array(root, "servers", &servers, NULL) < 0) {
        cJSON_Delete(root);
        log_warn("a balancer's list of servers is none", "url", r->url, NULL);
        return;
    }
    struct balancer_view *v = r->owner;
    bool changed = take(r, root, servers) || v->silent;
    r->heard_ms = v->heard_ms = clock_monotonic_ms();
    v->silent = false;
    if (changed) {
        v->on_change(v->arg);
    }
}

static void ask(struct balancer *r)
{
    AUTO(str) char *url = xasprintf("%s/v1/servers", r->url);
    struct http_request request = {
        .method = "GET", .url = url, .timeout_ms = ANSWER_MS, .on_done = on_answer, .arg = r};

    if (r->call == NULL) {
        http_client_send(r->owner->http, &request, &r->call, NULL); /* else the next poll does */
    }
}

static void on_poll(void *arg)
{
    struct balancer_view *v = arg;

    for (size_t i = 0; i < v->count; i++) {
        ask(&v->balancers[i]);
    }
    int64_t now = clock_monotonic_ms();
    v->resting = now - v->wanted_ms >= WANTED_MS;
    loop_timer_start(v->poll, v->resting ? REST_MS : POLL_MS, 0);
    if (!v->silent && now - v->heard_ms >= BALANCER_SILENT_MS) {
        v->silent = true;
        v->on_change(v->arg);
    }
}

static void drop_replicas(struct balancer_view *v)
{
    for (size_t i = 0; i < v->count; i++) {
        http_call_cancel(v->balancers[i].call);
        forget(&v->balancers[i]);
        free(v->balancers[i].url);
    }
    v->count = 0;
}

static void on_addresses(void *arg)
{
    struct balancer_view *v = arg;

    drop_replicas(v);
    v->count = replicas_count(v->addresses);
    for (size_t i = 0; i < v->count; i++) {
        v->balancers[i] = (struct balancer){
            .owner = v, .url = xasprintf("http://%s", replicas_at(v->addresses, i)->text)};
        hashmap_init(&v->balancers[i].listed);
    }
    loop_timer_start(v->poll, 0, 0);
}

struct balancer_view *balancer_view_new(struct loop *loop, struct http_client *http,
                                        const char *name, loop_fn on_change, void *arg)
{
    struct balancer_view *v = xcalloc(1, sizeof(*v));

    if (replicas_new(loop, name, &v->addresses, NULL) < 0) {
        free(v);
        return NULL;
    }
    v->loop = loop;
    v->http = http;
    v->heard_ms = clock_monotonic_ms();
    v->wanted_ms = v->heard_ms - WANTED_MS;
    v->on_change = on_change;
    v->arg = arg;
    v->poll = loop_timer_new(loop, on_poll, v);
    replicas_watch(v->addresses, on_addresses, v);
    on_addresses(v); /* those that are no names are known already */
    return v;
}

void balancer_view_close(struct balancer_view *v)
{
    if (v != NULL) {
        replicas_close(v->addresses);
        drop_replicas(v);
        loop_timer_close(v->poll);
        free(v);
    }
}

bool balancer_view_lists(struct balancer_view *v, const char *server)
{
    int64_t now = clock_monotonic_ms();
    size_t answering = 0;

    v->wanted_ms = now;
    if (v->resting) {
        v->resting = false;
        loop_timer_start(v->poll, 0, 0);
    }
    for (size_t i = 0; i < v->count; i++) {
        const struct balancer *r = &v->balancers[i];
        if (r->heard_ms == 0 || now - r->heard_ms > STALE_MS) {
            continue;
        }
        answering++;
        if (hashmap_get(&r->listed, server) == NULL) {
            return false;
        }
    }
    return answering > 0;
}

bool balancer_view_silent(const struct balancer_view *v)
{
    return v->silent;
}
