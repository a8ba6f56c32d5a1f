/* ticket: what a connect-proxy shows to a sidecar's proxy so that it need not ask the API again:
 * "v1.{expiry, Unix s}.{64 hex}", where hex is HMAC-SHA256 of "v1\n{uuid}\n{port}\n{expiry}" under
 * secret_derive(service key, "vpn-ticket"); with a previous key ".{64 hex}" under that follows.
 * Pure. A ticket may be used again until it expires: it opens one port of one device, for the
 * holder of the same service key. */
#pragma once

#include "common/uuid.h"

#include "common/secret.h"

#define TICKET_LIFE_S 30
#define TICKET_TEXT_MAX (3 + 20 + 1 + SECRET_TOKEN_MAX) /* without the NUL */

enum ticket_result {
    TICKET_VALID,
    TICKET_EXPIRED,
    TICKET_FORGED, /* malformed, another key, or for another device or port */
};

void ticket_sign(const struct secrets *keys, const char *uuid, uint16_t port, int64_t expiry_s,
                 char ret[TICKET_TEXT_MAX + 1]);
/* A ticket may be at most twice its life ahead: clocks differ, but not by more. */
enum ticket_result ticket_check(const struct secrets *keys, const char *text, const char *uuid,
                                uint16_t port, int64_t now_s);
