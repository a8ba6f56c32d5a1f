/* A flight: one credential on which a decision is under way, over its whole life. */
#include "common/backoff.h"
#include "common/log.h"
#include "sidecar-proxy/session/auth_priv.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define FLIGHT_STATES (FLIGHT_ENDED + 1)
enum flight_event {
    EV_TURN,    /* a call may be made */
    EV_YES,     /* the API knows the key */
    EV_NO,      /* the API does not */
    EV_GRACE,   /* no answer, but it was good lately */
    EV_UNKNOWN, /* no answer, and nothing known here */
    EV_VOUCHED, /* a state service knows it as good lately */
    EV_NOBODY,  /* none does, or need be asked */
    EV_DROP,    /* we end */
};
#define FLIGHT_EVENTS (EV_DROP + 1)

/* --- answers --- */

static const char *const source_names[AUTH_SOURCES] = {
    [AUTH_CACHE] = "cache", [AUTH_API] = "api",     [AUTH_GRACE] = "grace",
    [AUTH_STATE] = "state", [AUTH_LOCAL] = "local",
};

static void count(enum auth_result result, enum auth_source source, const struct question *q)
{
    int64_t took_ms = clock_monotonic_ms() - q->asked_ms;

    metric_inc(&session_metrics.auth_results[result]);
    metric_observe(&session_metrics.auth_seconds[source], (double)took_ms / 1000);
    if (result == AUTH_REFUSED) {
        metric_inc(&session_metrics.auth_failures);
    }
}

void auth_allow(struct auth *a, const char *uuid, const struct question *q, enum auth_source source,
                enum auth_result result)
{
    if (!q->reauth && sessions_find(a->o.sessions, uuid) != NULL) {
        flaps_add(&a->flaps, uuid, clock_monotonic_ms());
    }
    count(result, source, q);
    log_debug("allowed", "uuid", uuid, "remote", q->remote, "by", source_names[source], "ms",
              NUM(clock_monotonic_ms() - q->asked_ms), NULL);
    link_allow(a->link, q->cid, q->kid);
}

void auth_refuse(struct auth *a, const char *uuid, const struct question *q,
                 enum auth_source source, const char *why)
{
    count(AUTH_REFUSED, source, q);
    log_info("refused", "uuid", uuid, "remote", q->remote, "why", why, NULL);
    link_deny(a->link, q->cid, q->kid, why, NULL);
}

void auth_put_off(struct auth *a, const char *uuid, const struct question *q,
                  enum auth_source source, const char *why, uint32_t low_s, uint32_t high_s)
{
    uint32_t backoff_s = backoff_between(low_s, high_s);

    count(AUTH_LATER, source, q);
    log_info("told to come again", "uuid", uuid, "remote", q->remote, "why", why, "seconds",
             NUM(backoff_s), NULL);
    link_deny_temp(a->link, q->cid, q->kid, backoff_s, why);
}

/* --- a flight's life --- */

static void flight_feed(struct flight *f, enum flight_event ev);

static bool is_live(const struct auth *a, const char *uuid, const struct question *q)
{
    struct session_id id = {a->generation, q->cid};
    const struct session *s = sessions_find_id(a->o.sessions, id);

    return s != NULL && strcmp(s->uuid, uuid) == 0;
}

static void wipe_key(struct flight *f)
{
    if (f->key != NULL) {
        secret_wipe(f->key, strlen(f->key));
        free(MOVE(f->key));
    }
}

static const struct verdict *known_lately(const struct flight *f)
{
    return verdicts_find(f->auth->o.verdicts, &f->fingerprint, clock_monotonic_ms(),
                         (int64_t)f->auth->o.grace_s * 1000);
}

/* The API gives no answer: what do we know ourselves? A key that it has refused since is not
 * helped by what others remember of it. */
static void fall_back(struct flight *f)
{
    if (known_lately(f) != NULL) {
        flight_feed(f, EV_GRACE);
    } else if (refusals_has(&f->auth->refusals, f->uuid, &f->fingerprint)) {
        flight_feed(f, EV_NOBODY);
    } else {
        flight_feed(f, EV_UNKNOWN);
    }
}

static void on_impatient(void *arg)
{
    struct flight *f = arg;

    log_debug("the API takes too long", "uuid", f->uuid, NULL);
    fall_back(f);
}

static void on_api_answer(void *arg, const struct api_result *result)
{
    struct flight *f = arg;

    f->call = NULL;
    switch (result->answer) {
    case API_YES:
        flight_feed(f, EV_YES);
        break;
    case API_NO:
        flight_feed(f, EV_NO);
        break;
    default:
        log_debug("the API has no answer", "uuid", f->uuid, "why", result->why, NULL);
        fall_back(f);
    }
}

static void on_vouched(void *arg, int64_t at_ms)
{
    struct flight *f = arg;
    int64_t oldest_ms = clock_realtime_ms() - (int64_t)f->auth->o.grace_s * 1000;

    f->query = NULL;
    f->vouched_at_ms = at_ms;
    flight_feed(f, at_ms > oldest_ms ? EV_VOUCHED : EV_NOBODY);
}

static void leave_queue(struct flight *f)
{
    if (!list_empty(&f->in_waiting)) {
        list_remove(&f->in_waiting);
        f->auth->waiting_count--;
    }
}

static void ask_api(struct flight *f)
{
    leave_queue(f);
    f->auth->in_flight++;
    f->call = api_device_auth(f->auth->o.api, f->uuid, f->key, on_api_answer, f);
    wipe_key(f);
}

static void ask_state(struct flight *f)
{
    loop_timer_stop(f->patience);
    f->query = verdict_query_start(f->auth->o.asker, f->uuid, &f->fingerprint, on_vouched, f);
}

static void answer_all(struct flight *f, enum auth_source source)
{
    LIST_EACH(at, &f->questions)
    {
        auth_allow(f->auth, f->uuid, CONTAINER_OF(at, struct question, in_flight), source,
                   AUTH_ALLOWED);
    }
}

static void end_allowed(struct flight *f)
{
    struct auth *a = f->auth;
    const struct verdict *v = verdicts_add(a->o.verdicts, f->uuid, &f->fingerprint,
                                           clock_realtime_ms(), clock_monotonic_ms());

    refusals_forget(&a->refusals, f->uuid);
    answer_all(f, AUTH_API);
    a->o.on_verdict(a->o.arg, v);
}

static void end_refused(struct flight *f)
{
    struct auth *a = f->auth;

    verdicts_remove(a->o.verdicts, &f->fingerprint);
    refusals_add(&a->refusals, f->uuid, &f->fingerprint, clock_monotonic_ms());
    LIST_EACH(at, &f->questions)
    {
        auth_refuse(a, f->uuid, CONTAINER_OF(at, struct question, in_flight), AUTH_API,
                    "the API does not know this key");
    }
}

static void end_grace(struct flight *f)
{
    log_info("let in although the API has no answer", "uuid", f->uuid, "why", "it was good lately",
             NULL);
    answer_all(f, AUTH_GRACE);
}

static void end_vouched(struct flight *f)
{
    int64_t age_ms = clock_realtime_ms() - f->vouched_at_ms;

    verdicts_add(f->auth->o.verdicts, f->uuid, &f->fingerprint, f->vouched_at_ms,
                 clock_monotonic_ms() - (age_ms > 0 ? age_ms : 0));
    log_info("let in although the API has no answer", "uuid", f->uuid, "why",
             "it was good at another instance", NULL);
    answer_all(f, AUTH_STATE);
}

/* A session that is up stays up while nobody can say whether its key is still good. */
static void end_unknown(struct flight *f)
{
    struct auth *a = f->auth;

    LIST_EACH(at, &f->questions)
    {
        struct question *q = CONTAINER_OF(at, struct question, in_flight);
        if (q->reauth && is_live(a, f->uuid, q)) {
            auth_allow(a, f->uuid, q, AUTH_LOCAL, AUTH_KEPT);
        } else {
            auth_put_off(a, f->uuid, q, AUTH_API, "the API has no answer", ILL_BACKOFF);
        }
    }
}

static void end_dropped(struct flight *f)
{
}

struct flight_transition {
    void (*act)(struct flight *f);
    enum flight_state next;
};

/* The whole life of a decision. Patience runs in the first two states; the query has its own. */
static const struct flight_transition table[FLIGHT_STATES][FLIGHT_EVENTS] = {
    [FLIGHT_WAITING] =
        {
            [EV_TURN] = {ask_api, FLIGHT_ASKING_API},
            [EV_GRACE] = {end_grace, FLIGHT_ENDED},
            [EV_UNKNOWN] = {ask_state, FLIGHT_ASKING_STATE},
            [EV_NOBODY] = {end_unknown, FLIGHT_ENDED},
            [EV_DROP] = {end_dropped, FLIGHT_ENDED},
        },
    [FLIGHT_ASKING_API] =
        {
            [EV_YES] = {end_allowed, FLIGHT_ENDED},
            [EV_NO] = {end_refused, FLIGHT_ENDED},
            [EV_GRACE] = {end_grace, FLIGHT_ENDED},
            [EV_UNKNOWN] = {ask_state, FLIGHT_ASKING_STATE},
            [EV_NOBODY] = {end_unknown, FLIGHT_ENDED},
            [EV_DROP] = {end_dropped, FLIGHT_ENDED},
        },
    [FLIGHT_ASKING_STATE] =
        {
            [EV_VOUCHED] = {end_vouched, FLIGHT_ENDED},
            [EV_NOBODY] = {end_unknown, FLIGHT_ENDED},
            [EV_DROP] = {end_dropped, FLIGHT_ENDED},
        },
};

void flight_forget_questions(struct flight *f)
{
    LIST_EACH(at, &f->questions)
    {
        list_remove(at);
        free(CONTAINER_OF(at, struct question, in_flight));
    }
}

static void flight_free(struct flight *f)
{
    flight_forget_questions(f);
    wipe_key(f);
    leave_queue(f);
    api_call_cancel(f->call);
    verdict_query_cancel(f->query);
    loop_timer_close(f->patience);
    dict_remove(&f->auth->flights, &f->by_fingerprint);
    free(f);
}

/* What a state held is let go of when it is left. */
static void flight_left(struct flight *f, enum flight_state from)
{
    if (from == FLIGHT_ASKING_API) {
        api_call_cancel(MOVE(f->call));
        f->auth->in_flight--;
    } else if (from == FLIGHT_WAITING) {
        leave_queue(f);
    }
}

static void flight_feed(struct flight *f, enum flight_event ev)
{
    const struct flight_transition *t = &table[f->state][ev];
    enum flight_state from = f->state;
    struct auth *a = f->auth;

    assert(t->act != NULL);
    flight_left(f, from);
    f->state = t->next;
    t->act(f);
    if (f->state == FLIGHT_ENDED) {
        flight_free(f);
    }
    metric_set(&session_metrics.auth_in_flight, (int64_t)a->in_flight);
    metric_set(&session_metrics.auth_waiting, (int64_t)a->waiting_count);
    if (from == FLIGHT_ASKING_API && ev != EV_DROP) {
        flights_take_turns(a);
    }
}

void flights_take_turns(struct auth *a)
{
    while (a->in_flight < a->o.max_in_flight && !list_empty(&a->waiting)) {
        flight_feed(CONTAINER_OF(a->waiting.next, struct flight, in_waiting), EV_TURN);
    }
}

/* Whom we can let in without the API waits less for it: it may be silent and we not know it yet. */
static uint32_t patience_for(const struct flight *f)
{
    const struct auth_options *o = &f->auth->o;

    if (!balena_api_sane(o->api)) {
        return o->ill_patience_ms;
    }
    return known_lately(f) != NULL ? o->known_patience_ms : o->patience_ms;
}

struct flight *flight_new(struct auth *a, const char *uuid, const char *key,
                          const struct fingerprint *fingerprint)
{
    struct flight *f = xcalloc(1, sizeof(*f));

    f->auth = a;
    f->fingerprint = *fingerprint;
    snprintf(f->uuid, sizeof(f->uuid), "%s", uuid);
    f->key = xstrdup(key);
    f->patience = loop_timer_new(a->o.loop, on_impatient, f);
    list_init(&f->questions);
    list_init(&f->in_waiting);
    dict_add(&a->flights, &f->by_fingerprint, f->fingerprint.text, SECRET_HEX_LEN);
    loop_timer_start(f->patience, patience_for(f), 0);
    list_append(&a->waiting, &f->in_waiting);
    a->waiting_count++;
    return f;
}

void flight_add(struct flight *f, const struct question *q)
{
    struct question *copy = xmalloc(sizeof(*copy));

    *copy = *q;
    list_append(&f->questions, &copy->in_flight);
}

void flight_drop(struct flight *f)
{
    flight_feed(f, EV_DROP);
}
