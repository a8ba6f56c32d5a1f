/* loop: one thread's event loop (libuv), and everything that lives on it. libuv's handles end
 * asynchronously; here they are heap objects whose x_close() may be called at any time (also inside
 * their own callback), after which the callback never runs again and the object frees itself.
 * x_close(NULL) does nothing. No callback runs before the call that registered it has returned. */
#pragma once

#include "common/err.h"

#include <sys/types.h>

struct loop;
struct loop_timer;
struct loop_io;
struct loop_signal;
struct loop_wake;
struct loop_resolve;
struct uv_loop_s;

typedef void (*loop_fn)(void *arg);

/* Ignores SIGPIPE for the whole process. */
int loop_new(struct loop **ret, struct err *err);
/* Runs until loop_stop(). May be called again. */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);
/* Lets close callbacks run, then frees. Objects still open are our bug: asserted. */
void loop_free(struct loop *loop);
/* For http_server.c and ws_client.c only: libwebsockets wants the loop itself. */
struct uv_loop_s *loop_uv(struct loop *loop);

int64_t loop_now_ms(struct loop *loop); /* monotonic; read once a round of the loop */
int64_t clock_monotonic_ms(void);       /* read now */
int64_t clock_realtime_ms(void);        /* Unix time */

/* fn(arg) once, in the loop's next round, in the order of posting. Same thread only. */
void loop_post(struct loop *loop, loop_fn fn, void *arg);

struct loop_timer *loop_timer_new(struct loop *loop, loop_fn fn, void *arg);
/* Starts or restarts: fires when after_ms have passed from now (0: in the next round), never
 * earlier; then each repeat_ms (0: once). */
void loop_timer_start(struct loop_timer *t, uint64_t after_ms, uint64_t repeat_ms);
void loop_timer_stop(struct loop_timer *t);
bool loop_timer_active(const struct loop_timer *t);
void loop_timer_close(struct loop_timer *t);

#define LOOP_READ 1
#define LOOP_WRITE 2
/* events: LOOP_READ | LOOP_WRITE that are ready. Level-triggered. When the descriptor itself failed
 * (a refused connect, a reset), all that was asked for counts as ready, and the next read(),
 * write() or SO_ERROR says why. error: 0, or a negative errno if it can not be watched any longer.
 */
typedef void (*loop_io_fn)(void *arg, int events, int error);
/* Watches fd (a socket, pipe or pidfd, non-blocking), which stays the caller's: close it only after
 * loop_io_close(). Watches nothing until loop_io_set(). */
int loop_io_new(struct loop *loop, int fd, loop_io_fn fn, void *arg, struct loop_io **ret,
                struct err *err);
void loop_io_set(struct loop_io *io, int events); /* 0: watch nothing */
void loop_io_close(struct loop_io *io);

int loop_signal_new(struct loop *loop, int signum, loop_fn fn, void *arg, struct loop_signal **ret,
                    struct err *err);
void loop_signal_close(struct loop_signal *s);

/* A call into the loop from any thread: several loop_wake_send() may become one fn(arg). */
int loop_wake_new(struct loop *loop, loop_fn fn, void *arg, struct loop_wake **ret,
                  struct err *err);
void loop_wake_send(struct loop_wake *w);
void loop_wake_close(struct loop_wake *w);

/* Looks up a host's addresses (getaddrinfo on a worker thread). result: 0 or -EHOSTUNREACH;
 * addresses: count numeric texts, IPv4 and IPv6, without duplicates; borrowed during the callback.
 */
typedef void (*loop_resolve_fn)(void *arg, int result, const char *const *addresses, size_t count);
struct loop_resolve *loop_resolve_start(struct loop *loop, const char *host, loop_resolve_fn fn,
                                        void *arg);
/* The callback will not run. Not to be called after it ran. */
void loop_resolve_cancel(struct loop_resolve *r);
