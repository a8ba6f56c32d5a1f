/* feed_in: one sidecar's feed, from its hello to its end: what may follow what, the numbers of the
 * messages, and what each does to the table. No I/O: feed_server.c carries the messages.
 *     GREETING -> EMPTY -> (STAGING ->) LIVE -> ENDED */
#pragma once

#include "sidecar-proxy/state/feed_message.h"
#include "sidecar-proxy/state/roster.h"
#include "sidecar-proxy/state/table.h"
#include "sidecar-proxy/state/verdicts.h"

enum feed_state {
    FEED_GREETING, /* nothing heard yet */
    FEED_EMPTY,    /* an instance, without a snapshot on this connection */
    FEED_STAGING,  /* parts of a snapshot are here, none has taken effect */
    FEED_LIVE,
    FEED_ENDED, /* bye, or the table let go of us: no message is taken any more */
    FEED_STATES
};

struct feed_world { /* what all feeds share; the caller's */
    struct table *table;
    struct verdicts *verdicts;
    struct roster *roster;
};

struct feed_in { /* the caller's storage; stays where it is from init to clear */
    struct feed_world *world;
    enum feed_state state;
    struct table_instance *instance; /* NULL in GREETING and ENDED */
    int64_t seq;                     /* of the last message; -1: none had one */
    struct table_claim *staged;      /* owned; sessions of a snapshot that is not complete */
    size_t staged_count, staged_cap;
    struct table_feed hooks;
    /* The caller's. Run inside a call of the table's, also by another feed's message: they may send
     * and ask for the connection's end, not call feed_in or the table. */
    void (*on_stale)(void *arg, const char *uuid, const char *id);
    void (*on_dropped)(void *arg, const char *why);
    void *arg;
};

/* Set world, on_stale, on_dropped and arg before. */
void feed_in_init(struct feed_in *f);
/* 0. -EPROTO: malformed, out of order, or a gap in the numbers; -ENOSPC, -EBUSY: this instance is
 * not taken. Then the connection must be closed: the sidecar begins anew. */
int feed_in_message(struct feed_in *f, const char *text, size_t len, struct table_now now,
                    struct err *err);
/* The connection is gone. Frees what f holds. */
void feed_in_clear(struct feed_in *f, struct table_now now);
const char *feed_state_name(enum feed_state state);
