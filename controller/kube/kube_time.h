/* kube_time: the API's times, RFC 3339, as Unix time. Pure. */
#pragma once

#include "common/err.h"

struct kube_time_text {
    char text[32];
};
struct kube_time_text kube_time_micro(int64_t unix_ms);  /* "2026-11-23T10:00:00.123000Z" */
struct kube_time_text kube_time_second(int64_t unix_ms); /* "2026-11-23T10:00:00Z" */
/* With or without fraction; Z or an offset. -EINVAL: it is none. */
int kube_time_parse(const char *text, int64_t *unix_ms);
