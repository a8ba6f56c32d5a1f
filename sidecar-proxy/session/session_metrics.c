#include "sidecar-proxy/session/session_metrics.h"

#include "common/loop.h"

#define COUNTER(n, h)                                    \
    {                                                    \
        .name = (n), .help = (h), .kind = METRIC_COUNTER \
    }
#define COUNTER_OF(n, l, h)                                             \
    {                                                                   \
        .name = (n), .labels = (l), .help = (h), .kind = METRIC_COUNTER \
    }
#define GAUGE(n, h)                                    \
    {                                                  \
        .name = (n), .help = (h), .kind = METRIC_GAUGE \
    }
#define BITRATE(n, h)                                                                        \
    {                                                                                        \
        .name = (n), .help = (h), .kind = METRIC_HISTOGRAM,                                  \
        .buckets = {100, 1000, 5000, 10000, 50000, 100000, 500000, 1e6, 5e6, 1e7, 5e7, 1e8}, \
        .bucket_count = 12                                                                   \
    }
#define AUTH_SECONDS(l)                                                                      \
    {                                                                                        \
        .name = "vpn_sidecar_auth_seconds", .labels = (l), .kind = METRIC_HISTOGRAM,         \
        .help = "Time from a device's question to our answer, by what answered.",            \
        .buckets = {0.0005, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}, \
        .bucket_count = 13                                                                   \
    }
#define AUTH_RESULT(l) \
    COUNTER_OF("vpn_sidecar_auth_total", l, "Answers to devices that asked to come in.")
#define REPORT(l) COUNTER_OF("vpn_sidecar_reports_total", l, "Reports to the balena API.")

struct session_metrics session_metrics = {
    .duration = {.name = "vpn_session_duration",
                 .help = "Length of ended sessions in seconds.",
                 .kind = METRIC_HISTOGRAM,
                 .buckets = {60, 300, 900, 3600, 21600, 43200, 86400, 604800},
                 .bucket_count = 8},
    .rx_bitrate = BITRATE("vpn_session_avg_rx_bitrate",
                          "Bits per second from the device, over an ended session."),
    .tx_bitrate = BITRATE("vpn_session_avg_tx_bitrate",
                          "Bits per second to the device, over an ended session."),
    .rx_bytes = COUNTER("vpn_rx_bytes_total", "Bytes received from devices."),
    .tx_bytes = COUNTER("vpn_tx_bytes_total", "Bytes sent to devices."),
    .online = GAUGE("vpn_online_devices", "Sessions that are up."),
    .devices = COUNTER("vpn_devices_total", "Sessions that came up."),
    .auth_failures = COUNTER("vpn_auth_failures_total", "Devices that were refused."),
    .auth_seconds =
        {
            [AUTH_CACHE] = AUTH_SECONDS("source=\"cache\""),
            [AUTH_API] = AUTH_SECONDS("source=\"api\""),
            [AUTH_GRACE] = AUTH_SECONDS("source=\"grace\""),
            [AUTH_STATE] = AUTH_SECONDS("source=\"state\""),
            [AUTH_LOCAL] = AUTH_SECONDS("source=\"local\""),
        },
    .auth_results =
        {
            [AUTH_ALLOWED] = AUTH_RESULT("result=\"allowed\""),
            [AUTH_REFUSED] = AUTH_RESULT("result=\"refused\""),
            [AUTH_LATER] = AUTH_RESULT("result=\"later\""),
            [AUTH_KEPT] = AUTH_RESULT("result=\"kept\""),
        },
    .auth_in_flight = GAUGE("vpn_sidecar_auth_in_flight", "Questions the balena API works on."),
    .auth_waiting = GAUGE("vpn_sidecar_auth_waiting", "Questions that wait for their turn."),
    .auth_late = COUNTER("vpn_sidecar_auth_late_total", "Answers that found the device gone."),
    .auth_known = GAUGE("vpn_sidecar_auth_known", "Credentials that were good lately."),
    .ignored = COUNTER("vpn_sidecar_events_ignored_total",
                       "Events about sessions that had ended or do not fit."),
    .reports =
        {
            [REPORT_OK] = REPORT("result=\"ok\""),
            [REPORT_GONE] = REPORT("result=\"gone\""),
            [REPORT_UNKNOWN] = REPORT("result=\"unknown\""),
        },
    .unreported = GAUGE("vpn_sidecar_unreported_devices",
                        "Devices whose last change the balena API has not acknowledged."),
    .report_lag = {.name = "vpn_sidecar_report_lag_seconds",
                   .help = "Time from a session's start or end to the API's acknowledgement.",
                   .kind = METRIC_HISTOGRAM,
                   .buckets = {0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300},
                   .bucket_count = 12},
    .differences = COUNTER("vpn_sidecar_report_differences_total",
                           "Devices of which the API believed something else than is true."),
    .feeds_live = GAUGE("vpn_sidecar_feeds_live", "State services that have our snapshot."),
    .feed_messages = COUNTER("vpn_sidecar_feed_messages_total", "Messages to state services."),
    .feed_restarts =
        COUNTER("vpn_sidecar_feed_restarts_total", "Connections to state services that ended."),
    .feed_stale = COUNTER("vpn_sidecar_feed_stale_total",
                          "Sessions dropped because the device is at another instance."),
    .drain_kills = COUNTER("vpn_sidecar_drain_kills_total", "Devices moved by a drain."),
};

static void on_up(void *arg, const struct session *s)
{
    metric_inc(&session_metrics.devices);
}

static void on_down(void *arg, const struct session *s, int64_t at_ms)
{
    double seconds = at_ms > s->since_ms ? (double)(at_ms - s->since_ms) / 1000 : 0.001;

    metric_observe(&session_metrics.duration, seconds);
    metric_observe(&session_metrics.rx_bitrate, (double)s->bytes_in * 8 / seconds);
    metric_observe(&session_metrics.tx_bitrate, (double)s->bytes_out * 8 / seconds);
}

static double read_online(void *arg)
{
    return (double)sessions_count(arg);
}

static struct sessions_watcher watcher = {.on_up = on_up, .on_down = on_down};

static void register_list(struct metric *first, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        metrics_register(&first[i]);
    }
}

void session_metrics_open(struct sessions *sessions)
{
    struct session_metrics *m = &session_metrics;
    struct metric *const singles[] = {
        &m->duration,    &m->rx_bitrate, &m->tx_bitrate,    &m->rx_bytes,      &m->tx_bytes,
        &m->online,      &m->devices,    &m->auth_failures, &m->auth_waiting,  &m->auth_in_flight,
        &m->auth_late,   &m->auth_known, &m->ignored,       &m->unreported,    &m->report_lag,
        &m->differences, &m->feeds_live, &m->feed_messages, &m->feed_restarts, &m->feed_stale,
        &m->drain_kills,
    };

    m->online.read = read_online;
    m->online.arg = sessions;
    for (size_t i = 0; i < ARRAY_LEN(singles); i++) {
        metrics_register(singles[i]);
    }
    register_list(m->auth_seconds, AUTH_SOURCES);
    register_list(m->auth_results, AUTH_RESULTS);
    register_list(m->reports, REPORT_RESULTS);
    sessions_watch(sessions, &watcher);
}

void session_metrics_close(struct sessions *sessions)
{
    sessions_unwatch(sessions, &watcher);
    session_metrics.online.read = NULL;
}
