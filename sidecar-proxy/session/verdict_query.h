/* verdict_query: asks the state services whether a credential was good lately at some instance
 * (GET /v1/verdicts/{uuid}/{fingerprint}). All are asked at once; the first that vouches decides.
 */
#pragma once

#include "common/replicas.h"
#include "common/secret.h"
#include "sidecar-proxy/session/verdicts.h"

#define VERDICT_QUERY_TIMEOUT_MS 2000

struct verdict_asker;
struct verdict_query;

/* keys: the token is derived from them. states is borrowed. */
int verdict_asker_new(struct loop *loop, const struct replicas *states,
                      const struct service_keys *keys, struct verdict_asker **ret, struct err *err);
void verdict_asker_close(struct verdict_asker *a); /* no callback afterwards; NULL is fine */

/* at_ms: Unix time of the API's yes, 0: nobody vouches. */
typedef void (*verdict_query_fn)(void *arg, int64_t at_ms);
/* on_done comes once, never before this has returned. The query is gone when it runs. */
struct verdict_query *verdict_query_start(struct verdict_asker *a, const char *uuid,
                                          const struct fingerprint *f, verdict_query_fn on_done,
                                          void *arg);
void verdict_query_cancel(struct verdict_query *q); /* on_done will not run; NULL is fine */
