/* endpoints: from a Service's EndpointSlices to the servers that haproxy is to have. Pure.
 * Source: discovery.k8s.io/v1. A condition that is not said counts as the API says: ready and
 * serving yes, terminating no. A Service with publishNotReadyAddresses calls every Pod ready;
 * serving and terminating tell the truth, so all three are asked. */
#pragma once

#include "common/json.h"
#include "controller/balancer/servers.h"

#define SLICE_ENDPOINTS_MAX 1000 /* the API's own limit */

struct slice_endpoint {
    char name[SERVER_NAME_MAX + 1];       /* the Pod's; else its host name; else its address */
    char address[SERVER_ADDRESS_MAX + 1]; /* "10.0.0.1:1194", "[fd00::1]:1194" */
    bool v6;
    bool ready;
    bool terminating;
};

struct slice { /* what is kept of one EndpointSlice */
    size_t count;
    size_t unusable; /* endpoints that no server can be made of: no address, no such port, a name
                      * that haproxy does not take */
    struct slice_endpoint items[];
};

/* port_name: which of the slice's ports; a slice with one port that has no name is taken too.
 * Whatever object is, the answer is a slice; free() it. */
struct slice *slice_read(const cJSON *object, const char *port_name);

/* All slices of the Service together. A Pod that is in several is one server: terminating if any
 * says so, else ready if any does; of several addresses the IPv4 one, then that of an endpoint
 * which is not terminating, then of a ready one, then the first in order of text. In order of
 * names. At most SERVERS_MAX. -> how many more there were. */
size_t endpoints_merge(const struct slice *const *slices, size_t count, struct server_list *ret);
