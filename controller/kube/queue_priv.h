/* queue_priv: for queue_metrics.c. */
#pragma once

#include "controller/kube/queue.h"

int64_t queue_unfinished_ms(const struct queue *q);
