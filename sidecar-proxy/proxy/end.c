#include "sidecar-proxy/proxy/end.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

void end_note(struct relay_end *e, uint32_t events)
{
    bool hangs_up = (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;

    e->hangs_up = e->hangs_up || hangs_up;
    e->readable = e->readable || hangs_up || (events & EPOLLIN) != 0;
    e->writable = e->writable || (events & EPOLLOUT) != 0;
    if (e->tls != NULL) { /* either way may have waited for either event */
        e->readable = e->writable = true;
    }
}

ssize_t end_recv(struct relay_end *e, void *bytes, size_t size)
{
    return e->tls != NULL ? tls_recv(e->tls, bytes, size) : recv(e->fd, bytes, size, 0);
}

ssize_t end_send(struct relay_end *e, const void *bytes, size_t len)
{
    return e->tls != NULL ? tls_send(e->tls, bytes, len) : send(e->fd, bytes, len, MSG_NOSIGNAL);
}

int end_finish(struct relay_end *e)
{
    if (e->tls != NULL && tls_finish(e->tls) < 0) {
        return -1;
    }
    return shutdown(e->fd, SHUT_WR) < 0 && errno != ENOTCONN ? -1 : 0;
}

bool end_gone(struct relay_end *e, bool fin_counts)
{
    char byte;
    ssize_t n = e->tls != NULL ? tls_peek(e->tls, &byte, 1) : recv(e->fd, &byte, 1, MSG_PEEK);

    return n < 0 ? errno != EAGAIN : n == 0 && fin_counts;
}

void end_close(struct relay_end *e, bool abort)
{
    const struct linger at_once = {1, 0};

    if (e->fd < 0) {
        return;
    }
    if (abort) {
        setsockopt(e->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    } else if (e->tls != NULL) {
        tls_finish(e->tls);
    }
    tls_free(e->tls);
    close(e->fd);
    *e = (struct relay_end){.fd = -1};
}
