/* target: which device a CONNECT names. Pure.
 * {uuid}.balena, .vpn or .resin; the UUID's hex in any case, the ending in lower case only, as the
 * original has it. */
#pragma once

#include "common/uuid.h"
#include "sidecar-proxy/proxy/connect_head.h"

/* False: not a device (answer 403). uuid gets lower-case hex, at most UUID_TEXT_MAX + 1 bytes. */
bool target_parse(struct text host, char uuid[UUID_TEXT_MAX + 1]);
