#include "common/curl_loop.h"

struct curl_socket {
    struct curl_loop *owner;
    curl_socket_t fd;
    struct loop_io *io;
    struct curl_socket *prev, *next;
};

static void turn(struct curl_loop *c, curl_socket_t fd, int mask)
{
    int running;

    c->in_curl = true;
    curl_multi_socket_action(c->multi, fd, mask, &running);
    c->in_curl = false;
    c->on_turn(c->arg);
}

static void on_timer(void *arg)
{
    turn(arg, CURL_SOCKET_TIMEOUT, 0);
}

static void on_io(void *arg, int events, int error)
{
    struct curl_socket *s = arg;
    int mask = 0;

    if ((events & LOOP_READ) != 0) {
        mask |= CURL_CSELECT_IN;
    }
    if ((events & LOOP_WRITE) != 0) {
        mask |= CURL_CSELECT_OUT;
    }
    if (error != 0) {
        mask |= CURL_CSELECT_ERR;
    }
    turn(s->owner, s->fd, mask);
}

static void socket_close(struct curl_socket *s)
{
    if (s->prev != NULL) {
        s->prev->next = s->next;
    } else {
        s->owner->sockets = s->next;
    }
    if (s->next != NULL) {
        s->next->prev = s->prev;
    }
    loop_io_close(s->io);
    free(s);
}

static struct curl_socket *socket_new(struct curl_loop *c, curl_socket_t fd)
{
    struct curl_socket *s = xcalloc(1, sizeof(*s));

    s->owner = c;
    s->fd = fd;
    if (loop_io_new(c->loop, fd, on_io, s, &s->io, NULL) < 0) {
        free(s);
        return NULL;
    }
    s->next = c->sockets;
    if (s->next != NULL) {
        s->next->prev = s;
    }
    c->sockets = s;
    curl_multi_assign(c->multi, fd, s);
    return s;
}

static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *assigned)
{
    struct curl_loop *c = arg;
    struct curl_socket *s = assigned;
    int events = 0;

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (s != NULL) {
            curl_multi_assign(c->multi, fd, NULL);
            socket_close(s);
        }
        return 0;
    }
    if (s == NULL && (s = socket_new(c, fd)) == NULL) {
        return -1;
    }
    if (what == CURL_POLL_IN || what == CURL_POLL_INOUT) {
        events |= LOOP_READ;
    }
    if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT) {
        events |= LOOP_WRITE;
    }
    loop_io_set(s->io, events);
    return 0;
}

static int on_curl_timeout(CURLM *multi, long timeout_ms, void *arg)
{
    struct curl_loop *c = arg;

    (void)multi;
    if (timeout_ms < 0) {
        loop_timer_stop(c->timer);
    } else {
        loop_timer_start(c->timer, (uint64_t)timeout_ms, 0);
    }
    return 0;
}

void curl_loop_open(struct curl_loop *c, struct loop *loop, loop_fn on_turn, void *arg)
{
    *c = (struct curl_loop){.loop = loop, .on_turn = on_turn, .arg = arg};
    c->multi = curl_multi_init();
    if (c->multi == NULL) {
        abort(); /* out of memory, as in xmalloc() */
    }
    c->timer = loop_timer_new(loop, on_timer, c);
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, on_curl_timeout);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
}

void curl_loop_close(struct curl_loop *c)
{
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, NULL);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, NULL);
    while (c->sockets != NULL) { /* the loop lets go of a descriptor before curl closes it */
        socket_close(c->sockets);
    }
    curl_multi_cleanup(c->multi);
    loop_timer_close(c->timer);
}
