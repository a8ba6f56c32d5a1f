/* replicas: the addresses that a list of "host:port" stands for. A name stands for all of its
 * addresses (a headless Service): the IPv4 ones if it has any, else the IPv6 ones, since each
 * replica of a dual-stack Service is listed under both. Names are looked up every REPLICAS_LOOK_MS,
 * and when asked to; a look-up that fails changes nothing. Addresses of a name are in order of
 * their text. */
#pragma once

#include "common/endpoint.h"
#include "common/loop.h"

#define REPLICAS_NAMES_MAX 16
#define REPLICAS_MAX 64 /* addresses in all; more are left out */
#define REPLICAS_LOOK_MS 5000

struct replicas;

struct replica {
    char address[48]; /* numeric */
    uint16_t port;
    char text[56];    /* "192.0.2.1:8090", "[2001:db8::1]:8090" */
    const char *host; /* as in the list; borrowed from the replicas */
};

/* An empty list is fine. -EINVAL: not host:port, -E2BIG: too many; text says which. */
int replicas_new(struct loop *loop, const char *list, struct replicas **ret, struct err *err);
void replicas_close(struct replicas *r); /* NULL is fine */
/* on_change(arg) whenever the addresses have changed; never from within a call of ours. */
void replicas_watch(struct replicas *r, loop_fn on_change, void *arg);

size_t replicas_count(const struct replicas *r);
/* at: below the count. Borrowed until the loop goes on. */
const struct replica *replicas_at(const struct replicas *r, size_t at);
bool replicas_none(const struct replicas *r);  /* the list is empty: there never will be any */
bool replicas_known(const struct replicas *r); /* each name has been found once */
void replicas_look(struct replicas *r);        /* names again, unless that is under way */
