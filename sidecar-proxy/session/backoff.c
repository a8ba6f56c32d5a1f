#include "sidecar-proxy/session/backoff.h"

#include "common/secret.h"

uint32_t backoff_between(uint32_t low, uint32_t high)
{
    uint32_t random = 0;

    secret_random(&random, sizeof(random));
    return low + (uint32_t)(random % ((uint64_t)high - low + 1));
}

uint32_t backoff_next_ms(struct backoff *b)
{
    uint64_t full = (uint64_t)b->first_ms << (b->attempts < 20 ? b->attempts : 20);

    b->attempts++;
    if (full > b->last_ms) {
        full = b->last_ms;
    }
    return backoff_between((uint32_t)(full / 2), (uint32_t)full);
}

void backoff_reset(struct backoff *b)
{
    b->attempts = 0;
}
