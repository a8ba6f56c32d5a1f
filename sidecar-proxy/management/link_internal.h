/* link_internal: what the machine's two files share: link_machine.c has its life, link_clients.c
 * has what is said about clients. For nobody else. */
#pragma once

#include "sidecar-proxy/management/link_machine.h"

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
