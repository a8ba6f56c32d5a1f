/* secret: keyed hashes. Everything that two of our processes must agree on is derived from the VPN
 * service's API key, which both have; the key itself never travels.
 *
 * A key is replaced while others still have the old one: the previous key is given beside it, and
 * then what is shown is derived from each, and what is accepted from either. So any two processes
 * understand each other that have one key in common, whichever of the two was started anew. */
#pragma once

#include "common/base.h"

#define SECRET_BYTES 32
#define SECRET_HEX_LEN 64 /* without the NUL */

/* For the log: why a token of ours is refused. */
#define SECRET_REFUSED "it has another VPN_SERVICE_API_KEY"
#define SECRET_KEYS 2
#define SECRET_TOKEN_MAX (SECRET_KEYS * (SECRET_HEX_LEN + 1) - 1) /* without the NUL */

struct service_keys { /* borrowed */
    const char *key;
    const char *previous; /* NULL: none */
};

struct secrets {
    uint8_t of[SECRET_KEYS][SECRET_BYTES]; /* one for each key */
    size_t count;
};

/* Purposes. Two processes must mean the same: of each there is one text. */
#define SECRET_STATE "vpn-state feed"        /* a state service: its feed and its roster */
#define SECRET_CONTROL "vpn-sidecar control" /* a sidecar: to be told to drain */
#define SECRET_TICKET "vpn-ticket"           /* a sidecar's CONNECT proxy */
#define SECRET_VERDICT "vpn-verdict"         /* fingerprints of devices' keys */

/* HMAC-SHA256(service_key, purpose). */
void secret_derive(const char *service_key, const char *purpose, uint8_t out[SECRET_BYTES]);
void secrets_derive(const struct service_keys *keys, const char *purpose, struct secrets *ret);
/* "{64 hex}" or "{64 hex}.{64 hex}". */
void secrets_hex(const struct secrets *s, char ret[SECRET_TOKEN_MAX + 1]);
/* What is shown, in that form: a bearer token. */
void secret_token(const struct service_keys *keys, const char *purpose,
                  char ret[SECRET_TOKEN_MAX + 1]);
/* HMAC-SHA256(key, bytes). */
void secret_hmac(const uint8_t key[SECRET_BYTES], const void *bytes, size_t len,
                 uint8_t out[SECRET_BYTES]);
void secret_hex(const uint8_t bytes[SECRET_BYTES], char out[SECRET_HEX_LEN + 1]);
/* In constant time. */
bool secret_equal(const uint8_t a[SECRET_BYTES], const uint8_t b[SECRET_BYTES]);
/* False unless text is exactly 64 lower-case hex digits. */
bool secret_from_hex(const char *text, uint8_t out[SECRET_BYTES]);
/* False unless text is "{64 lower-case hex}" or two of them with a dot between. */
bool secrets_from_hex(const char *text, struct secrets *ret);
/* Does one of them equal one of the others? In constant time. */
bool secrets_meet(const struct secrets *given, const struct secrets *accepted);
/* Is authorization "Bearer {token}", with a token of one of the accepted? The scheme in any case.
 */
bool secret_bearer_is(const char *authorization, const struct secrets *accepted);
/* Can an API key be sent at all? It goes into a header: no blanks, no line ends, ASCII only. */
bool secret_is_key(const char *text);
void secret_wipe(void *bytes, size_t len);
void secret_free(char *text); /* wiped first; NULL is fine */
/* Unpredictable bytes (getrandom). */
void secret_random(void *bytes, size_t len);
