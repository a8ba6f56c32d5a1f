/* openvpn_args: the command line of one instance's OpenVPN. Pure. The same for a process here and
 * for the args of a container, so that what runs can be read. Works with OpenVPN 2.6 and 2.7.
 * Differs from the original service: `compress migrate` (old clients work, nothing is compressed),
 * hand-window 60 (its 600 lets a lost client hold a slot for ten minutes), no plugins: devices are
 * authorised over the management socket. */
#pragma once

#include "controller/pool/object.h"

#define OPENVPN_ARGS_MAX 192

struct openvpn_paths {       /* borrowed */
    const char *program;     /* "openvpn" or an absolute path: argv[0] */
    const char *management;  /* unix socket */
    const char *status_file; /* or NULL */
    const char *ca_file, *cert_file, *key_file;
    const char *dh_file;         /* or NULL */
    const char *management_user; /* who may connect to the socket: the sidecar's user; NULL: any */
    const char *listen_address;  /* "127.0.0.1", NULL: all */
    uint16_t port;
    bool keep_user; /* false: becomes nobody:nogroup once it has its socket, device and key */
};

struct openvpn_args {
    char *argv[OPENVPN_ARGS_MAX]; /* owned, NULL-terminated */
    size_t count;
};

/* 0; -ERANGE: index does not fit the network. */
int openvpn_args_make(const struct pool_object *pool, uint32_t index,
                      const struct openvpn_paths *paths, struct openvpn_args *ret, struct err *err);
void openvpn_args_clear(struct openvpn_args *a);
/* One line for people, quoted where a shell would need it. Caller frees. */
char *openvpn_args_text(const struct openvpn_args *a);
