/* lineup: which servers haproxy should have now, given the endpoints that there are and those that
 * there were: who is gone stays, draining, until nobody is connected to it or its time is over.
 * Pure but for what it remembers: each server that it wants, and since when one is leaving.
 *
 *   endpoint ready                    ready
 *   there, not ready                  drain
 *   gone                              drain; out when haproxy, having drained it, counts no
 *                                     connection, or after gone_ms
 *   same name, other address          as gone; in with its new address when the old one is out
 *   in haproxy when we begin, and     as gone: what somebody is connected to is not cut because we
 *   no endpoint                       were restarted */
#pragma once

#include "controller/balancer/servers.h"

struct lineup_entry {
    char name[SERVER_NAME_MAX + 1];
    char address[SERVER_ADDRESS_MAX + 1];
    int64_t leaving_ms; /* since when; -1: it is not */
    bool told;          /* an earlier plan wanted it drained because it is leaving */
};

struct lineup { /* initialise with gone_ms, zero the rest */
    int64_t gone_ms;
    bool begun;
    size_t leaving; /* entries that are */
    size_t cut;     /* connections that were left when a server's time was over; ever */
    size_t count;
    struct lineup_entry items[SERVERS_MAX];
};

/* observed: what haproxy says that it has; fresh: it was asked after the last plan was given to it.
 * A count of before means nothing: a newcomer may have been sent there since. now_ms: any clock
 * that does not go back. */
void lineup_plan(struct lineup *l, const struct server_list *endpoints,
                 const struct server_list *observed, bool fresh, int64_t now_ms,
                 struct server_list *desired);
