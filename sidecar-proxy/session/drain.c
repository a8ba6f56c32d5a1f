#include "sidecar-proxy/session/drain.h"

#include "common/log.h"
#include "sidecar-proxy/session/pace.h"
#include "sidecar-proxy/session/session_metrics.h"

#define TICK_MS 100
#define AGAIN_MS 10000 /* OpenVPN ends a client that it told to go within 5 s */

struct drain {
    struct loop *loop;
    struct sessions *sessions;
    struct link *link;
    struct loop_timer *tick;
    struct pace pace;
    bool started;
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

static void on_tick(void *arg)
{
    struct drain *d = arg;
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

struct drain *drain_new(struct loop *loop, struct sessions *sessions)
{
    struct drain *d = xcalloc(1, sizeof(*d));

    d->loop = loop;
    d->sessions = sessions;
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

void drain_start(struct drain *d, uint32_t rate_per_minute, uint32_t timeout_s)
{
    d->pace = (struct pace){
        .start_ms = clock_monotonic_ms(),
        .total = not_told(d),
        .rate_per_minute = rate_per_minute,
        .timeout_s = timeout_s,
    };
    d->started = true;
    loop_timer_start(d->tick, 0, TICK_MS);
}

bool drain_started(const struct drain *d)
{
    return d->started;
}
