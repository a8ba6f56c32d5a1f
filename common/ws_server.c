#include "common/ws_server.h"

#include "common/ws_context.h"
#include "common/ws_messages.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define PING_MS 30000 /* a silent peer is asked, and given up after as much again */
#define CLOSE_MS 3000 /* for the closing handshake */

/* opening -> open -> closing -> dead. Dead: its owner knows that it ended, and libwebsockets is
 * still to find out. */
enum ws_state { WS_OPENING, WS_OPEN, WS_CLOSING, WS_DEAD };

struct ws_conn {
    struct ws_endpoint *endpoint; /* NULL when dead */
    struct ws_conn *prev, *next;  /* of the endpoint's */
    struct lws *wsi;              /* NULL before and after libwebsockets has it */
    enum ws_state state;
    int close_code;
    bool told;  /* libwebsockets has the code: it goes on asking whether we want to write */
    bool asked; /* silent since, and a ping was sent */
    struct loop_timer *timer;
    struct ws_outbox out;
    struct buf in;
    void *user;
    loop_fn on_end;
    void *on_end_arg;
};

struct ws_endpoint {
    struct loop *loop;
    struct ws_context *context;
    struct lws_vhost *vhost;
    const struct ws_handler *handler;
    void *arg;
    struct ws_conn *conns;
};

static _Thread_local struct ws_conn *accepting; /* libwebsockets does not know it yet */

/* --- the end --- */

static void unlink_conn(struct ws_conn *conn)
{
    if (conn->prev != NULL) {
        conn->prev->next = conn->next;
    } else {
        conn->endpoint->conns = conn->next;
    }
    if (conn->next != NULL) {
        conn->next->prev = conn->prev;
    }
}

/* Tells those who want to know. The object lives on until libwebsockets has let go of it. */
static void conn_end(struct ws_conn *conn)
{
    if (conn->state == WS_DEAD) {
        return;
    }
    const struct ws_handler *handler = conn->endpoint->handler;
    bool was_open = conn->state != WS_OPENING;

    conn->state = WS_DEAD;
    unlink_conn(conn);
    conn->endpoint = NULL;
    loop_timer_close(conn->timer);
    ws_outbox_clear(&conn->out);
    if (conn->wsi != NULL) { /* libwebsockets sees a broken connection in the loop's next round */
        shutdown(lws_get_socket_fd(conn->wsi), SHUT_RDWR);
    }
    if (was_open && handler->on_closed != NULL) {
        handler->on_closed(conn->user);
    }
    conn->on_end(conn->on_end_arg);
}

static void conn_free(struct ws_conn *conn)
{
    buf_clear(&conn->in);
    free(conn);
}

/* --- what the owner does --- */

static void begin_close(struct ws_conn *conn, int code)
{
    if (conn->state != WS_OPEN && conn->state != WS_OPENING) {
        return;
    }
    conn->close_code = code;
    if (conn->state == WS_OPEN) {
        conn->state = WS_CLOSING;
        lws_callback_on_writable(conn->wsi);
    }
    loop_timer_start(conn->timer, CLOSE_MS, 0);
}

void ws_conn_close(struct ws_conn *conn, int code)
{
    begin_close(conn, code);
}

int ws_conn_send(struct ws_conn *conn, const char *text, size_t len)
{
    if (conn->close_code != 0) {
        return -EMSGSIZE;
    }
    int r = ws_outbox_push(&conn->out, text, len);
    if (r < 0) {
        ws_outbox_clear(&conn->out); /* what the peer did not read, it need not */
        begin_close(conn, WS_CLOSE_TRY_LATER);
        return r;
    }
    if (conn->state == WS_OPEN) {
        lws_callback_on_writable(conn->wsi);
    }
    return 0;
}

/* --- what happens to it --- */

static void on_timer(void *arg)
{
    struct ws_conn *conn = arg;

    if (conn->state == WS_CLOSING && !conn->told && ws_outbox_is_empty(&conn->out)) {
        conn->told = true;
        loop_timer_start(conn->timer, CLOSE_MS, 0);
        ws_begin_close(conn->wsi, conn->close_code);
        return;
    }
    if (conn->state != WS_OPEN || conn->asked) {
        conn_end(conn);
        return;
    }
    conn->asked = true;
    conn->out.has_ping = true;
    lws_callback_on_writable(conn->wsi);
    loop_timer_start(conn->timer, PING_MS, 0);
}

static void heard(struct ws_conn *conn)
{
    if (conn->state == WS_OPEN) {
        conn->asked = false;
        loop_timer_start(conn->timer, PING_MS, 0);
    }
}

static void on_established(struct ws_conn *conn, struct lws *wsi)
{
    struct ws_endpoint *endpoint = conn->endpoint;

    conn->user = endpoint->handler->on_open(endpoint->arg, conn);
    if (conn->state != WS_OPENING) {
        return; /* on_open() closed the server */
    }
    conn->state = WS_OPEN;
    if (conn->close_code != 0) {
        begin_close(conn, conn->close_code);
        return;
    }
    heard(conn);
    if (!ws_outbox_is_empty(&conn->out)) {
        lws_callback_on_writable(wsi);
    }
}

static int on_receive(struct ws_conn *conn, const char *bytes, size_t len)
{
    if (conn->state != WS_OPEN) {
        return 0;
    }
    heard(conn);
    int r = ws_inbox_feed(&conn->in, conn->wsi, bytes, len);
    if (r < 0) {
        ws_outbox_clear(&conn->out);
        begin_close(conn, -r);
        return 0;
    }
    if (r > 0) {
        conn->endpoint->handler->on_message(conn->user, buf_str(&conn->in), conn->in.len);
        buf_clear(&conn->in);
    }
    return 0;
}

static int on_writable(struct ws_conn *conn)
{
    if (conn->told) {
        return 0;
    }
    if (ws_outbox_write(&conn->out, conn->wsi) < 0) {
        return -1;
    }
    if (conn->state == WS_CLOSING && ws_outbox_is_empty(&conn->out)) {
        loop_timer_start(conn->timer, 0, 0);
    }
    return 0;
}

static int on_lws(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                  size_t len)
{
    struct ws_conn *conn = lws_get_opaque_user_data(wsi);

    (void)user;
    if (reason == LWS_CALLBACK_SERVER_NEW_CLIENT_INSTANTIATED && accepting != NULL) {
        accepting->wsi = wsi;
        lws_set_opaque_user_data(wsi, MOVE(accepting));
        return 0;
    }
    if (conn == NULL) {
        return 0;
    }
    if (reason == LWS_CALLBACK_WSI_DESTROY) {
        lws_set_opaque_user_data(wsi, NULL);
        conn->wsi = NULL;
        conn_end(conn);
        conn_free(conn);
        return 0;
    }
    if (conn->state == WS_DEAD) {
        return reason == LWS_CALLBACK_SERVER_WRITEABLE || reason == LWS_CALLBACK_RECEIVE ? -1 : 0;
    }
    switch (reason) {
    case LWS_CALLBACK_ESTABLISHED:
        on_established(conn, wsi);
        return 0;
    case LWS_CALLBACK_RECEIVE:
        return on_receive(conn, in, len);
    case LWS_CALLBACK_RECEIVE_PONG:
        heard(conn);
        return 0;
    case LWS_CALLBACK_SERVER_WRITEABLE:
        return on_writable(conn);
    case LWS_CALLBACK_CLOSED:
        conn_end(conn);
        return 0;
    default:
        return 0;
    }
}

/* --- the endpoint --- */

int ws_endpoint_open(struct loop *loop, const struct ws_handler *handler, void *arg,
                     struct ws_endpoint **ret, struct err *err)
{
    struct ws_context *context;
    struct lws_vhost *vhost;
    int r = ws_context_get(loop, &context, err);

    if (r < 0) {
        return r;
    }
    r = ws_context_vhost(context, handler->protocol, on_lws, &vhost, err);
    if (r < 0) {
        ws_context_put(context);
        return r;
    }
    struct ws_endpoint *endpoint = xcalloc(1, sizeof(*endpoint));
    *endpoint = (struct ws_endpoint){
        .loop = loop, .context = context, .vhost = vhost, .handler = handler, .arg = arg};
    *ret = endpoint;
    return 0;
}

void ws_endpoint_close(struct ws_endpoint *endpoint)
{
    if (endpoint == NULL) {
        return;
    }
    while (endpoint->conns != NULL) {
        conn_end(endpoint->conns);
    }
    ws_context_put(endpoint->context);
    free(endpoint);
}

/* What libwebsockets gets to read: of the peer's own request only what was checked. */
static char *make_request(const struct ws_endpoint *endpoint, const char *key)
{
    return xasprintf("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n"
                     "Sec-WebSocket-Protocol: %s\r\n\r\n",
                     key, endpoint->handler->protocol);
}

static struct ws_conn *conn_new(struct ws_endpoint *endpoint, const struct ws_accepted *accepted)
{
    struct ws_conn *conn = xcalloc(1, sizeof(*conn));

    conn->endpoint = endpoint;
    conn->timer = loop_timer_new(endpoint->loop, on_timer, conn);
    conn->on_end = accepted->on_end;
    conn->on_end_arg = accepted->arg;
    ws_outbox_init(&conn->out, endpoint->handler->max_queued_bytes);
    buf_init(&conn->in, endpoint->handler->max_message_bytes);
    conn->next = endpoint->conns;
    if (conn->next != NULL) {
        conn->next->prev = conn;
    }
    endpoint->conns = conn;
    loop_timer_start(conn->timer, CLOSE_MS, 0);
    return conn;
}

void ws_endpoint_accept(struct ws_endpoint *endpoint, const struct ws_accepted *accepted)
{
    AUTO(str) char *request = make_request(endpoint, accepted->key);
    struct ws_conn *conn = conn_new(endpoint, accepted);

    /* It handles the request before it returns: on_lws() finds the connection there. */
    accepting = conn;
    ws_context_quiet(true);
    lws_adopt_socket_vhost_readbuf(endpoint->vhost, accepted->fd, request, strlen(request));
    ws_context_quiet(false);
    if (accepting != NULL) { /* not even begun; the descriptor is closed */
        accepting = NULL;
        conn_end(conn);
        conn_free(conn);
    }
}
