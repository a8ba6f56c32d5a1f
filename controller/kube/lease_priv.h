/* lease_priv: a lease and its life. lease_life.c: states, events, what is done. lease.c: opening,
 * closing, looking. Private to lease*.c. */
#pragma once

#include "controller/kube/kube_metrics.h"
#include "controller/kube/lease.h"
#include "controller/kube/lease_record.h"

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

int64_t lease_now_ms(void);
void lease_forget(struct lease *l); /* what was read */
void lease_give_up(struct lease *l);
void lease_on_timer(void *arg);
void lease_on_deadline(void *arg);
