#include "common/backoff.h"

#include "common/secret.h"

uint32_t backoff_between(uint32_t low, uint32_t high)
{
    uint32_t random = 0;

    secret_random(&random, sizeof(random));
    return low + (uint32_t)(random % ((uint64_t)high - low + 1));
}

uint32_t backoff_full_ms(uint32_t first_ms, uint32_t last_ms, unsigned attempts)
{
    uint64_t full = (uint64_t)first_ms << (attempts < 31 ? attempts : 31);

    return full > last_ms ? last_ms : (uint32_t)full;
}

uint32_t backoff_next_ms(struct backoff *b)
{
    uint32_t full = backoff_full_ms(b->first_ms, b->last_ms, b->attempts);

    b->attempts++;
    return backoff_between(full / 2, full);
}

void backoff_reset(struct backoff *b)
{
    b->attempts = 0;
}
