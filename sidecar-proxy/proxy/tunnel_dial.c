/* Actions of a tunnel on its way to the device or the next hop; the table is in tunnel.c. */
#include "sidecar-proxy/proxy/address.h"
#include "sidecar-proxy/proxy/credentials.h"
#include "sidecar-proxy/proxy/ticket.h"
#include "sidecar-proxy/proxy/tunnel.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>

#define HOP_REQUEST_MAX (16 * 1024)
#define KEEPALIVE_IDLE_S 120

void tunnel_drop_far(struct tunnel *t)
{
    end_close(&t->relay.ends[FAR], false);
    buf_wipe(&t->hop_head);
}

/* A sidecar that does not have the device (any more), or is not there: where is it now? Asked once;
 * a second time it is what it seems. */
static enum tunnel_event failed(struct tunnel *t, int status, const char *why)
{
    if (t->ask->route.kind == ROUTE_SIDECAR && !t->ask->again && status != 504) {
        return EV_STALE;
    }
    return tunnel_refuse_with(t, status, why);
}

static enum tunnel_event dial_failed(struct tunnel *t, int error)
{
    char why[ASK_WHY_MAX];

    if (error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM) {
        return tunnel_refuse_with(t, 503, "no descriptor or memory for another tunnel");
    }
    snprintf(why, sizeof(why), "connect: %s", strerror(error));
    return failed(t, error == ETIMEDOUT ? 504 : 502, why);
}

static void set_options(int fd)
{
    const int one = 1;
    const int idle = KEEPALIVE_IDLE_S;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
}

enum tunnel_event tunnel_check_dial(struct tunnel *t)
{
    struct relay_end *far = &t->relay.ends[FAR];
    int error = 0;
    socklen_t len = sizeof(error);

    if (!far->writable && !far->hangs_up) {
        return EV_NONE;
    }
    if (getsockopt(far->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0) {
        error = errno;
    }
    if (error != 0) {
        return dial_failed(t, error);
    }
    tunnel_record_phase(t, PHASE_CONNECT);
    return t->ask->route.kind == ROUTE_DEVICE ? EV_REACHED : EV_NEXT_HOP;
}

enum tunnel_event tunnel_dial(struct tunnel *t)
{
    const struct route *route = &t->ask->route;
    struct address address;

    if (address_of(route->address, route->port, &address) < 0) {
        return tunnel_refuse_with(t, 502, "the address found is not numeric");
    }
    int fd = socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return dial_failed(t, errno);
    }
    t->relay.ends[FAR] = (struct relay_end){.fd = fd};
    set_options(fd);
    int r = connect(fd, (struct sockaddr *)&address.storage, address.len);
    if (r < 0 && errno != EINPROGRESS) {
        return dial_failed(t, errno);
    }
    t->relay.ends[FAR].writable = r == 0;
    r = worker_watch(t->worker, t, FAR);
    return r < 0 ? dial_failed(t, -r) : tunnel_check_dial(t);
}

enum tunnel_event tunnel_dial_late(struct tunnel *t)
{
    return tunnel_refuse_with(t, 504,
                              t->ask->route.kind == ROUTE_DEVICE ? "the device's port is silent"
                                                                 : "the next hop is silent");
}

/* What we show to the next hop: to a sidecar our own word, to another host the caller's key. */
static char *authorization(const struct tunnel *t)
{
    const struct ask *ask = t->ask;
    char ticket[TICKET_TEXT_MAX + 1];

    if (ask->route.kind == ROUTE_HOST) {
        return ask->key != NULL ? credentials_basic(ask->key) : NULL;
    }
    ticket_sign(&t->worker->shared->settings.ticket_keys, ask->uuid, ask->port,
                clock_realtime_ms() / 1000 + TICKET_LIFE_S, ticket);
    return xasprintf("Vpn-Ticket %s", ticket);
}

enum tunnel_event tunnel_send_hop(struct tunnel *t)
{
    const struct ask *ask = t->ask;
    AUTO(str) char *shown = authorization(t);
    char client[SOURCE_TEXT_MAX];

    source_format(&t->source, client);
    struct hop_request request = {
        .uuid = ask->uuid,
        .port = ask->port,
        .authorization = shown,
        .via = ask->via,
        .self = t->worker->shared->settings.self_id,
        .client = client,
        .traceparent = ask->traceparent[0] != '\0' ? ask->traceparent : NULL,
    };
    struct buf out;

    buf_init(&out, HOP_REQUEST_MAX);
    hop_request_format(&request, &out);
    ssize_t n = send(t->relay.ends[FAR].fd, out.data, out.len, MSG_NOSIGNAL);
    bool whole = n == (ssize_t)out.len; /* an empty send buffer takes far more */
    buf_wipe(&out);
    return whole ? EV_NONE : failed(t, 502, "the next hop did not take the request");
}

static enum tunnel_event hop_answered(struct tunnel *t, int status)
{
    char why[ASK_WHY_MAX];

    tunnel_record_phase(t, PHASE_HOP);
    if (status == 200) {
        return EV_REACHED;
    }
    snprintf(why, sizeof(why), "the next hop says %d", status);
    bool ours = t->ask->route.kind == ROUTE_SIDECAR;
    switch (status) {
    case 503:
        return failed(t, 503, why);
    case 407: /* from a sidecar: it does not know our ticket; not the caller's fault */
        return ours ? tunnel_refuse_with(t, 502, "the instance refuses: " SECRET_REFUSED)
                    : tunnel_refuse_with(t, 407, why);
    case 429:
    case 504:
    case 508:
        return tunnel_refuse_with(t, status, why);
    default:
        return tunnel_refuse_with(t, 502, why);
    }
}

/* Bytes of the device that came along with the answer are kept for the client. */
static enum tunnel_event parse_hop(struct tunnel *t, const char *bytes, size_t len)
{
    int status = 0;
    int taken = hop_answer_parse(bytes, len, &status);

    if (taken < 0) {
        return tunnel_refuse_with(t, 502, "the next hop's answer is no HTTP");
    }
    if (taken == 0) {
        return EV_NONE;
    }
    if (status == 200) {
        relay_prepend(&t->relay, FAR, bytes + taken, len - (size_t)taken);
    }
    return hop_answered(t, status);
}

static enum tunnel_event read_answer(struct tunnel *t)
{
    struct relay_end *far = &t->relay.ends[FAR];
    char *bytes = t->worker->relay.buffer;
    ssize_t n = recv(far->fd, bytes, ANSWER_HEAD_MAX - t->hop_head.len, 0);

    if (n < 0 && errno == EAGAIN) {
        far->readable = false;
        return EV_NONE;
    }
    if (n <= 0) {
        return failed(t, 502, "the next hop closed without an answer");
    }
    if (t->hop_head.len == 0) {
        enum tunnel_event ev = parse_hop(t, bytes, (size_t)n);
        if (ev == EV_NONE) {
            buf_append(&t->hop_head, bytes, (size_t)n);
        }
        return ev;
    }
    buf_append(&t->hop_head, bytes, (size_t)n);
    return parse_hop(t, t->hop_head.data, t->hop_head.len);
}

enum tunnel_event tunnel_read_hop(struct tunnel *t)
{
    enum tunnel_event ev = EV_NONE;

    while (ev == EV_NONE && t->relay.ends[FAR].readable) {
        ev = read_answer(t);
    }
    return ev;
}
