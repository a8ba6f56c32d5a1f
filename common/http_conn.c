#include "common/http_conn.h"

#include "common/http_answer.h"
#include "common/ws_server.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#define IN_MAX ((size_t)16383)      /* of what was read and not yet understood; with a NUL 16 KiB */
#define OUT_MAX ((size_t)256 << 20) /* an answer as a whole */
#define STREAM_MAX ((size_t)1 << 20) /* of a stream, not yet written */
#define LINGER_MAX ((size_t)1 << 20) /* read and thrown away after the last answer */

/* The life of a connection. Who waits has a deadline; only HANDLED waits for our own program.
 *
 *   state      leaves on                        to
 *   HEAD       whole head                       BODY; FLUSHING with an error; a WebSocket
 *   BODY       whole body                       HANDLED; FLUSHING with an error
 *   HANDLED    http_reply, http_stream_end      FLUSHING
 *   FLUSHING   all is written                   HEAD; LINGERING when it is the last answer
 *   LINGERING  the peer's end, too many bytes   closed
 *
 * A peer that goes closes it in every state; in HANDLED an answer that was not begun is awaited. */
enum conn_state { CONN_HEAD, CONN_BODY, CONN_HANDLED, CONN_FLUSHING, CONN_LINGERING, CONN_CLOSED };

enum conn_wait { WAIT_NONE, WAIT_IDLE, WAIT_HEAD, WAIT_BODY, WAIT_WRITE, WAIT_LINGER, WAITS };

static const uint32_t wait_ms[WAITS] = {
    [WAIT_IDLE] = 75000, /* longer than the pools of usual clients keep theirs */
    [WAIT_HEAD] = 20000, /* whole */
    [WAIT_BODY] = 20000, /* without a byte */
    [WAIT_WRITE] = 30000, [WAIT_LINGER] = 2000,
};

struct http_exchange {
    struct http_conn *conn; /* NULL: the peer is gone */
    struct loop *loop;
    bool is_head;
    bool is_stream;
    bool is_http_1_0;   /* a stream ends with its connection then */
    bool has_undrained; /* bytes were queued since on_drained ran */
    bool ended;         /* without a connection: freed by the post that is under way */
    void (*on_drained)(void *arg);
    void (*on_gone)(void *arg);
    void *arg;
};

struct http_conn {
    struct http_site *site;
    struct ring in_all, in_idle;
    int fd;
    struct loop_io *io;
    struct loop_timer *timer;
    enum conn_state state;
    enum conn_wait wait;
    bool restart; /* the deadline, though the wait is the same: there was progress */
    bool running; /* conn_run() is on the stack */
    bool eof;     /* the peer sends no more */
    bool keep_alive;
    struct buf in;
    struct buf out;
    size_t out_sent; /* of out */
    size_t lingered;
    struct http_head *head; /* of the request in BODY and while its handler runs */
    const struct http_route *route;
    struct http_body body;
    struct buf payload;
    struct http_exchange *x;
};

static void conn_run(struct http_conn *c);

/* --- the end of a connection --- */

static void exchange_lost(struct http_exchange *x)
{
    void (*on_gone)(void *arg) = x->on_gone;
    void *arg = x->arg;

    x->conn = NULL;
    if (x->is_stream) { /* else its handler still holds it and will answer */
        free(x);
        if (on_gone != NULL) {
            on_gone(arg);
        }
    }
}

static void conn_free(void *arg)
{
    free(arg);
}

/* Leaves the memory to the loop's next round: callers up the stack look at the state. */
static void conn_dissolve(struct http_conn *c)
{
    struct http_exchange *x = c->x;

    c->state = CONN_CLOSED;
    c->x = NULL;
    ring_remove(&c->in_all);
    ring_remove(&c->in_idle);
    loop_io_close(c->io);
    loop_timer_close(c->timer);
    buf_clear(&c->in);
    buf_clear(&c->out);
    buf_clear(&c->payload);
    free(c->head);
    loop_post(c->site->loop, conn_free, c);
    if (x != NULL) {
        exchange_lost(x);
    }
}

static void conn_close(struct http_conn *c)
{
    struct http_site *site = c->site;

    if (c->state != CONN_CLOSED) {
        close(c->fd);
        conn_dissolve(c);
        site->on_end(site->arg);
    }
}

/* --- answers --- */

static void append_head(struct http_conn *c, int status, const char *content_type,
                        const char *extra_header)
{
    c->keep_alive = c->keep_alive && !c->eof;
    http_answer_head(&c->out, status, content_type, extra_header, c->keep_alive);
}

static void append_answer(struct http_conn *c, bool is_head, int status, const char *content_type,
                          const char *body, size_t body_len, const char *extra_header)
{
    append_head(c, status, content_type, extra_header);
    if (http_has_body(status)) {
        buf_printf(&c->out, "Content-Length: %zu\r\n", body_len);
    }
    buf_append_str(&c->out, "\r\n");
    if (http_has_body(status) && !is_head && buf_append(&c->out, body, body_len) < 0) {
        c->eof = true; /* longer than any answer of ours: cut, and closed behind the head */
    }
    c->state = CONN_FLUSHING;
}

/* The server's own answer to a request that no handler gets. */
static void answer_error(struct http_conn *c, int status, const char *extra_header)
{
    AUTO(str) char *text = xasprintf("%s\n", http_reason(status));
    bool is_head = c->head != NULL && strcmp(c->head->method, "HEAD") == 0;

    append_answer(c, is_head, status, NULL, text, strlen(text), extra_header);
}

/* The same for one after which we do not know where the next request begins. */
static void answer_last(struct http_conn *c, int status)
{
    c->keep_alive = false;
    answer_error(c, status, NULL);
}

/* --- reading and writing --- */

/* 0: all that can be read for now was. -errno: the peer is gone. Sets eof. */
static int conn_read(struct http_conn *c)
{
    while (!c->eof && c->in.len < IN_MAX) {
        if (buf_reserve(&c->in, IN_MAX - c->in.len) < 0) {
            return 0;
        }
        ssize_t n = recv(c->fd, buf_end(&c->in), IN_MAX - c->in.len, 0);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return errno == EAGAIN ? 0 : -errno;
        }
        buf_grew(&c->in, (size_t)n);
        c->eof = n == 0;
    }
    return 0;
}

static size_t out_left(const struct http_conn *c)
{
    return c->out.len - c->out_sent;
}

/* 0: the kernel took what it could. -errno: the peer is gone. */
static int conn_write(struct http_conn *c)
{
    while (out_left(c) > 0) {
        ssize_t n = send(c->fd, c->out.data + c->out_sent, out_left(c), MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return errno == EAGAIN ? 0 : -errno;
        }
        c->out_sent += (size_t)n;
        c->restart = true;
    }
    buf_clear(&c->out);
    c->out_sent = 0;
    return 0;
}

/* Keeps a slow reader's queue from growing at its front. */
static void out_compact(struct http_conn *c)
{
    if (c->out_sent > c->out.len / 2) {
        buf_consume(&c->out, c->out_sent);
        c->out_sent = 0;
    }
}

/* --- requests --- */

static bool is_ws_key(const char *key)
{
    size_t len = strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");

    return len == 22 && strcmp(key + 22, "==") == 0;
}

static void hand_over(struct http_conn *c, struct ws_endpoint *endpoint)
{
    struct http_site *site = c->site;
    AUTO(str) char *key = xstrdup(c->head->ws_key);
    int fd = c->fd;
    conn_dissolve(c);
    struct ws_accepted accepted = {
        .fd = fd,
        .key = key,
        .on_end = site->on_end,
        .arg = site->arg,
    };
    ws_endpoint_accept(endpoint, &accepted);
}

static void begin_websocket(struct http_conn *c, size_t index)
{
    const struct http_route *route = &c->site->routes[index];
    const struct http_head *head = c->head;
    bool allowed = route->ws->allow == NULL || route->ws->allow(route->arg, c->head->authorization);

    if (c->state == CONN_CLOSED) {
        return; /* allow() closed the server */
    }
    c->keep_alive = false;
    if (!allowed) {
        answer_error(c, 401, "WWW-Authenticate: Bearer");
    } else if (head->ws_version != 13) {
        answer_error(c, 426, "Sec-WebSocket-Version: 13");
    } else if (!is_ws_key(head->ws_key) || c->in.len > 0) { /* frames have to wait for the 101 */
        answer_last(c, 400);
    } else if (!http_list_has(head->ws_protocols, route->ws->protocol)) {
        answer_last(c, 400);
    } else {
        hand_over(c, c->site->endpoints[index]);
    }
}

static void begin_body(struct http_conn *c, const struct http_route *route)
{
    if (c->head->content_length > route->max_body_bytes) {
        answer_last(c, 413);
        return;
    }
    c->route = route;
    c->state = CONN_BODY;
    http_body_init(&c->body, c->head);
    buf_init(&c->payload, route->max_body_bytes);
    if (c->head->expects_continue && c->in.len == 0 && !http_body_is_done(&c->body)) {
        buf_append_str(&c->out, "HTTP/1.1 100 Continue\r\n\r\n");
    }
}

static void begin_request(struct http_conn *c)
{
    AUTO(str) char *allow = NULL;
    AUTO(str) char *allow_header = NULL;
    size_t index = 0;

    c->keep_alive = c->head->keep_alive;
    enum http_match match =
        http_routes_match(c->site->routes, c->site->route_count, c->head, &index, &allow);
    if (match == HTTP_MATCHED) {
        const struct http_route *route = &c->site->routes[index];
        if (route->ws != NULL) {
            begin_websocket(c, index);
        } else {
            begin_body(c, route);
        }
        return;
    }
    if (c->head->content_length > 0 || c->head->is_chunked) {
        c->keep_alive = false; /* its body is not worth reading */
    }
    if (match == HTTP_NOT_FOUND) {
        answer_error(c, 404, NULL);
    } else if (match == HTTP_BAD_METHOD) {
        allow_header = xasprintf("Allow: %s", allow);
        answer_error(c, 405, allow_header);
    } else {
        answer_error(c, 426, "Upgrade: websocket");
    }
}

/* The steps return true when the connection has moved on and there may be more to do. */
static bool step_head(struct http_conn *c)
{
    if (c->in.len > 0) {
        ring_remove(&c->in_idle);
        if (c->head == NULL) {
            c->head = xmalloc(sizeof(*c->head));
        }
        int n = http_head_parse(c->in.data, c->in.len, c->head);
        if (n > 0) {
            buf_consume(&c->in, (size_t)n);
            begin_request(c);
            return true;
        }
        free(c->head);
        c->head = NULL;
        if (n < 0) {
            answer_last(c, -n);
            return true;
        }
    }
    if (c->eof) {
        conn_close(c);
    }
    return false;
}

static void dispatch(struct http_conn *c)
{
    struct http_exchange *x = xcalloc(1, sizeof(*x));
    const char *prefix_end = strchr(c->route->path, '*');
    size_t prefix =
        prefix_end != NULL ? (size_t)(prefix_end - c->route->path) : strlen(c->head->path);
    struct http_head *head = MOVE(c->head);
    struct buf payload = c->payload;

    buf_init(&c->payload, 0);
    x->conn = c;
    x->loop = c->site->loop;
    x->is_head = strcmp(head->method, "HEAD") == 0;
    x->is_http_1_0 = head->is_http_1_0;
    c->x = x;
    c->state = CONN_HANDLED;
    struct http_server_request request = {
        .method = x->is_head ? "GET" : head->method,
        .path = head->path,
        .tail = head->path + prefix,
        .query = head->query,
        .authorization = head->authorization,
        .body = buf_str(&payload),
        .body_len = payload.len,
    };
    c->route->handler(c->route->arg, x, &request);
    buf_clear(&payload);
    free(head);
}

static bool step_body(struct http_conn *c)
{
    if (conn_write(c) < 0) { /* "100 Continue" */
        conn_close(c);
        return false;
    }
    long n = http_body_feed(&c->body, c->in.data, c->in.len, &c->payload);
    if (n < 0) {
        answer_last(c, (int)-n);
        return true;
    }
    c->restart = c->restart || n > 0;
    buf_consume(&c->in, (size_t)n);
    if (http_body_is_done(&c->body)) {
        dispatch(c);
        return true;
    }
    if (c->eof) {
        conn_close(c);
    }
    return false;
}

static bool step_handled(struct http_conn *c)
{
    struct http_exchange *x = c->x;

    if (!x->is_stream) {
        return false;
    }
    if (c->eof || conn_write(c) < 0) {
        conn_close(c);
        return false;
    }
    out_compact(c);
    if (out_left(c) == 0 && x->has_undrained) {
        x->has_undrained = false;
        if (x->on_drained != NULL) {
            x->on_drained(x->arg);
        }
    }
    /* What it queued is written when the loop comes round: one stream must not keep the others. */
    return c->state == CONN_FLUSHING;
}

static void become_idle(struct http_conn *c)
{
    c->state = CONN_HEAD;
    c->restart = true;
    if (c->in.len == 0) {
        buf_clear(&c->in);
        ring_remove(&c->in_idle);
        ring_add(&c->site->idle, &c->in_idle);
        c->site->on_idle(c->site->arg);
    }
}

static bool step_flushing(struct http_conn *c)
{
    if (conn_write(c) < 0) {
        conn_close(c);
        return false;
    }
    out_compact(c);
    if (out_left(c) > 0) {
        return false;
    }
    free(c->head);
    c->head = NULL;
    if (c->keep_alive) {
        become_idle(c);
        return true;
    }
    if (c->eof) {
        conn_close(c);
        return false;
    }
    /* A close with bytes unread would reset the connection, and the peer might lose our answer. */
    shutdown(c->fd, SHUT_WR);
    c->state = CONN_LINGERING;
    return true;
}

static bool step_lingering(struct http_conn *c)
{
    c->lingered += c->in.len;
    buf_consume(&c->in, c->in.len);
    if (c->eof || c->lingered > LINGER_MAX) {
        conn_close(c);
    }
    return false;
}

static bool conn_step(struct http_conn *c)
{
    switch (c->state) {
    case CONN_HEAD:
        return step_head(c);
    case CONN_BODY:
        return step_body(c);
    case CONN_HANDLED:
        return step_handled(c);
    case CONN_FLUSHING:
        return step_flushing(c);
    case CONN_LINGERING:
        return step_lingering(c);
    default:
        return false;
    }
}

/* --- waiting --- */

static enum conn_wait wait_of(const struct http_conn *c)
{
    switch (c->state) {
    case CONN_HEAD:
        return c->in.len > 0 ? WAIT_HEAD : WAIT_IDLE;
    case CONN_BODY:
        return WAIT_BODY;
    case CONN_HANDLED:
        return out_left(c) > 0 ? WAIT_WRITE : WAIT_NONE;
    case CONN_FLUSHING:
        return WAIT_WRITE;
    default:
        return WAIT_LINGER;
    }
}

static void conn_watch(struct http_conn *c)
{
    int events = 0;
    enum conn_wait wait = wait_of(c);

    /* With bytes left over, an exchange has to end before more are read. */
    if (!c->eof && c->in.len < IN_MAX && c->state != CONN_FLUSHING) {
        events |= LOOP_READ;
    }
    if (out_left(c) > 0) {
        events |= LOOP_WRITE;
    }
    loop_io_set(c->io, events);
    if (wait != c->wait || c->restart) {
        c->wait = wait;
        c->restart = false;
        if (wait == WAIT_NONE) {
            loop_timer_stop(c->timer);
        } else {
            loop_timer_start(c->timer, wait_ms[wait], 0);
        }
    }
}

static void conn_run(struct http_conn *c)
{
    if (c->running || c->state == CONN_CLOSED) {
        return;
    }
    c->running = true;
    while (conn_step(c)) {
    }
    c->running = false;
    if (c->state != CONN_CLOSED) {
        conn_watch(c);
    }
}

static void run_posted(void *arg)
{
    conn_run(arg);
}

static void on_io(void *arg, int events, int error)
{
    struct http_conn *c = arg;

    if (error != 0 || ((events & LOOP_READ) != 0 && conn_read(c) < 0)) {
        conn_close(c);
        return;
    }
    conn_run(c);
}

static void on_deadline(void *arg)
{
    struct http_conn *c = arg;

    if (c->wait == WAIT_HEAD || c->wait == WAIT_BODY) {
        answer_last(c, 408);
        conn_run(c);
    } else {
        conn_close(c);
    }
}

void http_conn_open(struct http_site *site, int fd)
{
    struct http_conn *c = xcalloc(1, sizeof(*c));
    int one = 1;

    c->site = site;
    c->fd = fd;
    buf_init(&c->in, IN_MAX);
    buf_init(&c->out, OUT_MAX);
    ring_init(&c->in_idle);
    ring_add(&site->conns, &c->in_all);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* fails for unix sockets */
    c->timer = loop_timer_new(site->loop, on_deadline, c);
    if (loop_io_new(site->loop, fd, on_io, c, &c->io, NULL) < 0) {
        conn_close(c);
        return;
    }
    become_idle(c);
    conn_watch(c);
}

/* Its request may have come without our having looked. */
static bool has_unread(const struct http_conn *c)
{
    char byte;

    return recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

bool http_conn_close_idle(struct http_site *site)
{
    for (struct ring *r = site->idle.next; r != &site->idle; r = r->next) {
        struct http_conn *c = CONTAINER_OF(r, struct http_conn, in_idle);
        if (!has_unread(c)) {
            conn_close(c);
            return true;
        }
    }
    return false;
}

void http_conn_close_all(struct http_site *site)
{
    while (site->conns.next != &site->conns) {
        conn_close(CONTAINER_OF(site->conns.next, struct http_conn, in_all));
    }
}

/* --- exchanges --- */

/* The connection after the handler's last word. Other requests that wait on it run in the loop's
 * next round: a handler is never called from within an answer. */
static void conn_answered(struct http_conn *c)
{
    if (c->running) {
        return;
    }
    if (c->in.len > 0 || conn_write(c) < 0) {
        loop_post(c->site->loop, run_posted, c);
    } else {
        conn_run(c);
    }
}

void http_reply(struct http_exchange *x, int status, const char *content_type, const char *body,
                size_t body_len, const char *extra_header)
{
    struct http_conn *c = x->conn;

    assert(!x->is_stream);
    if (c != NULL) {
        c->x = NULL;
        append_answer(c, x->is_head, status, content_type, body, body_len, extra_header);
        conn_answered(c);
    }
    free(x);
}

/* A stream that was begun or goes on after its peer went. */
static void tell_gone(void *arg)
{
    struct http_exchange *x = arg;

    if (!x->ended && x->on_gone != NULL) {
        x->on_gone(x->arg);
    }
    free(x);
}

void http_stream_begin(struct http_exchange *x, int status, const char *content_type,
                       void (*on_drained)(void *arg), void (*on_gone)(void *arg), void *arg)
{
    struct http_conn *c = x->conn;

    assert(!x->is_stream);
    x->is_stream = true;
    x->on_drained = on_drained;
    x->on_gone = on_gone;
    x->arg = arg;
    if (c == NULL) {
        loop_post(x->loop, tell_gone, x);
        return;
    }
    if (x->is_http_1_0) {
        c->keep_alive = false;
    }
    append_head(c, status, content_type, NULL);
    buf_append_str(&c->out, x->is_http_1_0 ? "\r\n" : "Transfer-Encoding: chunked\r\n\r\n");
    if (!c->running) {
        conn_watch(c);
    }
}

size_t http_stream_queued(const struct http_exchange *x)
{
    return x->conn != NULL ? out_left(x->conn) : 0;
}

int http_stream_write(struct http_exchange *x, const char *bytes, size_t len)
{
    struct http_conn *c = x->conn;

    assert(x->is_stream);
    if (c == NULL || x->is_head || len == 0) { /* an empty chunk would be the end */
        return 0;
    }
    if (len > STREAM_MAX || out_left(c) > STREAM_MAX - len) {
        return -EMSGSIZE;
    }
    if (x->is_http_1_0) {
        buf_append(&c->out, bytes, len);
    } else {
        buf_printf(&c->out, "%zx\r\n", len);
        buf_append(&c->out, bytes, len);
        buf_append_str(&c->out, "\r\n");
    }
    x->has_undrained = true;
    if (!c->running) {
        conn_watch(c);
    }
    return 0;
}

void http_stream_end(struct http_exchange *x)
{
    struct http_conn *c = x->conn;

    assert(x->is_stream);
    if (c == NULL) {
        x->ended = true;
        return;
    }
    if (!x->is_http_1_0 && !x->is_head) {
        buf_append_str(&c->out, "0\r\n\r\n");
    }
    c->x = NULL;
    c->state = CONN_FLUSHING;
    free(x);
    conn_answered(c);
}
