/* bucket: so many at once, so many a second after that. Pure. */
#pragma once

#include "common/base.h"

struct bucket {
    double per_s;
    double burst;
    double tokens; /* below 0: that many have been promised ahead */
    int64_t at_ms; /* when tokens was true */
};

struct bucket bucket_make(double per_s, unsigned burst, int64_t now_ms); /* full */
/* Takes one now if there is one. */
bool bucket_take(struct bucket *b, int64_t now_ms);
/* Takes one in any case and says in how many ms it may be used (0: now). */
int64_t bucket_reserve(struct bucket *b, int64_t now_ms);
