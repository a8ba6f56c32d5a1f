#include "sidecar-proxy/session/heartbeat.h"

#include "common/backoff.h"
#include "common/log.h"

struct heartbeat {
    struct loop *loop;
    struct balena_api *api;
    int64_t service_id;
    struct api_call *call; /* under way, or NULL: then timer is the wait for the next */
    struct loop_timer *timer;
    bool ill;
};

static void wait_for_next(struct heartbeat *h)
{
    uint32_t ms = h->ill ? HEARTBEAT_ILL_MS : HEARTBEAT_MS;

    loop_timer_start(h->timer, backoff_between(ms - ms / 10, ms), 0);
}

static void note(struct heartbeat *h, bool ill, const char *why)
{
    if (ill && !h->ill) {
        log_warn("the balena API is ill", "why", why, NULL);
    } else if (!ill && h->ill) {
        log_info("the balena API is well again", NULL);
    }
    h->ill = ill;
}

static void on_answer(void *arg, const struct api_result *result)
{
    struct heartbeat *h = arg;

    h->call = NULL;
    note(h, result->answer != API_YES, result->why);
    wait_for_next(h);
}

/* Either it is time for a beat, or the one under way takes too long of an ill API. */
static void on_timer(void *arg)
{
    struct heartbeat *h = arg;

    if (h->call != NULL) {
        api_call_cancel(h->call);
        h->call = NULL;
        wait_for_next(h);
        return;
    }
    h->call = api_heartbeat(h->api, h->service_id, on_answer, h);
    if (h->ill) {
        loop_timer_start(h->timer, HEARTBEAT_ILL_PATIENCE_MS, 0);
    }
}

struct heartbeat *heartbeat_new(struct loop *loop, struct balena_api *api)
{
    struct heartbeat *h = xcalloc(1, sizeof(*h));

    h->loop = loop;
    h->api = api;
    h->timer = loop_timer_new(loop, on_timer, h);
    return h;
}

void heartbeat_close(struct heartbeat *h)
{
    if (h != NULL) {
        api_call_cancel(h->call);
        loop_timer_close(h->timer);
        free(h);
    }
}

void heartbeat_note_ill(struct heartbeat *h, const char *why)
{
    note(h, true, why);
}

void heartbeat_set_id(struct heartbeat *h, int64_t service_id)
{
    api_call_cancel(h->call);
    h->call = NULL;
    h->service_id = service_id;
    if (service_id > 0) {
        loop_timer_start(h->timer, 0, 0);
    } else {
        loop_timer_stop(h->timer);
    }
}
