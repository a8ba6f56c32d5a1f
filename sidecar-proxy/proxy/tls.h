/* tls: the server's side of TLS 1.2 and 1.3 on a non-blocking socket. The only file here that knows
 * OpenSSL's libssl. Certificates may be replaced while connections are served: new ones get the new
 * certificate, those that are there go on.
 * ALPN: http/1.1 if the client offers it; a client that offers only what we do not speak is told so
 * in the handshake. A FIN without close_notify counts as an end in order, as many clients do it. */
#pragma once

#include "common/err.h"

#include <sys/types.h>

struct tls_server;
struct tls; /* one connection */

/* Files in PEM: the certificate with its chain, and its key without a passphrase. -EINVAL, or what
 * opening them gave; text names the file. */
int tls_server_new(const char *cert_file, const char *key_file, struct tls_server **ret,
                   struct err *err);
void tls_server_free(struct tls_server *server); /* after its connections; NULL is fine */
/* Main thread. Reads the files again; when they are faulty the earlier ones stay in use. */
int tls_server_reload(struct tls_server *server, struct err *err);
/* Main thread. Are the files others than those that were read last, well or not? */
bool tls_server_changed(const struct tls_server *server);
int64_t tls_server_expiry_s(const struct tls_server *server); /* Unix time; of the one in use */

/* Any thread. The socket stays the caller's. NULL: out of memory. */
struct tls *tls_accept(struct tls_server *server, int fd);
void tls_free(struct tls *tls); /* NULL is fine */

/* 1: done, 0: not yet, -EPROTO: failed, *why says why (a literal). */
int tls_shake_hands(struct tls *tls, const char **why);
/* As recv(2), send(2) with MSG_NOSIGNAL, and recv(2) with MSG_PEEK: -1 and errno (EAGAIN: after the
 * socket's next event, whichever), 0 at the end. send() takes what it can; what it did not take
 * must come first in the next. */
ssize_t tls_recv(struct tls *tls, void *bytes, size_t size);
ssize_t tls_send(struct tls *tls, const void *bytes, size_t len);
ssize_t tls_peek(struct tls *tls, void *bytes, size_t size);
/* Says that nothing more will be sent: 0, or -1 and errno. */
int tls_finish(struct tls *tls);
