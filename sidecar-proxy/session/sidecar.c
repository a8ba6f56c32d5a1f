#include "sidecar-proxy/session/sidecar.h"

#include "common/log.h"
#include "sidecar-proxy/proxy/proxy.h"
#include "sidecar-proxy/session/device_router.h"
#include "sidecar-proxy/session/session_metrics.h"
#include "sidecar-proxy/session/sidecar_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define STOP_MS 10000         /* for what is still to be told, and for tunnels */
#define LEFTOVERS_MS 1000     /* for tunnels whose devices are gone: to hand over what has come */
#define STOP_LOOK_MS 20       /* how often it is looked whether that is done */
#define HOUSEKEEPING_MS 60000 /* between looks for what has grown old */
#define VERDICTS_MIN 4096
#define OTHER_API_CALLS 8 /* reports, heartbeats, verifications, beside those of devices */

/* --- start --- */

static void on_housekeeping(void *arg)
{
    struct sidecar *s = arg;
    int64_t keep_s = s->o.grace_s > s->o.cache_s ? s->o.grace_s : s->o.cache_s;

    verdicts_expire(&s->verdicts, clock_monotonic_ms(), keep_s * 1000);
}

static int read_options(struct sidecar *s, struct err *err)
{
    struct subnet subnet;
    int r = subnet_parse(s->o.subnet, &subnet, err);

    if (r == 0) {
        r = subnet_block(subnet, subnet.prefix_len, 1, &s->block, err);
    }
    if (r < 0) {
        return err_wrap(err, "--subnet");
    }
    if (strlen(s->o.epoch) > RECORD_EPOCH_MAX) {
        return err_text(err, -EINVAL, "--epoch is over %d bytes", RECORD_EPOCH_MAX);
    }
    return 0;
}

static void recall(struct sidecar *s)
{
    struct err err = {0};

    snprintf(s->record.epoch, sizeof(s->record.epoch), "%s", s->o.epoch);
    if (s->o.record != NULL && record_load(s->o.record, s->o.epoch, &s->record, &err) < 0) {
        log_warn("starting without a record", "why", err.text, NULL);
    }
    if (s->record.service_id > 0) {
        log_info("going on", "service", NUM(s->record.service_id), NULL);
    }
}

static int open_apis(struct sidecar *s, struct err *err)
{
    struct balena_api_options options = {
        .base_url = s->o.api_url,
        .service_key = s->o.keys.key,
        .ca_pem = s->o.api_ca,
        .max_in_flight = (size_t)s->o.max_in_flight + OTHER_API_CALLS,
    };
    int r = balena_api_new(s->o.loop, &options, &s->api, err);

    if (r == 0) {
        options.max_in_flight = 0;
        r = balena_api_new(s->o.loop, &options, &s->proxy_api, err);
    }
    if (r == 0) {
        balena_api_watch(s->api, sidecar_on_sanity, s);
    }
    return r;
}

static void make_tracker(struct sidecar *s)
{
    const struct tracker_options options = {
        .loop = s->o.loop,
        .sessions = &s->sessions,
        .subnet = s->block.subnet,
        .known_generation = s->record.generation,
        .known_pid = s->record.openvpn_pid,
        .on_generation = sidecar_on_life,
        .on_synced = sidecar_on_synced,
        .arg = s,
    };

    s->tracker = tracker_new(&options);
}

static void make_reporter(struct sidecar *s)
{
    const struct reporter_api_options options = {
        .loop = s->o.loop,
        .api = s->api,
        .sessions = &s->sessions,
        .max_devices = s->block.count,
        .register_address = s->o.register_address,
        .service_id = s->record.service_id,
        .on_service_id = sidecar_on_service_id,
        .arg = s,
    };

    s->reporter = reporter_api_new(&options);
}

static void make_auth(struct sidecar *s)
{
    const struct auth_options options = {
        .loop = s->o.loop,
        .api = s->api,
        .sessions = &s->sessions,
        .verdicts = &s->verdicts,
        .asker = s->asker,
        .cache_s = (uint32_t)s->o.cache_s,
        .grace_s = (uint32_t)s->o.grace_s,
        .max_in_flight = (size_t)s->o.max_in_flight,
        .on_verdict = sidecar_on_verdict,
        .arg = s,
    };

    s->auth = auth_new(&options);
}

static int open_control(struct sidecar *s, struct err *err)
{
    const struct control_options options = {
        .loop = s->o.loop,
        .listen = s->o.control,
        .nss = s->o.nss,
        .keys = s->o.keys,
        .sessions = &s->sessions,
        .drain_default = s->o.drain,
        .status = sidecar_on_status,
        .drain = sidecar_on_drain,
        .arg = s,
    };

    return control_open(&options, &s->control, err);
}

static int open_proxy(struct sidecar *s, struct err *err)
{
    if (s->o.proxy_listen == NULL) {
        s->proxy_drained = true;
        return 0;
    }
    s->router = device_router_new(&s->sessions);
    AUTO(str) char *self_id = xasprintf("%s-%lld", s->o.pool, (long long)s->o.index);
    const struct proxy_options options = {
        .listen = s->o.proxy_listen,
        .workers = 1,
        .keys = s->o.keys,
        .guest_key = s->o.guest_key,
        .self_id = self_id,
        .api = s->proxy_api,
        .router = device_router_proxy(s->router),
    };

    return proxy_open(s->o.loop, &options, &s->proxy, err);
}

static int open_link(struct sidecar *s, struct err *err)
{
    const struct link_options options = {
        .path = s->o.management,
        .bytecount_s = (int)s->o.bytecount_s,
        .callbacks = &sidecar_link_events,
        .arg = s,
    };
    int r = link_open(s->o.loop, &options, &s->link, err);

    if (r == 0) {
        tracker_set_link(s->tracker, s->link);
        auth_set_link(s->auth, s->link);
        drain_set_link(s->drain, s->link);
    }
    return r;
}

static void on_feeds_closed(void *arg)
{
    struct sidecar *s = arg;

    s->feeds = NULL;
    sidecar_part_closed(s);
}

static void open_feeds(struct sidecar *s)
{
    const char *proxy = s->o.proxy_advertise != NULL ? s->o.proxy_advertise : s->o.proxy_listen;
    const struct feeds_options options = {
        .loop = s->o.loop,
        .states = s->states,
        .keys = s->o.keys,
        .me = {.pool = s->o.pool,
               .index = s->o.index,
               .epoch = s->o.epoch,
               .proxy = proxy != NULL ? proxy : "",
               .subnet = s->o.subnet},
        .sessions = &s->sessions,
        .verdicts = &s->verdicts,
        .on_stale = sidecar_on_stale,
        .on_change = sidecar_on_feed_change,
        .on_closed = on_feeds_closed,
        .arg = s,
    };

    s->feeds = feeds_open(&options);
}

static int open_states(struct sidecar *s, struct err *err)
{
    int r = replicas_new(s->o.loop, s->o.states != NULL ? s->o.states : "", &s->states, err);

    if (r < 0) {
        return err_wrap(err, "--state");
    }
    return verdict_asker_new(s->o.loop, s->states, &s->o.keys, &s->asker, err);
}

static int open_parts(struct sidecar *s, struct err *err)
{
    int r = open_apis(s, err);

    if (r == 0) {
        r = open_states(s, err);
    }
    if (r < 0) {
        return r;
    }
    make_tracker(s);
    make_reporter(s);
    make_auth(s);
    s->drain = drain_new(s->o.loop, &s->sessions, sidecar_on_drain_change, s);
    r = open_control(s, err);
    if (r == 0) {
        r = open_proxy(s, err);
    }
    if (r == 0) {
        r = open_link(s, err);
    }
    return r;
}

/* Without another pause: haproxy has known for as long as the drain runs. */
static void resume_drain(struct sidecar *s)
{
    const struct control_drain d = {.rate_per_minute = s->record.drain_rate,
                                    .timeout_s = s->record.drain_timeout_s};

    if (d.rate_per_minute > 0) {
        sidecar_drain(s, &d, 0);
    }
}

/* All but the link and the feeds, which end by themselves later. */
static void free_parts(struct sidecar *s)
{
    proxy_close(s->proxy);
    device_router_free(s->router);
    control_close(s->control);
    drain_close(s->drain);
    auth_close(s->auth);
    verdict_asker_close(s->asker);
    replicas_close(s->states);
    reporter_api_close(s->reporter);
    tracker_close(s->tracker);
    balena_api_close(s->proxy_api);
    balena_api_close(s->api);
    loop_timer_close(s->settle_timer);
    loop_timer_close(s->stop_timer);
    loop_timer_close(s->housekeeping);
    sessions_unwatch(&s->sessions, &s->watcher);
    session_metrics_close(&s->sessions);
    sessions_clear(&s->sessions);
    verdicts_clear(&s->verdicts);
    free(s);
}

static void on_stop_look(void *arg);

int sidecar_open(const struct sidecar_options *options, struct sidecar **ret, struct err *err)
{
    struct sidecar *s = xcalloc(1, sizeof(*s));

    s->o = *options;
    int r = read_options(s, err);
    if (r < 0) {
        free(s);
        return r;
    }
    recall(s);
    sessions_init(&s->sessions, s->block.count);
    verdicts_init(&s->verdicts, s->o.keys.key,
                  s->block.count > VERDICTS_MIN / 2 ? s->block.count * 2 : VERDICTS_MIN);
    session_metrics_open(&s->sessions);
    s->watcher =
        (struct sessions_watcher){.on_up = sidecar_on_up, .on_down = sidecar_on_down, .arg = s};
    s->settle_timer = loop_timer_new(s->o.loop, sidecar_settle, s);
    s->stop_timer = loop_timer_new(s->o.loop, on_stop_look, s);
    s->housekeeping = loop_timer_new(s->o.loop, on_housekeeping, s);
    loop_timer_start(s->housekeeping, HOUSEKEEPING_MS, HOUSEKEEPING_MS);
    r = open_parts(s, err);
    if (r < 0) {
        list_init(&s->watcher.in_watchers);
        free_parts(s);
        return r;
    }
    open_feeds(s);
    sessions_watch(&s->sessions, &s->watcher); /* last: the phase follows what the others heard */
    resume_drain(s);
    sidecar_tell_feeds(s);
    *ret = s;
    return 0;
}

/* --- end --- */

void sidecar_part_closed(void *arg)
{
    struct sidecar *s = arg;

    if (--s->open_parts > 0) {
        return;
    }
    void (*on_stopped)(void *arg) = s->o.on_stopped;
    void *user = s->o.arg;
    free_parts(s);
    on_stopped(user);
}

/* "bye" is said when the instance has ended, not when only its sidecar does: its devices are gone,
 * moved by a drain or with OpenVPN. */
static bool instance_has_ended(const struct sidecar *s)
{
    bool empty = sessions_count(&s->sessions) == 0;

    return empty && (drain_started(s->drain) || tracker_is_lost(s->tracker));
}

static void close_all(struct sidecar *s)
{
    bool ended = instance_has_ended(s);

    s->closing = true;
    loop_timer_stop(s->stop_timer);
    s->open_parts = 2;
    log_info("stopping", "unreported", NUM((long long)reporter_api_unreported(s->reporter)),
             "openvpn", ended ? "has ended" : "lives on", NULL);
    feeds_close(s->feeds, ended);
    link_close(s->link);
}

/* Those to devices that are gone end by nobody's doing: they are not waited for. */
static bool tunnels_are_over(const struct sidecar *s)
{
    int64_t leftovers_by_ms = s->stop_by_ms - STOP_MS + LEFTOVERS_MS;

    return s->proxy_drained || (instance_has_ended(s) && clock_monotonic_ms() >= leftovers_by_ms);
}

/* A loss of OpenVPN that is still undecided may mean that there is much to be told. */
static bool all_is_told(const struct sidecar *s)
{
    return tunnels_are_over(s) && !tracker_undecided(s->tracker) &&
           reporter_api_unreported(s->reporter) == 0;
}

static void on_stop_look(void *arg)
{
    struct sidecar *s = arg;

    if (all_is_told(s) || clock_monotonic_ms() >= s->stop_by_ms) {
        close_all(s);
    }
}

static void on_proxy_drained(void *arg)
{
    ((struct sidecar *)arg)->proxy_drained = true;
}

void sidecar_stop(struct sidecar *s)
{
    if (s->closing) {
        return;
    }
    if (s->stopping) {
        close_all(s);
        return;
    }
    s->stopping = true;
    s->stop_by_ms = clock_monotonic_ms() + STOP_MS;
    if (s->proxy != NULL) {
        proxy_drain(s->proxy, STOP_MS, on_proxy_drained, s);
    }
    loop_timer_start(s->stop_timer, STOP_LOOK_MS, STOP_LOOK_MS);
}
