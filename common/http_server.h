/* http_server: HTTP/1.1 and WebSocket server on the loop. Several listeners, each with its own
 * routes; TCP or unix socket. WebSockets are libwebsockets'; the requests are read by http_head.c,
 * because libwebsockets closes where a caller is owed a 414, 431 or 400, knows no chunked request
 * and hands on a changed path and query.
 * Limits: request head 8 KiB, body by route, connections by listener: at the limit the one that has
 * been idle for longest is closed; if none is, newcomers wait in the kernel's backlog. */
#pragma once

#include "common/loop.h"

struct http_server;
struct http_listener;
struct http_exchange; /* one request being answered; valid until it is ended or on_gone ran */
struct ws_conn;       /* one accepted WebSocket; valid until on_closed returned */

struct http_server_request {   /* borrowed during the handler */
    const char *method;        /* "GET" (also for HEAD), "POST", ...: the route's */
    const char *path;          /* without query, percent-decoded, NUL-free */
    const char *tail;          /* what follows the route's prefix in path; "" if nothing */
    const char *query;         /* without '?', as sent; "" if none */
    const char *authorization; /* the header's value, or "" */
    const char *body;          /* NUL-terminated */
    size_t body_len;
};

/* Must lead to exactly one http_reply() or http_stream_begin()...http_stream_end(), now or later.
 */
typedef void (*http_handler)(void *arg, struct http_exchange *x,
                             const struct http_server_request *request);

struct ws_handler {
    const char *protocol;     /* the one subprotocol that is accepted */
    size_t max_message_bytes; /* a longer one closes the connection with 1009 */
    size_t max_queued_bytes;  /* a slower reader is closed with 1013 */
    /* Before the upgrade: false refuses with 401. authorization may be "". NULL: all may. */
    bool (*allow)(void *arg, const char *authorization);
    void *(*on_open)(void *arg, struct ws_conn *conn); /* returns the connection's own user data */
    void (*on_message)(void *user, const char *text,
                       size_t len); /* whole text message; NUL after */
    void (*on_closed)(void *user);  /* once, last */
};

struct http_route {
    const char *method;    /* NULL for a WebSocket route */
    const char *path;      /* exact, or a prefix if it ends in '*' ("/v1/devices/" "*") */
    http_handler handler;  /* NULL for a WebSocket route */
    size_t max_body_bytes; /* 0: no body is accepted (413) */
    const struct ws_handler *ws;
    void *arg;
};

int http_server_new(struct loop *loop, struct http_server **ret, struct err *err);
/* Ends streams (on_gone) and WebSockets (on_closed) before it returns, frees itself. NULL is fine.
 * An exchange that a handler still holds stays valid until it is answered, to nobody. */
void http_server_close(struct http_server *server);

struct http_listen_options {
    const char *address;    /* "127.0.0.1:8080", "[::]:8080", ":8080" (all), "unix:/run/x.sock" */
    unsigned unix_mode;     /* of a unix socket; 0: 0600. A socket file that no one listens on is
                             * replaced; it is removed with the server */
    size_t max_connections; /* 0: 1024 */
    const struct http_route *routes; /* borrowed while the listener lives; first match wins */
    size_t route_count;
};
/* Is it an address at all? -EINVAL: no, so it is a bad setting. Nothing is opened. */
int http_listen_check(const char *address, struct err *err);
/* -EADDRINUSE, -EACCES, -EINVAL ... with the address in err. */
int http_server_listen(struct http_server *server, const struct http_listen_options *options,
                       struct err *err);

/* Ends the exchange. content_type NULL: text/plain. Body is copied. extra_header: "Name: value" or
 * NULL. HEAD is answered as GET without the body by the server itself; unknown path: 404, known
 * path with another method: 405 with Allow. */
void http_reply(struct http_exchange *x, int status, const char *content_type, const char *body,
                size_t body_len, const char *extra_header);

/* A body of unknown length (chunked). on_gone(arg) once if the peer goes first; x is dead then. A
 * peer that ends its sending side counts as gone, as does one that takes nothing for 30 s.
 * on_drained(arg): what was queued has been written (more may be given). Either may be NULL. */
void http_stream_begin(struct http_exchange *x, int status, const char *content_type,
                       void (*on_drained)(void *arg), void (*on_gone)(void *arg), void *arg);
/* Queues bytes; -EMSGSIZE, and nothing queued, when over 1 MiB would wait (the caller ends the
 * stream or waits for on_drained). */
int http_stream_write(struct http_exchange *x, const char *bytes, size_t len);
size_t http_stream_queued(const struct http_exchange *x);
void http_stream_end(struct http_exchange *x);

/* Queues one text message. -EMSGSIZE when over max_queued_bytes: the connection is being closed.
 * A peer that is silent for 30 s is pinged, and closed after 30 s more. */
int ws_conn_send(struct ws_conn *conn, const char *text, size_t len);
/* What is queued is written first, if the peer reads; on_closed follows within 3 s. */
void ws_conn_close(struct ws_conn *conn, int code);
