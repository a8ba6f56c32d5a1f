/* pace: how many devices a drain may have moved by now. Even, at the asked rate, or faster when the
 * time allowed would not do. Pure. */
#pragma once

#include "common/base.h"

struct pace {
    int64_t start_ms;
    size_t total;             /* devices at the start */
    uint32_t rate_per_minute; /* at least 1 */
    uint32_t timeout_s;       /* all are due after this */
};

/* Devices due to have been moved at now_ms, at least 1, growing to total. */
size_t pace_due(const struct pace *p, int64_t now_ms);
