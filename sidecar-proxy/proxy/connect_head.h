/* connect_head: the head of one HTTP request to a proxy. Pure: no I/O, no allocation.
 * Source: RFC 9112 2.2 (line ends), 3 (request line), 3.2 (Host), 3.2.3 (authority-form), 5
 * (fields), 3.2.2 (absolute-form); RFC 9110 9.3.6 (CONNECT), 7.6 (sending on). Fuzz:
 * tests/fuzz/fuzz_connect_head.c Differs: two Host lines, a 1.1 request without Host, and port 0 or
 * over 65535 are malformed; the original let the first two pass and answered 500 to the third. */
#pragma once

#include "common/buf.h"
#include "common/err.h"

#define CONNECT_HEAD_MAX 8192 /* bytes, blank line included */

struct text { /* borrowed, not NUL-terminated */
    const char *at;
    size_t len;
};

struct connect_head {   /* borrowed: points into the bytes given to connect_head_parse() */
    struct text host;   /* case as sent, 1..255 bytes; of an IPv6 literal with its brackets */
    uint16_t port;      /* host byte order; 0: the authority had none */
    int minor;          /* of the HTTP version: 0 or 1 */
    bool close;         /* the client wants or, being 1.0, expects the connection closed */
    bool has_body;      /* Content-Length or Transfer-Encoding: what follows is no next request */
    struct text fields; /* all field lines, CRLF included, for connect_head_field() */
    /* A request in absolute-form ("GET http://host:port/path HTTP/1.1"), as clients send for
     * http:// URLs without asking for a tunnel: the tunnel is opened for it and it is sent on
     * through it, connect_head_forward(). Differs: the original answers 405. */
    bool forward;
    struct text method, authority, path; /* of a forward; path begins with '/', '?' or is empty */
};

/* Parse bytes[0..len).
 * > 0: bytes the head takes, the rest belongs to the tunnel. 0: incomplete, *ret untouched.
 * -EMSGSIZE: no end within CONNECT_HEAD_MAX bytes (answer 431). -EPROTO: malformed (answer 400).
 * -EOPNOTSUPP: a well-formed request that is neither (answer 405). After -EPROTO and -EOPNOTSUPP
 * ret->minor is set: as sent, or 1 if it was not reached. */
int connect_head_parse(const char *bytes, size_t len, struct connect_head *ret, struct err *err);

/* The next field called name (any case) behind *pos, which starts as 0. False: no more of them. */
bool connect_head_field(const struct connect_head *head, const char *name, size_t *pos,
                        struct text *value);

/* Writes the head of a forward for the device itself: origin-form, without what was meant for us,
 * "Connection: close" so that it stays the only one. via: our chain. 0 or -EMSGSIZE. */
int connect_head_forward(const struct connect_head *head, const char *via, struct buf *out);
