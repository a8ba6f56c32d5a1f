/* roster: tells the state service which instances exist (PUT /v1/expected): after a change, after
 * it was started anew, and now and then, since it forgets when it restarts. */
#pragma once

#include "common/http_client.h"
#include "common/secret.h"

struct roster;

struct roster *roster_new(struct loop *loop, struct http_client *http,
                          const struct service_keys *keys);
void roster_close(struct roster *r); /* NULL is fine */

/* text: JSON body, copied; sent if it differs from what was last accepted. */
void roster_set(struct roster *r, uint16_t state_port, const char *text);
void roster_again(struct roster *r); /* the state service was started anew */
bool roster_accepted(const struct roster *r);
