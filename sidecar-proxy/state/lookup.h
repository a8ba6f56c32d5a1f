/* lookup: the HTTP questions about devices, instances, verdicts, and the controller's roster.
 * ARCHITECTURE.md, vpn-state, has the table of requests and answers. arg is the struct service. */
#pragma once

#include "common/http_server.h"

void lookup_device(void *arg, struct http_exchange *x, const struct http_server_request *request);
/* ?instance=1, ?prefix=6f1a (of the UUID), ?limit=20 */
void lookup_devices(void *arg, struct http_exchange *x, const struct http_server_request *request);
void lookup_instances(void *arg, struct http_exchange *x,
                      const struct http_server_request *request);
void lookup_watch(void *arg, struct http_exchange *x, const struct http_server_request *request);
void lookup_verdict(void *arg, struct http_exchange *x, const struct http_server_request *request);
void lookup_expected(void *arg, struct http_exchange *x, const struct http_server_request *request);
/* What the page shows beside the instances (recent.h). */
void lookup_recent(void *arg, struct http_exchange *x, const struct http_server_request *request);
void lookup_metrics(void *arg, struct http_exchange *x, const struct http_server_request *request);
void lookup_healthz(void *arg, struct http_exchange *x, const struct http_server_request *request);
void lookup_readyz(void *arg, struct http_exchange *x, const struct http_server_request *request);
