/* http_listen: listening sockets for http_server. Private to common/. */
#pragma once

#include "common/err.h"

#include <sys/types.h>

struct listen_socket {
    int fd;          /* non-blocking */
    char *unix_path; /* owned; NULL: TCP */
    dev_t dev;       /* of the socket file, so that only our own is removed */
    ino_t ino;
};

/* address: as in http_listen_options. A socket file nobody listens on any more is replaced; one
 * that answers is -EADDRINUSE. */
int listen_socket_open(const char *address, unsigned unix_mode, struct listen_socket *ret,
                       struct err *err);
void listen_socket_close(struct listen_socket *s);
