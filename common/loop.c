#include "common/loop.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <uv.h>

struct post {
    loop_fn fn;
    void *arg;
    struct post *next;
};

struct loop {
    uv_loop_t uv;
    uv_idle_t poster;    /* active while posts wait: its callback runs them, and it keeps the
                          * round from blocking */
    uv_prepare_t anchor; /* always active: a loop without objects still runs until loop_stop() */
    struct post *first_post;
    struct post **last_post;
    bool in_timer; /* a timer's callback runs */
    size_t open;   /* objects of this file whose x_close() was not called yet */
};

static void on_posts(uv_idle_t *idle)
{
    struct loop *loop = idle->data;
    struct post *p = loop->first_post;

    loop->first_post = NULL; /* what these post is for the round after */
    loop->last_post = &loop->first_post;
    uv_idle_stop(idle);
    while (p != NULL) {
        struct post *next = p->next;
        p->fn(p->arg);
        free(p);
        p = next;
    }
}

void loop_post(struct loop *loop, loop_fn fn, void *arg)
{
    struct post *p = xmalloc(sizeof(*p));

    *p = (struct post){.fn = fn, .arg = arg};
    *loop->last_post = p;
    loop->last_post = &p->next;
    uv_idle_start(&loop->poster, on_posts);
}

static void on_anchor(uv_prepare_t *prepare)
{
    (void)prepare;
}

int loop_new(struct loop **ret, struct err *err)
{
    struct loop *loop = xcalloc(1, sizeof(*loop));
    int r = uv_loop_init(&loop->uv);

    if (r < 0) {
        free(loop);
        return err_set(err, r, "make event loop");
    }
    signal(SIGPIPE, SIG_IGN); /* a peer that went is a failed write, not the end of us */
    loop->last_post = &loop->first_post;
    uv_idle_init(&loop->uv, &loop->poster);
    loop->poster.data = loop;
    uv_prepare_init(&loop->uv, &loop->anchor);
    uv_prepare_start(&loop->anchor, on_anchor);
    *ret = loop;
    return 0;
}

void loop_run(struct loop *loop)
{
    uv_run(&loop->uv, UV_RUN_DEFAULT);
}

void loop_stop(struct loop *loop)
{
    uv_stop(&loop->uv);
}

void loop_free(struct loop *loop)
{
    if (loop == NULL) {
        return;
    }
    while (loop->first_post != NULL) { /* who is closing may have posted */
        uv_run(&loop->uv, UV_RUN_NOWAIT);
    }
    assert(loop->open == 0);
    uv_close((uv_handle_t *)&loop->anchor, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT); /* ends when nothing lives and nothing is posted */
    uv_close((uv_handle_t *)&loop->poster, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    int r = uv_loop_close(&loop->uv);
    assert(r == 0);
    (void)r;
    free(loop);
}

struct uv_loop_s *loop_uv(struct loop *loop)
{
    return &loop->uv;
}

int64_t loop_now_ms(struct loop *loop)
{
    return (int64_t)uv_now(&loop->uv);
}

static int64_t clock_ms(clockid_t id)
{
    struct timespec now;

    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t clock_monotonic_ms(void)
{
    return clock_ms(CLOCK_MONOTONIC);
}

int64_t clock_realtime_ms(void)
{
    return clock_ms(CLOCK_REALTIME);
}

struct loop_timer {
    uv_timer_t uv;
    struct loop *loop;
    loop_fn fn;
    void *arg;
};

static void free_data(uv_handle_t *handle)
{
    free(handle->data);
}

/* Closes a handle whose data is the object that holds it. Only the first call counts. */
static void object_close(struct loop *loop, uv_handle_t *handle)
{
    if (!uv_is_closing(handle)) {
        loop->open--;
        uv_close(handle, free_data);
    }
}

struct loop_timer *loop_timer_new(struct loop *loop, loop_fn fn, void *arg)
{
    struct loop_timer *t = xcalloc(1, sizeof(*t));

    t->loop = loop;
    t->fn = fn;
    t->arg = arg;
    uv_timer_init(&loop->uv, &t->uv);
    t->uv.data = t;
    loop->open++;
    return t;
}

static void on_timer(uv_timer_t *uv)
{
    struct loop_timer *t = uv->data;
    struct loop *loop = t->loop; /* the callback may close the timer */

    loop->in_timer = true;
    t->fn(t->arg);
    loop->in_timer = false;
}

/* libuv counts from the start of the round, in whole milliseconds: without the correction a timer
 * would fire early by what the round has taken so far. Rounded up, so that it never does. */
static uint64_t behind_ms(struct loop *loop)
{
    uint64_t now = (uv_hrtime() + 999999) / 1000000;
    uint64_t round = uv_now(&loop->uv);

    return now > round ? now - round : 0;
}

void loop_timer_start(struct loop_timer *t, uint64_t after_ms, uint64_t repeat_ms)
{
    if (uv_is_closing((uv_handle_t *)&t->uv)) {
        return;
    }
    uint64_t after = after_ms > 0 ? after_ms + behind_ms(t->loop) : 0;
    if (after == 0 && t->loop->in_timer) {
        after = 1; /* libuv runs what is due until nothing is: 0 would be this round again */
    }
    uv_timer_start(&t->uv, on_timer, after, repeat_ms);
}

void loop_timer_stop(struct loop_timer *t)
{
    uv_timer_stop(&t->uv);
}

bool loop_timer_active(const struct loop_timer *t)
{
    return uv_is_active((const uv_handle_t *)&t->uv) != 0;
}

void loop_timer_close(struct loop_timer *t)
{
    if (t != NULL) {
        object_close(t->loop, (uv_handle_t *)&t->uv);
    }
}

struct loop_io {
    uv_poll_t uv;
    struct loop *loop;
    int events; /* LOOP_READ | LOOP_WRITE that are watched */
    loop_io_fn fn;
    void *arg;
};

static void on_io(uv_poll_t *uv, int status, int ready)
{
    struct loop_io *io = uv->data;
    int events = 0;

    if (status == UV_EBADF) {
        /* What libuv makes of POLLERR, having stopped to watch. The descriptor knows the reason:
         * all that was asked for is ready, and the next read, write or SO_ERROR says it. */
        int watched = io->events;
        loop_io_set(io, watched);
        io->fn(io->arg, watched, 0);
        return;
    }
    if ((ready & UV_READABLE) != 0) {
        events |= LOOP_READ;
    }
    if ((ready & UV_WRITABLE) != 0) {
        events |= LOOP_WRITE;
    }
    io->fn(io->arg, events, status < 0 ? status : 0);
}

int loop_io_new(struct loop *loop, int fd, loop_io_fn fn, void *arg, struct loop_io **ret,
                struct err *err)
{
    struct loop_io *io = xcalloc(1, sizeof(*io));
    int r = uv_poll_init(&loop->uv, &io->uv, fd);

    if (r < 0) {
        free(io);
        return err_set(err, r, "watch descriptor %d", fd);
    }
    io->loop = loop;
    io->fn = fn;
    io->arg = arg;
    io->uv.data = io;
    loop->open++;
    *ret = io;
    return 0;
}

void loop_io_set(struct loop_io *io, int events)
{
    int uv_events = 0;

    if (uv_is_closing((uv_handle_t *)&io->uv)) {
        return;
    }
    io->events = events;
    if ((events & LOOP_READ) != 0) {
        uv_events |= UV_READABLE;
    }
    if ((events & LOOP_WRITE) != 0) {
        uv_events |= UV_WRITABLE;
    }
    if (uv_events == 0) {
        uv_poll_stop(&io->uv);
    } else {
        uv_poll_start(&io->uv, uv_events, on_io);
    }
}

void loop_io_close(struct loop_io *io)
{
    if (io != NULL) {
        object_close(io->loop, (uv_handle_t *)&io->uv);
    }
}

struct loop_signal {
    uv_signal_t uv;
    struct loop *loop;
    loop_fn fn;
    void *arg;
};

static void on_signal(uv_signal_t *uv, int signum)
{
    struct loop_signal *s = uv->data;

    (void)signum;
    s->fn(s->arg);
}

int loop_signal_new(struct loop *loop, int signum, loop_fn fn, void *arg, struct loop_signal **ret,
                    struct err *err)
{
    struct loop_signal *s = xcalloc(1, sizeof(*s));

    s->loop = loop;
    s->fn = fn;
    s->arg = arg;
    uv_signal_init(&loop->uv, &s->uv);
    s->uv.data = s;
    loop->open++;
    int r = uv_signal_start(&s->uv, on_signal, signum);
    if (r < 0) {
        loop_signal_close(s);
        return err_set(err, r, "watch signal %d", signum);
    }
    *ret = s;
    return 0;
}

void loop_signal_close(struct loop_signal *s)
{
    if (s != NULL) {
        object_close(s->loop, (uv_handle_t *)&s->uv);
    }
}

struct loop_wake {
    uv_async_t uv;
    struct loop *loop;
    loop_fn fn;
    void *arg;
};

static void on_wake(uv_async_t *uv)
{
    struct loop_wake *w = uv->data;

    w->fn(w->arg);
}

int loop_wake_new(struct loop *loop, loop_fn fn, void *arg, struct loop_wake **ret, struct err *err)
{
    struct loop_wake *w = xcalloc(1, sizeof(*w));

    w->loop = loop;
    w->fn = fn;
    w->arg = arg;
    int r = uv_async_init(&loop->uv, &w->uv, on_wake);
    if (r < 0) {
        free(w);
        return err_set(err, r, "make wake-up");
    }
    w->uv.data = w;
    loop->open++;
    *ret = w;
    return 0;
}

void loop_wake_send(struct loop_wake *w)
{
    uv_async_send(&w->uv);
}

void loop_wake_close(struct loop_wake *w)
{
    if (w != NULL) {
        object_close(w->loop, (uv_handle_t *)&w->uv);
    }
}
