#include "controller/balancer/balancer.h"

#include "common/http_server.h"
#include "common/log.h"
#include "common/metrics.h"
#include "controller/balancer/balancer_http.h"
#include "controller/balancer/endpoints.h"
#include "controller/balancer/lineup.h"
#include "controller/balancer/members.h"
#include "controller/kube/kube_store.h"

#include <string.h>

#define SLICES_MAX                                                                \
    256 /* EndpointSlices of the Service; by default each has up to 100 endpoints \
         */
#define ANSWER_MAX ((size_t)1 << 20)

struct balancer {
    struct balancer_options o;
    struct kube_store *slices;
    struct members *members;
    struct http_server *http;
    struct http_route routes[4];
    struct loop_timer *look; /* at the endpoints, once for all that changed together */
    struct server_list *endpoints, *desired, *last_desired;
    struct lineup *lineup;
    bool told;          /* haproxy what it should have, ever */
    bool applied;       /* haproxy has had all that it should, since it last came to answer */
    int64_t changed_ms; /* the oldest change that haproxy does not have yet; 0: none */
};

/* --- metrics --- */

static struct metric servers_metric[] = {
    {.name = "vpn_balancer_servers",
     .labels = "mode=\"ready\"",
     .help = "Servers that haproxy should have.",
     .kind = METRIC_GAUGE},
    {.name = "vpn_balancer_servers", .labels = "mode=\"drain\"", .kind = METRIC_GAUGE},
    {.name = "vpn_balancer_servers", .labels = "mode=\"gone\"", .kind = METRIC_GAUGE},
};
static struct metric unusable_metric = {
    .name = "vpn_balancer_unusable_endpoints",
    .help = "Endpoints that no server can be made of, or that were too many.",
    .kind = METRIC_GAUGE,
};
static struct metric cut_metric = {
    .name = "vpn_balancer_cut_connections_total",
    .help = "Connections that were left at a server whose time after its end was over.",
    .kind = METRIC_COUNTER,
};
static struct metric following_metric = {
    .name = "vpn_balancer_following",
    .help = "1 while EndpointSlices are being watched.",
    .kind = METRIC_GAUGE,
};
static struct metric settled_metric = {
    .name = "vpn_balancer_settled",
    .help = "1 while haproxy has all that it should, by its own words.",
    .kind = METRIC_GAUGE,
};
static struct metric seconds_metric = {
    .name = "vpn_balancer_change_seconds",
    .help = "From a change of the endpoints until haproxy has it.",
    .kind = METRIC_HISTOGRAM,
    .buckets = {0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30},
    .bucket_count = 11,
};

static void register_metrics(void)
{
    struct metric *const all[] = {&unusable_metric, &cut_metric, &following_metric, &settled_metric,
                                  &seconds_metric};

    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        metrics_register(all[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(servers_metric); i++) {
        metrics_register(&servers_metric[i]);
    }
}

static void count_servers(const struct balancer *b)
{
    size_t ready = 0;

    for (size_t i = 0; i < b->desired->count; i++) {
        ready += b->desired->items[i].mode == SERVER_READY;
    }
    metric_set(&servers_metric[0], (int64_t)ready);
    metric_set(&servers_metric[1], (int64_t)(b->desired->count - ready - b->lineup->leaving));
    metric_set(&servers_metric[2], (int64_t)b->lineup->leaving);
    metric_add(&cut_metric, (int64_t)b->lineup->cut - metric_value(&cut_metric));
}

/* --- what there is, and what there should be --- */

static void collect(struct balancer *b)
{
    const struct slice *slices[SLICES_MAX];
    size_t count = 0;
    size_t unusable = 0;

    for (struct kube_store_iter i = {.store = b->slices}; kube_store_next(&i);) {
        if (count < SLICES_MAX) { /* the store's own bound */
            slices[count] = i.object->kept;
            unusable += slices[count++]->unusable;
        }
    }
    unusable += endpoints_merge(slices, count, b->endpoints);
    metric_set(&unusable_metric, (int64_t)unusable);
}

/* Before both have spoken, the API server and haproxy, nothing is touched. Is there anything new
 * for haproxy, or may there yet be? */
static bool plan(struct balancer *b)
{
    const struct server_list *observed = members_observed(b->members);

    if (!kube_store_synced(b->slices) || observed == NULL) {
        return true;
    }
    lineup_plan(b->lineup, b->endpoints, observed, members_fresh(b->members),
                loop_now_ms(b->o.loop), b->desired);
    count_servers(b);
    if (b->told && servers_same(b->desired, b->last_desired)) {
        return false;
    }
    b->told = true;
    *b->last_desired = *b->desired;
    members_set(b->members, b->desired);
    return true;
}

static void on_look(void *arg)
{
    struct balancer *b = arg;

    collect(b);
    if (!plan(b)) {
        b->changed_ms = 0;
    }
}

static void changed(struct balancer *b)
{
    b->changed_ms = b->changed_ms != 0 ? b->changed_ms : loop_now_ms(b->o.loop);
    loop_timer_start(b->look, 0, 0);
}

/* --- events --- */

static void note_settled(struct balancer *b)
{
    bool settled = members_settled(b->members);

    metric_set(&settled_metric, settled);
    if (settled) {
        b->applied = true;
        if (b->changed_ms != 0 && !loop_timer_active(b->look)) {
            metric_observe(&seconds_metric, (double)(loop_now_ms(b->o.loop) - b->changed_ms) / 1e3);
            b->changed_ms = 0;
        }
    }
}

static void on_haproxy(void *arg)
{
    struct balancer *b = arg;

    if (members_observed(b->members) == NULL) {
        b->applied = false;
        return;
    }
    note_settled(b);
    plan(b); /* connections ended, time went by */
}

static void *on_keep(void *arg, cJSON *object)
{
    return slice_read(object, ((struct balancer *)arg)->o.port_name);
}

static void on_drop(void *arg, void *kept)
{
    free(kept);
}

static void on_slice(void *arg, const struct kube_object *object)
{
    changed(arg);
}

static void on_slice_changed(void *arg, const struct kube_object *object, const void *before)
{
    changed(arg);
}

static void on_synced(void *arg)
{
    struct balancer *b = arg;

    log_info("endpoints are known", "slices", NUM((long long)kube_store_count(b->slices)), NULL);
    changed(b);
}

/* --- HTTP --- */

static void reply_text(struct http_exchange *x, int status, const char *text)
{
    http_reply(x, status, NULL, text, strlen(text), NULL);
}

static void on_servers(void *arg, struct http_exchange *x,
                       const struct http_server_request *request)
{
    struct balancer *b = arg;
    const struct server_list *observed = members_observed(b->members);
    AUTO(buf) struct buf out;

    buf_init(&out, ANSWER_MAX);
    if (observed == NULL) {
        reply_text(x, 503, "haproxy does not answer\n");
        return;
    }
    balancer_format_servers(&out, members_settled(b->members), observed);
    http_reply(x, 200, "application/json", buf_str(&out), out.len, NULL);
}

static void on_metrics(void *arg, struct http_exchange *x,
                       const struct http_server_request *request)
{
    struct balancer *b = arg;
    AUTO(buf) struct buf out;

    metric_set(&following_metric, kube_store_following(b->slices));
    buf_init(&out, ANSWER_MAX);
    if (metrics_render(&out) < 0) {
        reply_text(x, 500, "too many metrics\n");
        return;
    }
    http_reply(x, 200, METRICS_CONTENT_TYPE, buf_str(&out), out.len, NULL);
}

static void on_healthz(void *arg, struct http_exchange *x,
                       const struct http_server_request *request)
{
    reply_text(x, 200, "ok\n");
}

/* An API server that is away does not make us unready: haproxy would lose its Service's traffic
 * because somebody else is ill. */
static void on_readyz(void *arg, struct http_exchange *x, const struct http_server_request *request)
{
    struct balancer *b = arg;

    if (!kube_store_synced(b->slices)) {
        reply_text(x, 503, "not ready: the endpoints are not known yet\n");
    } else if (members_observed(b->members) == NULL) {
        reply_text(x, 503, "not ready: haproxy does not answer\n");
    } else if (!b->applied) {
        reply_text(x, 503, "not ready: haproxy does not have its servers yet\n");
    } else {
        reply_text(x, 200, "ok\n");
    }
}

static int listen_http(struct balancer *b, struct err *err)
{
    const struct http_route routes[] = {
        {.method = "GET", .path = "/v1/servers", .handler = on_servers, .arg = b},
        {.method = "GET", .path = "/metrics", .handler = on_metrics, .arg = b},
        {.method = "GET", .path = "/healthz", .handler = on_healthz, .arg = b},
        {.method = "GET", .path = "/readyz", .handler = on_readyz, .arg = b},
    };

    memcpy(b->routes, routes, sizeof(routes));
    const struct http_listen_options options = {
        .address = b->o.listen, .routes = b->routes, .route_count = ARRAY_LEN(routes)};
    int r = http_server_new(b->o.loop, &b->http, err);
    return r == 0 ? http_server_listen(b->http, &options, err) : r;
}

/* --- life --- */

static int follow(struct balancer *b, struct err *err)
{
    AUTO(str) char *selector = xasprintf("kubernetes.io/service-name=%s", b->o.service);
    const struct kube_store_options options = {
        .resource = &kube_endpoint_slices,
        .ns = b->o.ns,
        .label_selector = selector,
        .max_objects = SLICES_MAX,
        .keep = on_keep,
        .drop = on_drop,
        .on_add = on_slice,
        .on_update = on_slice_changed,
        .on_delete = on_slice,
        .on_synced = on_synced,
        .arg = b,
    };

    return kube_store_open(b->o.client, &options, &b->slices, err);
}

int balancer_open(const struct balancer_options *options, struct balancer **ret, struct err *err)
{
    struct balancer *b = xcalloc(1, sizeof(*b));
    const struct members_options members = {.socket_path = options->socket,
                                            .backend = options->backend,
                                            .on_change = on_haproxy,
                                            .arg = b};

    register_metrics();
    b->o = *options;
    b->endpoints = xcalloc(1, sizeof(*b->endpoints));
    b->desired = xcalloc(1, sizeof(*b->desired));
    b->last_desired = xcalloc(1, sizeof(*b->last_desired));
    b->lineup = xcalloc(1, sizeof(*b->lineup));
    b->lineup->gone_ms = b->o.gone_s * 1000;
    b->look = loop_timer_new(b->o.loop, on_look, b);
    b->members = members_new(b->o.loop, &members);
    int r = b->o.listen != NULL ? listen_http(b, err) : 0;
    if (r == 0) {
        r = follow(b, err);
    }
    if (r < 0) {
        balancer_close(b);
        return r;
    }
    members_sync(b->members); /* what does haproxy have? */
    *ret = b;
    return 0;
}

void balancer_close(struct balancer *b)
{
    if (b == NULL) {
        return;
    }
    kube_store_close(b->slices);
    http_server_close(b->http);
    members_close(b->members);
    loop_timer_close(b->look);
    free(b->endpoints);
    free(b->desired);
    free(b->last_desired);
    free(b->lineup);
    free(b);
}
