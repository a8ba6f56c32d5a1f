#include "sidecar-proxy/proxy/worker.h"

#include "common/log.h"
#include "sidecar-proxy/proxy/tunnel.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#define EVENTS_MAX 256
#define ACCEPTS_MAX 64
#define ACCEPT_PAUSE_US 100000
#define WAIT_MAX_MS 60000

static void ring(void *arg)
{
    worker_ring(arg);
}

void worker_ring(struct worker *w)
{
    uint64_t one = 1;
    ssize_t ignored = write(w->bell, &one, sizeof(one));

    (void)ignored; /* full: it rings already */
}

static int watch_fd(struct worker *w, int fd, uint32_t events, void *tag)
{
    struct epoll_event ev = {.events = events, .data.ptr = tag};

    return epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

/* An event's tag is the tunnel's address with the end in its lowest bit. */
int worker_watch(struct worker *w, struct tunnel *t, int end)
{
    return watch_fd(w, t->relay.ends[end].fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                    (char *)t + end);
}

static struct metric *accepted_metric(int number)
{
    static struct metric all[WORKERS_MAX];
    struct metric *m = &all[number];

    if (m->name == NULL) {
        m->name = "vpn_proxy_accepted_total";
        m->labels = xasprintf("thread=\"%d\"", number);
        m->help = "Connections that each relay thread took.";
        m->kind = METRIC_COUNTER;
        metrics_register(m);
    }
    return m;
}

int worker_new(struct worker_shared *shared, int number, int listener, struct worker **ret,
               struct err *err)
{
    struct worker *w = xcalloc(1, sizeof(*w));

    *w = (struct worker){
        .shared = shared, .listener = listener, .accepted = accepted_metric(number)};
    w->asks.mine_next = w->asks.mine_prev = &w->asks;
    mailbox_init(&w->inbox, ring, w);
    deadlines_init(&w->deadlines);
    pipes_init(&w->relay.pipes);
    w->relay.buffer = xmalloc(RELAY_BUFFER);
    w->epoll = epoll_create1(EPOLL_CLOEXEC);
    w->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int r = w->epoll < 0 || w->bell < 0 ? -errno : watch_fd(w, w->bell, EPOLLIN, &w->bell);
    if (r == 0) {
        r = watch_fd(w, listener, EPOLLIN, &w->listener);
    }
    if (r < 0) {
        worker_free(w);
        return err_set(err, r, "relay thread");
    }
    *ret = w;
    return 0;
}

static void pause_accepting(struct worker *w)
{
    epoll_ctl(w->epoll, EPOLL_CTL_DEL, w->listener, NULL);
    deadline_set(&w->deadlines, &w->accept_pause, w->relay.now_us + ACCEPT_PAUSE_US);
    tunnel_limited(LIMIT_CONNECTIONS);
}

static void resume_accepting(struct worker *w)
{
    deadline_unset(&w->deadlines, &w->accept_pause);
    if (w->listener >= 0) {
        watch_fd(w, w->listener, EPOLLIN, &w->listener);
    }
}

/* False: no more for now. */
static bool accept_one(struct worker *w)
{
    struct sockaddr_storage from;
    socklen_t len = sizeof(from);
    int fd = accept4(w->listener, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            pause_accepting(w);
        }
        return errno == ECONNABORTED || errno == EPROTO;
    }
    if (!limits_connect(&w->shared->limits)) {
        tunnel_limited(LIMIT_CONNECTIONS);
        close(fd);
        return true;
    }
    metric_inc(w->accepted);
    tunnel_start(w, fd, &from);
    return true;
}

static void accept_some(struct worker *w)
{
    for (int i = 0; i < ACCEPTS_MAX && w->listener >= 0 && accept_one(w); i++) {
    }
}

void worker_post(struct worker *w, struct ask *ask)
{
    ask->from = &w->inbox;
    ask->mine_next = &w->asks;
    ask->mine_prev = w->asks.mine_prev;
    ask->mine_prev->mine_next = ask;
    w->asks.mine_prev = ask;
    broker_ask(w->shared->broker, ask);
}

void worker_forget(struct worker *w, struct ask *ask)
{
    ask->tunnel = NULL;
    broker_cancel(w->shared->broker, ask);
}

static void ask_is_back(struct ask *ask)
{
    ask->mine_prev->mine_next = ask->mine_next;
    ask->mine_next->mine_prev = ask->mine_prev;
}

static void read_letters(struct worker *w)
{
    for (struct letter *letter = mailbox_take(&w->inbox); letter != NULL;) {
        struct letter *next = letter->next;
        struct ask *ask = letter->ask;
        struct tunnel *t = ask->tunnel;
        if (letter->kind == LETTER_CANCEL) {
            ask_is_back(ask);
            ask_free(ask);
        } else if (t != NULL) {
            ask_is_back(ask);
            ask->tunnel = NULL;
            tunnel_feed(t, EV_ANSWER);
        } /* else the cancel is on its way back too */
        letter = next;
    }
}

/* Kept connections that ask for nothing end at once; the others may finish. */
static void begin_drain(struct worker *w)
{
    w->drains = true;
    accept_some(w);
    if (w->listener >= 0) {
        close(w->listener);
        w->listener = -1;
    }
    for (struct tunnel *t = w->tunnels; t != NULL;) {
        struct tunnel *next = t->next;
        if (t->state == TUNNEL_HEAD && t->requests > 0 && t->head.len == 0) {
            tunnel_feed(t, EV_END);
        }
        t = next;
    }
}

static void answer_bell(struct worker *w)
{
    uint64_t count;
    ssize_t ignored = read(w->bell, &count, sizeof(count));

    (void)ignored;
    read_letters(w);
    if (w->shared->draining && !w->drains) {
        begin_drain(w);
        loop_wake_send(w->shared->changed);
    }
}

void worker_again(struct worker *w, struct tunnel *t)
{
    if (!t->is_ready) {
        t->is_ready = true;
        t->next_ready = w->ready;
        w->ready = t;
    }
}

static void run_ready(struct worker *w)
{
    struct tunnel *t = w->ready;

    w->ready = NULL;
    while (t != NULL) {
        struct tunnel *next = t->next_ready;
        t->is_ready = false;
        tunnel_feed(t, EV_CLIENT);
        t = next;
    }
}

static void run_due(struct worker *w)
{
    for (struct deadline *d;
         (d = deadlines_first(&w->deadlines)) != NULL && d->at_us <= w->relay.now_us;) {
        if (d == &w->accept_pause) {
            resume_accepting(w);
            continue;
        }
        deadline_unset(&w->deadlines, d);
        tunnel_feed(CONTAINER_OF(d, struct tunnel, deadline), EV_TIMER);
    }
}

static void free_dead(struct worker *w)
{
    struct tunnel *t = w->dead;

    w->dead = NULL;
    if (t != NULL && w->drains) {
        loop_wake_send(w->shared->changed);
    }
    while (t != NULL) {
        struct tunnel *next = t->next_dead;
        if (t->is_ready) { /* is still in that list: next round */
            t->next_dead = w->dead;
            w->dead = t;
        } else {
            tunnel_free(t);
        }
        t = next;
    }
}

static void run_event(struct worker *w, const struct epoll_event *ev)
{
    if (ev->data.ptr == &w->bell) {
        answer_bell(w);
        return;
    }
    if (ev->data.ptr == &w->listener) {
        accept_some(w);
        return;
    }
    int end = (int)((uintptr_t)ev->data.ptr & 1);
    struct tunnel *t = (struct tunnel *)((char *)ev->data.ptr - end);
    end_note(&t->relay.ends[end], ev->events);
    tunnel_feed(t, end == CLIENT ? EV_CLIENT : EV_FAR);
}

static int wait_ms(const struct worker *w)
{
    const struct deadline *first = deadlines_first(&w->deadlines);

    if (w->ready != NULL || w->dead != NULL) {
        return 0;
    }
    if (first == NULL) {
        return WAIT_MAX_MS;
    }
    int64_t us = first->at_us - ask_clock_us();
    return us <= 0 ? 0 : us > WAIT_MAX_MS * 1000LL ? WAIT_MAX_MS : (int)((us + 999) / 1000);
}

static void *run(void *arg)
{
    struct worker *w = arg;
    struct epoll_event events[EVENTS_MAX];

    while (!w->shared->stopping) {
        int n = epoll_wait(w->epoll, events, EVENTS_MAX, wait_ms(w));
        w->relay.now_us = ask_clock_us();
        for (int i = 0; i < n; i++) {
            run_event(w, &events[i]);
        }
        run_ready(w);
        run_due(w);
        free_dead(w);
    }
    while (w->tunnels != NULL) {
        tunnel_feed(w->tunnels, EV_STOP);
    }
    run_ready(w);
    free_dead(w);
    return NULL;
}

/* Signals are for the main loop. */
int worker_start(struct worker *w, struct err *err)
{
    sigset_t all;
    sigset_t before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = pthread_create(&w->thread, NULL, run, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r != 0) {
        return err_set(err, -r, "start a relay thread");
    }
    pthread_setname_np(w->thread, "relay");
    w->started = true;
    return 0;
}

void worker_join(struct worker *w)
{
    if (w->started) {
        worker_ring(w);
        pthread_join(w->thread, NULL);
        w->started = false;
    }
}

void worker_free(struct worker *w)
{
    while (w->asks.mine_next != &w->asks) { /* what the broker never gave back */
        struct ask *ask = w->asks.mine_next;
        ask_is_back(ask);
        ask_free(ask);
    }
    const int fds[] = {w->listener, w->epoll, w->bell};
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    pipes_clear(&w->relay.pipes);
    deadlines_clear(&w->deadlines);
    mailbox_clear(&w->inbox);
    free(w->relay.buffer);
    free(w);
}
