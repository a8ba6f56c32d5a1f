#include "sidecar-proxy/proxy/proxy_header.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#define V1_MAX 107 /* bytes, CRLF included */
#define V1_START "PROXY "
#define V1_FIELDS 5 /* family, two addresses, two ports */
#define V1_FIELD_MAX 46

#define V2_SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V2_SIGNATURE_LEN 12
#define V2_HEAD 16 /* bytes before the addresses */

enum { V2_LOCAL = 0x20, V2_PROXY = 0x21 };
enum { V2_UNSPEC = 0x00, V2_TCP4 = 0x11, V2_TCP6 = 0x21, V2_UNIX_STREAM = 0x31 };

static void set_v4(struct proxy_header *ret, const void *address, uint16_t port)
{
    struct sockaddr_in *in = (struct sockaddr_in *)&ret->source;

    in->sin_family = AF_INET;
    in->sin_port = htons(port);
    memcpy(&in->sin_addr, address, sizeof(in->sin_addr));
    ret->has_source = true;
}

static void set_v6(struct proxy_header *ret, const void *address, uint16_t port)
{
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&ret->source;

    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(port);
    memcpy(&in6->sin6_addr, address, sizeof(in6->sin6_addr));
    ret->has_source = true;
}

/* Decimal, without leading zeros. */
static bool parse_port(const char *text, uint16_t *ret)
{
    unsigned value = 0;
    size_t len = strspn(text, "0123456789");

    if (len == 0 || len > 5 || text[len] != '\0' || (text[0] == '0' && len > 1)) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        value = value * 10 + (unsigned)(text[i] - '0');
    }
    *ret = (uint16_t)value;
    return value <= UINT16_MAX;
}

/* Cuts the line at its single blanks. */
static bool split(const char *line, size_t len, char fields[V1_FIELDS][V1_FIELD_MAX])
{
    size_t count = 0;

    for (size_t at = 0; at <= len; count++) {
        const char *blank = memchr(line + at, ' ', len - at);
        size_t n = (blank != NULL ? (size_t)(blank - line) : len) - at;
        if (count == V1_FIELDS || n == 0 || n >= V1_FIELD_MAX ||
            memchr(line + at, '\0', n) != NULL) {
            return false;
        }
        memcpy(fields[count], line + at, n);
        fields[count][n] = '\0';
        at += n + 1;
    }
    return count == V1_FIELDS;
}

static int parse_v1_line(const char *line, size_t len, struct proxy_header *ret)
{
    char fields[V1_FIELDS][V1_FIELD_MAX];
    uint8_t source[16];
    uint8_t target[16];
    uint16_t port = 0;
    uint16_t target_port = 0;

    if (len >= 7 && memcmp(line, "UNKNOWN", 7) == 0 && (len == 7 || line[7] == ' ')) {
        return 0;
    }
    if (!split(line, len, fields) || !parse_port(fields[3], &port) ||
        !parse_port(fields[4], &target_port)) {
        return -EPROTO;
    }
    bool v6 = strcmp(fields[0], "TCP6") == 0;
    int family = v6 ? AF_INET6 : AF_INET;
    if ((!v6 && strcmp(fields[0], "TCP4") != 0) || inet_pton(family, fields[1], source) != 1 ||
        inet_pton(family, fields[2], target) != 1) {
        return -EPROTO;
    }
    (v6 ? set_v6 : set_v4)(ret, source, port);
    return 0;
}

static int parse_v1(const char *bytes, size_t len, struct proxy_header *ret)
{
    const size_t start = strlen(V1_START);
    const char *end = memmem(bytes, len < V1_MAX ? len : V1_MAX, "\r\n", 2);

    if (end == NULL) {
        return len < V1_MAX ? 0 : -EPROTO;
    }
    size_t line = (size_t)(end - bytes);
    struct proxy_header header = {.has_source = false};
    if (line < start || parse_v1_line(bytes + start, line - start, &header) < 0) {
        return -EPROTO;
    }
    *ret = header;
    return (int)line + 2;
}

static uint16_t big_endian(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static int take_v2_addresses(const uint8_t *head, size_t rest, struct proxy_header *ret)
{
    const uint8_t *addresses = head + V2_HEAD;

    switch (head[13]) {
    case V2_TCP4: /* source, target, their ports */
        if (rest < 12) {
            return -EPROTO;
        }
        set_v4(ret, addresses, big_endian(addresses + 8));
        return 0;
    case V2_TCP6:
        if (rest < 36) {
            return -EPROTO;
        }
        set_v6(ret, addresses, big_endian(addresses + 32));
        return 0;
    case V2_UNSPEC:
    case V2_UNIX_STREAM:
        return 0;
    default:
        return -EPROTO;
    }
}

static int parse_v2(const char *bytes, size_t len, struct proxy_header *ret)
{
    const uint8_t *head = (const uint8_t *)bytes;
    struct proxy_header header = {.has_source = false};

    if (len < V2_HEAD) {
        return 0;
    }
    size_t rest = big_endian(head + 14);
    if ((head[12] != V2_LOCAL && head[12] != V2_PROXY) || V2_HEAD + rest > PROXY_HEADER_MAX) {
        return -EPROTO;
    }
    if (len < V2_HEAD + rest) {
        return 0;
    }
    if (head[12] == V2_PROXY && take_v2_addresses(head, rest, &header) < 0) {
        return -EPROTO;
    }
    *ret = header;
    return V2_HEAD + (int)rest;
}

static bool starts_like(const char *bytes, size_t len, const char *start, size_t start_len)
{
    return memcmp(bytes, start, len < start_len ? len : start_len) == 0;
}

int proxy_header_parse(const char *bytes, size_t len, struct proxy_header *ret)
{
    if (len == 0) {
        return 0;
    }
    if (starts_like(bytes, len, V1_START, strlen(V1_START))) {
        return parse_v1(bytes, len, ret);
    }
    if (starts_like(bytes, len, V2_SIGNATURE, V2_SIGNATURE_LEN)) {
        return parse_v2(bytes, len, ret);
    }
    return -EPROTO;
}
