#include "sidecar-proxy/proxy/source.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

struct source source_of(const struct sockaddr_storage *address)
{
    struct source source = {.ip = {[10] = 0xff, [11] = 0xff}};

    if (address->ss_family == AF_INET6) {
        memcpy(source.ip, &((const struct sockaddr_in6 *)address)->sin6_addr, sizeof(source.ip));
    } else {
        memcpy(source.ip + 12, &((const struct sockaddr_in *)address)->sin_addr, 4);
    }
    return source;
}

bool source_is_v4(const struct source *source)
{
    struct in6_addr in6;

    memcpy(&in6, source->ip, sizeof(in6));
    return IN6_IS_ADDR_V4MAPPED(&in6);
}

void source_format(const struct source *source, char ret[SOURCE_TEXT_MAX])
{
    if (source_is_v4(source)) {
        inet_ntop(AF_INET, source->ip + 12, ret, SOURCE_TEXT_MAX);
    } else {
        inet_ntop(AF_INET6, source->ip, ret, SOURCE_TEXT_MAX);
    }
}
