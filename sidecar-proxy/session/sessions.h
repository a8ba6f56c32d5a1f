/* sessions: who is connected to this instance, and nothing else: no clock, no input or output.
 * A session is known by (generation, CID); by UUID there is usually one, for a moment two (the new
 * one is up before the old one's end was heard): the newest counts. An id that ended never comes
 * alive again by an event; only OpenVPN's own list of clients (a resync) may say that it lives. */
#pragma once

#include "common/uuid.h"
#include "sidecar-proxy/session/dict.h"
#include "sidecar-proxy/session/list.h"

#define SESSION_ID_TEXT_MAX 41 /* "{generation}.{cid}" without the NUL */

struct session_id {
    uint64_t generation; /* life of OpenVPN within the epoch, from 1 */
    uint64_t cid;        /* OpenVPN's client id, from 0 */
};

struct session { /* borrowed: valid until its on_down has returned */
    struct session_id id;
    char uuid[UUID_TEXT_MAX + 1];
    uint32_t address;      /* VPN address, host byte order */
    int64_t since_ms;      /* Unix time of the connection's start */
    uint64_t bytes_in;     /* from the device, cumulative */
    uint64_t bytes_out;    /* to the device, cumulative */
    bool adopted;          /* found in OpenVPN's list, not seen coming up */
    int64_t kill_at_ms;    /* the drain's note: when it may be killed again; 0: not yet killed */
    struct session *older; /* of the same UUID, or NULL */
    /* private */
    bool marked;
    struct dict_node by_id, by_uuid;
    struct list in_order;
};

struct session_claim { /* what sessions_up() copies */
    struct session_id id;
    const char *uuid; /* valid */
    uint32_t address;
    int64_t since_ms;
    uint64_t bytes_in, bytes_out;
};

/* The caller's; told in order of watching. The callbacks change nothing in the table. */
struct sessions_watcher {
    void (*on_up)(void *arg, const struct session *s);
    /* at_ms: Unix time. s is still whole, but found by no function any more. */
    void (*on_down)(void *arg, const struct session *s, int64_t at_ms);
    void *arg;
    struct list in_watchers; /* private */
};

struct sessions {
    struct dict by_id;
    struct dict by_uuid;  /* the newest of each */
    struct list in_order; /* of coming up */
    struct dict dead;     /* ids that ended lately */
    struct list dead_in_order;
    struct list watchers;
};

enum sessions_result {
    SESSIONS_UP,    /* new: the watchers have been told */
    SESSIONS_KNOWN, /* it was up already */
    SESSIONS_DEAD,  /* it ended before: ignored */
    SESSIONS_FULL,  /* the table holds its maximum: ignored */
};

void sessions_init(struct sessions *t, size_t max);
void sessions_clear(struct sessions *t); /* tells nobody */
void sessions_watch(struct sessions *t, struct sessions_watcher *w);
void sessions_unwatch(struct sessions *t, struct sessions_watcher *w);

enum sessions_result sessions_up(struct sessions *t, const struct session_claim *c);
/* The same for a row of OpenVPN's list of clients, which is right even about ids that ended. */
enum sessions_result sessions_adopt(struct sessions *t, const struct session_claim *c);
/* True if it was up. An id that was not is remembered as ended all the same. */
bool sessions_down(struct sessions *t, struct session_id id, int64_t at_ms);
/* Counters never go back: a lower figure than known is ignored. */
void sessions_bytes(struct sessions *t, struct session_id id, uint64_t in, uint64_t out);

/* For a resync: unmark all; what is adopted or comes up is marked; then drop what is not. */
void sessions_unmark(struct sessions *t);
size_t sessions_drop_unmarked(struct sessions *t, int64_t at_ms);
/* All sessions of generations below this one are over. */
size_t sessions_drop_before(struct sessions *t, uint64_t generation, int64_t at_ms);

struct session *sessions_find(const struct sessions *t, const char *uuid); /* the newest, or NULL */
struct session *sessions_find_id(const struct sessions *t, struct session_id id);
size_t sessions_count(const struct sessions *t);
/* In order of coming up: LIST_EACH(at, &t->in_order) sessions_at(at). */
struct session *sessions_at(struct list *at);

struct session_id_text {
    char text[SESSION_ID_TEXT_MAX + 1];
};
struct session_id_text session_id_format(struct session_id id);
/* False unless text is exactly "{generation}.{cid}". */
bool session_id_parse(const char *text, struct session_id *ret);
bool session_id_equal(struct session_id a, struct session_id b);
