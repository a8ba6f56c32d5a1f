#include "common/ws_client.h"

#include "common/ws_context.h"
#include "common/ws_messages.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define DEFAULT_CONNECT_MS 5000
#define DEFAULT_PING_MS 10000
#define CLOSE_MS 3000 /* for the closing handshake */
#define WHY_MAX 160

/*   state       leaves on                                    to
 *   CONNECTING  the server's 101                             OPEN
 *               refused, failed, timed out, ws_client_close  ENDED
 *   OPEN        ws_client_close, a message not to be taken   CLOSING
 *               the peer's end, silence after a ping         ENDED
 *   CLOSING     the peer's end, CLOSE_MS                     ENDED
 * Ended: on_closed runs from the timer, if it can not at once. */
enum ws_state { WS_CONNECTING, WS_OPEN, WS_CLOSING, WS_ENDED };

struct ws_client {
    struct ws_client *next; /* of this thread's */
    uintptr_t id;           /* what libwebsockets knows of it */
    struct loop *loop;
    struct ws_context *context;
    struct lws *wsi; /* NULL: libwebsockets has none */
    enum ws_state state;
    bool opening; /* ws_client_open() is on the stack */
    bool told;    /* the peer: our close frame is on its way */
    int close_code;
    bool asked; /* silent since, and a ping was sent */
    struct loop_timer *timer;
    uint32_t ping_ms;
    char *protocol;
    char *authorization; /* or NULL */
    struct ws_outbox out;
    struct buf in;
    char why[WHY_MAX]; /* "": not known yet */
    void (*on_open)(void *arg);
    void (*on_message)(void *arg, const char *text, size_t len);
    void (*on_closed)(void *arg, const char *why);
    void *arg;
};

/* libwebsockets may call back for a connection whose client is gone, and says of some that fail
 * early neither that nor when. So it is given a number, and no pointer that could dangle. */
static _Thread_local struct ws_client *clients;
static _Thread_local uintptr_t last_id;

static struct ws_client *find(struct lws *wsi)
{
    uintptr_t id = (uintptr_t)lws_get_opaque_user_data(wsi);
    struct ws_client *client = clients;

    while (client != NULL && client->id != id) {
        client = client->next;
    }
    return client;
}

/* --- the end --- */

static void say_why(struct ws_client *client, const char *why)
{
    if (client->why[0] == '\0') { /* what came first led to the rest */
        snprintf(client->why, sizeof(client->why), "%s", why);
    }
}

static void client_free(void *arg)
{
    struct ws_client *client = arg;

    if (client->authorization != NULL) {
        explicit_bzero(client->authorization, strlen(client->authorization));
    }
    free(client->authorization);
    free(client->protocol);
    ws_outbox_clear(&client->out);
    buf_clear(&client->in);
    free(client);
}

static void end(struct ws_client *client, const char *why)
{
    struct ws_client **at = &clients;

    say_why(client, why);
    if (client->state == WS_ENDED || client->opening) {
        return;
    }
    client->state = WS_ENDED;
    while (*at != client) {
        at = &(*at)->next;
    }
    *at = client->next;
    if (client->wsi != NULL) { /* libwebsockets sees a broken connection in the loop's next round */
        shutdown(lws_get_socket_fd(client->wsi), SHUT_RDWR);
    }
    loop_timer_close(client->timer);
    ws_context_put(client->context);
    client->on_closed(client->arg, client->why);
    loop_post(client->loop, client_free, client); /* for callers up the stack */
}

/* --- timers --- */

static void on_timer(void *arg)
{
    struct ws_client *client = arg;

    if (client->state == WS_CONNECTING) {
        end(client, "connect timed out");
    } else if (client->state == WS_CLOSING && client->close_code != 0 && !client->told &&
               ws_outbox_is_empty(&client->out)) {
        client->told = true;
        loop_timer_start(client->timer, CLOSE_MS, 0);
        ws_begin_close(client->wsi, client->close_code);
    } else if (client->state == WS_CLOSING) {
        end(client, "closed, without an answer");
    } else if (client->asked) {
        end(client, "no answer to a ping");
    } else {
        client->asked = true;
        client->out.has_ping = true;
        lws_callback_on_writable(client->wsi);
        loop_timer_start(client->timer, client->ping_ms, 0);
    }
}

static void heard(struct ws_client *client)
{
    if (client->state == WS_OPEN) {
        client->asked = false;
        loop_timer_start(client->timer, client->ping_ms, 0);
    }
}

/* --- libwebsockets' callbacks: -1 ends the connection --- */

static int append_headers(struct ws_client *client, struct lws *wsi, void *in, size_t len)
{
    unsigned char **at = in;

    if (client->authorization == NULL) {
        return 0;
    }
    return lws_add_http_header_by_token(wsi, WSI_TOKEN_HTTP_AUTHORIZATION,
                                        (const unsigned char *)client->authorization,
                                        (int)strlen(client->authorization), at, *at + len);
}

/* libwebsockets goes on with a server that names no subprotocol at all. */
static int check_protocol(struct ws_client *client, struct lws *wsi)
{
    char accepted[128];
    int len = lws_hdr_copy(wsi, accepted, sizeof(accepted), WSI_TOKEN_PROTOCOL);

    if (len > 0 && strcmp(accepted, client->protocol) == 0) {
        return 0;
    }
    say_why(client, "server does not accept the subprotocol");
    return -1;
}

static void on_refused(struct ws_client *client, struct lws *wsi, const char *in, size_t len)
{
    char why[WHY_MAX];
    unsigned status = lws_http_client_http_response(wsi);

    if (status != 0 && status != 101) {
        snprintf(why, sizeof(why), "refused with status %u", status);
    } else {
        snprintf(why, sizeof(why), "can not connect: %.*s", in != NULL ? (int)len : 0,
                 in != NULL ? in : "");
    }
    end(client, why);
}

static void on_peer_close(struct ws_client *client, const unsigned char *in, size_t len)
{
    char why[WHY_MAX];

    if (len >= 2) {
        snprintf(why, sizeof(why), "peer closed with %d%s%.*s", in[0] << 8 | in[1],
                 len > 2 ? " " : "", (int)len - 2, (const char *)in + 2);
        say_why(client, why);
    }
}

static void begin_close(struct ws_client *client, int code)
{
    client->close_code = code;
    client->state = WS_CLOSING;
    lws_callback_on_writable(client->wsi);
    loop_timer_start(client->timer, CLOSE_MS, 0);
}

static void on_established(struct ws_client *client)
{
    client->state = WS_OPEN;
    heard(client);
    client->on_open(client->arg);
}

static int on_receive(struct ws_client *client, const char *bytes, size_t len)
{
    if (client->state != WS_OPEN) {
        return 0;
    }
    heard(client);
    int r = ws_inbox_feed(&client->in, client->wsi, bytes, len);
    if (r < 0) {
        say_why(client, r == -WS_CLOSE_TOO_LONG ? "message is too long" : "message is not text");
        ws_outbox_clear(&client->out);
        begin_close(client, -r);
        return 0;
    }
    if (r > 0) {
        client->on_message(client->arg, buf_str(&client->in), client->in.len);
        buf_clear(&client->in);
    }
    return 0;
}

static int on_writable(struct ws_client *client)
{
    if (client->told) {
        return 0;
    }
    if (ws_outbox_write(&client->out, client->wsi) < 0) {
        say_why(client, "write failed");
        return -1;
    }
    if (client->state == WS_CLOSING && ws_outbox_is_empty(&client->out)) {
        loop_timer_start(client->timer, 0, 0);
    }
    return 0;
}

static int on_lws(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                  size_t len)
{
    struct ws_client *client = find(wsi);

    (void)user;
    if (client == NULL) {
        return reason == LWS_CALLBACK_CLIENT_WRITEABLE || reason == LWS_CALLBACK_CLIENT_RECEIVE ||
                       reason == LWS_CALLBACK_CLIENT_FILTER_PRE_ESTABLISH
                   ? -1
                   : 0;
    }
    client->wsi = wsi;
    switch (reason) {
    case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER:
        return append_headers(client, wsi, in, len);
    case LWS_CALLBACK_CLIENT_FILTER_PRE_ESTABLISH:
        return check_protocol(client, wsi);
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        on_established(client);
        return 0;
    case LWS_CALLBACK_CLIENT_RECEIVE:
        return on_receive(client, in, len);
    case LWS_CALLBACK_CLIENT_RECEIVE_PONG:
        heard(client);
        return 0;
    case LWS_CALLBACK_CLIENT_WRITEABLE:
        return on_writable(client);
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
        on_peer_close(client, in, len);
        return 0;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
        client->wsi = NULL;
        on_refused(client, wsi, in, len);
        return 0;
    case LWS_CALLBACK_CLIENT_CLOSED:
    case LWS_CALLBACK_WSI_DESTROY:
        client->wsi = NULL;
        end(client, "connection lost");
        return 0;
    default:
        return 0;
    }
}

/* --- what the owner does --- */

static bool is_printable(const char *s)
{
    for (; *s != '\0'; s++) {
        if (*s < 0x21 || *s > 0x7e) {
            return false;
        }
    }
    return true;
}

static int check(const struct ws_client_options *o, struct err *err)
{
    unsigned char address[sizeof(struct in6_addr)];

    if (inet_pton(AF_INET, o->address, address) != 1 &&
        inet_pton(AF_INET6, o->address, address) != 1) {
        return err_text(err, -EINVAL, "'%s' is not a numeric address", o->address);
    }
    if (o->path[0] != '/' || !is_printable(o->path) || !is_printable(o->protocol) ||
        (o->host != NULL && !is_printable(o->host))) {
        return err_text(err, -EINVAL, "bad path, host or subprotocol");
    }
    if (o->bearer != NULL && (o->bearer[0] == '\0' || !is_printable(o->bearer))) {
        return err_text(err, -EINVAL, "bearer token is not printable ASCII");
    }
    return 0;
}

static struct ws_client *client_new(struct loop *loop, const struct ws_client_options *o)
{
    struct ws_client *client = xcalloc(1, sizeof(*client));

    client->loop = loop;
    client->id = ++last_id;
    client->timer = loop_timer_new(loop, on_timer, client);
    client->ping_ms = o->idle_ping_ms > 0 ? o->idle_ping_ms : DEFAULT_PING_MS;
    client->protocol = xstrdup(o->protocol);
    client->authorization = o->bearer != NULL ? xasprintf("Bearer %s", o->bearer) : NULL;
    ws_outbox_init(&client->out, o->max_queued_bytes);
    buf_init(&client->in, o->max_message_bytes);
    client->on_open = o->on_open;
    client->on_message = o->on_message;
    client->on_closed = o->on_closed;
    client->arg = o->arg;
    return client;
}

static char *host_header(const struct ws_client_options *o)
{
    if (o->host != NULL) {
        return xstrdup(o->host);
    }
    bool is_ipv6 = strchr(o->address, ':') != NULL;
    return xasprintf(is_ipv6 ? "[%s]:%u" : "%s:%u", o->address, o->port);
}

static void connect_it(struct ws_client *client, const struct ws_client_options *o,
                       struct lws_context *context, struct lws_vhost *vhost)
{
    AUTO(str) char *host = host_header(o);
    struct lws_client_connect_info info = {
        .context = context,
        .vhost = vhost,
        .address = o->address,
        .port = o->port,
        .ssl_connection = LCCSCF_HTTP_NO_FOLLOW_REDIRECT,
        .path = o->path,
        .host = host,
        .protocol = o->protocol,
        .opaque_user_data = (void *)client->id,
    };
    uint32_t timeout = o->connect_timeout_ms > 0 ? o->connect_timeout_ms : DEFAULT_CONNECT_MS;

    client->opening = true;
    client->wsi = lws_client_connect_via_info(&info);
    client->opening = false;
    if (client->wsi == NULL) {
        say_why(client, "can not connect");
        timeout = 0; /* on_closed runs from the timer */
    }
    loop_timer_start(client->timer, timeout, 0);
}

int ws_client_open(struct loop *loop, const struct ws_client_options *options,
                   struct ws_client **ret, struct err *err)
{
    struct ws_context *context;
    struct lws_vhost *vhost;
    int r = check(options, err);

    if (r == 0) {
        r = ws_context_get(loop, &context, err);
    }
    if (r < 0) {
        return r;
    }
    r = ws_context_vhost(context, options->protocol, on_lws, &vhost, err);
    if (r < 0) {
        ws_context_put(context);
        return r;
    }
    struct ws_client *client = client_new(loop, options);
    client->context = context;
    client->next = clients;
    clients = client;
    connect_it(client, options, ws_context_lws(context), vhost);
    *ret = client;
    return 0;
}

int ws_client_send(struct ws_client *client, const char *text, size_t len)
{
    if (client->state != WS_OPEN) {
        return -ENOTCONN;
    }
    int r = ws_outbox_push(&client->out, text, len);
    if (r == 0) {
        lws_callback_on_writable(client->wsi);
    }
    return r;
}

size_t ws_client_queued(const struct ws_client *client)
{
    return client->out.bytes;
}

void ws_client_close(struct ws_client *client)
{
    if (client == NULL || client->state == WS_ENDED || client->state == WS_CLOSING) {
        return;
    }
    say_why(client, "closed by us");
    if (client->state == WS_OPEN) {
        begin_close(client, WS_CLOSE_NORMAL);
    } else {
        client->state = WS_CLOSING;
        loop_timer_start(client->timer, 0, 0);
    }
}
