/* link_internal: what the machine's files share: link_machine.c has its life, link_lines.c what
 * arrives, link_clients.c what is said about clients. For nobody else. */
#pragma once

#include "sidecar-proxy/management/link_machine.h"

enum machine_event {
    EV_CONNECTED,
    EV_GREETED,  /* the greeting was heard, and the pid */
    EV_HOLD,     /* a process waits for its release: whatever was known is over */
    EV_RESYNCED, /* the status was read to its end */
    EV_LOST,     /* could not connect, or the connection ended or has to */
    EV_TIMER,    /* the state's deadline */
    EV_STOP,
    MACHINE_EVENTS,
};
void link_machine_feed(struct link_machine *m, enum machine_event ev);
bool link_machine_stopped(const struct link_machine *m);
/* A life of OpenVPN that was not known: every client of before is dead. */
void link_machine_announce(struct link_machine *m);
/* A status can be asked for once nothing is held back, and one at a time. */
void link_machine_ask_status(struct link_machine *m);

void link_lines_take(struct link_machine *m, char *line); /* one line, taken apart in place */

/* From anywhere: the connection is of no use. It ends once the machine is back in its own hands,
 * with the first reason given. */
void link_machine_doom(struct link_machine *m, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Puts a command into the output; text as in commands_send(). False: doomed, nothing was sent. */
bool link_machine_request(struct link_machine *m, enum command_kind kind, uint64_t cid,
                          uint64_t kid, const char *text);
bool link_machine_request_kill(struct link_machine *m, uint64_t cid);

void link_clients_event(struct link_machine *m, struct event *e); /* EVENT_CONNECT..EVENT_BYTES */
void link_clients_row(struct link_machine *m, struct link_client *row); /* of a resync's status */
/* line: the ERROR in reply to an ALLOW or DENY. */
void link_clients_answer_failed(struct link_machine *m, const struct command *command,
                                const char *line);
