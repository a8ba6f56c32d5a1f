/* local_commands: how local mode starts each program: where it is, its command line, what of our
 * environment it gets, and the paths they share (ARCHITECTURE.md, "Files and sockets"). Secrets are
 * passed by the environment only, and only to who needs them. */
#pragma once

#include "controller/pool/keeper.h"
#include "controller/pool/local_state.h"
#include "controller/pool/object.h"

struct local_paths { /* owned */
    char *runtime_dir, *state_dir;
    char *state_file;     /* {runtime-dir}/controller.json */
    char *lock_file;      /* {runtime-dir}/controller.lock */
    char *control_socket; /* {runtime-dir}/controller.sock */
    char *tls_dir;        /* {runtime-dir}/tls */
    char *haproxy_config, *haproxy_socket;
    char *haproxy_output; /* pipe: what it prints */
};
void local_paths_init(struct local_paths *p, const char *runtime_dir, const char *state_dir);
void local_paths_clear(struct local_paths *p);

enum instance_path {
    PATH_MANAGEMENT,
    PATH_STATUS,
    PATH_SIDECAR,
    PATH_NSS,
    PATH_RECORD,
    PATH_OUTPUT, /* pipe: what OpenVPN prints */
    INSTANCE_PATHS
};
/* "{runtime-dir}/server-{index}.sock" and so on. Caller frees. */
char *local_instance_path(const struct local_paths *p, enum instance_path what, uint32_t index);
/* The other way round, of a name without its folder. False: no file of an instance. */
bool local_instance_path_parse(const char *name, enum instance_path *what, uint32_t *index);

enum local_tool {
    TOOL_OPENVPN,
    TOOL_HAPROXY,
    TOOL_NFT,
    TOOL_SIDECAR,
    TOOL_STATE,
    TOOL_CONNECT_PROXY,
    LOCAL_TOOLS,
};
extern const char *const local_tool_names[LOCAL_TOOLS]; /* file names */

struct local_tools { /* owned */
    char *paths[LOCAL_TOOLS];
    char **env[LOCAL_TOOLS]; /* what of our environment each gets, NULL-terminated */
    const char *user;        /* for those that need no rights of root, or NULL */
};
/* -ENOENT: the first that is not installed. */
int local_tools_find(struct local_tools *t, struct err *err);
void local_tools_clear(struct local_tools *t);

/* Can the ports be had that one is going to listen on? -EADDRINUSE: which not, and who has it. Not
 * to be asked while a predecessor of ours is letting go of them. */
int local_program_ports_check(const struct pool_object *pool, enum local_program which,
                              struct err *err);
int local_instance_ports_check(const struct pool_object *pool, enum local_tool which,
                               uint32_t index, struct err *err);

/* With UDP there is one instance, and devices reach it without haproxy. */
bool pool_is_udp(const struct pool_object *pool);

struct args { /* a command line being made; texts are owned */
    char *items[KEEPER_ARGS_MAX];
    size_t count;
};
void args_add(struct args *a, const char *text); /* asserts that there is room */
void args_addf(struct args *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
void args_clear(struct args *a);

/* register_address: NULL: the API takes the address that we call from. -ERANGE: index. */
int local_sidecar_args(const struct pool_object *pool, const struct local_paths *paths,
                       uint32_t index, const char *epoch, const char *register_address,
                       struct args *ret, struct err *err);
void local_state_args(const struct pool_object *pool, const struct local_paths *paths,
                      struct args *ret);
/* self_addresses: comma-separated, or "". */
void local_connect_proxy_args(const struct pool_object *pool, const struct local_paths *paths,
                              const char *self_addresses, struct args *ret);
/* old: a haproxy to take the listening sockets from, which then finishes its connections; pid 0:
 * none. */
void local_haproxy_args(const struct local_paths *paths, pid_t old, struct args *ret);

/* 16 hex digits that differ when the command lines do. */
void args_revision(const struct args *a, char ret[17]);

/* IPv4 address of a network interface. -ENODEV: there is none, or it has none. */
int interface_address(const char *name, char ret[16], struct err *err);
