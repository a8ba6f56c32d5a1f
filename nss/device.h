/* device: names of devices in host names: {uuid}.balena, .vpn or .resin. Pure. libc only. */
#pragma once

#include "common/uuid.h"

/* False unless name is a device's; else uuid (UUID_TEXT_MAX + 1 bytes) gets it in lower case. The
 * domain is compared without regard to case, one dot at the end is accepted (RFC 1034). */
bool device_from_name(const char *name, char *uuid);
