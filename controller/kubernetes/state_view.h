/* state_view: what one state service (several replicas behind a name) knows of all instances, asked
 * once a second of any replica that is ready; and the other way, which instances exist (PUT
 * /v1/expected), told to every replica: after a change, to each new one, and now and then, since
 * they forget when they restart. */
#pragma once

#include "common/http_client.h"
#include "common/secret.h"
#include "controller/kubernetes/pods_observe.h"

#define STATE_VIEW_INSTANCES_MAX 20000

struct state_view;

/* name: "vpn-state:8090". on_change(arg): an instance is said to be otherwise than before. NULL:
 * name is none. */
struct state_view *state_view_new(struct loop *loop, struct http_client *http, const char *name,
                                  const struct service_keys *keys, loop_fn on_change, void *arg);
void state_view_close(struct state_view *v); /* NULL is fine */

/* False: that epoch is not known, or nothing has been heard for a while. */
bool state_view_report(const struct state_view *v, const char *epoch, struct instance_report *ret);
/* text: the body of PUT /v1/expected; copied. */
void state_view_expect(struct state_view *v, const char *text);

/* Of GET /v1/instances. 0, -EPROTO. on_instance is called for each; ready says whether the replica
 * has heard of all. Pure. */
int state_instances_parse(const char *text, size_t len, bool *ready,
                          void (*on_instance)(void *arg, const char *epoch,
                                              const struct instance_report *report),
                          void *arg, struct err *err);
