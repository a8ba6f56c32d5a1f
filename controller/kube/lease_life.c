#include "controller/kube/lease_priv.h"

#include "common/backoff.h"
#include "common/log.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define EXPIRY_SLACK_MS 50 /* a look at the very end of a lease comes just after it */

static void finish(struct lease *l);
static void give_up(struct lease *l);
static void hold(struct lease *l);
static void look(struct lease *l);
static void lose(struct lease *l);
static void nothing(struct lease *l);
static void take(struct lease *l);
static void tell_released(struct lease *l);
static void try_again(struct lease *l);
static void wait_next(struct lease *l);
static void write_given_up(struct lease *l);

struct transition {
    void (*act)(struct lease *l);
    enum lease_state next;
};

/* A lease that is nobody's when we look after a conflict may have been somebody's in between. */
static const struct transition table[LEASE_STATES][LEASE_EVENTS] =
    {
        [LEASE_LOOKING] =
            {
                [EV_TIMER] = {look, LEASE_LOOKING},
                [EV_FREE] = {take, LEASE_TAKING},
                [EV_OURS] = {take, LEASE_TAKING},
                [EV_TAKEN] = {wait_next, LEASE_WAITING},
                [EV_FAILED] = {wait_next, LEASE_WAITING},
                [EV_GIVE_UP] = {finish, LEASE_OVER},
            },
        [LEASE_TAKING] =
            {
                [EV_TIMER] = {look, LEASE_LOOKING},
                [EV_WRITTEN] = {hold, LEASE_HOLDING},
                [EV_CONFLICT] = {wait_next, LEASE_WAITING},
                [EV_FAILED] = {wait_next, LEASE_WAITING},
                [EV_GIVE_UP] = {finish, LEASE_OVER},
            },
        [LEASE_WAITING] =
            {
                [EV_TIMER] = {look, LEASE_LOOKING},
                [EV_GIVE_UP] = {finish, LEASE_OVER},
            },
        [LEASE_HOLDING] =
            {
                [EV_TIMER] = {take, LEASE_RENEWING},
                [EV_DEADLINE] = {lose, LEASE_OVER},
                [EV_GIVE_UP] = {give_up, LEASE_GIVING_UP},
            },
        [LEASE_RENEWING] =
            {
                [EV_TIMER] = {take, LEASE_RENEWING},
                [EV_WRITTEN] = {hold, LEASE_HOLDING},
                [EV_CONFLICT] = {look, LEASE_CHECKING},
                [EV_FAILED] = {try_again, LEASE_HOLDING},
                [EV_DEADLINE] = {lose, LEASE_OVER},
                [EV_GIVE_UP] = {give_up, LEASE_GIVING_UP},
            },
        [LEASE_CHECKING] =
            {
                [EV_TIMER] = {look, LEASE_CHECKING},
                [EV_OURS] = {take, LEASE_RENEWING},
                [EV_FREE] = {lose, LEASE_OVER},
                [EV_TAKEN] = {lose, LEASE_OVER},
                [EV_FAILED] = {try_again, LEASE_CHECKING},
                [EV_DEADLINE] = {lose, LEASE_OVER},
                [EV_GIVE_UP] = {give_up, LEASE_GIVING_UP},
            },
        [LEASE_GIVING_UP] =
            {
                [EV_TIMER] = {write_given_up, LEASE_GIVING_UP},
                [EV_WRITTEN] = {finish, LEASE_OVER},
                [EV_CONFLICT] = {look, LEASE_RECHECKING},
                [EV_FAILED] = {try_again, LEASE_GIVING_UP},
                [EV_DEADLINE] = {finish, LEASE_OVER},
                [EV_GIVE_UP] = {nothing, LEASE_GIVING_UP},
            },
        [LEASE_RECHECKING] =
            {
                [EV_TIMER] = {look, LEASE_RECHECKING},
                [EV_OURS] = {write_given_up, LEASE_GIVING_UP},
                [EV_FREE] = {finish, LEASE_OVER},
                [EV_TAKEN] = {finish, LEASE_OVER},
                [EV_FAILED] = {try_again, LEASE_RECHECKING},
                [EV_DEADLINE] = {finish, LEASE_OVER},
                [EV_GIVE_UP] = {nothing, LEASE_RECHECKING},
            },
        [LEASE_OVER] =
            {
                [EV_TIMER] = {tell_released, LEASE_OVER},
                [EV_GIVE_UP] = {finish, LEASE_OVER},
            },
};

static void feed(struct lease *l, enum lease_event ev)
{
    const struct transition *t = &table[l->state][ev];

    assert(t->act != NULL);
    l->state = t->next;
    t->act(l);
}

/* A machine that slept has not renewed meanwhile: this clock goes on in its sleep. */
int64_t lease_now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_BOOTTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* --- what the Lease says --- */

static void note_leader(struct lease *l)
{
    const char *holder = l->seen.holder;

    if (holder[0] == '\0' || (l->leader != NULL && strcmp(l->leader, holder) == 0)) {
        return;
    }
    free(l->leader);
    l->leader = xstrdup(holder);
    if (l->on_leader != NULL) {
        l->on_leader(l->arg, l->leader);
    }
}

static void keep_object(struct lease *l, struct kube_answer *answer)
{
    cJSON *metadata = cJSON_GetObjectItemCaseSensitive(answer->object, "metadata");

    cJSON_DeleteItemFromObjectCaseSensitive(metadata, "managedFields");
    cJSON_Delete(l->object);
    l->object = MOVE(answer->object);
}

/* -EPROTO: it is no Lease. */
static int take_in(struct lease *l, struct kube_answer *answer)
{
    struct lease_record record;
    struct err err;
    int r = lease_record_read(answer->object, &record, &err);

    if (r < 0) {
        snprintf(l->why, sizeof(l->why), "%s", err.text);
        return r;
    }
    keep_object(l, answer);
    if (lease_record_equal(&record, &l->seen)) {
        lease_record_clear(&record);
        return 0;
    }
    lease_record_clear(&l->seen);
    l->seen = record;
    l->seen_ms = lease_now_ms();
    note_leader(l);
    return 0;
}

void lease_forget(struct lease *l)
{
    cJSON_Delete(MOVE(l->object));
    lease_record_clear(&l->seen);
}

static int64_t expires_ms(const struct lease *l)
{
    return l->seen_ms + l->seen.duration_s * 1000;
}

static enum lease_event judge(const struct lease *l)
{
    if (l->object == NULL || l->seen.holder[0] == '\0') {
        return EV_FREE;
    }
    if (strcmp(l->seen.holder, l->identity) == 0) {
        return EV_OURS;
    }
    return lease_now_ms() >= expires_ms(l) ? EV_FREE : EV_TAKEN;
}

/* --- requests --- */

static void note_failure(struct lease *l, const char *text)
{
    snprintf(l->why, sizeof(l->why), "%s", text);
    if (!l->said_failing) {
        log_warn("lease cannot be looked after", "lease", l->name, "why", text, NULL);
        l->said_failing = true;
    }
}

static void on_read(void *arg, struct kube_answer *answer)
{
    struct lease *l = arg;

    l->call = NULL;
    if (answer->outcome == KUBE_NOT_FOUND) {
        lease_forget(l);
        feed(l, EV_FREE);
    } else if (answer->outcome != KUBE_OK || take_in(l, answer) < 0) {
        note_failure(l, answer->outcome != KUBE_OK ? answer->text : l->why);
        feed(l, EV_FAILED);
    } else if (!l->closed) {
        l->said_failing = false;
        feed(l, judge(l));
    }
}

static void on_written(void *arg, struct kube_answer *answer)
{
    struct lease *l = arg;

    l->call = NULL;
    if (answer->outcome == KUBE_OK && take_in(l, answer) == 0) {
        if (!l->closed) {
            l->said_failing = false;
            feed(l, EV_WRITTEN);
        }
    } else if (answer->outcome == KUBE_CONFLICT || answer->outcome == KUBE_EXISTS ||
               answer->outcome == KUBE_NOT_FOUND) {
        snprintf(l->why, sizeof(l->why), "%s", answer->text);
        feed(l, EV_CONFLICT);
    } else {
        note_failure(l, answer->outcome != KUBE_OK ? answer->text : l->why);
        feed(l, EV_FAILED);
    }
}

/* What can not even be sent fails through the timer. */
static void send(struct lease *l, const char *method, const char *path, const cJSON *body,
                 void (*on_done)(void *arg, struct kube_answer *answer))
{
    struct err err;
    char *text = body != NULL ? cJSON_PrintUnformatted(body) : NULL;
    struct kube_request request = {
        .method = method,
        .path = path,
        .body = text,
        .timeout_ms = l->renew_deadline_ms / 2,
        .once = true,
        .urgent = true,
        .on_done = on_done,
        .arg = l,
    };

    loop_timer_stop(l->timer);
    l->sent_ms = lease_now_ms();
    if (kube_client_send(l->client, &request, &l->call, &err) < 0) {
        note_failure(l, err.text);
        loop_timer_start(l->timer, l->retry_ms, 0);
    }
    cJSON_free(text);
}

/* --- actions --- */

static void look(struct lease *l)
{
    send(l, "GET", l->path, NULL, on_read);
}

static void take(struct lease *l)
{
    if (l->object == NULL) {
        AUTO(json)
        cJSON *fresh = lease_record_new(l->name, l->identity, l->duration_s, clock_realtime_ms());
        send(l, "POST", l->all_path, fresh, on_written);
        return;
    }
    lease_record_take(l->object, &l->seen, l->identity, l->duration_s, clock_realtime_ms());
    send(l, "PUT", l->path, l->object, on_written);
}

/* Who leads may end in order at any time: looked at often, so that nobody waits long for a leader.
 */
static void wait_next(struct lease *l)
{
    int64_t wait = backoff_between(l->retry_ms / 4, l->retry_ms / 2);

    if (judge(l) == EV_TAKEN) {
        int64_t left = expires_ms(l) - lease_now_ms() + EXPIRY_SLACK_MS;
        wait = left < wait ? left : wait;
    }
    loop_timer_start(l->timer, wait > 0 ? (uint64_t)wait : 0, 0);
}

static void hold(struct lease *l)
{
    int64_t left = l->sent_ms + l->renew_deadline_ms - lease_now_ms();

    l->renewed_ms = l->sent_ms;
    loop_timer_start(l->deadline, left > 0 ? (uint64_t)left : 0, 0);
    loop_timer_start(l->timer, l->retry_ms, 0);
    if (!l->held) {
        l->held = true;
        metric_set(l->status, 1);
        l->on_started(l->arg);
    }
}

static void try_again(struct lease *l)
{
    loop_timer_start(l->timer, l->retry_ms, 0);
}

static void lose(struct lease *l)
{
    kube_call_cancel(MOVE(l->call));
    loop_timer_stop(l->timer);
    loop_timer_stop(l->deadline);
    metric_set(l->status, 0);
    l->held = false;
    l->on_stopped(l->arg, l->why);
}

static void tell_released(struct lease *l)
{
    void (*fn)(void *) = l->on_released;

    l->on_released = NULL;
    if (fn != NULL) {
        fn(l->released_arg);
    }
}

static void finish(struct lease *l)
{
    kube_call_cancel(MOVE(l->call));
    loop_timer_stop(l->timer);
    loop_timer_stop(l->deadline);
    loop_timer_start(l->timer, 0, 0); /* EV_TIMER: tell_released() */
}

static void write_given_up(struct lease *l)
{
    if (l->object == NULL) { /* somebody deleted it */
        loop_timer_start(l->deadline, 0, 0);
        return;
    }
    lease_record_give_up(l->object, clock_realtime_ms());
    send(l, "PUT", l->path, l->object, on_written);
}

/* We lead no more from here on, whatever becomes of the write. */
static void give_up(struct lease *l)
{
    kube_call_cancel(MOVE(l->call));
    metric_set(l->status, 0);
    l->held = false;
    loop_timer_start(l->deadline, l->renew_deadline_ms, 0);
    write_given_up(l);
}

static void nothing(struct lease *l)
{
    (void)l;
}

void lease_on_timer(void *arg)
{
    feed(arg, EV_TIMER);
}

void lease_on_deadline(void *arg)
{
    feed(arg, EV_DEADLINE);
}

void lease_give_up(struct lease *l)
{
    feed(l, EV_GIVE_UP);
}
