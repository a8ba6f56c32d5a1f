/* answer: the heads that a proxy writes: its answer to the caller, and its own CONNECT to the next
 * hop; and how it reads that hop's answer. Pure.
 * Source: RFC 9110 9.3.6, 10.2.3, 11.7.1, 15.5.6, RFC 7239 4, RFC 9209 2; reason phrases: as the
 * original has them (users' notes quote "Proxy Authorization Required"). */
#pragma once

#include "common/buf.h"

#define ANSWER_HEAD_MAX 8192 /* bytes of a next hop's answer */

struct answer {
    int status;        /* 200, 400, 403, 405, 407, 408, 429, 431, 502, 503, 504, 508 */
    int minor;         /* of the request's HTTP version: 1.0 is answered in 1.0 */
    bool close;        /* Connection: close instead of a kept connection */
    int retry_after_s; /* 0: not said */
    const char *limit; /* which limit was reached, a literal; NULL: none (RFC 9209) */
};

const char *answer_phrase(int status);
/* The whole head of an answer; a refusal has Content-Length: 0. */
void answer_format(const struct answer *answer, struct buf *out);

struct hop_request {
    const char *uuid;
    uint16_t port;
    const char *authorization; /* whole value of Proxy-Authorization, or NULL */
    const char *via;           /* chain, ours included */
    const char *self;          /* our id, for Forwarded */
    const char *client;        /* the caller's numeric address, for Forwarded */
    const char *traceparent;   /* or NULL */
};
void hop_request_format(const struct hop_request *request, struct buf *out);

/* > 0: bytes the head takes, *status is set; 0: incomplete; -EPROTO, -EMSGSIZE. */
int hop_answer_parse(const char *bytes, size_t len, int *status);

/* Is value a W3C traceparent of version 00? Others are not passed on. */
bool traceparent_valid(const char *value, size_t len);
