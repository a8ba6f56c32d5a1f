/* balancer_view: which servers the balancers (several replicas behind a name) list, asked often
 * while somebody waits for one, and now and then otherwise. A balancer that does not answer is not
 * waited for: it sends nobody anywhere by what it does not know. */
#pragma once

#include "common/http_client.h"

struct balancer_view;

#define BALANCER_SILENT_MS 30000

/* name: "vpn-balancer:8082". on_change(arg): a balancer lists others than before, or they are
 * silent or heard again. NULL: name is none. */
struct balancer_view *balancer_view_new(struct loop *loop, struct http_client *http,
                                        const char *name, loop_fn on_change, void *arg);
void balancer_view_close(struct balancer_view *v); /* NULL is fine */

/* Does every balancer that answers list it, and at least one? Asking keeps the view fresh for a few
 * seconds. */
bool balancer_view_lists(struct balancer_view *v, const char *server);
/* Has none answered for BALANCER_SILENT_MS? */
bool balancer_view_silent(const struct balancer_view *v);
