/* ws_context: libwebsockets on a loop. One context a loop, shared by ws_server.c and ws_client.c,
 * made with the first of its users and destroyed with the last. Its log lines go to ours.
 * Private to common/. */
#pragma once

#include "common/loop.h"

#include <libwebsockets.h>

struct ws_context;

int ws_context_get(struct loop *loop, struct ws_context **ret, struct err *err);
/* Whoever got it must let all its connections forget their owners before: callbacks with a NULL
 * lws_get_opaque_user_data() may still come. May be called from within libwebsockets' callbacks. */
void ws_context_put(struct ws_context *context);

struct lws_context *ws_context_lws(struct ws_context *context);

/* The vhost for one subprotocol and callback; lives as long as the context. */
int ws_context_vhost(struct ws_context *context, const char *protocol,
                     lws_callback_function *callback, struct lws_vhost **ret, struct err *err);

/* libwebsockets logs some things that are in order as errors: debug lines while it is set. */
void ws_context_quiet(bool quiet);
