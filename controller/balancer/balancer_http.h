/* balancer_http: what the balancer says of itself. Private to balancer.c, and pure: text from data.
 */
#pragma once

#include "common/buf.h"
#include "controller/balancer/servers.h"

/* {"settled":true,"servers":[{"name":"fleet-1","address":"10.0.0.1:1194","mode":"ready",
 * "sessions":3}]} */
void balancer_format_servers(struct buf *out, bool settled, const struct server_list *servers);
