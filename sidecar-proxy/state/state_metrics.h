/* state_metrics: the numbers of vpn-state. */
#pragma once

#include "common/metrics.h"

struct service;

struct state_metrics { /* counters that their places count up; all others are read when asked for */
    struct metric feed_messages;
    struct metric feed_faults;   /* feeds closed by us for what they sent */
    struct metric feeds_refused; /* wrong token */
    struct metric lookups_online, lookups_offline, lookups_unready, lookups_malformed;
    struct metric streams_slow, streams_refused;
};
extern struct state_metrics state_metrics;

void state_metrics_register(struct service *service);
/* All metrics, and one line an instance. -EMSGSIZE as buf_append(). */
int state_metrics_render(const struct service *service, struct buf *out);
