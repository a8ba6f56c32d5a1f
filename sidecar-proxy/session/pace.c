#include "sidecar-proxy/session/pace.h"

size_t pace_due(const struct pace *p, int64_t now_ms)
{
    uint64_t elapsed = now_ms > p->start_ms ? (uint64_t)(now_ms - p->start_ms) : 0;
    uint64_t timeout = (uint64_t)p->timeout_s * 1000;

    if (elapsed >= timeout) {
        return p->total;
    }
    uint64_t by_rate = elapsed * p->rate_per_minute / 60000;
    uint64_t by_time = elapsed * p->total / timeout;
    uint64_t due = 1 + (by_rate > by_time ? by_rate : by_time);
    return due < p->total ? (size_t)due : p->total;
}
