/* clients: the clients of one OpenVPN process that are alive, by client id, and how far each has
 * come. Decides what an event means for its client; doing it is the caller's. Pure.
 * A client that is not in here is dead or was never known: whatever is said of it later is ignored
 * (OpenVPN may say ESTABLISHED after DISCONNECT). */
#pragma once

#include "sidecar-proxy/management/link.h"

#define CLIENTS_MAX 131072 /* twice the addresses of the largest subnet OpenVPN takes */

enum client_state {
    CLIENT_NONE,       /* no client: an empty place of the table */
    CLIENT_ASKING,     /* CONNECT came and has no answer yet */
    CLIENT_AUTHORISED, /* allowed, not established yet */
    CLIENT_UNSURE,     /* the same, on a connection that ended since: was it heard? */
    CLIENT_REFUSED,    /* denied or killed: its DISCONNECT is to come */
    CLIENT_UP,         /* established, or adopted from a status row */
    CLIENT_UP_ASKING,  /* the same, and a REAUTH has no answer yet */
};

struct client {
    uint64_t cid;
    uint64_t kid;     /* of the latest question */
    int64_t since_ms; /* Unix ms */
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint32_t address; /* host byte order, 0: none yet */
    uint32_t seen;    /* number of the last resync with a row of it */
    enum client_state state;
};

struct clients {
    struct client *slots; /* owned; open addressing */
    size_t size;          /* 0 or a power of two */
    size_t count;
};

void clients_init(struct clients *t);
void clients_clear(struct clients *t); /* frees; can be used again */

/* Valid until the next add or remove. NULL: there is none. */
struct client *clients_find(const struct clients *t, uint64_t cid);
/* A new one, CLIENT_ASKING; it must not be in yet. NULL: CLIENTS_MAX reached. */
struct client *clients_add(struct clients *t, uint64_t cid);
void clients_remove(struct clients *t, uint64_t cid);
/* Removes those that the resync with this number did not see. */
void clients_sweep(struct clients *t, uint32_t seen);

/* The connection has ended: answers without a visible effect may have got lost with it. */
void clients_disconnected(struct clients *t);

static inline bool client_is_up(const struct client *c)
{
    return c->state == CLIENT_UP || c->state == CLIENT_UP_ASKING;
}

/* Is this question (still) open? NULL is not. */
bool client_asks(const struct client *c, uint64_t kid);
/* The question is answered. */
void client_answered(struct client *c, bool allowed);
/* Counters only ever grow. */
void client_count_bytes(struct client *c, uint64_t bytes_in, uint64_t bytes_out);

enum client_verdict {
    CLIENT_IGNORE,
    CLIENT_REPORT, /* tell who listens */
    CLIENT_KEEP,   /* it goes on, nothing to tell */
    CLIENT_KILL,   /* it must not go on */
};

/* ESTABLISHED. c may be NULL. Killed: without an address (OpenVPN's pool is exhausted, and it lets
 * the client in all the same), or one that we never allowed. An address that came while nobody
 * listened will be in the status. */
enum client_verdict client_established(struct client *c);

/* A status row. c is NULL when unknown. With an address: to report (the caller adds an unknown
 * one), unless we know that it was never allowed. Without: kept while its question is open or its
 * answer under way, else killed: its CONNECT, or our answer, was lost and never comes again. */
enum client_verdict client_in_status(const struct client *c, uint32_t address);
