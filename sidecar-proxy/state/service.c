#include "sidecar-proxy/state/service.h"

#include "common/log.h"
#include "sidecar-proxy/state/feed_server.h"
#include "sidecar-proxy/state/lookup.h"
#include "sidecar-proxy/state/page.h"
#include "sidecar-proxy/state/state_metrics.h"
#include "sidecar-proxy/state/stream.h"

#include <string.h>

#define TICK_MS 1000
#define SWEEP_MS 60000
#define INSTANCES_MAX 2048
#define EXPECTED_BODY_MAX (1024 * 1024)

struct table_now service_now(const struct service *s)
{
    return (struct table_now){.mono_ms = clock_monotonic_ms(), .unix_ms = clock_realtime_ms()};
}

static struct table_now now_for_recent(void *arg)
{
    return service_now(arg);
}

bool service_ready(struct service *s)
{
    bool ready = roster_ready(&s->roster, s->table, clock_monotonic_ms());

    if (ready && !s->said_ready) {
        s->said_ready = true;
        log_info("ready: what is not known here is offline", "instances",
                 NUM(table_counts(s->table).instances), "devices",
                 NUM(table_counts(s->table).devices), NULL);
    }
    return ready;
}

bool service_allowed(struct service *s, struct http_exchange *x,
                     const struct http_server_request *request)
{
    static const char body[] = "{\"error\":\"this needs the token of the feed\"}";

    if (secret_bearer_is(request->authorization, &s->tokens)) {
        return true;
    }
    http_reply(x, 401, "application/json", body, sizeof(body) - 1, "WWW-Authenticate: Bearer");
    return false;
}

static void tick(void *arg)
{
    struct service *s = arg;
    struct table_now now = service_now(s);

    table_tick(s->table, now);
    feed_server_tick(s->feeds);
    service_ready(s); /* so that it is said when it happens, not when somebody asks */
    if (now.mono_ms >= s->sweep_ms) {
        s->sweep_ms = now.mono_ms + SWEEP_MS;
        verdicts_sweep(&s->verdicts, now.unix_ms);
    }
}

static void sample(void *arg)
{
    struct service *s = arg;

    recent_sample(&s->recent);
}

void service_init(struct service *s, struct loop *loop, const struct service_options *options)
{
    *s = (struct service){.loop = loop};
    secrets_derive(&options->keys, SECRET_STATE, &s->tokens);
    s->table = table_new(&(struct table_options){.lost_ms = options->lost_seconds * 1000,
                                                 .max_sessions = options->max_sessions,
                                                 .max_instances = INSTANCES_MAX});
    verdicts_init(&s->verdicts, options->verdict_seconds * 1000, options->max_verdicts);
    roster_init(&s->roster, clock_monotonic_ms() + options->start_grace_seconds * 1000);
    s->world = (struct feed_world){s->table, &s->verdicts, &s->roster};
    recent_init(&s->recent, s->table, now_for_recent, s);
    s->feeds = feed_server_new(s);
    s->streams = streams_new(loop, s->table);
    state_metrics_register(s);
    s->tick = loop_timer_new(loop, tick, s);
    s->sampler = loop_timer_new(loop, sample, s);
    loop_timer_start(s->tick, TICK_MS, TICK_MS);
    loop_timer_start(s->sampler, RECENT_SAMPLE_MS, RECENT_SAMPLE_MS);
}

void service_clear(struct service *s)
{
    loop_timer_close(s->tick);
    loop_timer_close(s->sampler);
    streams_free(s->streams);
    feed_server_free(s->feeds);
    recent_clear(&s->recent);
    roster_clear(&s->roster);
    verdicts_clear(&s->verdicts);
    table_free(s->table);
    secret_wipe(&s->tokens, sizeof(s->tokens));
}

static const struct http_route routes[SERVICE_ROUTES] = {
    {.path = "/v1/feed", .ws = &feed_server_handler},
    {.method = "GET", .path = "/v1/devices/*", .handler = lookup_device},
    {.method = "GET", .path = "/v1/devices", .handler = lookup_devices},
    {.method = "GET", .path = "/v1/instances", .handler = lookup_instances},
    {.method = "GET", .path = "/v1/watch", .handler = lookup_watch},
    {.method = "GET", .path = "/v1/verdicts/*", .handler = lookup_verdict},
    {.method = "GET", .path = "/v1/recent", .handler = lookup_recent},
    {.method = "PUT",
     .path = "/v1/expected",
     .handler = lookup_expected,
     .max_body_bytes = EXPECTED_BODY_MAX},
    {.method = "GET", .path = "/", .handler = page_index},
    {.method = "GET", .path = "/page.css", .handler = page_css},
    {.method = "GET", .path = "/page.js", .handler = page_js},
    {.method = "GET", .path = "/metrics", .handler = lookup_metrics},
    {.method = "GET", .path = "/healthz", .handler = lookup_healthz},
    {.method = "GET", .path = "/readyz", .handler = lookup_readyz},
};

const struct http_route *service_routes(struct service *s, size_t *count)
{
    memcpy(s->routes, routes, sizeof(routes));
    for (size_t i = 0; i < SERVICE_ROUTES; i++) {
        s->routes[i].arg = s;
    }
    *count = SERVICE_ROUTES;
    return s->routes;
}
