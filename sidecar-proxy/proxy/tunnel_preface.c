/* Actions of a connection before its first request's head: the PROXY protocol of a balancer, then
 * TLS. Both are part of the head's time. The table is in tunnel.c. */
#include "sidecar-proxy/proxy/proxy_header.h"
#include "sidecar-proxy/proxy/tunnel.h"

#include <errno.h>
#include <sys/socket.h>

static enum tunnel_event take_preface(struct tunnel *t, size_t len)
{
    struct proxy_header header;
    int taken = proxy_header_parse(t->worker->relay.buffer, len, &header);

    if (taken < 0) {
        tunnel_preface_failed(t, PREFACE_PROXY_PROTOCOL, "no PROXY protocol");
        return EV_END;
    }
    if (taken == 0) {
        return EV_NONE;
    }
    if (recv(t->relay.ends[CLIENT].fd, t->worker->relay.buffer, (size_t)taken, 0) != taken) {
        return EV_END; /* can not be: they were there */
    }
    if (header.has_source) {
        t->source = source_of(&header.source);
    }
    return EV_NAMED;
}

/* Looks at what is there and takes it once it is whole: what follows is not ours but TLS's or the
 * head's. An event comes with each byte more. */
enum tunnel_event tunnel_read_preface(struct tunnel *t)
{
    struct relay_end *client = &t->relay.ends[CLIENT];

    if (!client->readable) {
        return EV_NONE;
    }
    ssize_t n = recv(client->fd, t->worker->relay.buffer, PROXY_HEADER_MAX, MSG_PEEK);
    if (n < 0 && errno == EAGAIN) {
        client->readable = false;
        return EV_NONE;
    }
    if (n <= 0) {
        return EV_END;
    }
    enum tunnel_event ev = take_preface(t, (size_t)n);
    if (ev == EV_NONE && client->hangs_up) {
        return EV_END; /* no more will come */
    }
    return ev;
}

enum tunnel_event tunnel_secure(struct tunnel *t)
{
    struct relay_end *client = &t->relay.ends[CLIENT];

    if (t->worker->shared->tls == NULL) {
        return EV_SECURE;
    }
    client->tls = tls_accept(t->worker->shared->tls, client->fd);
    return client->tls != NULL ? tunnel_shake_hands(t) : EV_END;
}

enum tunnel_event tunnel_shake_hands(struct tunnel *t)
{
    const char *why = NULL;
    int r = tls_shake_hands(t->relay.ends[CLIENT].tls, &why);

    if (r < 0) {
        tunnel_preface_failed(t, PREFACE_TLS, why);
        return EV_END;
    }
    return r > 0 ? EV_SECURE : EV_NONE;
}
