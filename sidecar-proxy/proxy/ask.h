/* ask: what a tunnel wants to know before it can dial: may its caller, and where to. Made by a
 * relay thread, answered on the main loop; while it is there the thread touches nothing of it but
 * tunnel. A thread that lost interest says so with a second letter and frees the ask when that one
 * is back: letters are kept in order, so nothing can still point at it then. */
#pragma once

#include "sidecar-proxy/proxy/proxy.h"

#include <pthread.h>

struct ask;
struct gate_call;

enum decision_source { /* where the decision about the caller came from; for logs and metrics */
                       DECIDED_NOT,
                       DECIDED_BY_TICKET,
                       DECIDED_BY_CACHE,
                       DECIDED_BY_API,
                       DECIDED_BY_SHARING, /* somebody else's call to the API, under way already */
                       DECIDED_BY_GRACE,   /* an earlier yes, since the API does not answer */
                       DECISION_SOURCES
};

enum letter_kind { LETTER_ASK, LETTER_CANCEL };

struct letter {
    struct letter *next;
    struct ask *ask;
    enum letter_kind kind;
};

struct mailbox { /* letters from one or more threads to one */
    pthread_mutex_t lock;
    struct letter *first;
    struct letter **last;
    void (*ring)(void *arg); /* wakes the reader; called when the box was empty */
    void *ring_arg;
};

void mailbox_init(struct mailbox *box, void (*ring)(void *arg), void *ring_arg);
void mailbox_clear(struct mailbox *box); /* empty */
void mailbox_put(struct mailbox *box, struct letter *letter);
struct letter *mailbox_take(struct mailbox *box); /* all of them, in order */

struct route_query { /* the router's view of an ask */
    void *data;
};

struct gate_wait {
    struct gate_wait *prev, *next;
    struct gate_call *call; /* NULL: waits for nothing */
};

#define ASK_WHY_MAX 96
#define ASK_TRACEPARENT_MAX 55

struct ask {
    /* the question */
    char uuid[UUID_TEXT_MAX + 1];
    uint16_t port;
    char *key;                                 /* owned; NULL: a guest */
    char *via;                                 /* owned: chain to send on */
    char traceparent[ASK_TRACEPARENT_MAX + 1]; /* "" if none */
    bool looped;
    bool granted; /* decided already: by a ticket, or the first time it was asked */
    bool again;   /* the first answer led nowhere */
    /* the answer */
    int status; /* 0: route says where; else what to refuse with */
    int64_t device_id;
    enum decision_source source;
    struct route route;
    char why[ASK_WHY_MAX];
    int64_t decided_us; /* monotonic: when access was decided */
    /* post */
    struct mailbox *from; /* box of the relay thread */
    void *tunnel;         /* the thread's; NULL: nobody is interested any more */
    struct letter letter;
    struct letter cancel;
    struct ask *mine_prev, *mine_next; /* in the thread's ring of asks that are out */
    /* the main loop's */
    struct ask *prev, *next;
    bool routing; /* the router has it */
    struct gate_wait wait;
    struct route_query query;
};

struct ask *ask_new(void);
void ask_free(struct ask *ask); /* wipes the key */
int64_t ask_clock_us(void);
