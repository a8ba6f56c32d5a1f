#include "sidecar-proxy/session/sidecar.h"

#include "common/balena_api.h"
#include "common/log.h"
#include "sidecar-proxy/management/link.h"
#include "sidecar-proxy/session/auth.h"
#include "sidecar-proxy/session/device_router.h"
#include "sidecar-proxy/session/drain.h"
#include "sidecar-proxy/session/feed_client.h"
#include "sidecar-proxy/session/record.h"
#include "sidecar-proxy/session/reporter_api.h"
#include "sidecar-proxy/session/session_metrics.h"
#include "sidecar-proxy/session/tracker.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SETTLE_MS 1500        /* for the state services to say what is stale */
#define STOP_MS 10000         /* for what is still to be told, and for tunnels */
#define STOP_LOOK_MS 20       /* how often it is looked whether that is done */
#define HOUSEKEEPING_MS 60000 /* between looks for what has grown old */
#define VERDICTS_MIN 4096
#define OTHER_API_CALLS 8 /* reports, heartbeats, verifications, beside those of devices */

struct sidecar {
    struct sidecar_options o;
    struct subnet_block block;
    struct record record;
    struct sessions sessions;
    struct sessions_watcher watcher;
    struct verdicts verdicts;
    struct balena_api *api;       /* of devices and reports */
    struct balena_api *proxy_api; /* of callers: their crowds do not hold up the others */
    struct tracker *tracker;
    struct reporter_api *reporter;
    struct verdict_asker *asker;
    struct auth *auth;
    struct drain *drain;
    struct control *control;
    struct proxy *proxy;
    struct link *link;
    struct feed_client *feeds[VERDICT_QUERY_STATES_MAX];
    size_t feed_count;
    char feed_token[SECRET_HEX_LEN + 1];
    struct loop_timer *settle_timer;
    struct loop_timer *stop_timer;
    struct loop_timer *housekeeping;
    bool was_live; /* the link, ever */
    bool was_sane; /* the API, ever */
    bool stopping; /* asked to end */
    bool closing;  /* all is told: the parts are being closed */
    int64_t stop_by_ms;
    bool proxy_drained;
    size_t open_parts; /* link and feeds, while closing */
};

/* --- phase --- */

static const char *phase_of(const struct sidecar *s)
{
    if (drain_started(s->drain)) {
        bool empty = sessions_count(&s->sessions) == 0 && tracker_synced(s->tracker);
        return empty ? "drained" : "draining";
    }
    return s->was_live ? "ready" : "starting";
}

static void tell_feeds(struct sidecar *s)
{
    for (size_t i = 0; i < s->feed_count; i++) {
        feed_client_info(s->feeds[i], reporter_api_service_id(s->reporter), phase_of(s));
    }
}

static void remember(struct sidecar *s)
{
    struct err err = {0};

    if (s->o.record != NULL && record_save(s->o.record, &s->record, &err) < 0) {
        log_error("a restart will not go on from here", "why", err.text, NULL);
    }
}

/* --- the link's events --- */

static void on_generation(void *arg, uint64_t generation, int pid)
{
    struct sidecar *s = arg;

    auth_forget(s->auth);
    tracker_generation(s->tracker, generation, pid);
}

static void on_connect(void *arg, const struct link_client *c)
{
    auth_ask(((struct sidecar *)arg)->auth, c, false);
}

static void on_reauth(void *arg, const struct link_client *c)
{
    auth_ask(((struct sidecar *)arg)->auth, c, true);
}

static void on_established(void *arg, const struct link_client *c)
{
    tracker_established(((struct sidecar *)arg)->tracker, c);
}

static void on_disconnect(void *arg, const struct link_client *c)
{
    struct sidecar *s = arg;

    auth_disconnect(s->auth, c->cid);
    tracker_disconnect(s->tracker, c);
}

static void on_late(void *arg, uint64_t cid)
{
    metric_inc(&session_metrics.auth_late);
    log_debug("answered too late", "cid", NUM((long long)cid), NULL);
}

static void on_bytes(void *arg, uint64_t cid, uint64_t in, uint64_t out)
{
    tracker_bytes(((struct sidecar *)arg)->tracker, cid, in, out);
}

static void on_resync_row(void *arg, const struct link_client *c)
{
    tracker_resync_row(((struct sidecar *)arg)->tracker, c);
}

static void on_resync_end(void *arg)
{
    tracker_resync_end(((struct sidecar *)arg)->tracker);
}

static void on_state(void *arg, enum link_state state)
{
    struct sidecar *s = arg;

    if (state == LINK_LIVE && !s->was_live) {
        s->was_live = true;
        tell_feeds(s);
    }
}

static void on_lost(void *arg, const char *why)
{
    struct sidecar *s = arg;

    auth_forget(s->auth);
    tracker_lost(s->tracker);
}

static void part_closed(void *arg);

static const struct link_callbacks link_events = {
    .on_generation = on_generation,
    .on_connect = on_connect,
    .on_reauth = on_reauth,
    .on_established = on_established,
    .on_disconnect = on_disconnect,
    .on_late = on_late,
    .on_bytes = on_bytes,
    .on_resync_row = on_resync_row,
    .on_resync_end = on_resync_end,
    .on_state = on_state,
    .on_lost = on_lost,
    .on_closed = part_closed,
};

/* --- the parts' events --- */

static void on_life(void *arg, uint64_t generation, int pid)
{
    struct sidecar *s = arg;

    auth_set_generation(s->auth, generation);
    s->record.generation = generation;
    s->record.openvpn_pid = pid;
    remember(s);
}

static size_t acked_feeds(const struct sidecar *s)
{
    size_t n = 0;

    for (size_t i = 0; i < s->feed_count; i++) {
        n += feed_client_is_acked(s->feeds[i]);
    }
    return n;
}

static void settle(void *arg)
{
    reporter_api_settle(((struct sidecar *)arg)->reporter);
}

static void settle_if_all_know(struct sidecar *s)
{
    size_t acked = acked_feeds(s);

    reporter_api_trust(s->reporter, acked > 0 || s->feed_count == 0);
    if (tracker_synced(s->tracker) && acked == s->feed_count) {
        settle(s);
    }
}

static void on_synced(void *arg)
{
    struct sidecar *s = arg;

    for (size_t i = 0; i < s->feed_count; i++) {
        feed_client_sync(s->feeds[i]);
    }
    if (!loop_timer_active(s->settle_timer)) {
        loop_timer_start(s->settle_timer, SETTLE_MS, 0);
    }
    settle_if_all_know(s);
    tell_feeds(s);
}

static void on_feed_change(void *arg)
{
    settle_if_all_know(arg);
}

static void on_stale(void *arg, const char *uuid, struct session_id id)
{
    struct sidecar *s = arg;

    if (tracker_drop(s->tracker, uuid, id, "it is at another instance now")) {
        metric_inc(&session_metrics.feed_stale);
        auth_note_replaced(s->auth, uuid);
    }
}

static void on_service_id(void *arg, int64_t service_id)
{
    struct sidecar *s = arg;

    s->record.service_id = service_id;
    remember(s);
    if (s->reporter != NULL) {
        tell_feeds(s);
    }
}

static void on_verdict(void *arg, const struct verdict *v)
{
    struct sidecar *s = arg;

    for (size_t i = 0; i < s->feed_count; i++) {
        feed_client_verdict(s->feeds[i], v);
    }
}

static void on_sanity(void *arg)
{
    struct sidecar *s = arg;

    s->was_sane = s->was_sane || balena_api_sane(s->api);
    reporter_api_sanity(s->reporter);
}

/* The phase may have changed with the number of sessions. */
static void on_up(void *arg, const struct session *session)
{
    tell_feeds(arg);
}

static void on_down(void *arg, const struct session *session, int64_t at_ms)
{
    tell_feeds(arg);
}

static void on_housekeeping(void *arg)
{
    struct sidecar *s = arg;
    int64_t keep_s = s->o.grace_s > s->o.cache_s ? s->o.grace_s : s->o.cache_s;

    verdicts_expire(&s->verdicts, clock_monotonic_ms(), keep_s * 1000);
}

/* --- control --- */

static const char *const link_names[] = {
    [LINK_CONNECTING] = "connecting", [LINK_GREETING] = "greeting",
    [LINK_RESYNC] = "resync",         [LINK_LIVE] = "live",
    [LINK_WAITING] = "waiting",       [LINK_CLOSED] = "waiting",
};

static const char *not_ready(const struct sidecar *s)
{
    if (s->stopping) {
        return "stopping";
    }
    if (drain_started(s->drain)) {
        return "draining";
    }
    if (link_state(s->link) != LINK_LIVE) {
        return "not connected to OpenVPN";
    }
    return s->was_sane ? NULL : "the balena API has not answered yet";
}

static struct control_status on_status(void *arg)
{
    const struct sidecar *s = arg;

    return (struct control_status){
        .pool = s->o.pool,
        .index = s->o.index,
        .epoch = s->o.epoch,
        .service_id = reporter_api_service_id(s->reporter),
        .link = link_names[link_state(s->link)],
        .phase = phase_of(s),
        .sessions = sessions_count(&s->sessions),
        .openvpn_pid = link_openvpn_pid(s->link),
        .api_sane = balena_api_sane(s->api),
        .unreported = reporter_api_unreported(s->reporter),
        .not_ready = not_ready(s),
    };
}

static void on_drain(void *arg, const struct control_drain *d)
{
    struct sidecar *s = arg;

    log_info("draining", "sessions", NUM((long long)sessions_count(&s->sessions)), "per_minute",
             NUM(d->rate_per_minute), "within_seconds", NUM(d->timeout_s), NULL);
    s->record.drain_rate = d->rate_per_minute;
    s->record.drain_timeout_s = d->timeout_s;
    remember(s);
    auth_set_draining(s->auth);
    drain_start(s->drain, (uint32_t)d->rate_per_minute, (uint32_t)d->timeout_s);
    tell_feeds(s);
}

/* --- start --- */

static int read_options(struct sidecar *s, struct endpoint *states, size_t *state_count,
                        struct err *err)
{
    struct subnet subnet;
    int r = subnet_parse(s->o.subnet, &subnet, err);

    if (r == 0) {
        r = subnet_block(subnet, subnet.prefix_len, 1, &s->block, err);
    }
    if (r < 0) {
        return err_wrap(err, "--subnet");
    }
    r = endpoint_parse_list(s->o.states != NULL ? s->o.states : "", states,
                            VERDICT_QUERY_STATES_MAX, state_count, err);
    if (r < 0) {
        return err_wrap(err, "--state");
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
        .service_key = s->o.service_key,
        .ca_pem = s->o.api_ca,
        .max_in_flight = (size_t)s->o.max_in_flight + OTHER_API_CALLS,
    };
    int r = balena_api_new(s->o.loop, &options, &s->api, err);

    if (r == 0) {
        options.max_in_flight = 0;
        r = balena_api_new(s->o.loop, &options, &s->proxy_api, err);
    }
    if (r == 0) {
        balena_api_watch(s->api, on_sanity, s);
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
        .on_generation = on_life,
        .on_synced = on_synced,
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
        .on_service_id = on_service_id,
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
        .on_verdict = on_verdict,
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
        .sessions = &s->sessions,
        .drain_default = s->o.drain,
        .status = on_status,
        .drain = on_drain,
        .arg = s,
    };

    return control_open(&options, &s->control, err);
}

static int open_proxy(struct sidecar *s, struct err *err)
{
    AUTO(str) char *self_id = xasprintf("%s-%lld", s->o.pool, (long long)s->o.index);
    const struct proxy_options options = {
        .listen = s->o.proxy_listen,
        .workers = 1,
        .service_key = s->o.service_key,
        .guest_key = s->o.guest_key,
        .self_id = self_id,
        .api = s->proxy_api,
        .router = device_router(&s->sessions),
    };

    if (s->o.proxy_listen == NULL) {
        s->proxy_drained = true;
        return 0;
    }
    return proxy_open(s->o.loop, &options, &s->proxy, err);
}

static int open_link(struct sidecar *s, struct err *err)
{
    const struct link_options options = {
        .path = s->o.management,
        .bytecount_s = (int)s->o.bytecount_s,
        .callbacks = &link_events,
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

static void open_feeds(struct sidecar *s, const struct endpoint *states, size_t count)
{
    struct feed_client_options options = {
        .loop = s->o.loop,
        .token = s->feed_token,
        .me = {.pool = s->o.pool,
               .index = s->o.index,
               .epoch = s->o.epoch,
               .proxy = s->o.proxy_advertise != NULL ? s->o.proxy_advertise : s->o.proxy_listen,
               .subnet = s->o.subnet},
        .sessions = &s->sessions,
        .verdicts = &s->verdicts,
        .on_stale = on_stale,
        .on_change = on_feed_change,
        .on_closed = part_closed,
        .arg = s,
    };
    uint8_t token[SECRET_BYTES];

    options.me.proxy = options.me.proxy != NULL ? options.me.proxy : "";
    secret_derive(s->o.service_key, "vpn-state feed", token);
    secret_hex(token, s->feed_token);
    while (s->feed_count < count) {
        options.at = states[s->feed_count];
        s->feeds[s->feed_count++] = feed_client_open(&options);
    }
}

static int open_parts(struct sidecar *s, const struct endpoint *states, size_t state_count,
                      struct err *err)
{
    int r = open_apis(s, err);

    if (r == 0) {
        r = verdict_asker_new(s->o.loop, states, state_count, s->o.service_key, &s->asker, err);
    }
    if (r < 0) {
        return r;
    }
    make_tracker(s);
    make_reporter(s);
    make_auth(s);
    s->drain = drain_new(s->o.loop, &s->sessions);
    r = open_control(s, err);
    if (r == 0) {
        r = open_proxy(s, err);
    }
    if (r == 0) {
        r = open_link(s, err);
    }
    return r;
}

static void resume_drain(struct sidecar *s)
{
    const struct control_drain d = {.rate_per_minute = s->record.drain_rate,
                                    .timeout_s = s->record.drain_timeout_s};

    if (d.rate_per_minute > 0) {
        on_drain(s, &d);
    }
}

/* All but the link and the feeds, which end by themselves later. */
static void free_parts(struct sidecar *s)
{
    proxy_close(s->proxy);
    control_close(s->control);
    drain_close(s->drain);
    auth_close(s->auth);
    verdict_asker_close(s->asker);
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
    secret_wipe(s->feed_token, sizeof(s->feed_token));
    free(s);
}

static void on_stop_look(void *arg);

int sidecar_open(const struct sidecar_options *options, struct sidecar **ret, struct err *err)
{
    struct endpoint states[VERDICT_QUERY_STATES_MAX];
    size_t state_count = 0;
    struct sidecar *s = xcalloc(1, sizeof(*s));

    s->o = *options;
    int r = read_options(s, states, &state_count, err);
    if (r < 0) {
        free(s);
        return r;
    }
    recall(s);
    sessions_init(&s->sessions, s->block.count);
    verdicts_init(&s->verdicts, s->o.service_key,
                  s->block.count > VERDICTS_MIN / 2 ? s->block.count * 2 : VERDICTS_MIN);
    session_metrics_open(&s->sessions);
    s->watcher = (struct sessions_watcher){.on_up = on_up, .on_down = on_down, .arg = s};
    s->settle_timer = loop_timer_new(s->o.loop, settle, s);
    s->stop_timer = loop_timer_new(s->o.loop, on_stop_look, s);
    s->housekeeping = loop_timer_new(s->o.loop, on_housekeeping, s);
    loop_timer_start(s->housekeeping, HOUSEKEEPING_MS, HOUSEKEEPING_MS);
    r = open_parts(s, states, state_count, err);
    if (r < 0) {
        list_init(&s->watcher.in_watchers);
        free_parts(s);
        return r;
    }
    open_feeds(s, states, state_count);
    sessions_watch(&s->sessions, &s->watcher); /* last: the phase follows what the others heard */
    resume_drain(s);
    tell_feeds(s);
    *ret = s;
    return 0;
}

/* --- end --- */

static void part_closed(void *arg)
{
    struct sidecar *s = arg;

    if (--s->open_parts > 0) {
        return;
    }
    void (*on_stopped)(void *arg) = s->o.on_stopped;
    void *user = s->o.arg;
    s->link = NULL;
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
    s->open_parts = s->feed_count + 1;
    log_info("stopping", "unreported", NUM((long long)reporter_api_unreported(s->reporter)),
             "instance", ended ? "has ended" : "lives on", NULL);
    for (size_t i = 0; i < s->feed_count; i++) {
        feed_client_close(s->feeds[i], ended);
    }
    link_close(s->link);
}

/* A loss of OpenVPN that is still undecided may mean that there is much to be told. */
static bool all_is_told(const struct sidecar *s)
{
    return s->proxy_drained && !tracker_undecided(s->tracker) &&
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
