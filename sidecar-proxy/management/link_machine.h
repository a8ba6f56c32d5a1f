/* link_machine: the link without its socket: bytes in, bytes out, the time passed in. link.c gives
 * it a real socket, tests/replay and the fuzzer a written one; the machine is the same.
 *
 * The owner dials while the state is LINK_CONNECTING and says how that went, hands over what
 * arrives, sends what is in the output, hangs up in LINK_WAITING and LINK_CLOSED, and calls
 * link_machine_tick() at the deadline.
 * Callbacks run inside link_machine_connected, _lost, _input, _tick, and never inside the answers.
 * They may call the answers and link_machine_stop(), after which none runs any more. */
#pragma once

#include "sidecar-proxy/management/clients.h"
#include "sidecar-proxy/management/commands.h"
#include "sidecar-proxy/management/event.h"
#include "sidecar-proxy/management/line.h"
#include "sidecar-proxy/management/status.h"

#define LINK_BACKOFF_MIN_MS 50
#define LINK_BACKOFF_MAX_MS 2000
#define LINK_CONNECT_MS 10000    /* to dial */
#define LINK_GREETING_MS 10000   /* from connected to greeting and pid */
#define LINK_RESYNC_MS 60000     /* hold release (OpenVPN opens its port meanwhile), status */
#define LINK_STATUS_RETRY_MS 250 /* while OpenVPN is not yet able to give one */
#define LINK_ALIVE_MS 30000      /* between questions whether OpenVPN still answers */
#define LINK_INTERFACE_VERSION 5 /* the lowest that is understood: OpenVPN 2.6 */
#define LINK_WHY_MAX 160

struct link_clock {
    int64_t monotonic_ms;
    int64_t unix_ms;
};

struct link_machine {
    enum link_state state; /* written by the transition table only */
    const struct link_callbacks *callbacks;
    void *arg;
    int bytecount_s;
    struct link_clock now;
    int64_t state_deadline_ms;  /* of the state, INT64_MAX: none */
    int64_t status_retry_ms;    /* INT64_MAX: no retry is due */
    uint32_t backoff_ms;        /* the next one */
    char why[LINK_WHY_MAX];     /* the connection is given up; "" */
    uint64_t interface_version; /* of this connection, 0: it has not greeted yet */
    int pid;                    /* OpenVPN's; 0: its life is not known (any more) */
    bool held;                  /* this connection found it waiting for its release */
    uint64_t generation;        /* lives seen so far */
    uint32_t resync;            /* resyncs begun so far */
    char openvpn_version[64];   /* "OpenVPN 2.6.14", "" */
    struct line_reader reader;
    struct event_parser parser; /* an open block */
    struct commands commands;   /* owed replies, and output */
    struct status_reader status;
    struct clients clients;
};

/* options: path is not used. The state is LINK_CONNECTING, without a callback. */
void link_machine_init(struct link_machine *m, const struct link_options *options,
                       struct link_clock now);
void link_machine_clear(struct link_machine *m); /* wipes and frees */

/* What happened to the connection. why: for a person, copied. */
void link_machine_connected(struct link_machine *m, struct link_clock now);
void link_machine_lost(struct link_machine *m, struct link_clock now, const char *why);
void link_machine_input(struct link_machine *m, struct link_clock now, const char *bytes,
                        size_t len);
/* When the deadline has passed; does nothing before. */
void link_machine_tick(struct link_machine *m, struct link_clock now);
int64_t link_machine_deadline(const struct link_machine *m); /* monotonic; INT64_MAX: none */
/* Bytes to send; the owner takes what it sent with buf_consume(). Empty unless connected. */
struct buf *link_machine_output(struct link_machine *m);
/* For ever: LINK_CLOSED, no callback any more. */
void link_machine_stop(struct link_machine *m);

/* As in link.h. */
bool link_machine_allow(struct link_machine *m, struct link_clock now, uint64_t cid, uint64_t kid);
bool link_machine_deny(struct link_machine *m, struct link_clock now, uint64_t cid, uint64_t kid,
                       const char *log_text, const char *client_text);
bool link_machine_deny_temp(struct link_machine *m, struct link_clock now, uint64_t cid,
                            uint64_t kid, unsigned backoff_s, const char *text);
bool link_machine_kill(struct link_machine *m, struct link_clock now, uint64_t cid);
bool link_machine_terminate(struct link_machine *m, struct link_clock now);
