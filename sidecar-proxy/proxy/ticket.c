#include "sidecar-proxy/proxy/ticket.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void mac(const uint8_t key[SECRET_BYTES], const char *uuid, uint16_t port, int64_t expiry_s,
                uint8_t ret[SECRET_BYTES])
{
    char text[UUID_TEXT_MAX + 48];
    int len = snprintf(text, sizeof(text), "v1\n%.*s\n%u\n%" PRId64, UUID_TEXT_MAX, uuid,
                       (unsigned)port, expiry_s);

    secret_hmac(key, text, (size_t)len, ret);
}

void ticket_sign(const uint8_t key[SECRET_BYTES], const char *uuid, uint16_t port, int64_t expiry_s,
                 char ret[TICKET_TEXT_MAX + 1])
{
    uint8_t bytes[SECRET_BYTES];
    char hex[SECRET_HEX_LEN + 1];

    mac(key, uuid, port, expiry_s, bytes);
    secret_hex(bytes, hex);
    snprintf(ret, TICKET_TEXT_MAX + 1, "v1.%" PRId64 ".%s", expiry_s, hex);
}

/* Digits up to the dot; *rest behind it. Twelve digits are 30,000 years. */
static bool parse_expiry(const char *text, int64_t *ret, const char **rest)
{
    int64_t value = 0;
    size_t len = strspn(text, "0123456789");

    if (len == 0 || len > 12 || text[len] != '.' || (text[0] == '0' && len > 1)) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        value = value * 10 + (text[i] - '0');
    }
    *ret = value;
    *rest = text + len + 1;
    return true;
}

enum ticket_result ticket_check(const uint8_t key[SECRET_BYTES], const char *text, const char *uuid,
                                uint16_t port, int64_t now_s)
{
    uint8_t given[SECRET_BYTES];
    uint8_t wanted[SECRET_BYTES];
    int64_t expiry = 0;
    const char *hex = NULL;

    if (strncmp(text, "v1.", 3) != 0 || !parse_expiry(text + 3, &expiry, &hex) ||
        !secret_from_hex(hex, given)) {
        return TICKET_FORGED;
    }
    mac(key, uuid, port, expiry, wanted);
    if (!secret_equal(given, wanted)) {
        return TICKET_FORGED;
    }
    if (expiry < now_s || expiry > now_s + 2 * TICKET_LIFE_S) {
        return TICKET_EXPIRED;
    }
    return TICKET_VALID;
}
