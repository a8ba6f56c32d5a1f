#include "sidecar-proxy/state/state_metrics.h"

#include "sidecar-proxy/state/feed_server.h"
#include "sidecar-proxy/state/service.h"
#include "sidecar-proxy/state/stream.h"

#define COUNTER(metric_name, metric_labels, metric_help)                         \
    {                                                                            \
        .name = (metric_name), .labels = (metric_labels), .help = (metric_help), \
        .kind = METRIC_COUNTER                                                   \
    }
#define READ(metric_name, metric_labels, metric_kind, metric_read, metric_help)  \
    {                                                                            \
        .name = (metric_name), .labels = (metric_labels), .help = (metric_help), \
        .kind = (metric_kind), .read = (metric_read)                             \
    }

struct state_metrics state_metrics = {
    .feed_messages = COUNTER("vpn_state_feed_messages_total", NULL, "Messages of sidecars."),
    .feed_faults =
        COUNTER("vpn_state_feed_faults_total", NULL, "Feeds that were closed for what they sent."),
    .feeds_refused = COUNTER("vpn_state_feeds_refused_total", NULL, "Feeds with a wrong token."),
    .lookups_online =
        COUNTER("vpn_state_lookups_total", "result=\"online\"", "Lookups of one device."),
    .lookups_offline =
        COUNTER("vpn_state_lookups_total", "result=\"offline\"", "Lookups of one device."),
    .lookups_unready =
        COUNTER("vpn_state_lookups_total", "result=\"unready\"", "Lookups of one device."),
    .lookups_malformed =
        COUNTER("vpn_state_lookups_total", "result=\"malformed\"", "Lookups of one device."),
    .streams_slow =
        COUNTER("vpn_state_streams_slow_total", NULL, "Watchers that were cut for slowness."),
    .streams_refused =
        COUNTER("vpn_state_streams_refused_total", NULL, "Streams over the maximum."),
};

static double devices(void *arg)
{
    return (double)table_counts(((struct service *)arg)->table).devices;
}

static double sessions(void *arg)
{
    return (double)table_counts(((struct service *)arg)->table).sessions;
}

static double instances(void *arg)
{
    return (double)table_counts(((struct service *)arg)->table).instances;
}

static double ups(void *arg)
{
    return (double)table_counts(((struct service *)arg)->table).ups;
}

static double downs(void *arg)
{
    return (double)table_counts(((struct service *)arg)->table).downs;
}

static double stale(void *arg)
{
    return (double)table_counts(((struct service *)arg)->table).stale;
}

static double lost(void *arg)
{
    return (double)table_counts(((struct service *)arg)->table).lost;
}

static double refused(void *arg)
{
    return (double)table_counts(((struct service *)arg)->table).refused;
}

static double known_verdicts(void *arg)
{
    return (double)verdicts_count(&((struct service *)arg)->verdicts);
}

static double evicted_verdicts(void *arg)
{
    return (double)((struct service *)arg)->verdicts.evicted;
}

static double feeds(void *arg)
{
    return (double)feed_server_count(((struct service *)arg)->feeds);
}

static double open_streams(void *arg)
{
    return (double)streams_count(((struct service *)arg)->streams);
}

static double ready(void *arg)
{
    return service_ready(arg) ? 1 : 0;
}

#define EVENTS_HELP "Devices that came online or moved (up), and that went offline (down)."

static struct metric computed[] = {
    READ("vpn_state_devices", NULL, METRIC_GAUGE, devices, "Devices that are online."),
    READ("vpn_state_sessions", NULL, METRIC_GAUGE, sessions,
         "Sessions of devices; a device may have two for a moment."),
    READ("vpn_state_instances", NULL, METRIC_GAUGE, instances, "Instances that are known."),
    READ("vpn_state_events_total", "type=\"up\"", METRIC_COUNTER, ups, EVENTS_HELP),
    READ("vpn_state_events_total", "type=\"down\"", METRIC_COUNTER, downs, EVENTS_HELP),
    READ("vpn_state_stale_total", NULL, METRIC_COUNTER, stale,
         "Sessions that were overtaken by a newer one elsewhere."),
    READ("vpn_state_instances_lost_total", NULL, METRIC_COUNTER, lost,
         "Instances whose feed broke and did not come back in time."),
    READ("vpn_state_sessions_refused_total", NULL, METRIC_COUNTER, refused,
         "Sessions that were not taken since the table is full."),
    READ("vpn_state_verdicts", NULL, METRIC_GAUGE, known_verdicts, "Verdicts that are remembered."),
    READ("vpn_state_verdicts_evicted_total", NULL, METRIC_COUNTER, evicted_verdicts,
         "Verdicts that were forgotten early, for want of room."),
    READ("vpn_state_feeds", NULL, METRIC_GAUGE, feeds, "Connections of sidecars."),
    READ("vpn_state_streams", NULL, METRIC_GAUGE, open_streams, "Open streams (watch, devices)."),
    READ("vpn_state_ready", NULL, METRIC_GAUGE, ready,
         "1: what is not known here is offline; 0: not all instances were heard yet."),
};

void state_metrics_register(struct service *service)
{
    struct metric *counters = (struct metric *)&state_metrics;

    for (size_t i = 0; i < sizeof(state_metrics) / sizeof(struct metric); i++) {
        metrics_register(&counters[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(computed); i++) {
        computed[i].arg = service;
        metrics_register(&computed[i]);
    }
}

static int render_instances(const struct table_instance *first, const char *name, const char *help,
                            double (*value)(const struct table_instance *i), struct buf *out)
{
    int r = buf_printf(out, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name);

    for (const struct table_instance *i = first; i != NULL && r == 0; i = i->next) {
        r = buf_printf(out, "%s{pool=\"%s\",index=\"%u\"} %.17g\n", name, i->pool, i->index,
                       value(i));
    }
    return r;
}

static double instance_sessions(const struct table_instance *i)
{
    return (double)i->sessions.count;
}

static double instance_connected(const struct table_instance *i)
{
    return i->feed != NULL ? 1 : 0;
}

int state_metrics_render(const struct service *service, struct buf *out)
{
    const struct table_instance *first = table_instances(service->table);
    int r = metrics_render(out);

    r = r < 0 ? r
              : render_instances(first, "vpn_state_instance_sessions", "Sessions by instance.",
                                 instance_sessions, out);
    return r < 0 ? r
                 : render_instances(first, "vpn_state_instance_connected",
                                    "1: its feed is open; 0: it broke.", instance_connected, out);
}
