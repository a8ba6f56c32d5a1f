#include "sidecar-proxy/session/device_router.h"

#include "common/subnet.h"

#include <stdio.h>

static void find(void *arg, struct route_query *query, const struct route_request *request)
{
    const struct session *s = sessions_find(arg, request->uuid);
    struct route route = {.kind = ROUTE_OFFLINE, .why = "no session here"};

    if (s != NULL) {
        route.kind = ROUTE_DEVICE;
        route.port = request->port;
        route.why = "its session is here";
        snprintf(route.address, sizeof(route.address), "%s", address_format(s->address).text);
    }
    proxy_route_answer(query, &route);
}

static void cancel(void *arg, struct route_query *query)
{
    /* each query is answered within find() */
}

struct proxy_router device_router(const struct sessions *sessions)
{
    return (struct proxy_router){.find = find, .cancel = cancel, .arg = (void *)sessions};
}
