#include "sidecar-proxy/session/auth.h"

#include "sidecar-proxy/session/auth_priv.h"

#include <stdio.h>
#include <string.h>

#define MAX_WAITING 1024
#define TABLE_MAX 4096

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
        auth_put_off(a, c->username, q, AUTH_LOCAL, "too many devices are asking", BUSY_BACKOFF);
        return;
    }
    flight_add(f, q);
    flights_take_turns(a);
}

/* True: answered without the device's key. */
static bool answer_newcomer(struct auth *a, const struct link_client *c, const struct question *q)
{
    if (a->draining) {
        auth_put_off(a, c->username, q, AUTH_LOCAL, "this instance is being drained",
                     DRAIN_BACKOFF);
        return true;
    }
    if (flaps_is(&a->flaps, c->username, clock_monotonic_ms())) {
        auth_put_off(a, c->username, q, AUTH_LOCAL, "several devices use this UUID", FLAP_BACKOFF);
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
        auth_allow(a, c->username, q, AUTH_CACHE, AUTH_ALLOWED);
        return true;
    }
    if (q->reauth || verdicts_find(known, f, now_ms, (int64_t)a->o.grace_s * 1000) != NULL) {
        return false;
    }
    switch (refusals_advise(&a->refusals, c->username, f, now_ms)) {
    case REFUSALS_REFUSE:
        auth_refuse(a, c->username, q, AUTH_LOCAL, "its key has been refused before");
        return true;
    case REFUSALS_LATER:
        auth_put_off(a, c->username, q, AUTH_LOCAL, "too many bad keys for this UUID",
                     BUSY_BACKOFF);
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
        auth_refuse(a, NULL, &q, AUTH_LOCAL, "the user name is not a UUID");
        return;
    }
    if (!key_ok(c->password)) {
        auth_refuse(a, c->username, &q, AUTH_LOCAL, "the password can not be a key");
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
    flight_forget_questions(f);
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
            auth_put_off(f->auth, f->uuid, q, AUTH_LOCAL, "this instance is being drained",
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
    flight_drop(f);
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
