#include "controller/balancer/haproxy.h"

#include "common/buf.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

struct command {
    char *text; /* without its line end */
    haproxy_reply_fn fn;
    void *arg;
    struct command *next;
};

struct haproxy {
    struct loop *loop;
    char *path;
    struct command *first, **last; /* first is the one under way while fd >= 0 */
    size_t count;
    bool scheduled;
    bool closed;    /* freed by the post that is under way */
    int fd;         /* -1: none */
    struct buf out; /* of first, not yet sent */
    struct buf reply;
    struct loop_io *io;
    struct loop_timer *timer;
};

static void on_next(void *arg);

static void schedule(struct haproxy *h)
{
    if (!h->scheduled) {
        h->scheduled = true;
        loop_post(h->loop, on_next, h);
    }
}

static void disconnect(struct haproxy *h)
{
    loop_timer_stop(h->timer);
    loop_io_close(h->io);
    h->io = NULL;
    if (h->fd >= 0) {
        close(h->fd);
        h->fd = -1;
    }
}

static void command_free(struct command *c)
{
    free(c->text);
    free(c);
}

/* Ends the first command; its callback may add others or close h, so it comes last. */
static void finish(struct haproxy *h, int result)
{
    struct command *c = h->first;
    AUTO(str) char *reply = buf_take(&h->reply);

    disconnect(h);
    h->first = c->next;
    if (h->first == NULL) {
        h->last = &h->first;
    } else {
        schedule(h);
    }
    h->count--;
    for (size_t len = strlen(reply); len > 0 && reply[len - 1] == '\n';) {
        reply[--len] = '\0';
    }
    c->fn(c->arg, c->text, result, result == 0 ? reply : NULL);
    command_free(c);
}

static void on_timeout(void *arg)
{
    finish(arg, -ETIMEDOUT);
}

static int write_command(struct haproxy *h)
{
    while (h->out.len > 0) {
        ssize_t n = send(h->fd, h->out.data, h->out.len, MSG_NOSIGNAL);
        if (n < 0) {
            return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        }
        buf_consume(&h->out, (size_t)n);
    }
    loop_io_set(h->io, LOOP_READ);
    return 0;
}

/* 1: the peer closed, the reply is whole. 0: more may come. */
static int read_reply(struct haproxy *h)
{
    for (;;) {
        if (buf_reserve(&h->reply, 16384) < 0) {
            return -EMSGSIZE;
        }
        ssize_t n = recv(h->fd, buf_end(&h->reply), 16384, 0);
        if (n < 0) {
            return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        }
        if (n == 0) {
            return h->reply.len > 0 ? 1 : -EPIPE;
        }
        buf_grew(&h->reply, (size_t)n);
    }
}

static void on_io(void *arg, int events, int error)
{
    struct haproxy *h = arg;
    int r = error;

    if (r == 0 && (events & LOOP_WRITE)) {
        r = write_command(h);
    }
    if (r == 0 && (events & LOOP_READ)) {
        r = read_reply(h);
    }
    if (r != 0) {
        finish(h, r > 0 ? 0 : r);
    }
}

static int dial(struct haproxy *h)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};

    if (strlen(h->path) >= sizeof(addr.sun_path)) {
        return -ENAMETOOLONG;
    }
    strcpy(addr.sun_path, h->path);
    h->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (h->fd < 0 || connect(h->fd, (struct sockaddr *)&addr, sizeof(addr)) != 0) {
        return -errno; /* EAGAIN: its backlog is full; as good as a refusal */
    }
    return loop_io_new(h->loop, h->fd, on_io, h, &h->io, NULL);
}

static void haproxy_free(struct haproxy *h)
{
    free(h->path);
    free(h);
}

static void on_next(void *arg)
{
    struct haproxy *h = arg;

    h->scheduled = false;
    if (h->closed) {
        haproxy_free(h);
        return;
    }
    if (h->first == NULL || h->fd >= 0) {
        return;
    }
    buf_clear(&h->out);
    int r = buf_printf(&h->out, "%s\n", h->first->text);
    if (r == 0) {
        r = dial(h);
    }
    if (r < 0) {
        finish(h, r);
        return;
    }
    loop_io_set(h->io, LOOP_READ | LOOP_WRITE);
    loop_timer_start(h->timer, HAPROXY_TIMEOUT_MS, 0);
}

struct haproxy *haproxy_new(struct loop *loop, const char *socket_path)
{
    struct haproxy *h = xcalloc(1, sizeof(*h));

    h->loop = loop;
    h->path = xstrdup(socket_path);
    h->last = &h->first;
    h->fd = -1;
    buf_init(&h->reply, HAPROXY_REPLY_MAX);
    buf_init(&h->out, HAPROXY_COMMAND_MAX);
    h->timer = loop_timer_new(loop, on_timeout, h);
    return h;
}

void haproxy_close(struct haproxy *h)
{
    if (h == NULL || h->closed) {
        return;
    }
    disconnect(h);
    buf_clear(&h->reply);
    buf_clear(&h->out);
    loop_timer_close(h->timer);
    while (h->first != NULL) {
        struct command *c = h->first;
        h->first = c->next;
        command_free(c);
    }
    h->closed = true;
    if (!h->scheduled) {
        haproxy_free(h);
    }
}

int haproxy_command(struct haproxy *h, const char *command, haproxy_reply_fn fn, void *arg)
{
    assert(strpbrk(command, ";\r\n") == NULL && strlen(command) < HAPROXY_COMMAND_MAX);
    if (h->count >= HAPROXY_QUEUE_MAX) {
        return -EBUSY;
    }
    struct command *c = xcalloc(1, sizeof(*c));
    *c = (struct command){.text = xstrdup(command), .fn = fn, .arg = arg};
    *h->last = c;
    h->last = &c->next;
    h->count++;
    schedule(h);
    return 0;
}
