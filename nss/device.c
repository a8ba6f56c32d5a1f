#include "nss/device.h"

#include <string.h>
#include <strings.h>

bool device_from_name(const char *name, char *uuid)
{
    static const char *const domains[] = {"balena", "vpn", "resin"};
    const char *dot = strchr(name, '.');

    if (dot == NULL) {
        return false;
    }
    size_t len = strlen(dot + 1);
    if (len > 0 && dot[len] == '.') {
        len--;
    }
    for (size_t i = 0; i < sizeof(domains) / sizeof(domains[0]); i++) {
        if (strlen(domains[i]) == len && strncasecmp(dot + 1, domains[i], len) == 0) {
            return uuid_fold(name, (size_t)(dot - name), uuid);
        }
    }
    return false;
}
