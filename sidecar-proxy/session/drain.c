#include "sidecar-proxy/session/drain.h"

#include "common/log.h"
#include "sidecar-proxy/session/pace.h"
#include "sidecar-proxy/session/session_metrics.h"

#define TICK_MS 100
#define AGAIN_MS 10000 /* OpenVPN ends a client that it told to go within 5 s */

enum drain_state { DRAIN_NOT, DRAIN_PAUSING, DRAIN_MOVING };

struct drain {
    struct loop *loop;
    struct sessions *sessions;
    struct link *link;
    loop_fn on_change;
    void *arg;
    enum drain_state state;
    struct loop_timer *tick; /* the end of the pause, then each look */
    struct pace pace;        /* from the end of the pause */
    int64_t linger_ms;
    int64_t empty_ms; /* since when no session is left; 0: nobody has looked since there was one */
    bool had_any;
    bool was_over;
};

static size_t not_told(const struct drain *d)
{
    size_t n = 0;

    LIST_EACH(at, &d->sessions->in_order)
    {
        n += sessions_at(at)->kill_at_ms == 0;
    }
    return n;
}

static bool tell(struct drain *d, struct session *s, int64_t now_ms)
{
    if (!link_kill(d->link, s->id.cid)) {
        return false; /* not live: the next tick, or the next life */
    }
    log_debug("moving device", "uuid", s->uuid, "session", session_id_format(s->id).text, NULL);
    metric_inc(&session_metrics.drain_kills);
    s->kill_at_ms = now_ms + AGAIN_MS;
    return true;
}

static void begin_moving(struct drain *d)
{
    d->state = DRAIN_MOVING;
    d->pace.total = not_told(d);
    d->on_change(d->arg);
}

static void move_due(struct drain *d)
{
    int64_t now_ms = clock_monotonic_ms();
    size_t may_stay = d->pace.total - pace_due(&d->pace, now_ms);
    size_t stay = not_told(d);

    LIST_EACH(at, &d->sessions->in_order)
    {
        struct session *s = sessions_at(at);
        if (s->kill_at_ms == 0 && stay > may_stay) {
            stay -= tell(d, s, now_ms);
        } else if (s->kill_at_ms != 0 && s->kill_at_ms <= now_ms) {
            tell(d, s, now_ms);
        }
    }
}

static void look_whether_over(struct drain *d)
{
    if (sessions_count(d->sessions) > 0) {
        d->had_any = true;
        d->empty_ms = 0;
    } else if (d->empty_ms == 0) {
        d->empty_ms = clock_monotonic_ms();
    }
    if (drain_is_over(d) != d->was_over) {
        d->was_over = !d->was_over;
        d->on_change(d->arg);
    }
}

static void on_tick(void *arg)
{
    struct drain *d = arg;

    if (d->state == DRAIN_PAUSING) {
        begin_moving(d);
    }
    move_due(d);
    look_whether_over(d);
}

struct drain *drain_new(struct loop *loop, struct sessions *sessions, loop_fn on_change, void *arg)
{
    struct drain *d = xcalloc(1, sizeof(*d));

    d->loop = loop;
    d->sessions = sessions;
    d->on_change = on_change;
    d->arg = arg;
    d->tick = loop_timer_new(loop, on_tick, d);
    return d;
}

void drain_close(struct drain *d)
{
    if (d != NULL) {
        loop_timer_close(d->tick);
        free(d);
    }
}

void drain_set_link(struct drain *d, struct link *link)
{
    d->link = link;
}

/* When the pause ends: as asked, but not later than it would have. */
static int64_t moving_from(const struct drain *d, const struct drain_figures *f, int64_t now_ms)
{
    uint32_t pause_s = f->pause_s < f->timeout_s ? f->pause_s : f->timeout_s;
    int64_t at_ms = now_ms + (int64_t)pause_s * 1000;

    if (d->state == DRAIN_MOVING) {
        return now_ms;
    }
    return d->state == DRAIN_PAUSING && d->pace.start_ms < at_ms ? d->pace.start_ms : at_ms;
}

void drain_start(struct drain *d, const struct drain_figures *figures)
{
    int64_t now_ms = clock_monotonic_ms();
    int64_t from_ms = moving_from(d, figures, now_ms);
    uint32_t wait_ms = from_ms > now_ms ? (uint32_t)(from_ms - now_ms) : 0;
    uint32_t left_s = figures->timeout_s - wait_ms / 1000;
    uint32_t linger_s = figures->linger_s < left_s / 2 ? figures->linger_s : left_s / 2;

    d->pace = (struct pace){
        .start_ms = from_ms,
        .total = not_told(d),
        .rate_per_minute = figures->rate_per_minute,
        .timeout_s = left_s - linger_s,
    };
    d->linger_ms = (int64_t)linger_s * 1000;
    d->state = d->state == DRAIN_NOT ? DRAIN_PAUSING : d->state;
    loop_timer_start(d->tick, wait_ms, TICK_MS);
}

bool drain_started(const struct drain *d)
{
    return d->state != DRAIN_NOT;
}

bool drain_is_moving(const struct drain *d)
{
    return d->state == DRAIN_MOVING;
}

bool drain_is_over(const struct drain *d)
{
    bool empty = d->state == DRAIN_MOVING && d->empty_ms != 0 && sessions_count(d->sessions) == 0;

    return empty && (!d->had_any || clock_monotonic_ms() >= d->empty_ms + d->linger_ms);
}
