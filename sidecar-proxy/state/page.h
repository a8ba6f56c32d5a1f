/* page: the page for people at "/": instances, devices online over the last half hour, what
 * happened lately, search by UUID or its beginning. Whole without JavaScript (it reloads itself
 * then); with it, page.js refreshes it from the JSON routes. Everything comes from this server. */
#pragma once

#include "common/http_server.h"

struct buf;
struct service;

/* arg is the struct service. ?uuid=... searches. */
void page_index(void *arg, struct http_exchange *x, const struct http_server_request *request);
void page_css(void *arg, struct http_exchange *x, const struct http_server_request *request);
void page_js(void *arg, struct http_exchange *x, const struct http_server_request *request);

/* The document; query as sent. */
void page_render(struct service *s, const char *query, struct buf *b);
