/* link: the sidecar's end of OpenVPN's management interface, over its whole life: connect, hold,
 * resync, live, and again from the start for ever. It is the socket's only client.
 * Turns lines into the events below and commands into lines; knows nothing of the balena API.
 * Source: OpenVPN 2.6 and 2.7 as observed (README.md here has the rules; tests/replay the proof).
 */
#pragma once

#include "common/loop.h"
#include "common/uuid.h"

#include <netinet/in.h>

struct link;

enum link_state {
    LINK_CONNECTING,
    LINK_GREETING,
    LINK_RESYNC,
    LINK_LIVE,
    LINK_WAITING,
    LINK_CLOSED
};

/* What a client claimed or was given, from CONNECT, REAUTH and ESTABLISHED blocks and status rows.
 * Every text is as OpenVPN sent it: any byte but NUL, CR, LF. Borrowed during the callback. */
struct link_client {
    uint64_t cid;
    uint64_t kid;         /* CONNECT and REAUTH only: use verbatim in the answer */
    const char *username; /* "" if absent. A claim until it is authorised */
    const char *password; /* CONNECT and REAUTH only, else "". Wiped after the callback */
    const char *remote; /* "192.0.2.1:4711" of the peer (haproxy's without PROXY protocol), or "" */
    const char *version; /* IV_VER, or "" */
    bool knows_temp;     /* IV_PROTO bit 8: understands AUTH_FAILED,TEMP */
    uint32_t address;    /* VPN address, host byte order; 0: none */
    int64_t since_ms;    /* Unix ms of its CONNECT here; of one that was in before us what OpenVPN
                          * says, in whole seconds; 0 unknown */
    uint64_t bytes_in;   /* from the client, cumulative */
    uint64_t bytes_out;  /* to the client */
};

struct link_callbacks { /* never run inside a link_* call; never after on_closed */
    /* A new life of OpenVPN (another pid, or a hold): every CID known before is dead. generation
     * counts from 1 in this process. began: it was waiting for us to release it, so nobody has ever
     * been connected in it; else it may be one that an earlier process of ours knew. The pid does
     * not tell: in a container it is 1 in each life. */
    void (*on_generation)(void *arg, uint64_t generation, int pid, bool began);
    void (*on_connect)(void *arg, const struct link_client *c); /* wants link_allow or link_deny */
    void (*on_reauth)(void *arg, const struct link_client *c);  /* the same; the CID lives on */
    /* Authorised and with an address. Once a CID. Not sent for a CID that already ended. */
    void (*on_established)(void *arg, const struct link_client *c);
    void (*on_disconnect)(void *arg, const struct link_client *c); /* also of denied ones */
    /* The answer came too late: the client is gone. Its on_disconnect has come or will. */
    void (*on_late)(void *arg, uint64_t cid);
    void (*on_bytes)(void *arg, uint64_t cid, uint64_t bytes_in, uint64_t bytes_out);
    /* After each (re)connect: on_resync_row for each client with an address, then on_resync_end:
     * sessions of this generation that had no row ended while nobody listened. Clients without an
     * address have been killed by the link: their CONNECT is lost (they come again). */
    void (*on_resync_row)(void *arg, const struct link_client *c);
    void (*on_resync_end)(void *arg);
    void (*on_state)(void *arg, enum link_state state);
    void (*on_lost)(void *arg,
                    const char *why); /* the connection ended; it tries again by itself */
    void (*on_closed)(void *arg);
};

struct link_options {                       /* copied */
    const char *path;                       /* unix socket */
    int bytecount_s;                        /* 0: off */
    const struct link_callbacks *callbacks; /* borrowed while the link lives */
    void *arg;
};

int link_open(struct loop *loop, const struct link_options *options, struct link **ret,
              struct err *err);
void link_close(struct link *link); /* on_closed follows; OpenVPN and its clients live on */

/* From here on a NULL link is one that has been closed: waiting, and nothing is sent. */
enum link_state link_state(const struct link *link);
int link_openvpn_pid(const struct link *link); /* 0: not known yet */

/* Answers, possible from LINK_RESYNC on; false: nothing was sent, because the CID is gone, its
 * question was answered or replaced by a newer one, or there is no connection. In the last case the
 * client is killed on resync, so that it asks again: nothing is left to do. Exactly one answer for
 * each on_connect and on_reauth. */
bool link_allow(struct link *link, uint64_t cid, uint64_t kid);
/* log_text: for OpenVPN's own log. client_text: what the device is told after AUTH_FAILED, NULL:
 * nothing. Both are cleaned and cut to 200 bytes. */
bool link_deny(struct link *link, uint64_t cid, uint64_t kid, const char *log_text,
               const char *client_text);
/* "TEMP[backoff N]:text": come again. backoff_s 1..120. */
bool link_deny_temp(struct link *link, uint64_t cid, uint64_t kid, unsigned backoff_s,
                    const char *text);
/* The client restarts and is back in 5 s (elsewhere if the balancer says so). */
bool link_kill(struct link *link, uint64_t cid);
/* "signal SIGTERM". */
bool link_terminate(struct link *link);
