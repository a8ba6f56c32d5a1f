#include "controller/kube/lease.h"

#include "common/backoff.h"
#include "common/log.h"
#include "controller/kube/kube_metrics.h"
#include "controller/kube/lease_record.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define DURATION_S 15
#define RENEW_DEADLINE_MS 10000
#define RETRY_MS 2000
#define EXPIRY_SLACK_MS 50 /* a look at the very end of a lease comes just after it */

enum lease_state {
    LEASE_LOOKING,    /* a GET is under way */
    LEASE_TAKING,     /* the write that would make us its holder */
    LEASE_WAITING,    /* somebody holds it, or the server does not answer: until the next look */
    LEASE_HOLDING,    /* until the next renewal */
    LEASE_RENEWING,   /* a write */
    LEASE_CHECKING,   /* a GET: a renewal met a conflict. Ours or not? */
    LEASE_GIVING_UP,  /* a write */
    LEASE_RECHECKING, /* a GET: giving up met a conflict */
    LEASE_OVER,       /* lost or given up: does nothing any more */
    LEASE_STATES,
};

enum lease_event {
    EV_TIMER,
    EV_FREE,     /* read: nobody's, or not renewed for its whole duration; or there is none */
    EV_TAKEN,    /* read: somebody else's */
    EV_OURS,     /* read: we hold it (before we knew: by a write whose answer was lost) */
    EV_WRITTEN,  /* the write is done */
    EV_CONFLICT, /* somebody wrote before us */
    EV_FAILED,   /* no answer, or none that says anything */
    EV_DEADLINE, /* too long without a renewal */
    EV_GIVE_UP,
    LEASE_EVENTS,
};

struct lease {
    struct loop *loop;
    struct kube_client *client;
    char *ns, *name, *identity, *path, *all_path;
    uint32_t duration_s, renew_deadline_ms, retry_ms;
    enum lease_state state;
    struct kube_call *call;
    struct loop_timer *timer;    /* of the state */
    struct loop_timer *deadline; /* of holding it, or of giving it up */
    cJSON *object;               /* as last read or written; NULL: there is none */
    struct lease_record seen;    /* and what it says */
    int64_t seen_ms;             /* when that was new */
    int64_t sent_ms;             /* the write that is under way */
    int64_t renewed_ms;          /* sending of the last write that was done, while we hold it */
    bool held;                   /* on_started has been called */
    char why[ERR_TEXT_MAX];      /* of the last failure */
    char *leader;                /* told by on_leader */
    bool said_failing;
    struct metric *status;
    void (*on_started)(void *arg);
    void (*on_stopped)(void *arg, const char *why);
    void (*on_leader)(void *arg, const char *identity);
    void (*on_released)(void *arg);
    void *arg, *released_arg;
    bool closed;
};

static void lease_feed(struct lease *l, enum lease_event ev);

/* A machine that slept has not renewed meanwhile: this clock goes on in its sleep. */
static int64_t now_ms(void)
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
    l->seen_ms = now_ms();
    note_leader(l);
    return 0;
}

static void forget(struct lease *l)
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
    return now_ms() >= expires_ms(l) ? EV_FREE : EV_TAKEN;
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
        forget(l);
        lease_feed(l, EV_FREE);
    } else if (answer->outcome != KUBE_OK || take_in(l, answer) < 0) {
        note_failure(l, answer->outcome != KUBE_OK ? answer->text : l->why);
        lease_feed(l, EV_FAILED);
    } else if (!l->closed) {
        l->said_failing = false;
        lease_feed(l, judge(l));
    }
}

static void on_written(void *arg, struct kube_answer *answer)
{
    struct lease *l = arg;

    l->call = NULL;
    if (answer->outcome == KUBE_OK && take_in(l, answer) == 0) {
        if (!l->closed) {
            l->said_failing = false;
            lease_feed(l, EV_WRITTEN);
        }
    } else if (answer->outcome == KUBE_CONFLICT || answer->outcome == KUBE_EXISTS ||
               answer->outcome == KUBE_NOT_FOUND) {
        snprintf(l->why, sizeof(l->why), "%s", answer->text);
        lease_feed(l, EV_CONFLICT);
    } else {
        note_failure(l, answer->outcome != KUBE_OK ? answer->text : l->why);
        lease_feed(l, EV_FAILED);
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
    l->sent_ms = now_ms();
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

static void wait_next(struct lease *l)
{
    int64_t wait = backoff_between(l->retry_ms / 2, l->retry_ms * 11 / 10);

    if (judge(l) == EV_TAKEN) {
        int64_t left = expires_ms(l) - now_ms() + EXPIRY_SLACK_MS;
        wait = left < wait ? left : wait;
    }
    loop_timer_start(l->timer, wait > 0 ? (uint64_t)wait : 0, 0);
}

static void hold(struct lease *l)
{
    int64_t left = l->sent_ms + l->renew_deadline_ms - now_ms();

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

/* --- the whole life --- */

struct transition {
    void (*act)(struct lease *l);
    enum lease_state next;
};

#define TRANSITION(act, next) \
    {                         \
        act, LEASE_##next     \
    }

static const struct transition table[LEASE_STATES][LEASE_EVENTS] =
    {
        [LEASE_LOOKING] =
            {
                [EV_TIMER] = TRANSITION(look, LOOKING),
                [EV_FREE] = TRANSITION(take, TAKING),
                [EV_OURS] = TRANSITION(take, TAKING),
                [EV_TAKEN] = TRANSITION(wait_next, WAITING),
                [EV_FAILED] = TRANSITION(wait_next, WAITING),
                [EV_GIVE_UP] = TRANSITION(finish, OVER),
            },
        [LEASE_TAKING] =
            {
                [EV_TIMER] = TRANSITION(look, LOOKING),
                [EV_WRITTEN] = TRANSITION(hold, HOLDING),
                [EV_CONFLICT] = TRANSITION(wait_next, WAITING),
                [EV_FAILED] = TRANSITION(wait_next, WAITING),
                [EV_GIVE_UP] = TRANSITION(finish, OVER),
            },
        [LEASE_WAITING] =
            {
                [EV_TIMER] = TRANSITION(look, LOOKING),
                [EV_GIVE_UP] = TRANSITION(finish, OVER),
            },
        [LEASE_HOLDING] =
            {
                [EV_TIMER] = TRANSITION(take, RENEWING),
                [EV_DEADLINE] = TRANSITION(lose, OVER),
                [EV_GIVE_UP] = TRANSITION(give_up, GIVING_UP),
            },
        [LEASE_RENEWING] =
            {
                [EV_TIMER] = TRANSITION(take, RENEWING),
                [EV_WRITTEN] = TRANSITION(hold, HOLDING),
                [EV_CONFLICT] = TRANSITION(look, CHECKING),
                [EV_FAILED] = TRANSITION(try_again, HOLDING),
                [EV_DEADLINE] = TRANSITION(lose, OVER),
                [EV_GIVE_UP] = TRANSITION(give_up, GIVING_UP),
            },
        [LEASE_CHECKING] =
            {
                [EV_TIMER] = TRANSITION(look, CHECKING),
                [EV_OURS] = TRANSITION(take, RENEWING),
                [EV_FREE] = TRANSITION(take, RENEWING), /* deleted, or emptied by hand */
                [EV_TAKEN] = TRANSITION(lose, OVER),
                [EV_FAILED] = TRANSITION(try_again, CHECKING),
                [EV_DEADLINE] = TRANSITION(lose, OVER),
                [EV_GIVE_UP] = TRANSITION(give_up, GIVING_UP),
            },
        [LEASE_GIVING_UP] =
            {
                [EV_TIMER] = TRANSITION(write_given_up, GIVING_UP),
                [EV_WRITTEN] = TRANSITION(finish, OVER),
                [EV_CONFLICT] = TRANSITION(look, RECHECKING),
                [EV_FAILED] = TRANSITION(try_again, GIVING_UP),
                [EV_DEADLINE] = TRANSITION(finish, OVER),
                [EV_GIVE_UP] = TRANSITION(nothing, GIVING_UP),
            },
        [LEASE_RECHECKING] =
            {
                [EV_TIMER] = TRANSITION(look, RECHECKING),
                [EV_OURS] = TRANSITION(write_given_up, GIVING_UP),
                [EV_FREE] = TRANSITION(finish, OVER),
                [EV_TAKEN] = TRANSITION(finish, OVER),
                [EV_FAILED] = TRANSITION(try_again, RECHECKING),
                [EV_DEADLINE] = TRANSITION(finish, OVER),
                [EV_GIVE_UP] = TRANSITION(nothing, RECHECKING),
            },
        [LEASE_OVER] =
            {
                [EV_TIMER] = TRANSITION(tell_released, OVER),
                [EV_GIVE_UP] = TRANSITION(finish, OVER),
            },
};

static void lease_feed(struct lease *l, enum lease_event ev)
{
    const struct transition *t = &table[l->state][ev];

    assert(t->act != NULL);
    l->state = t->next;
    t->act(l);
}

static void on_timer(void *arg)
{
    lease_feed(arg, EV_TIMER);
}

static void on_deadline(void *arg)
{
    lease_feed(arg, EV_DEADLINE);
}

/* --- from outside --- */

static void take_options(struct lease *l, const struct lease_options *o)
{
    *l = (struct lease){
        .client = o->client,
        .ns = xstrdup(o->ns),
        .name = xstrdup(o->name),
        .identity = xstrdup(o->identity),
        .path = kube_path(&kube_leases, o->ns, o->name, NULL),
        .all_path = kube_path(&kube_leases, o->ns, NULL, NULL),
        .duration_s = o->duration_s > 0 ? o->duration_s : DURATION_S,
        .renew_deadline_ms = o->renew_deadline_ms > 0 ? o->renew_deadline_ms : RENEW_DEADLINE_MS,
        .retry_ms = o->retry_ms > 0 ? o->retry_ms : RETRY_MS,
        .on_started = o->on_started,
        .on_stopped = o->on_stopped,
        .on_leader = o->on_leader,
        .arg = o->arg,
    };
}

static int check(const struct lease *l, struct err *err)
{
    if (l->identity[0] == '\0' || l->renew_deadline_ms >= l->duration_s * 1000 ||
        l->retry_ms >= l->renew_deadline_ms) {
        return err_text(err, -EINVAL,
                        "a lease needs an identity, and retry < renew deadline < duration");
    }
    return 0;
}

static void lease_free(void *arg)
{
    struct lease *l = arg;

    forget(l);
    free(l->ns);
    free(l->name);
    free(l->identity);
    free(l->path);
    free(l->all_path);
    free(l->leader);
    free(l);
}

int lease_open(struct loop *loop, const struct lease_options *options, struct lease **ret,
               struct err *err)
{
    struct lease *l = xmalloc(sizeof(*l));

    take_options(l, options);
    int r = check(l, err);
    if (r < 0) {
        lease_free(l);
        return r;
    }
    AUTO(str) char *label = kube_label(l->name);
    AUTO(str) char *labels = xasprintf("name=\"%s\"", label);
    l->status = kube_metric(METRIC_GAUGE, "leader_election_master_status",
                            "1: this process leads, 0: it does not.", labels);
    metric_set(l->status, 0);
    l->loop = loop;
    l->timer = loop_timer_new(loop, on_timer, l);
    l->deadline = loop_timer_new(loop, on_deadline, l);
    l->state = LEASE_WAITING;
    loop_timer_start(l->timer, 0, 0);
    *ret = l;
    return 0;
}

void lease_release(struct lease *l, void (*on_released)(void *arg), void *arg)
{
    l->on_released = on_released;
    l->released_arg = arg;
    lease_feed(l, EV_GIVE_UP);
}

/* Our own frames may be on the stack: the memory goes with the loop's next round. */
void lease_close(struct lease *l)
{
    if (l == NULL || l->closed) {
        return;
    }
    l->closed = true;
    l->held = false;
    metric_set(l->status, 0);
    kube_call_cancel(MOVE(l->call));
    loop_timer_close(l->timer);
    loop_timer_close(l->deadline);
    loop_post(l->loop, lease_free, l);
}

bool lease_is_held(const struct lease *l)
{
    return l->held && now_ms() - l->renewed_ms < l->renew_deadline_ms;
}

bool lease_is_healthy(const struct lease *l)
{
    return !l->held || now_ms() - l->renewed_ms <= (int64_t)l->duration_s * 1000;
}

const char *lease_leader(const struct lease *l)
{
    return l->leader != NULL ? l->leader : "";
}
