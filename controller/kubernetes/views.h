/* views: the state services and balancers that pools name, one view for each name, however many
 * pools name it. */
#pragma once

#include "controller/kubernetes/balancer_view.h"
#include "controller/kubernetes/state_view.h"

#define VIEWS_MAX 256

struct views;

/* on_change(arg, name): what the service of that name says has changed. */
struct views *views_new(struct loop *loop, struct http_client *http,
                        const struct service_keys *keys,
                        void (*on_change)(void *arg, const char *name), void *arg);
void views_close(struct views *v); /* NULL is fine */

/* Made when first asked for. NULL: name is none, or there are too many. */
struct state_view *views_state(struct views *v, const char *name);
struct balancer_view *views_balancer(struct views *v, const char *name);
/* Which state services there are: false at the end. Begin with *at 0. */
bool views_each_state(struct views *v, size_t *at, const char **name, struct state_view **ret);
/* Closes those for which is_used says no. */
void views_prune(struct views *v, bool (*is_used)(void *arg, const char *name), void *arg);
