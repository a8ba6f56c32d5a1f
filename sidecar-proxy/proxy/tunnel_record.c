/* What is told of a request and its tunnel: one log line at its end, and metrics. Never a key. */
#include "sidecar-proxy/proxy/tunnel.h"

#include "common/log.h"
#include "common/metrics.h"

#include <stdio.h>

static const char *const phase_names[PHASES] = {"head", "access", "route", "connect", "hop"};
static const char *const source_names[DECISION_SOURCES] = {NULL,  "ticket", "cache",
                                                           "api", "shared", "grace"};
static const char *const end_names[] = {
    [ENDED_NOT] = NULL,
    [ENDED_CLIENT] = "client",
    [ENDED_DEVICE] = "device",
    [ENDED_CLIENT_RESET] = "client reset",
    [ENDED_DEVICE_RESET] = "device reset",
    [ENDED_IDLE] = "idle",
    [ENDED_STOP] = "stop",
};
static const int statuses[] = {200, 400, 403, 405, 407, 408, 429, 431, 502, 503, 504, 508};

/* The first three have the original's names. */
static struct metric active = {
    .name = "vpn_proxy_active_tunnels",
    .help = "Tunnels that are open.",
    .kind = METRIC_GAUGE,
};
static struct metric total = {
    .name = "vpn_proxy_total_tunnels",
    .help = "Tunnels that were opened.",
    .kind = METRIC_COUNTER,
};
static struct metric errors = {
    .name = "vpn_proxy_tunnel_errors",
    .help = "Allowed requests that got no tunnel (502, 504, 508).",
    .kind = METRIC_COUNTER,
};
static struct metric bytes_up = {
    .name = "vpn_proxy_bytes_total",
    .labels = "direction=\"to_device\"",
    .help = "Bytes through tunnels that have ended.",
    .kind = METRIC_COUNTER,
};
static struct metric bytes_down = {
    .name = "vpn_proxy_bytes_total",
    .labels = "direction=\"to_client\"",
    .help = "Bytes through tunnels that have ended.",
    .kind = METRIC_COUNTER,
};
static struct metric gone = {
    .name = "vpn_proxy_requests_total",
    .labels = "status=\"gone\"",
    .help = "Requests by the status answered; gone: the client left before.",
    .kind = METRIC_COUNTER,
};
static struct metric answers[ARRAY_LEN(statuses)];
static struct metric decisions[DECISION_SOURCES];
static struct metric phases[PHASES];
static struct metric limited[LIMITS];
static struct metric prefaces[PREFACES];

static void register_labelled(struct metric *m, const char *name, const char *labels,
                              const char *help)
{
    m->name = name;
    m->labels = labels;
    m->help = help;
    metrics_register(m);
}

static void register_phases(void)
{
    static const double bounds[] = {0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02,
                                    0.05,   0.1,    0.2,    0.5,   1,     2,     5,    10};

    for (size_t i = 0; i < PHASES; i++) {
        phases[i].kind = METRIC_HISTOGRAM;
        phases[i].bucket_count = ARRAY_LEN(bounds);
        for (size_t b = 0; b < ARRAY_LEN(bounds); b++) {
            phases[i].buckets[b] = bounds[b];
        }
        register_labelled(&phases[i], "vpn_proxy_phase_seconds",
                          xasprintf("phase=\"%s\"", phase_names[i]),
                          "Time a request spent in each phase it went through.");
    }
}

void tunnel_metrics_register(void)
{
    static const char *const limit_labels[LIMITS] = {NULL, "limit=\"total\"", "limit=\"source\"",
                                                     "limit=\"caller\"", "limit=\"connections\""};

    static const char *const preface_labels[PREFACES] = {"kind=\"proxy-protocol\"", "kind=\"tls\""};

    if (answers[0].name != NULL) {
        return;
    }
    struct metric *const single[] = {&active, &total, &errors, &bytes_up, &bytes_down, &gone};
    for (size_t i = 0; i < ARRAY_LEN(single); i++) {
        metrics_register(single[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        register_labelled(&answers[i], gone.name, xasprintf("status=\"%d\"", statuses[i]),
                          gone.help);
    }
    for (size_t i = DECIDED_NOT + 1; i < DECISION_SOURCES; i++) {
        register_labelled(&decisions[i], "vpn_proxy_decisions_total",
                          xasprintf("source=\"%s\"", source_names[i]),
                          "Decisions about callers by where they came from.");
    }
    for (size_t i = LIMIT_NONE + 1; i < LIMITS; i++) {
        register_labelled(&limited[i], "vpn_proxy_limited_total", limit_labels[i],
                          "Requests or connections refused because of a limit.");
    }
    for (size_t i = 0; i < PREFACES; i++) {
        register_labelled(&prefaces[i], "vpn_proxy_preface_errors_total", preface_labels[i],
                          "Connections closed because what comes before a request was malformed.");
    }
    register_phases();
}

void tunnel_limited(enum limit which)
{
    metric_inc(&limited[which]);
}

void tunnel_preface_failed(const struct tunnel *t, enum preface which, const char *why)
{
    char client[SOURCE_TEXT_MAX];

    metric_inc(&prefaces[which]);
    source_format(&t->source, client);
    log_debug("connection closed before a request", "client", client, "why", why, NULL);
}

void tunnel_record_begin(struct tunnel *t)
{
    t->record = (struct tunnel_record){.begun_us = ask_clock_us()};
    t->mark_us = t->record.begun_us;
}

void tunnel_record_phase(struct tunnel *t, enum tunnel_phase phase)
{
    int64_t now_us = ask_clock_us();

    t->record.phase_us[phase] += (uint32_t)(now_us - t->mark_us); /* a hop may be tried twice */
    t->mark_us = now_us;
}

void tunnel_record_opened(struct tunnel *t)
{
    t->record.open_us = ask_clock_us();
    metric_inc(&total);
    metric_add(&active, 1);
}

static void count_answer(const struct tunnel_record *r)
{
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        if (statuses[i] == r->status) {
            metric_inc(&answers[i]);
        }
    }
    if (r->status == 0) {
        metric_inc(&gone);
    }
    if (r->status == 502 || r->status == 504 || r->status == 508) {
        metric_inc(&errors);
    }
    if (r->source != DECIDED_NOT) {
        metric_inc(&decisions[r->source]);
    }
    for (size_t i = 0; i < PHASES; i++) {
        if (r->phase_us[i] > 0) {
            metric_observe(&phases[i], (double)r->phase_us[i] / 1e6);
        }
    }
}

static void count_tunnel(const struct tunnel *t)
{
    metric_add(&active, -1);
    metric_add(&bytes_up, (int64_t)t->relay.flows[CLIENT].bytes);
    metric_add(&bytes_down, (int64_t)t->relay.flows[FAR].bytes);
}

/* "head 0.1 access 12.0 connect 0.3": milliseconds. */
static void format_phases(const struct tunnel_record *r, char *ret, size_t size)
{
    size_t len = 0;

    ret[0] = '\0';
    for (size_t i = 0; i < PHASES; i++) {
        if (r->phase_us[i] > 0 && len < size) {
            len += (size_t)snprintf(ret + len, size - len, "%s%s %.1f", len > 0 ? " " : "",
                                    phase_names[i], (double)r->phase_us[i] / 1000.0);
        }
    }
}

static void log_tunnel(const struct tunnel *t, const char *client, const char *times)
{
    const struct tunnel_record *r = &t->record;
    char via[sizeof(r->address) + 8];

    snprintf(via, sizeof(via), "%s:%u", r->address, r->address_port);
    log_info("tunnel ended", "uuid", r->uuid, "port", NUM(r->port), "client", client, "to", via,
             "decided_by", source_names[r->source], "ms", times, "open_ms",
             NUM((ask_clock_us() - r->open_us) / 1000), "bytes_to_device",
             NUM(t->relay.flows[CLIENT].bytes), "bytes_to_client", NUM(t->relay.flows[FAR].bytes),
             "ended_by", end_names[r->end], NULL);
}

static void log_refusal(const struct tunnel *t, const char *client, const char *times)
{
    const struct tunnel_record *r = &t->record;
    bool dialled = r->address[0] != '\0';

    log_info(r->status != 0 ? "request refused" : "request given up", "status",
             r->status != 0 ? NUM(r->status) : NULL, "why", r->why[0] != '\0' ? r->why : NULL,
             "uuid", r->uuid[0] != '\0' ? r->uuid : NULL, "port",
             r->port != 0 ? NUM(r->port) : NULL, "client", client, "to",
             dialled ? r->address : NULL, "decided_by", source_names[r->source], "ms", times, NULL);
}

void tunnel_record_finish(struct tunnel *t)
{
    struct tunnel_record *r = &t->record;
    char client[SOURCE_TEXT_MAX];
    char times[160];
    bool nothing_came = r->status == 0 && r->phase_us[PHASE_HEAD] == 0 && t->head.len == 0;

    if (t->entered) {
        limits_leave(&t->worker->shared->limits, &t->caller_seat);
        t->entered = false;
    }
    if (r->told || nothing_came) {
        return;
    }
    r->told = true;
    count_answer(r);
    source_format(&t->source, client);
    format_phases(r, times, sizeof(times));
    if (r->open_us != 0) {
        count_tunnel(t);
        log_tunnel(t, client, times);
    } else {
        log_refusal(t, client, times);
    }
}
