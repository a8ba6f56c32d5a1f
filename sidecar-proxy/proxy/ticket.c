#include "sidecar-proxy/proxy/ticket.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Under each key. */
static void mac(const struct secrets *keys, const char *uuid, uint16_t port, int64_t expiry_s,
                struct secrets *ret)
{
    char text[UUID_TEXT_MAX + 48];
    int len = snprintf(text, sizeof(text), "v1\n%.*s\n%u\n%" PRId64, UUID_TEXT_MAX, uuid,
                       (unsigned)port, expiry_s);

    ret->count = keys->count;
    for (size_t i = 0; i < keys->count; i++) {
        secret_hmac(keys->of[i], text, (size_t)len, ret->of[i]);
    }
}

void ticket_sign(const struct secrets *keys, const char *uuid, uint16_t port, int64_t expiry_s,
                 char ret[TICKET_TEXT_MAX + 1])
{
    struct secrets macs;
    char hex[SECRET_TOKEN_MAX + 1];

    mac(keys, uuid, port, expiry_s, &macs);
    secrets_hex(&macs, hex);
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

enum ticket_result ticket_check(const struct secrets *keys, const char *text, const char *uuid,
                                uint16_t port, int64_t now_s)
{
    struct secrets given;
    struct secrets wanted;
    int64_t expiry = 0;
    const char *hex = NULL;

    if (strncmp(text, "v1.", 3) != 0 || !parse_expiry(text + 3, &expiry, &hex) ||
        !secrets_from_hex(hex, &given)) {
        return TICKET_FORGED;
    }
    mac(keys, uuid, port, expiry, &wanted);
    if (!secrets_meet(&given, &wanted)) {
        return TICKET_FORGED;
    }
    if (expiry < now_s || expiry > now_s + 2 * TICKET_LIFE_S) {
        return TICKET_EXPIRED;
    }
    return TICKET_VALID;
}
