/* recent: what happened lately, for the page: the last events, how many devices were online over
 * the last half hour, how many came and went in the last minute. Watches the table. Fixed size. */
#pragma once

#include "common/buf.h"
#include "sidecar-proxy/state/table.h"

#define RECENT_EVENTS 64
#define RECENT_SAMPLES 360 /* of RECENT_SAMPLE_MS: half an hour */
#define RECENT_SAMPLE_MS 5000
#define RECENT_SECONDS 60 /* the window of the rates */
#define RECENT_NEWS_MS                                                         \
    60000 /* a session that began earlier is no news: a snapshot told us of it \
           */

enum recent_kind { RECENT_ONLINE, RECENT_OFFLINE, RECENT_INSTANCE };

struct recent_event {
    int64_t at_ms; /* Unix time, our clock */
    enum recent_kind kind;
    char uuid[UUID_TEXT_MAX + 1]; /* "" of instances */
    char pool[TABLE_POOL_MAX + 1];
    uint32_t index;
    uint32_t address; /* of devices, host byte order */
    const char *what; /* of instances: "connected", "lost its feed", ...; static */
};

struct recent {
    struct recent_event events[RECENT_EVENTS];
    uint64_t event_count; /* ever; the newest is at (event_count - 1) % RECENT_EVENTS */
    uint32_t samples[RECENT_SAMPLES];
    uint64_t sample_count;
    uint32_t came[RECENT_SECONDS], went[RECENT_SECONDS]; /* by second of the monotonic clock */
    int64_t second;
    struct table *table;
    struct table_watcher watcher;
    struct table_now (*now)(void *arg);
    void *now_arg;
};

void recent_init(struct recent *r, struct table *t, struct table_now (*now)(void *arg),
                 void *now_arg);
void recent_clear(struct recent *r);
void recent_sample(struct recent *r); /* each RECENT_SAMPLE_MS */
/* The n-th newest event, NULL beyond the oldest. */
const struct recent_event *recent_event(const struct recent *r, size_t n);
/* How many devices came online, or went, within the last minute. */
void recent_rates(struct recent *r, uint32_t *came, uint32_t *went);
/* {"devices","came","went","events":[{"at","type","pool","index","uuid","address"}...],
 *  "samples":[...]}; events of instances have "what" in place of the last two. */
void recent_render(struct recent *r, struct buf *b);
