/* For tests: run a loop until something is true; a minute without it is a failure. */
#pragma once

#include "common/loop.h"

typedef bool (*until_fn)(void);

/* False: it did not come about. */
bool loop_until(struct loop *loop, until_fn condition);
