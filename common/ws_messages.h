/* ws_messages: whole text messages over libwebsockets, which knows fragments and "writable now".
 * What ws_server.c and ws_client.c have in common. Private to common/. */
#pragma once

#include "common/buf.h"

#include <libwebsockets.h>

#define WS_CLOSE_NORMAL 1000
#define WS_CLOSE_UNACCEPTABLE 1003
#define WS_CLOSE_TOO_LONG 1009
#define WS_CLOSE_TRY_LATER 1013

struct ws_message;

struct ws_outbox {
    struct ws_message *first;
    struct ws_message **last;
    size_t bytes;  /* of messages that the kernel has not taken yet */
    size_t given;  /* of those, in libwebsockets' own buffer */
    size_t max;    /* of bytes */
    bool has_ping; /* a ping is to be sent */
};

void ws_outbox_init(struct ws_outbox *out, size_t max);
void ws_outbox_clear(struct ws_outbox *out);
bool ws_outbox_is_empty(const struct ws_outbox *out);
/* 0, or -EMSGSIZE and nothing is queued. The caller asks for a writable callback. */
int ws_outbox_push(struct ws_outbox *out, const char *text, size_t len);
/* In a writable callback: writes what goes, and asks for the next callback if there is more.
 * -1: the connection is broken. */
int ws_outbox_write(struct ws_outbox *out, struct lws *wsi);

/* Begins the closing handshake, when the outbox is empty. Not within a callback of libwebsockets:
 * returning -1 there, which is its way, drops the connection in version 4.1 on libuv. */
void ws_begin_close(struct lws *wsi, int code);

/* In a receive callback: adds a fragment to in. 1: in holds a whole message, to be cleared after.
 * 0: there is more to come. < 0: the negative code to close with. */
int ws_inbox_feed(struct buf *in, struct lws *wsi, const char *bytes, size_t len);
