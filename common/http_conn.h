/* http_conn: one accepted connection of http_server: requests in, answers out, one after the other.
 * Private to common/. */
#pragma once

#include "common/http_head.h"
#include "common/http_server.h"

/* A member of a ring; a ring's head is one that stands for no object. */
struct ring {
    struct ring *prev, *next;
};

static inline void ring_init(struct ring *r)
{
    r->prev = r->next = r;
}

static inline void ring_remove(struct ring *r)
{
    r->prev->next = r->next;
    r->next->prev = r->prev;
    ring_init(r);
}

/* The newest is the last: head->next is the oldest. */
static inline void ring_add(struct ring *head, struct ring *r)
{
    r->prev = head->prev;
    r->next = head;
    head->prev->next = r;
    head->prev = r;
}

struct http_conn;

/* What connections need of their listener: http_server.c owns and fills it. */
struct http_site {
    struct loop *loop;
    const struct http_route *routes;
    size_t route_count;
    struct ws_endpoint **endpoints; /* of the routes that are WebSockets, else NULL; same indices */
    struct ring conns;              /* all */
    struct ring idle;               /* those that wait for a request: may be closed for others */
    loop_fn on_idle;                /* a connection waits for its next request */
    loop_fn on_end;                 /* a connection, or the WebSocket it became, has ended */
    void *arg;
};

/* fd becomes the connection's. */
void http_conn_open(struct http_site *site, int fd);
/* Closes the one that has been idle for longest. False: none is. */
bool http_conn_close_idle(struct http_site *site);
/* Streams are told that they are gone; on_end runs for each. */
void http_conn_close_all(struct http_site *site);

/* What a request leads to. */
enum http_match { HTTP_MATCHED, HTTP_NOT_FOUND, HTTP_BAD_METHOD, HTTP_NOT_WEBSOCKET };

/* HTTP_MATCHED: *index is the route. HTTP_BAD_METHOD: *allow is what would do, caller frees. */
enum http_match http_routes_match(const struct http_route *routes, size_t count,
                                  const struct http_head *head, size_t *index, char **allow);
