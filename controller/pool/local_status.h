/* local_status: what `vpn-controller local status` shows: made from the JSON that the controller's
 * own socket gives. Pure. */
#pragma once

#include "common/buf.h"
#include "common/err.h"

/* json: of GET /v1/status. now_ms: Unix time, for uptimes. -EPROTO: not such a text. */
int local_status_table(const char *json, size_t len, int64_t now_ms, struct buf *ret,
                       struct err *err);
/* "3d4h", "2h05m", "12m", "45s"; "-" for a start of 0. */
struct uptime_text {
    char text[24];
} uptime_text(int64_t started_at_ms, int64_t now_ms);
