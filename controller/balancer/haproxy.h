/* haproxy: haproxy's runtime socket. One command a connection, its reply read whole and judged:
 * haproxy says success and failure in words only. Commands are carried out one after the other.
 * Source: HAProxy management guide 9.3 (2.6); replies as observed in 2.6 and 3.0. */
#pragma once

#include "common/loop.h"

struct haproxy;

/* result 0: reply is haproxy's text, without the blank line at its end. Else reply is NULL:
 * -ENOENT, -ECONNREFUSED (it does not run), -ETIMEDOUT, -EMSGSIZE, -EPIPE (closed without a word).
 */
typedef void (*haproxy_reply_fn)(void *arg, const char *command, int result, const char *reply);

struct haproxy *haproxy_new(struct loop *loop, const char *socket_path);
/* Commands under way are forgotten without a callback. NULL is fine. */
void haproxy_close(struct haproxy *h);

#define HAPROXY_QUEUE_MAX 4096
#define HAPROXY_REPLY_MAX ((size_t)4 << 20) /* 1024 servers are 0.5 MiB of statistics */
#define HAPROXY_COMMAND_MAX 1024
#define HAPROXY_TIMEOUT_MS 5000
/* command: one line without ';' or line ends, under HAPROXY_COMMAND_MAX bytes (asserted). -EBUSY:
 * HAPROXY_QUEUE_MAX wait. */
int haproxy_command(struct haproxy *h, const char *command, haproxy_reply_fn fn, void *arg);
