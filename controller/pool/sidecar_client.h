/* sidecar_client: what the controller asks one sidecar over its control socket: its status, once a
 * second (more often while it changes), and to drain. A sidecar that does not answer is stale; its
 * owner decides what follows. */
#pragma once

#include "common/http_client.h"

struct sidecar_client;

enum sidecar_link {
    SIDECAR_LINK_CONNECTING,
    SIDECAR_LINK_GREETING,
    SIDECAR_LINK_RESYNC,
    SIDECAR_LINK_LIVE,
    SIDECAR_LINK_WAITING,
    SIDECAR_LINKS,
};
enum sidecar_phase {
    SIDECAR_STARTING, /* its link was never live */
    SIDECAR_READY,
    SIDECAR_DRAINING,
    SIDECAR_DRAINED, /* no session is left */
    SIDECAR_PHASES,
};
const char *sidecar_link_name(enum sidecar_link link);
const char *sidecar_phase_name(enum sidecar_phase phase);

struct sidecar_status {
    char epoch[32];
    enum sidecar_link link;
    enum sidecar_phase phase;
    int64_t service_id; /* 0: not registered yet */
    uint32_t sessions;
    int32_t openvpn_pid; /* 0: not known */
    bool api_sane;
    char api_why[256];   /* why not; "": it is, or has not answered yet */
    uint32_t unreported; /* devices whose last change the API has not acknowledged */
};

/* Of GET /v1/status. -EPROTO: names the field at fault. Pure. */
int sidecar_status_parse(const char *text, size_t len, struct sidecar_status *ret, struct err *err);

struct sidecar_client *sidecar_client_new(struct loop *loop, struct http_client *http,
                                          const char *socket_path, loop_fn on_status, void *arg);
void sidecar_client_close(struct sidecar_client *c); /* NULL is fine */

void sidecar_client_poll(struct sidecar_client *c); /* now, and from then on once a second */
/* The process was started anew: what is known of it does not count any more. */
void sidecar_client_reset(struct sidecar_client *c);
/* The newest answer, NULL: none since the reset. on_status runs after each answer or failure. */
const struct sidecar_status *sidecar_client_status(const struct sidecar_client *c);
/* ms since it was asked what it has not answered, or since the reset: if we stood still ourselves,
 * nobody was silent. */
int64_t sidecar_client_silent_ms(const struct sidecar_client *c);
/* POST /v1/drain; sent again with each poll until the status says that it drains. */
void sidecar_client_drain(struct sidecar_client *c, uint32_t rate_per_minute, uint32_t timeout_s);
