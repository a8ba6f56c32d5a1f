/* secret: keyed hashes. Everything that two of our processes must agree on is derived from the VPN
 * service's API key, which both have; the key itself never travels. */
#pragma once

#include "common/base.h"

#define SECRET_BYTES 32
#define SECRET_HEX_LEN 64 /* without the NUL */

/* HMAC-SHA256(service_key, purpose). Purposes: "vpn-state feed", "vpn-ticket", "vpn-verdict",
 * "vpn-sidecar control". */
void secret_derive(const char *service_key, const char *purpose, uint8_t out[SECRET_BYTES]);
/* HMAC-SHA256(key, bytes). */
void secret_hmac(const uint8_t key[SECRET_BYTES], const void *bytes, size_t len,
                 uint8_t out[SECRET_BYTES]);
void secret_hex(const uint8_t bytes[SECRET_BYTES], char out[SECRET_HEX_LEN + 1]);
/* False unless text is exactly 64 lower-case hex digits. */
bool secret_from_hex(const char *text, uint8_t out[SECRET_BYTES]);
/* In constant time. */
bool secret_equal(const uint8_t a[SECRET_BYTES], const uint8_t b[SECRET_BYTES]);
/* Is authorization "Bearer {hex of token}"? In constant time; the scheme in any case. */
bool secret_bearer_is(const char *authorization, const uint8_t token[SECRET_BYTES]);
/* Can an API key be sent at all? It goes into a header: no blanks, no line ends, ASCII only. */
bool secret_is_key(const char *text);
void secret_wipe(void *bytes, size_t len);
/* Unpredictable bytes (getrandom). */
void secret_random(void *bytes, size_t len);
