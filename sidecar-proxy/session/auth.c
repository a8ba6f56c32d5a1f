#include "sidecar-proxy/session/auth.h"

#include "common/log.h"
#include "sidecar-proxy/session/backoff.h"
#include "sidecar-proxy/session/flaps.h"
#include "sidecar-proxy/session/refusals.h"
#include "sidecar-proxy/session/session_metrics.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define MAX_WAITING 1024
#define TABLE_MAX 4096

/* Seconds after which a device is to come again. */
#define DRAIN_BACKOFF 5, 10
#define BUSY_BACKOFF 5, 30
#define ILL_BACKOFF 5, 30
#define FLAP_BACKOFF 60, 60

enum flight_state { FLIGHT_WAITING, FLIGHT_ASKING_API, FLIGHT_ASKING_STATE, FLIGHT_ENDED };
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

/* One credential that is being decided upon, for all who wait for it. */
struct flight {
    struct auth *auth;
    enum flight_state state;
    struct fingerprint fingerprint;
    char uuid[UUID_TEXT_MAX + 1];
    char *key; /* wiped once the API is asked */
    struct api_call *call;
    struct verdict_query *query;
    struct loop_timer *patience;
    int64_t vouched_at_ms;
    struct list questions;
    struct dict_node by_fingerprint;
    struct list in_waiting; /* or alone */
};

struct question {
    uint64_t cid, kid;
    bool reauth;
    char remote[64];
    int64_t asked_ms;
    struct list in_flight;
};

struct auth {
    struct auth_options o;
    struct link *link;
    uint64_t generation;
    bool draining;
    struct dict flights; /* by fingerprint */
    struct list waiting; /* for their turn, in order */
    size_t waiting_count;
    size_t in_flight;
    struct refusals refusals;
    struct flaps flaps;
};

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

static void allow(struct auth *a, const char *uuid, const struct question *q,
                  enum auth_source source, enum auth_result result)
{
    if (!q->reauth && sessions_find(a->o.sessions, uuid) != NULL) {
        flaps_add(&a->flaps, uuid, clock_monotonic_ms());
    }
    count(result, source, q);
    log_debug("allowed", "uuid", uuid, "remote", q->remote, "by", source_names[source], "ms",
              NUM(clock_monotonic_ms() - q->asked_ms), NULL);
    link_allow(a->link, q->cid, q->kid);
}

static void refuse(struct auth *a, const char *uuid, const struct question *q,
                   enum auth_source source, const char *why)
{
    count(AUTH_REFUSED, source, q);
    log_info("refused", "uuid", uuid, "remote", q->remote, "why", why, NULL);
    link_deny(a->link, q->cid, q->kid, why, NULL);
}

static void put_off(struct auth *a, const char *uuid, const struct question *q,
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
static void take_turns(struct auth *a);

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
        allow(f->auth, f->uuid, CONTAINER_OF(at, struct question, in_flight), source, AUTH_ALLOWED);
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
        refuse(a, f->uuid, CONTAINER_OF(at, struct question, in_flight), AUTH_API,
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
            allow(a, f->uuid, q, AUTH_LOCAL, AUTH_KEPT);
        } else {
            put_off(a, f->uuid, q, AUTH_API, "the API has no answer", ILL_BACKOFF);
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

static void forget_questions(struct flight *f)
{
    LIST_EACH(at, &f->questions)
    {
        list_remove(at);
        free(CONTAINER_OF(at, struct question, in_flight));
    }
}

static void flight_free(struct flight *f)
{
    forget_questions(f);
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
        take_turns(a);
    }
}

static void take_turns(struct auth *a)
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

static struct flight *flight_new(struct auth *a, const char *uuid, const char *key,
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

/* --- questions --- */

static bool key_ok(const char *key)
{
    size_t len = strnlen(key, AUTH_KEY_MAX + 1);

    for (size_t i = 0; i < len; i++) {
        if (key[i] < 0x21 || key[i] > 0x7e) {
            return false;
        }
    }
    return len > 0 && len <= AUTH_KEY_MAX;
}

static struct question question_of(const struct link_client *c, bool reauth)
{
    struct question q = {
        .cid = c->cid, .kid = c->kid, .reauth = reauth, .asked_ms = clock_monotonic_ms()};

    snprintf(q.remote, sizeof(q.remote), "%s", c->remote);
    return q;
}

/* A new flight, or NULL: too many are in the air. */
static struct flight *board(struct auth *a, const struct link_client *c,
                            const struct fingerprint *fingerprint)
{
    struct dict_node *node = dict_find(&a->flights, fingerprint->text, SECRET_HEX_LEN);

    if (node != NULL) {
        return CONTAINER_OF(node, struct flight, by_fingerprint);
    }
    if (a->waiting_count >= a->o.max_waiting || a->flights.count >= a->flights.max) {
        return NULL;
    }
    return flight_new(a, c->username, c->password, fingerprint);
}

static void join(struct auth *a, const struct link_client *c, const struct question *q,
                 const struct fingerprint *fingerprint)
{
    struct flight *f = board(a, c, fingerprint);

    if (f == NULL) {
        put_off(a, c->username, q, AUTH_LOCAL, "too many devices are asking", BUSY_BACKOFF);
        return;
    }
    struct question *copy = xmalloc(sizeof(*copy));
    *copy = *q;
    list_append(&f->questions, &copy->in_flight);
    take_turns(a);
}

/* True: answered without the device's key. */
static bool answer_newcomer(struct auth *a, const struct link_client *c, const struct question *q)
{
    if (a->draining) {
        put_off(a, c->username, q, AUTH_LOCAL, "this instance is being drained", DRAIN_BACKOFF);
        return true;
    }
    if (flaps_is(&a->flaps, c->username, clock_monotonic_ms())) {
        put_off(a, c->username, q, AUTH_LOCAL, "several devices use this UUID", FLAP_BACKOFF);
        return true;
    }
    return false;
}

/* True: answered from what is known of this credential. */
static bool answer_known(struct auth *a, const struct link_client *c, const struct question *q,
                         const struct fingerprint *f)
{
    int64_t now_ms = clock_monotonic_ms();
    const struct verdicts *known = a->o.verdicts;

    if (verdicts_find(known, f, now_ms, (int64_t)a->o.cache_s * 1000) != NULL) {
        allow(a, c->username, q, AUTH_CACHE, AUTH_ALLOWED);
        return true;
    }
    if (q->reauth || verdicts_find(known, f, now_ms, (int64_t)a->o.grace_s * 1000) != NULL) {
        return false;
    }
    switch (refusals_advise(&a->refusals, c->username, f, now_ms)) {
    case REFUSALS_REFUSE:
        refuse(a, c->username, q, AUTH_LOCAL, "its key has been refused before");
        return true;
    case REFUSALS_LATER:
        put_off(a, c->username, q, AUTH_LOCAL, "too many bad keys for this UUID", BUSY_BACKOFF);
        return true;
    case REFUSALS_ASK:
        break;
    }
    return false;
}

void auth_ask(struct auth *a, const struct link_client *c, bool reauth)
{
    struct question q = question_of(c, reauth);

    if (!uuid_valid_str(c->username)) {
        refuse(a, NULL, &q, AUTH_LOCAL, "the user name is not a UUID");
        return;
    }
    if (!key_ok(c->password)) {
        refuse(a, c->username, &q, AUTH_LOCAL, "the password can not be a key");
        return;
    }
    if (!reauth && answer_newcomer(a, c, &q)) {
        return;
    }
    struct fingerprint f = verdicts_fingerprint(a->o.verdicts, c->username, c->password);
    if (!answer_known(a, c, &q, &f)) {
        join(a, c, &q, &f);
    }
    metric_set(&session_metrics.auth_known, (int64_t)verdicts_count(a->o.verdicts));
}

/* All flights, of which the current may go; the dict knows no order, so they are listed first. */
static void for_flights(struct auth *a, void (*act)(struct flight *f, void *arg), void *arg)
{
    size_t n = 0;
    struct flight **all = xcalloc(a->flights.count + 1, sizeof(*all));

    for (size_t i = 0; i < a->flights.slot_count; i++) {
        for (struct dict_node *node = a->flights.slots[i]; node != NULL; node = node->next) {
            all[n++] = CONTAINER_OF(node, struct flight, by_fingerprint);
        }
    }
    for (size_t i = 0; i < n; i++) {
        act(all[i], arg);
    }
    free(all);
}

static void drop_questions_of(struct flight *f, void *arg)
{
    uint64_t cid = *(uint64_t *)arg;

    LIST_EACH(at, &f->questions)
    {
        struct question *q = CONTAINER_OF(at, struct question, in_flight);
        if (q->cid == cid) {
            list_remove(at);
            free(q);
        }
    }
}

void auth_disconnect(struct auth *a, uint64_t cid)
{
    for_flights(a, drop_questions_of, &cid);
}

static void drop_questions(struct flight *f, void *arg)
{
    forget_questions(f);
}

void auth_forget(struct auth *a)
{
    for_flights(a, drop_questions, NULL);
}

void auth_set_link(struct auth *a, struct link *link)
{
    a->link = link;
}

void auth_set_generation(struct auth *a, uint64_t generation)
{
    a->generation = generation;
}

static void put_off_newcomers(struct flight *f, void *arg)
{
    LIST_EACH(at, &f->questions)
    {
        struct question *q = CONTAINER_OF(at, struct question, in_flight);
        if (!q->reauth) {
            put_off(f->auth, f->uuid, q, AUTH_LOCAL, "this instance is being drained",
                    DRAIN_BACKOFF);
            list_remove(at);
            free(q);
        }
    }
}

void auth_set_draining(struct auth *a)
{
    a->draining = true;
    for_flights(a, put_off_newcomers, NULL);
}

void auth_note_replaced(struct auth *a, const char *uuid)
{
    flaps_add(&a->flaps, uuid, clock_monotonic_ms());
}

struct auth *auth_new(const struct auth_options *options)
{
    struct auth *a = xcalloc(1, sizeof(*a));

    a->o = *options;
    a->o.max_in_flight = a->o.max_in_flight > 0 ? a->o.max_in_flight : 32;
    a->o.max_waiting = a->o.max_waiting > 0 ? a->o.max_waiting : MAX_WAITING;
    a->o.patience_ms = a->o.patience_ms > 0 ? a->o.patience_ms : 7000;
    a->o.known_patience_ms = a->o.known_patience_ms > 0 ? a->o.known_patience_ms : 3000;
    a->o.ill_patience_ms = a->o.ill_patience_ms > 0 ? a->o.ill_patience_ms : 2000;
    /* Those that ask the state services count too; their time is short. */
    dict_init(&a->flights, a->o.max_in_flight + 4 * a->o.max_waiting);
    list_init(&a->waiting);
    refusals_init(&a->refusals, TABLE_MAX);
    flaps_init(&a->flaps, TABLE_MAX);
    return a;
}

static void drop_flight(struct flight *f, void *arg)
{
    flight_feed(f, EV_DROP);
}

void auth_close(struct auth *a)
{
    if (a != NULL) {
        for_flights(a, drop_flight, NULL);
        dict_clear(&a->flights);
        refusals_clear(&a->refusals);
        flaps_clear(&a->flaps);
        free(a);
    }
}
