/* http_client_priv: what the files behind http_client.h share. http_client.c: the client, its queue
 * and its turn. http_call.c: the life of a call. http_request.c: a request as curl wants it. */
#pragma once

#include "common/buf.h"
#include "common/curl_loop.h"
#include "common/http_client.h"
#include "common/http_tls.h"

enum call_state {
    CALL_QUEUED, /* in client->queue: no easy handle is in the multi */
    CALL_ON_WIRE,
    CALL_DOOMED, /* cancelled inside one of curl's callbacks: removed when that has returned */
    CALL_ENDED,  /* its on_done is running */
};

struct http_call {
    struct http_client *client;
    enum call_state state;
    CURL *easy;
    struct curl_slist *headers;
    struct curl_slist *connect_to; /* where the host of a renamed URL is; or NULL */
    struct loop_timer *timer;      /* the nearer of the two deadlines */
    int64_t deadline_ms;           /* of the whole call; 0: none */
    uint32_t idle_timeout_ms;      /* 0: none */
    int64_t last_byte_ms;
    int broken;    /* why our own callback ended the transfer: negative errno, or 0 */
    bool answered; /* a byte of an answer came */
    bool has_head; /* and the empty line behind its headers */
    bool retried;
    bool says_retry_after;
    struct buf body;
    char *what; /* "GET http://host/path": for error texts */
    char curl_says[CURL_ERROR_SIZE];
    void (*on_done)(void *arg, int result, const struct http_response *res, const struct err *err);
    bool (*on_body)(void *arg, int status, const char *bytes, size_t len);
    void *arg;
    struct http_call *prev, *next; /* of the list that its state names */
};

struct call_list {
    struct http_call *first, *last;
    size_t count;
};

struct http_client {
    struct loop *loop;
    struct curl_loop curl;
    struct call_list queue;
    struct call_list on_wire;
    size_t doomed; /* calls in on_wire to be removed */
    unsigned busy; /* depth of our frames that still need the client */
    bool closed;
    struct http_tls tls;
    char *proxy_url; /* "": none */
    size_t max_in_flight;
    size_t max_queued;
    size_t max_response;
    uint32_t connect_timeout_ms;
};

void call_list_push(struct call_list *list, struct http_call *call);
void call_list_remove(struct call_list *list, struct http_call *call);

/* --- http_call.c --- */
void http_call_start(struct http_call *call); /* queued -> on the wire */
void http_call_arm(struct http_call *call);   /* its timer */
void http_call_finished(struct http_call *call, CURLcode code);
void http_call_free(struct http_call *call);
/* Takes the call from its list and from curl. Not while curl is on the stack. */
void http_call_detach(struct http_call *call);
void http_call_on_timer(void *arg);
size_t http_call_on_header(char *line, size_t size, size_t count, void *arg);
size_t http_call_on_body(char *bytes, size_t size, size_t count, void *arg);

/* --- http_client.c --- */
/* Ends a frame that did client->busy++. Only the outermost one works: it is entered with curl and
 * all on_done callbacks off the stack. */
void http_client_settle(struct http_client *client);
void http_client_start_queued(struct http_client *client);

/* --- http_request.c --- */
int http_request_check(const struct http_request *request, struct err *err); /* -EINVAL */
/* In no list yet. -EINVAL: curl does not take the URL. */
int http_call_new(struct http_client *client, const struct http_request *request,
                  struct http_call **ret, struct err *err);
