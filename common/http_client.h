/* http_client: HTTP requests on the loop (libcurl multi). Keeps connections, follows no redirects.
 * A call ends in exactly one on_done, never before http_client_send() returned, never after
 * http_call_cancel(). All functions may be called from within the callbacks.
 *
 * A request that died on a kept connection before one byte of the answer came (the peer had just
 * closed it for being idle) is sent again once, on a new connection, whatever its method: so a call
 * that fails was either never seen by the peer or its fate is unknown.
 * A peer that acknowledges nothing of what was sent for 30 s is given up, by the kernel.
 * Proxies named in the environment are not used. Source: libcurl's multi_socket interface. */
#pragma once

#include "common/loop.h"

struct http_client;
struct http_call;
struct http_response;

struct http_client_options {
    const char *ca_pem;      /* extra certificates, trusted beside the system's, or NULL; copied */
    const char *ca_file;     /* only these certificates are trusted, or NULL; copied */
    const char *ca_only_pem; /* the same as text; wins; copied */
    const char *cert_pem, *key_pem; /* who we are to servers that ask; both or neither; copied */
    const char *tls_name;  /* what each server is called in its certificate; NULL: as in the URL */
    bool insecure;         /* believes any certificate */
    const char *proxy_url; /* http, https, socks5 (names are looked up there); or NULL; copied */
    size_t max_in_flight;  /* calls on the wire; more wait in a queue. 0: 256 */
    size_t max_queued;     /* more are refused with -EBUSY. 0: 65536 */
    size_t max_response;   /* bytes of a body; more end the call with -EMSGSIZE. 0: 1 MiB */
    uint32_t connect_timeout_ms; /* 0: 5000 */
};

struct http_request {        /* all borrowed during http_client_send() only */
    const char *method;      /* "GET", ... */
    const char *url;         /* absolute; parts that are not ours go through http_url_escape() */
    const char *unix_socket; /* path to dial instead of the URL's host, or NULL */
    const char *bearer; /* "Authorization: Bearer x", or NULL. -EINVAL if not printable ASCII */
    const char *const *headers; /* "Name: value" lines, NULL-terminated; or NULL */
    const char *body;           /* or NULL */
    size_t body_len;
    const char *content_type; /* NULL: application/json when there is a body */
    uint32_t timeout_ms;      /* whole call, queueing included; 0: none (streams) */
    uint32_t idle_timeout_ms; /* on the wire: -ETIMEDOUT when no byte came for that long; 0: none */
    void (*on_done)(void *arg, int result, const struct http_response *res, const struct err *err);
    /* With on_body the body is handed over in pieces as it comes and not kept; status is known.
     * Return false to end the call with -ECANCELED. */
    bool (*on_body)(void *arg, int status, const char *bytes, size_t len);
    void *arg;
};

struct http_response { /* borrowed during on_done */
    int status;        /* 100..599 */
    const char *body;  /* NUL-terminated; "" when streamed */
    size_t body_len;
    const char *content_type; /* or "" */
    int retry_after_s;        /* -1: not said */
};

/* on_done's result: 0: there is an answer, res is set (whatever its status). Else res is NULL:
 * -ETIMEDOUT, -ECONNREFUSED, -EHOSTUNREACH (name not found), -EMSGSIZE, -ECANCELED, -EPROTO, -EIO.
 */

/* -EINVAL: ca_pem or ca_only_pem holds no certificate, or cert_pem and key_pem are no pair. */
int http_client_new(struct loop *loop, const struct http_client_options *options,
                    struct http_client **ret, struct err *err);
/* Cancels what is under way (no on_done), closes connections, frees itself. NULL is fine. */
void http_client_close(struct http_client *client);

/* *ret (may be NULL) is valid until on_done or cancel. -EBUSY: queue full, -EINVAL: bad request. */
int http_client_send(struct http_client *client, const struct http_request *request,
                     struct http_call **ret, struct err *err);
void http_call_cancel(struct http_call *call);
size_t http_client_in_flight(const struct http_client *client); /* queued ones included */

/* Percent-encodes all but unreserved characters (RFC 3986 2.3). Caller frees. */
char *http_url_escape(const char *text);
