/* end: one side of a relay: a socket, plain or under TLS, read and written as recv(2) and send(2)
 * have it. */
#pragma once

#include "sidecar-proxy/proxy/tls.h"

struct relay_end { /* owned by the tunnel */
    int fd;
    bool readable;   /* as far as we know: set by an event, cleared by a read that found nothing */
    bool writable;   /* likewise */
    bool hangs_up;   /* FIN, RST or an error is queued behind what can be read */
    struct tls *tls; /* NULL: plain */
};

/* An event of epoll has come. */
void end_note(struct relay_end *e, uint32_t events);
ssize_t end_recv(struct relay_end *e, void *bytes, size_t size);
ssize_t end_send(struct relay_end *e, const void *bytes, size_t len); /* takes what it can */
/* FIN, and close_notify before it: 0, or -1 and errno. May be repeated. */
int end_finish(struct relay_end *e);
/* Has the other side gone: by RST, or, if that counts, by FIN with nothing before it? Takes
 * nothing. */
bool end_gone(struct relay_end *e, bool fin_counts);
/* abort: by RST. May be called twice. */
void end_close(struct relay_end *e, bool abort);
