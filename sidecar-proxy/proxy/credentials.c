#include "sidecar-proxy/proxy/credentials.h"

#include "common/base64.h"
#include "common/secret.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* plain: "user:password" or a bare key. */
static void take_key(char *plain, struct credentials *ret)
{
    char *colon = strchr(plain, ':');
    const char *key = plain;

    if (colon != NULL) {
        *colon = '\0';
        key = colon[1] != '\0' ? colon + 1 : plain;
    }
    if (key[0] != '\0') { /* ":" alone claims nothing */
        *ret = (struct credentials){CREDENTIALS_KEY, xstrdup(key)};
    }
}

static void parse_basic(struct text value, struct credentials *ret)
{
    char *plain = NULL;
    size_t len = 0;

    if (base64_decode(value.at, value.len, &plain, &len, NULL) < 0) {
        ret->kind = CREDENTIALS_BAD;
        return;
    }
    if (memchr(plain, '\0', len) != NULL) {
        ret->kind = CREDENTIALS_BAD;
    } else {
        take_key(plain, ret);
    }
    secret_wipe(plain, len);
    free(plain);
}

void credentials_parse(struct text value, struct credentials *ret)
{
    size_t scheme = 0;

    *ret = (struct credentials){CREDENTIALS_GUEST, NULL};
    while (scheme < value.len && value.at[scheme] != ' ') {
        scheme++;
    }
    struct text rest = {value.at + scheme, value.len - scheme};
    while (rest.len > 0 && rest.at[0] == ' ') {
        rest.at++;
        rest.len--;
    }
    if (rest.len == 0) {
        return;
    }
    if (scheme == 5 && strncasecmp(value.at, "Basic", scheme) == 0) {
        parse_basic(rest, ret);
    } else if (scheme == 6 && strncasecmp(value.at, "Bearer", scheme) == 0) {
        *ret = (struct credentials){CREDENTIALS_KEY, xstrndup(rest.at, rest.len)};
    } else if (scheme == 10 && strncasecmp(value.at, "Vpn-Ticket", scheme) == 0) {
        *ret = (struct credentials){CREDENTIALS_TICKET, xstrndup(rest.at, rest.len)};
    }
}

void credentials_clear(struct credentials *c)
{
    if (c->text != NULL) {
        secret_wipe(c->text, strlen(c->text));
        free(c->text);
    }
    *c = (struct credentials){CREDENTIALS_GUEST, NULL};
}

char *credentials_basic(const char *key)
{
    size_t len = strlen(key);
    char *out = xmalloc(6 + (len + 2) / 3 * 4 + 1);
    char *at = out + 6;

    memcpy(out, "Basic ", 6);
    for (size_t i = 0; i < len; i += 3) {
        size_t left = len - i;
        uint32_t bits = (uint32_t)(uint8_t)key[i] << 16;
        bits |= left > 1 ? (uint32_t)(uint8_t)key[i + 1] << 8 : 0;
        bits |= left > 2 ? (uint32_t)(uint8_t)key[i + 2] : 0;
        *at++ = alphabet[bits >> 18];
        *at++ = alphabet[bits >> 12 & 63];
        *at++ = left > 1 ? alphabet[bits >> 6 & 63] : '=';
        *at++ = left > 2 ? alphabet[bits & 63] : '=';
    }
    *at = '\0';
    return out;
}
