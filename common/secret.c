#include "common/secret.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

static void hmac(const void *key, size_t key_len, const void *bytes, size_t len,
                 uint8_t out[SECRET_BYTES])
{
    unsigned out_len = SECRET_BYTES;

    if (HMAC(EVP_sha256(), key, (int)key_len, bytes, len, out, &out_len) == NULL ||
        out_len != SECRET_BYTES) {
        abort(); /* only out of memory gets here */
    }
}

void secret_derive(const char *service_key, const char *purpose, uint8_t out[SECRET_BYTES])
{
    hmac(service_key, strlen(service_key), purpose, strlen(purpose), out);
}

void secrets_derive(const struct service_keys *keys, const char *purpose, struct secrets *ret)
{
    ret->count = keys->previous != NULL ? 2 : 1;
    secret_derive(keys->key, purpose, ret->of[0]);
    if (keys->previous != NULL) {
        secret_derive(keys->previous, purpose, ret->of[1]);
    }
}

void secret_token(const struct service_keys *keys, const char *purpose,
                  char ret[SECRET_TOKEN_MAX + 1])
{
    struct secrets s;

    secrets_derive(keys, purpose, &s);
    secrets_hex(&s, ret);
    secret_wipe(&s, sizeof(s));
}

void secret_hmac(const uint8_t key[SECRET_BYTES], const void *bytes, size_t len,
                 uint8_t out[SECRET_BYTES])
{
    hmac(key, SECRET_BYTES, bytes, len, out);
}

void secret_hex(const uint8_t bytes[SECRET_BYTES], char out[SECRET_HEX_LEN + 1])
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < SECRET_BYTES; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[SECRET_HEX_LEN] = '\0';
}

void secrets_hex(const struct secrets *s, char ret[SECRET_TOKEN_MAX + 1])
{
    for (size_t i = 0; i < s->count; i++) {
        char *at = ret + i * (SECRET_HEX_LEN + 1);
        secret_hex(s->of[i], at);
        at[SECRET_HEX_LEN] = i + 1 < s->count ? '.' : '\0';
    }
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* text has SECRET_HEX_LEN bytes or more. */
static bool one_from_hex(const char *text, uint8_t out[SECRET_BYTES])
{
    for (size_t i = 0; i < SECRET_BYTES; i++) {
        int high = hex_digit(text[2 * i]);
        int low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

bool secret_from_hex(const char *text, uint8_t out[SECRET_BYTES])
{
    return strnlen(text, SECRET_HEX_LEN + 1) == SECRET_HEX_LEN && one_from_hex(text, out);
}

bool secrets_from_hex(const char *text, struct secrets *ret)
{
    size_t len = strnlen(text, SECRET_TOKEN_MAX + 1);

    if (len != SECRET_HEX_LEN && (len != SECRET_TOKEN_MAX || text[SECRET_HEX_LEN] != '.')) {
        return false;
    }
    ret->count = len == SECRET_HEX_LEN ? 1 : 2;
    for (size_t i = 0; i < ret->count; i++) {
        if (!one_from_hex(text + i * (SECRET_HEX_LEN + 1), ret->of[i])) {
            return false;
        }
    }
    return true;
}

bool secret_equal(const uint8_t a[SECRET_BYTES], const uint8_t b[SECRET_BYTES])
{
    return CRYPTO_memcmp(a, b, SECRET_BYTES) == 0;
}

bool secrets_meet(const struct secrets *given, const struct secrets *accepted)
{
    bool met = false;

    for (size_t i = 0; i < given->count; i++) {
        for (size_t k = 0; k < accepted->count; k++) {
            met |= secret_equal(given->of[i], accepted->of[k]);
        }
    }
    return met;
}

bool secret_bearer_is(const char *authorization, const struct secrets *accepted)
{
    static const char scheme[] = "Bearer ";
    struct secrets given;

    if (strncasecmp(authorization, scheme, sizeof(scheme) - 1) != 0) {
        return false;
    }
    return secrets_from_hex(authorization + sizeof(scheme) - 1, &given) &&
           secrets_meet(&given, accepted);
}

bool secret_is_key(const char *text)
{
    const char *p = text;

    while (*p > ' ' && *p < 0x7f) {
        p++;
    }
    return p > text && *p == '\0';
}

void secret_wipe(void *bytes, size_t len)
{
    OPENSSL_cleanse(bytes, len);
}

void secret_free(char *text)
{
    if (text != NULL) {
        secret_wipe(text, strlen(text));
        free(text);
    }
}

void secret_random(void *bytes, size_t len)
{
    uint8_t *p = bytes;

    while (len > 0) {
        ssize_t n = getrandom(p, len, 0);
        if (n > 0) {
            p += n;
            len -= (size_t)n;
        }
    }
}
