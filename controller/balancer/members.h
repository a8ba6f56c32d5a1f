/* members: keeps haproxy's servers as they should be, over its runtime socket. Compares once a
 * second and after every change (servers.h); so a haproxy that was restarted has its servers again
 * at once, and what was commanded is also read back. */
#pragma once

#include "controller/balancer/haproxy.h"
#include "controller/balancer/servers.h"

struct members;

struct members_options {     /* copied */
    const char *socket_path; /* haproxy's runtime socket */
    const char *backend;     /* its name in haproxy's configuration */
    loop_fn on_change;       /* after each look at haproxy; must not close the members */
    void *arg;
};

struct members *members_new(struct loop *loop, const struct members_options *options);
void members_close(struct members *m);

/* From now on haproxy is to have these; copied. Before the first time nothing is changed. */
void members_set(struct members *m, const struct server_list *desired);
/* Look and compare now, e.g. because haproxy was started. Nothing happens before this or
 * members_set(). */
void members_sync(struct members *m);
/* As haproxy itself last said, NULL: it does not answer. Borrowed until the loop's next round. */
const struct server_list *members_observed(const struct members *m);
/* Was haproxy asked for that after the last members_set()? */
bool members_fresh(const struct members *m);
/* Is all as desired, by haproxy's own words since the last members_set()? */
bool members_settled(const struct members *m);
/* Why not, for a status line; "" while all is well. */
const char *members_why(const struct members *m);
