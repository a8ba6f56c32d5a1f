#include "sidecar-proxy/management/fields.h"

#include <arpa/inet.h>
#include <string.h>

bool field_u64(const char *text, uint64_t *ret)
{
    uint64_t n = 0;

    if (*text == '\0') {
        return false;
    }
    for (; *text != '\0'; text++) {
        uint64_t digit = (uint64_t)(unsigned char)*text - '0';
        if (digit > 9 || n > (UINT64_MAX - digit) / 10) {
            return false;
        }
        n = n * 10 + digit;
    }
    *ret = n;
    return true;
}

bool field_ipv4(const char *text, uint32_t *ret)
{
    struct in_addr address;

    if (inet_pton(AF_INET, text, &address) != 1) {
        return false;
    }
    *ret = ntohl(address.s_addr);
    return true;
}

size_t fields_split(char *line, char separator, char **fields, size_t max)
{
    size_t count = 1;

    fields[0] = line;
    while (count < max) {
        char *end = strchr(fields[count - 1], separator);
        if (end == NULL) {
            break;
        }
        *end = '\0';
        fields[count++] = end + 1;
    }
    return count;
}
