/* http_head: the head of one HTTP/1.x request and the framing of its body. Pure: no I/O, no
 * allocation. Strict where leniency has led to smuggled requests: lines end in CRLF, no folding, no
 * blank before a colon, one length, no length beside chunked.
 * Source: RFC 9112, RFC 9110, RFC 6455 4.2.1. Fuzz: tests/fuzz/fuzz_http_head.c */
#pragma once

#include "common/buf.h"

#define HTTP_HEAD_MAX 8192 /* bytes of request line and headers */
#define HTTP_METHOD_MAX 15

struct http_head {
    char method[HTTP_METHOD_MAX + 1];
    const char *path;  /* percent-decoded, NUL-free, starts with '/' */
    const char *query; /* without '?', as sent; "" if none */
    bool keep_alive;
    bool is_http_1_0;
    bool expects_continue;
    bool is_chunked;
    uint64_t content_length;   /* 0 if none was given */
    const char *authorization; /* or "" */
    /* A WebSocket handshake: "Upgrade: websocket" with "Connection: upgrade". */
    bool is_websocket;
    int ws_version;           /* 0: none or not a number */
    const char *ws_key;       /* or "" */
    const char *ws_protocols; /* comma-separated, or "" */
    /* private: what the pointers above point into */
    char text[HTTP_HEAD_MAX + 1];
};

/* Parse bytes[0..len).
 * > 0: bytes the head takes, with leading empty lines. 0: incomplete. < 0: the negative status to
 * answer before the connection is closed: -400, -414, -417, -431, -501, -505. */
int http_head_parse(const char *bytes, size_t len, struct http_head *ret);

/* Is name one of the comma-separated tokens? In the same case: subprotocols have case. */
bool http_list_has(const char *list, const char *name);

enum http_body_state {
    HTTP_BODY_BYTES, /* of a known length, or of a chunk */
    HTTP_BODY_SIZE,
    HTTP_BODY_EXTENSION, /* behind the size, ignored */
    HTTP_BODY_SIZE_LF,
    HTTP_BODY_BYTES_CR,
    HTTP_BODY_BYTES_LF,
    HTTP_BODY_TRAILER, /* a line's start */
    HTTP_BODY_TRAILER_LINE,
    HTTP_BODY_TRAILER_LF,
    HTTP_BODY_LAST_LF,
    HTTP_BODY_DONE,
};

struct http_body {
    enum http_body_state state;
    bool is_chunked;
    uint64_t left;   /* bytes still to come; while SIZE: what was read of it */
    unsigned digits; /* of the size */
    size_t overhead; /* bytes of extensions and trailers so far */
};

void http_body_init(struct http_body *body, const struct http_head *head);
bool http_body_is_done(const struct http_body *body);
/* Takes bytes of the body, appends the payload to out. Bytes taken (fewer than len only when the
 * body is done), or the negative status to answer: -400, -413 (out is full). */
long http_body_feed(struct http_body *body, const char *bytes, size_t len, struct buf *out);
