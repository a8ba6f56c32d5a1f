/* control: the sidecar's HTTP side: status, drain, devices, health and metrics on the control
 * listeners, addresses of devices on the NSS socket. What is asked is answered from the table or
 * from the callbacks; nothing is decided here. Who reaches the unix socket may all; over TCP, where
 * probes and scrapers come from, what changes something needs a token. */
#pragma once

#include "common/buf.h"
#include "common/http_server.h"
#include "common/secret.h"
#include "sidecar-proxy/session/sessions.h"

struct control;

#define CONTROL_LISTENERS_MAX 4

struct control_status { /* texts are borrowed */
    const char *pool;
    int64_t index;
    const char *epoch;
    int64_t service_id; /* 0: null */
    const char *link;
    const char *phase;
    size_t sessions;
    int openvpn_pid;
    bool api_sane;
    const char *api_why; /* why not; NULL or "": it is, or has not answered yet */
    size_t unreported;
    const char *not_ready; /* why not, or NULL: ready */
};

struct control_drain {
    int64_t rate_per_minute; /* 1..1,000,000 */
    int64_t timeout_s;       /* 0..86,400 */
};

struct control_options { /* copied; what is pointed to is borrowed */
    struct loop *loop;
    const char *listen;       /* http_listen_options.address, up to CONTROL_LISTENERS_MAX with
                               * commas; a unix socket gets mode 0660 */
    const char *nss;          /* "unix:/run/openvpn/nss-1.sock", or NULL */
    struct service_keys keys; /* the token is derived from them; not kept */
    const struct sessions *sessions;
    struct control_drain drain_default;
    struct control_status (*status)(void *arg);
    void (*drain)(void *arg, const struct control_drain *d);
    void *arg;
};

int control_open(const struct control_options *options, struct control **ret, struct err *err);
void control_close(struct control *c); /* NULL is fine */

/* Pure, for tests: the status as JSON; and a drain's body ("" is fine: the defaults). The reply to
 * a drain has the same form: the figures that are in force. -EPROTO: malformed, text says what. */
void control_format_status(struct buf *out, const struct control_status *s);
int control_parse_drain(const char *body, size_t len, struct control_drain *d, struct err *err);
