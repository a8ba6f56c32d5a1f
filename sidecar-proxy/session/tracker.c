#include "sidecar-proxy/session/tracker.h"

#include "common/log.h"
#include "sidecar-proxy/session/session_metrics.h"

#include <string.h>

struct tracker {
    struct tracker_options o;
    struct link *link;
    struct loop_timer *lost_timer;
    struct sessions_watcher watcher;
    uint64_t generation; /* 0: none seen yet */
    bool synced;
    bool lost;
    const char *why; /* of the end that is being told */
};

static void on_up(void *arg, const struct session *s)
{
    log_info("connected", "uuid", s->uuid, "session", session_id_format(s->id).text, "address",
             address_format(s->address).text, "how", s->adopted ? "found in OpenVPN" : NULL, NULL);
}

static void on_down(void *arg, const struct session *s, int64_t at_ms)
{
    struct tracker *t = arg;

    log_info("disconnected", "uuid", s->uuid, "session", session_id_format(s->id).text, "seconds",
             NUM((at_ms - s->since_ms) / 1000), "why", t->why, NULL);
}

static void on_lost_for_long(void *arg)
{
    struct tracker *t = arg;

    t->why = "OpenVPN is gone";
    sessions_drop_before(t->o.sessions, UINT64_MAX, clock_realtime_ms());
}

struct tracker *tracker_new(const struct tracker_options *options)
{
    struct tracker *t = xcalloc(1, sizeof(*t));

    t->o = *options;
    t->o.lost_ms = t->o.lost_ms > 0 ? t->o.lost_ms : TRACKER_LOST_MS;
    t->lost_timer = loop_timer_new(t->o.loop, on_lost_for_long, t);
    t->watcher = (struct sessions_watcher){.on_up = on_up, .on_down = on_down, .arg = t};
    sessions_watch(t->o.sessions, &t->watcher);
    return t;
}

void tracker_set_link(struct tracker *t, struct link *link)
{
    t->link = link;
}

void tracker_close(struct tracker *t)
{
    if (t != NULL) {
        loop_timer_close(t->lost_timer);
        sessions_unwatch(t->o.sessions, &t->watcher);
        free(t);
    }
}

/* Is it the one that an earlier life of ours knew? */
static bool is_known(const struct tracker *t, int pid, bool began)
{
    return t->generation == 0 && t->o.known_generation != 0 && t->o.known_pid == pid && !began;
}

/* An earlier life of ours may have counted before: then we go on from its number, and with the
 * same number if OpenVPN is the same. */
void tracker_generation(struct tracker *t, uint64_t link_generation, int pid, bool began)
{
    bool known = is_known(t, pid, began);
    uint64_t last = t->generation != 0 ? t->generation : t->o.known_generation;

    t->generation = known ? last : last + 1;
    log_info(known ? "OpenVPN lives on" : "OpenVPN has begun a new life", "generation",
             NUM((long long)t->generation), "pid", NUM(pid), NULL);
    t->why = "OpenVPN began anew";
    sessions_drop_before(t->o.sessions, t->generation, clock_realtime_ms());
    t->o.on_generation(t->o.arg, t->generation, pid);
}

static struct session_id id_of(const struct tracker *t, uint64_t cid)
{
    return (struct session_id){t->generation, cid};
}

/* The user name has been authorised as a UUID, so neither can be wrong but by a fault elsewhere. */
static bool fits(struct tracker *t, const struct link_client *c)
{
    const char *why = NULL;

    if (!uuid_valid_str(c->username)) {
        why = "its user name is not a UUID";
    } else if (!subnet_contains(t->o.subnet, c->address)) {
        why = "its address is not in our subnet";
    }
    if (why == NULL) {
        return true;
    }
    log_warn("client sent away", "cid", NUM((long long)c->cid), "address",
             address_format(c->address).text, "why", why, NULL);
    metric_inc(&session_metrics.ignored);
    link_kill(t->link, c->cid);
    return false;
}

static struct session_claim claim_of(const struct tracker *t, const struct link_client *c)
{
    return (struct session_claim){
        .id = id_of(t, c->cid),
        .uuid = c->username,
        .address = c->address,
        .since_ms = c->since_ms > 0 ? c->since_ms : clock_realtime_ms(),
        .bytes_in = c->bytes_in,
        .bytes_out = c->bytes_out,
    };
}

static void check_result(struct tracker *t, const struct link_client *c,
                         enum sessions_result result)
{
    if (result == SESSIONS_UP || result == SESSIONS_KNOWN) {
        return;
    }
    metric_inc(&session_metrics.ignored);
    if (result == SESSIONS_FULL) {
        log_warn("client sent away", "uuid", c->username, "why", "the table is full", NULL);
        link_kill(t->link, c->cid);
    }
}

void tracker_established(struct tracker *t, const struct link_client *c)
{
    if (fits(t, c)) {
        struct session_claim claim = claim_of(t, c);
        check_result(t, c, sessions_up(t->o.sessions, &claim));
    }
}

void tracker_resync_row(struct tracker *t, const struct link_client *c)
{
    if (fits(t, c)) {
        struct session_claim claim = claim_of(t, c);
        t->why = "another client has its id";
        check_result(t, c, sessions_adopt(t->o.sessions, &claim));
    }
}

void tracker_bytes(struct tracker *t, uint64_t cid, uint64_t in, uint64_t out)
{
    const struct session *s = sessions_find_id(t->o.sessions, id_of(t, cid));

    if (s == NULL) {
        return;
    }
    uint64_t in_before = s->bytes_in;
    uint64_t out_before = s->bytes_out;
    sessions_bytes(t->o.sessions, s->id, in, out);
    metric_add(&session_metrics.rx_bytes, (int64_t)(s->bytes_in - in_before));
    metric_add(&session_metrics.tx_bytes, (int64_t)(s->bytes_out - out_before));
}

void tracker_disconnect(struct tracker *t, const struct link_client *c)
{
    tracker_bytes(t, c->cid, c->bytes_in, c->bytes_out);
    t->why = NULL;
    sessions_down(t->o.sessions, id_of(t, c->cid), clock_realtime_ms());
}

void tracker_resync_end(struct tracker *t)
{
    t->lost = false;
    t->synced = true;
    loop_timer_stop(t->lost_timer);
    t->why = "it ended unseen";
    sessions_drop_unmarked(t->o.sessions, clock_realtime_ms());
    t->o.on_synced(t->o.arg);
}

void tracker_lost(struct tracker *t)
{
    sessions_unmark(t->o.sessions);
    if (!t->lost && t->synced) {
        t->lost = true;
        log_debug("sessions are kept for a while", "sessions",
                  NUM((long long)sessions_count(t->o.sessions)), NULL);
        loop_timer_start(t->lost_timer, t->o.lost_ms, 0);
    }
}

bool tracker_drop(struct tracker *t, const char *uuid, struct session_id id, const char *why)
{
    const struct session *s = sessions_find_id(t->o.sessions, id);

    if (s == NULL || strcmp(s->uuid, uuid) != 0) {
        return false;
    }
    t->why = why;
    sessions_down(t->o.sessions, id, clock_realtime_ms());
    if (id.generation == t->generation) {
        link_kill(t->link, id.cid);
    }
    return true;
}

uint64_t tracker_current(const struct tracker *t)
{
    return t->generation;
}

bool tracker_synced(const struct tracker *t)
{
    return t->synced;
}

bool tracker_undecided(const struct tracker *t)
{
    return loop_timer_active(t->lost_timer) && sessions_count(t->o.sessions) > 0;
}

bool tracker_is_lost(const struct tracker *t)
{
    return t->lost;
}
