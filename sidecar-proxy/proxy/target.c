#include "sidecar-proxy/proxy/target.h"

#include <string.h>

bool target_parse(struct text host, char uuid[UUID_TEXT_MAX + 1])
{
    static const char *const endings[] = {".balena", ".vpn", ".resin"};

    for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
        size_t len = strlen(endings[i]);
        if (host.len > len && memcmp(host.at + host.len - len, endings[i], len) == 0) {
            return uuid_fold(host.at, host.len - len, uuid);
        }
    }
    return false;
}
