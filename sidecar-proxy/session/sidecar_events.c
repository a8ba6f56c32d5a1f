#include "common/log.h"
#include "sidecar-proxy/session/session_metrics.h"
#include "sidecar-proxy/session/sidecar_priv.h"

#define SETTLE_MS 1500 /* for the state services to say what is stale */

/* --- phase --- */

static const char *phase_of(const struct sidecar *s)
{
    if (drain_started(s->drain)) {
        return drain_is_over(s->drain) && tracker_synced(s->tracker) ? "drained" : "draining";
    }
    return s->was_live ? "ready" : "starting";
}

void sidecar_tell_feeds(struct sidecar *s)
{
    if (s->feeds != NULL) {
        feeds_info(s->feeds, reporter_api_service_id(s->reporter), phase_of(s));
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

static void on_generation(void *arg, uint64_t generation, int pid, bool began)
{
    struct sidecar *s = arg;

    auth_forget(s->auth);
    tracker_generation(s->tracker, generation, pid, began);
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
        sidecar_tell_feeds(s);
    }
}

static void on_lost(void *arg, const char *why)
{
    struct sidecar *s = arg;

    auth_forget(s->auth);
    tracker_lost(s->tracker);
}

/* Others have still to end: an answer to a device, or a question for our status, may come. */
static void on_closed(void *arg)
{
    struct sidecar *s = arg;

    s->link = NULL;
    auth_set_link(s->auth, NULL);
    tracker_set_link(s->tracker, NULL);
    drain_set_link(s->drain, NULL);
    sidecar_part_closed(s);
}

const struct link_callbacks sidecar_link_events = {
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
    .on_closed = on_closed,
};

/* --- the parts' events --- */

void sidecar_on_life(void *arg, uint64_t generation, int pid)
{
    struct sidecar *s = arg;

    auth_set_generation(s->auth, generation);
    s->record.generation = generation;
    s->record.openvpn_pid = pid;
    remember(s);
}

void sidecar_settle(void *arg)
{
    reporter_api_settle(((struct sidecar *)arg)->reporter);
}

static void settle_if_all_know(struct sidecar *s)
{
    if (s->feeds == NULL) {
        return; /* closed */
    }
    reporter_api_trust(s->reporter, feeds_some_know(s->feeds));
    if (tracker_synced(s->tracker) && feeds_all_know(s->feeds)) {
        sidecar_settle(s);
    }
}

void sidecar_on_synced(void *arg)
{
    struct sidecar *s = arg;

    if (s->feeds != NULL) {
        feeds_sync(s->feeds);
    }
    if (!loop_timer_active(s->settle_timer)) {
        loop_timer_start(s->settle_timer, SETTLE_MS, 0);
    }
    settle_if_all_know(s);
    sidecar_tell_feeds(s);
}

void sidecar_on_feed_change(void *arg)
{
    settle_if_all_know(arg);
}

void sidecar_on_stale(void *arg, const char *uuid, struct session_id id)
{
    struct sidecar *s = arg;

    if (tracker_drop(s->tracker, uuid, id, "it is at another instance now")) {
        metric_inc(&session_metrics.feed_stale);
        auth_note_replaced(s->auth, uuid);
    }
}

void sidecar_on_service_id(void *arg, int64_t service_id)
{
    struct sidecar *s = arg;

    s->record.service_id = service_id;
    remember(s);
    if (s->reporter != NULL) {
        sidecar_tell_feeds(s);
    }
}

void sidecar_on_verdict(void *arg, const struct verdict *v)
{
    struct sidecar *s = arg;

    if (s->feeds != NULL) {
        feeds_verdict(s->feeds, v);
    }
}

void sidecar_on_sanity(void *arg)
{
    struct sidecar *s = arg;

    s->was_sane = s->was_sane || balena_api_sane(s->api);
    reporter_api_sanity(s->reporter);
}

/* The phase may have changed with the number of sessions. */
void sidecar_on_up(void *arg, const struct session *session)
{
    sidecar_tell_feeds(arg);
}

void sidecar_on_down(void *arg, const struct session *session, int64_t at_ms)
{
    sidecar_tell_feeds(arg);
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

struct control_status sidecar_on_status(void *arg)
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
        .api_why = balena_api_why(s->api),
        .unreported = reporter_api_unreported(s->reporter),
        .not_ready = not_ready(s),
    };
}

void sidecar_drain(struct sidecar *s, const struct control_drain *d, int64_t pause_s)
{
    const struct drain_figures figures = {.rate_per_minute = (uint32_t)d->rate_per_minute,
                                          .timeout_s = (uint32_t)d->timeout_s,
                                          .pause_s = (uint32_t)pause_s,
                                          .linger_s = (uint32_t)s->o.drain_linger_s};

    log_info("draining", "sessions", NUM((long long)sessions_count(&s->sessions)), "per_minute",
             NUM(d->rate_per_minute), "within_seconds", NUM(d->timeout_s), NULL);
    s->record.drain_rate = d->rate_per_minute;
    s->record.drain_timeout_s = d->timeout_s;
    remember(s);
    drain_start(s->drain, &figures);
    sidecar_tell_feeds(s);
}

void sidecar_on_drain(void *arg, const struct control_drain *d)
{
    struct sidecar *s = arg;

    sidecar_drain(s, d, s->o.drain_delay_s);
}

/* Who comes now is let in no more: haproxy has had its time to send newcomers elsewhere. */
void sidecar_on_drain_change(void *arg)
{
    struct sidecar *s = arg;

    if (drain_is_moving(s->drain)) {
        auth_set_draining(s->auth);
    }
    sidecar_tell_feeds(s);
}
