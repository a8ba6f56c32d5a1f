/* env_pool: a pool from the environment variables of open-balena-vpn, so that our image takes the
 * original's place in a compose file as it stands. Pure: certificates are decoded and checked in
 * memory, the driver writes them to the files that the object names.
 * Each variable is used, or accepted and not used (a note says so), or its value is an error that
 * names it. The table is in env_pool.c. */
#pragma once

#include "controller/pool/object.h"

#define ENV_POOL_NAME "vpn"
#define ENV_POOL_NOTES_MAX 64

struct env_pem {
    char *text; /* owned, NUL-terminated; NULL: not given */
    size_t len;
};

struct env_pool {
    struct pool_object object;        /* file names are those in tls_dir */
    struct env_pem ca, cert, key, dh; /* contents for openvpn.ca_file and so on */
    char *haproxy_socket;             /* VPN_HAPROXY_SOCKET; NULL: ours */
    char *haproxy_cpu_map;            /* HAPROXY_CPU_MAP; NULL: automatic */
    bool verbose;                     /* VPN_VERBOSE_LOGS */
    char *notes[ENV_POOL_NOTES_MAX];  /* owned; one log line each */
    size_t note_count;
};

/* env: as environ. cpus: cores this machine has. tls_dir: where the driver will write the
 * certificates (ca.crt, server.crt, server.key, dh.pem). -EINVAL: problems say which variables. */
int env_pool_load(char *const *env, uint32_t cpus, const char *tls_dir, struct env_pool *ret,
                  struct pool_problems *problems);
void env_pool_clear(struct env_pool *e); /* wipes the key */
