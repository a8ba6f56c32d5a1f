/* local_control: the controller's own socket, {runtime-dir}/controller.sock, from both ends: the
 * server (GET /v1/status, /metrics, /metrics/sidecars, /healthz) and `local status`, which asks it.
 */
#pragma once

#include "common/loop.h"
#include "controller/pool/drive_local.h"

struct local_control;

int local_control_open(struct loop *loop, const char *socket_path, const struct drive_local *drive,
                       struct local_control **ret, struct err *err);
void local_control_close(struct local_control *c); /* removes the socket. NULL is fine */

/* Asks a running controller; a loop of its own. *ret: JSON, owned by the caller. -ECONNREFUSED:
 * none runs there. */
int local_control_ask(const char *socket_path, char **ret, struct err *err);
