#include "controller/kube/bucket.h"

#include <assert.h>
#include <math.h>

struct bucket bucket_make(double per_s, unsigned burst, int64_t now_ms)
{
    assert(per_s > 0);
    return (struct bucket){.per_s = per_s, .burst = burst, .tokens = burst, .at_ms = now_ms};
}

static void fill(struct bucket *b, int64_t now_ms)
{
    if (now_ms > b->at_ms) {
        b->tokens = fmin(b->burst, b->tokens + (double)(now_ms - b->at_ms) * b->per_s / 1000);
        b->at_ms = now_ms;
    }
}

bool bucket_take(struct bucket *b, int64_t now_ms)
{
    fill(b, now_ms);
    if (b->tokens < 1) {
        return false;
    }
    b->tokens -= 1;
    return true;
}

int64_t bucket_reserve(struct bucket *b, int64_t now_ms)
{
    fill(b, now_ms);
    b->tokens -= 1;
    return b->tokens >= 0 ? 0 : (int64_t)ceil(-b->tokens * 1000 / b->per_s);
}
