#include "sidecar-proxy/session/reporter_api.h"

#include "common/backoff.h"
#include "common/log.h"
#include "sidecar-proxy/session/heartbeat.h"
#include "sidecar-proxy/session/ledger.h"
#include "sidecar-proxy/session/session_metrics.h"

#include <assert.h>

#define GATHER_MS 20     /* events of this time go into one report */
#define CALL_MS 8000     /* a call may take this long */
#define CALL_ILL_MS 2500 /* and this long while the API is not known to be sane */
#define BACKOFF_FIRST_MS 500
#define BACKOFF_LAST_MS 1500    /* with CALL_ILL_MS: right within 5 s after an outage */
#define COMPARE_MS (300 * 1000) /* between comparisons */
#define COMPARE_SOON_MS 2000    /* after trouble, when calls may have been heard late */
#define COMPARE_AGAIN_MS 10000  /* when something was missing */
#define COMPARE_LATER_MS 60000  /* the API works on a hanging call for up to a minute */

enum reporter_state {
    REPORTER_IDLE,
    REPORTER_REGISTERING,
    REPORTER_REPORTING,
    REPORTER_COMPARING,
    REPORTER_WAITING,
    REPORTER_CLOSED
};
#define REPORTER_STATES (REPORTER_CLOSED + 1)
enum reporter_event {
    EV_REGISTER, /* to be done next, from IDLE */
    EV_REPORT,
    EV_COMPARE,
    EV_YES, /* the API's answer */
    EV_GONE,
    EV_UNKNOWN, /* none, or it took too long */
    EV_RETRY,   /* the wait is over, or the API is sane again */
    EV_CLOSE
};
#define REPORTER_EVENTS (EV_CLOSE + 1)

struct reporter_api {
    struct reporter_api_options o;
    enum reporter_state state;
    struct ledger ledger;
    struct sessions_watcher watcher;
    struct heartbeat *heartbeat;
    char *register_address;
    int64_t service_id;
    bool settled, trusted;
    bool compare_due;
    bool compare_soon; /* already brought forward */
    bool compared;     /* ever, under this id */
    unsigned troubles; /* calls without answer since the last comparison */
    struct backoff backoff;
    struct backoff gone;   /* the API forgot us again and again */
    struct api_call *call; /* in the calling states */
    int64_t call_started_ms;
    struct loop_timer *next;    /* IDLE: gathering; WAITING: backoff; else the call's deadline */
    struct loop_timer *compare; /* until compare_due */
    const struct api_result *answer; /* while it is fed */
    const char **batch;
};

static void reporter_feed(struct reporter_api *r, enum reporter_event ev);

/* --- what to do next --- */

static void look(struct reporter_api *r, uint32_t after_ms)
{
    if (r->state == REPORTER_IDLE) {
        loop_timer_start(r->next, after_ms, 0);
    }
}

static void choose(struct reporter_api *r)
{
    if (r->service_id == 0) {
        reporter_feed(r, EV_REGISTER);
    } else if (r->compare_due && r->settled) {
        reporter_feed(r, EV_COMPARE);
    } else if (ledger_unreported(&r->ledger) > 0) {
        reporter_feed(r, EV_REPORT);
    }
}

static void on_next(void *arg)
{
    struct reporter_api *r = arg;

    switch (r->state) {
    case REPORTER_IDLE:
        choose(r);
        break;
    case REPORTER_WAITING:
        reporter_feed(r, EV_RETRY);
        break;
    default:
        log_debug("the API takes too long", NULL);
        reporter_feed(r, EV_UNKNOWN);
    }
}

static void on_compare(void *arg)
{
    struct reporter_api *r = arg;

    r->compare_due = true;
    look(r, 0);
}

static void compare_in(struct reporter_api *r, uint32_t ms)
{
    r->compare_due = false;
    loop_timer_start(r->compare, backoff_between(ms / 4 * 3, ms / 4 * 5), 0);
}

/* After trouble the API may have heard calls late, ours or another instance's. */
static void compare_soon(struct reporter_api *r)
{
    if (r->compared && !r->compare_soon && !r->compare_due) {
        r->compare_soon = true;
        compare_in(r, COMPARE_SOON_MS);
    }
}

/* --- calls --- */

static uint32_t time_for_a_call(const struct reporter_api *r)
{
    return balena_api_sane(r->o.api) ? CALL_MS : CALL_ILL_MS;
}

static void calling(struct reporter_api *r, struct api_call *call)
{
    r->call = call;
    r->call_started_ms = clock_monotonic_ms();
    loop_timer_start(r->next, time_for_a_call(r), 0);
}

static void on_answer(void *arg, const struct api_result *result)
{
    static const enum reporter_event events[] = {[API_YES] = EV_YES,
                                                 [API_NO] = EV_UNKNOWN,
                                                 [API_GONE] = EV_GONE,
                                                 [API_UNKNOWN] = EV_UNKNOWN};
    struct reporter_api *r = arg;

    r->call = NULL;
    r->answer = result;
    if (result->answer == API_UNKNOWN) {
        log_debug("the API has no answer", "why", result->why, NULL);
    }
    reporter_feed(r, events[result->answer]);
    r->answer = NULL;
}

static void start_register(struct reporter_api *r)
{
    calling(r, api_register(r->o.api, r->register_address, on_answer, r));
}

static void start_report(struct reporter_api *r)
{
    bool connected = false;
    size_t count = ledger_begin(&r->ledger, API_BATCH_MAX, &connected, r->batch);

    log_debug("reporting", "what", connected ? "connected" : "disconnected", "devices",
              NUM((long long)count), "first", r->batch[0], NULL);
    calling(r, api_report(r->o.api, connected, r->service_id, r->batch, count, on_answer, r));
}

static void start_compare(struct reporter_api *r)
{
    r->compare_due = false;
    calling(r, api_list_devices(r->o.api, r->service_id, on_answer, r));
}

/* --- answers --- */

static void go_on(struct reporter_api *r)
{
    backoff_reset(&r->backoff);
    look(r, 0);
}

static void take_id(struct reporter_api *r, int64_t service_id)
{
    r->service_id = service_id;
    heartbeat_set_id(r->heartbeat, service_id);
    r->o.on_service_id(r->o.arg, service_id);
}

/* Nothing is listed under a new id, so there is nothing to compare with. */
static void registered(struct reporter_api *r)
{
    log_info("registered with the balena API", "service", NUM(r->answer->id), NULL);
    take_id(r, r->answer->id);
    ledger_reset(&r->ledger);
    r->compared = true;
    compare_in(r, COMPARE_MS);
    go_on(r);
}

static void on_lag(void *arg, int64_t since_ms)
{
    metric_observe(&session_metrics.report_lag, (double)(clock_monotonic_ms() - since_ms) / 1000);
}

static void reported(struct reporter_api *r)
{
    log_debug("reported", "ms", NUM(clock_monotonic_ms() - r->call_started_ms), NULL);
    metric_inc(&session_metrics.reports[REPORT_OK]);
    backoff_reset(&r->gone);
    ledger_end(&r->ledger, LEDGER_DELIVERED, on_lag, NULL);
    if (r->troubles > 0) {
        compare_soon(r);
    }
    go_on(r);
}

static void compared(struct reporter_api *r)
{
    struct ledger_difference d = ledger_compare(&r->ledger, r->answer->uuids, r->answer->uuid_count,
                                                r->trusted, clock_monotonic_ms());

    r->compared = true;
    r->compare_soon = false;
    metric_add(&session_metrics.differences, (int64_t)(d.missing + d.extra));
    if (d.missing + d.extra + d.suspects > 0) {
        log_info("the API's list differs from ours", "missing", NUM((long long)d.missing), "extra",
                 NUM((long long)d.extra), "suspect", NUM((long long)d.suspects), NULL);
    }
    compare_in(r, d.suspects > 0 && r->trusted ? COMPARE_AGAIN_MS
                  : r->troubles > 0            ? COMPARE_LATER_MS
                                               : COMPARE_MS);
    r->troubles = 0;
    go_on(r);
}

static void wait_awhile(struct reporter_api *r)
{
    r->troubles++;
    loop_timer_start(r->next, backoff_next_ms(&r->backoff), 0);
}

/* There is no heartbeat yet that would tell. No answer within the time: r->answer is NULL. */
static void register_unknown(struct reporter_api *r)
{
    heartbeat_note_ill(r->heartbeat, r->answer != NULL ? r->answer->why : "it does not answer");
    wait_awhile(r);
}

static void report_unknown(struct reporter_api *r)
{
    metric_inc(&session_metrics.reports[REPORT_UNKNOWN]);
    ledger_end(&r->ledger, LEDGER_UNKNOWN, NULL, NULL);
    wait_awhile(r);
}

static void compare_unknown(struct reporter_api *r)
{
    r->compare_due = true;
    wait_awhile(r);
}

/* The first time at once; an API that forgets each new id is not hurried. */
static void forgotten(struct reporter_api *r)
{
    log_warn("the balena API has lost our service instance, registering anew", "service",
             NUM(r->service_id), NULL);
    metric_inc(&session_metrics.reports[REPORT_GONE]);
    ledger_end(&r->ledger, LEDGER_REFUSED, NULL, NULL);
    take_id(r, 0);
    uint32_t wait_ms = r->gone.attempts == 0 ? 0 : backoff_next_ms(&r->gone);
    r->gone.attempts += r->gone.attempts == 0;
    loop_timer_start(r->next, wait_ms, 0);
}

static void retry(struct reporter_api *r)
{
    look(r, 0);
}

static void finish(struct reporter_api *r)
{
    loop_timer_stop(r->next);
    loop_timer_stop(r->compare);
}

struct reporter_transition {
    void (*act)(struct reporter_api *r);
    enum reporter_state next;
};

/* The whole life. IDLE is also passed through between two calls: choose() says what is next. */
static const struct reporter_transition table[REPORTER_STATES][REPORTER_EVENTS] = {
    [REPORTER_IDLE] =
        {
            [EV_REGISTER] = {start_register, REPORTER_REGISTERING},
            [EV_REPORT] = {start_report, REPORTER_REPORTING},
            [EV_COMPARE] = {start_compare, REPORTER_COMPARING},
            [EV_CLOSE] = {finish, REPORTER_CLOSED},
        },
    [REPORTER_REGISTERING] =
        {
            [EV_YES] = {registered, REPORTER_IDLE},
            [EV_UNKNOWN] = {register_unknown, REPORTER_WAITING},
            [EV_CLOSE] = {finish, REPORTER_CLOSED},
        },
    [REPORTER_REPORTING] =
        {
            [EV_YES] = {reported, REPORTER_IDLE},
            [EV_GONE] = {forgotten, REPORTER_WAITING},
            [EV_UNKNOWN] = {report_unknown, REPORTER_WAITING},
            [EV_CLOSE] = {finish, REPORTER_CLOSED},
        },
    [REPORTER_COMPARING] =
        {
            [EV_YES] = {compared, REPORTER_IDLE},
            [EV_UNKNOWN] = {compare_unknown, REPORTER_WAITING},
            [EV_CLOSE] = {finish, REPORTER_CLOSED},
        },
    [REPORTER_WAITING] =
        {
            [EV_RETRY] = {retry, REPORTER_IDLE},
            [EV_CLOSE] = {finish, REPORTER_CLOSED},
        },
};

static void reporter_feed(struct reporter_api *r, enum reporter_event ev)
{
    const struct reporter_transition *t = &table[r->state][ev];

    assert(t->act != NULL);
    api_call_cancel(r->call); /* the state that waited for it ends */
    r->call = NULL;
    loop_timer_stop(r->next);
    r->state = t->next;
    t->act(r);
    metric_set(&session_metrics.unreported, (int64_t)ledger_unreported(&r->ledger));
}

/* --- sessions --- */

static void set(struct reporter_api *r, const char *uuid, bool adopted)
{
    const struct session *newest = sessions_find(r->o.sessions, uuid);
    int64_t now_ms = clock_monotonic_ms();
    bool held = adopted && !r->compared;
    bool known = held ? ledger_adopt(&r->ledger, uuid, &newest->id, now_ms)
                      : ledger_set(&r->ledger, uuid, newest != NULL ? &newest->id : NULL, now_ms);

    if (!known) {
        r->compare_due = true; /* no room: the comparison finds it once there is */
    }
    metric_set(&session_metrics.unreported, (int64_t)ledger_unreported(&r->ledger));
    if (!loop_timer_active(r->next)) {
        look(r, GATHER_MS);
    }
}

static void on_up(void *arg, const struct session *s)
{
    set(arg, s->uuid, s->adopted);
}

static void on_down(void *arg, const struct session *s, int64_t at_ms)
{
    set(arg, s->uuid, false);
}

/* --- the whole --- */

struct reporter_api *reporter_api_new(const struct reporter_api_options *options)
{
    struct reporter_api *r = xcalloc(1, sizeof(*r));

    r->o = *options;
    r->register_address =
        options->register_address != NULL ? xstrdup(options->register_address) : NULL;
    ledger_init(&r->ledger, 2 * options->max_devices + 1024);
    r->batch = xcalloc(API_BATCH_MAX, sizeof(*r->batch));
    r->backoff = (struct backoff){.first_ms = BACKOFF_FIRST_MS, .last_ms = BACKOFF_LAST_MS};
    r->gone = (struct backoff){.first_ms = 1000, .last_ms = 60000};
    r->next = loop_timer_new(r->o.loop, on_next, r);
    r->compare = loop_timer_new(r->o.loop, on_compare, r);
    r->heartbeat = heartbeat_new(r->o.loop, r->o.api);
    r->watcher = (struct sessions_watcher){.on_up = on_up, .on_down = on_down, .arg = r};
    sessions_watch(r->o.sessions, &r->watcher);
    r->compare_due = true;
    r->service_id = options->service_id;
    heartbeat_set_id(r->heartbeat, r->service_id);
    look(r, 0);
    return r;
}

void reporter_api_close(struct reporter_api *r)
{
    if (r == NULL) {
        return;
    }
    reporter_feed(r, EV_CLOSE);
    sessions_unwatch(r->o.sessions, &r->watcher);
    heartbeat_close(r->heartbeat);
    loop_timer_close(r->next);
    loop_timer_close(r->compare);
    ledger_clear(&r->ledger);
    free(r->register_address);
    free(r->batch);
    free(r);
}

void reporter_api_settle(struct reporter_api *r)
{
    if (!r->settled) {
        r->settled = true;
        look(r, 0);
    }
}

void reporter_api_trust(struct reporter_api *r, bool trusted)
{
    r->trusted = trusted;
}

void reporter_api_sanity(struct reporter_api *r)
{
    bool sane = balena_api_sane(r->o.api);

    if (sane) {
        compare_soon(r);
    }
    if (sane && r->state == REPORTER_WAITING) {
        reporter_feed(r, EV_RETRY);
    } else if (!sane && r->call != NULL) {
        int64_t spent_ms = clock_monotonic_ms() - r->call_started_ms;
        loop_timer_start(r->next, spent_ms < CALL_ILL_MS ? CALL_ILL_MS - (uint64_t)spent_ms : 0, 0);
    }
}

int64_t reporter_api_service_id(const struct reporter_api *r)
{
    return r->service_id;
}

size_t reporter_api_unreported(const struct reporter_api *r)
{
    return ledger_unreported(&r->ledger);
}
