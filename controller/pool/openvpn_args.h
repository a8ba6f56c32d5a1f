/* openvpn_args: the command line of one instance's OpenVPN, 2.6 and 2.7. Pure. There is no
 * configuration file: what runs is what `ps` and `kubectl get pod -o yaml` show. */
#pragma once

#include "controller/pool/object.h"

struct openvpn_paths {      /* borrowed; absolute */
    const char *program;    /* argv[0] */
    const char *management; /* unix socket that OpenVPN makes */
    const char *status;     /* status file, version 2 */
    const char *ca, *cert, *key;
    const char *dh;              /* NULL: "none" */
    const char *listen;          /* address to bind; NULL: all */
    uint16_t port;               /* to bind */
    const char *user, *group;    /* to become after start; NULL: stay */
    const char *management_user; /* the only user whose connections the socket takes; NULL: any */
};

#define OPENVPN_ARGS_MAX 160

struct openvpn_args {
    char *argv[OPENVPN_ARGS_MAX + 1]; /* owned; NULL-terminated, argv[0] included */
    size_t count;
};

/* -ERANGE: the pool has no such index. Caller clears *ret. */
int openvpn_args_render(const struct pool_object *o, uint32_t index,
                        const struct openvpn_paths *paths, struct openvpn_args *ret,
                        struct err *err);
void openvpn_args_clear(struct openvpn_args *args);
