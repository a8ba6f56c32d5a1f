/* local_strays: which processes are of which runtime directory, whether or not a state file knows
 * them. Each has one of its controller's paths on its command line: OpenVPN and the sidecar the
 * management socket, haproxy its file, the state service and the connect-proxy --owner. It must be
 * exactly that path: others keep files in our folder as well (Debian's openvpn@.service has its
 * status in /run/openvpn), and below it. What is compared is the folder, not how it is spelled. */
#pragma once

#include "controller/pool/local_commands.h"

/* Was it started with these paths? words: its command line, NULL-terminated. */
bool local_strays_is_ours(const struct local_paths *paths, enum local_tool tool,
                          char *const *words);
/* All that were and run in our network namespace. Caller frees *ret. Returns how many. */
size_t local_strays_find(const struct local_paths *paths, enum local_tool tool,
                         struct process_id **ret);
/* -EBUSY: another directory's pool runs in our network namespace, without a controller (that would
 * have the lock). Interfaces, the firewall and ports are shared: it is to be left alone. */
int local_strays_check_alone(const struct local_paths *paths, struct err *err);
