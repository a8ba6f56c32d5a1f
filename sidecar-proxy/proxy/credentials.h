/* credentials: what a Proxy-Authorization field says about its sender. Pure.
 *     Basic {base64 of user:password}   the password is the key; if it is empty, the user is
 *     Basic {base64 without a colon}    the whole is the key: VPN hosts send this to one another
 *     Bearer {key}
 *     Vpn-Ticket {ticket}               see ticket.h
 * The scheme in any case. Nothing, an empty field or an unknown scheme: a guest.
 * Differs: the original took a lower-case scheme and Bearer for guests and closed the connection
 * without a word at an empty field. */
#pragma once

#include "sidecar-proxy/proxy/connect_head.h"

enum credentials_kind {
    CREDENTIALS_GUEST,
    CREDENTIALS_KEY,
    CREDENTIALS_TICKET,
    CREDENTIALS_BAD, /* Basic with something that is not base64, or that holds a NUL: 407 */
};

struct credentials {
    enum credentials_kind kind;
    char *text; /* owned: the key or ticket; NULL for the others */
};

/* value: the field's; len 0 if absent. */
void credentials_parse(struct text value, struct credentials *ret);
void credentials_clear(struct credentials *c); /* wipes the text */

/* "Basic ..." of a bare key, to show to another VPN host. Caller frees. */
char *credentials_basic(const char *key);
