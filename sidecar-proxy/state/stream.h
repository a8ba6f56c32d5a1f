/* stream: answers that are one JSON object a line: the list of devices, and the watch, which goes
 * on with what happens. Rows are written as the reader takes them, the table may change meanwhile.
 * A watcher whose queue is full is told {"type":"slow"} and cut: it begins anew and misses nothing.
 * Bounded: STREAMS_MAX at a time, STREAM_QUEUE_MAX bytes each. */
#pragma once

#include "common/http_server.h"
#include "sidecar-proxy/state/table.h"

#define STREAMS_MAX 64
#define STREAM_CHUNK_BYTES (64 * 1024) /* rows are written up to this mark */
#define STREAM_QUEUE_MAX (512 * 1024)  /* events beyond it: slow */
#define STREAM_CONTENT_TYPE "application/x-ndjson"

struct streams;

struct stream_filter {
    uint32_t index;                 /* 0: all instances */
    uint32_t limit;                 /* 0: no limit */
    char prefix[UUID_TEXT_MAX + 1]; /* of the UUID; "": all */
};

struct streams *streams_new(struct loop *loop, struct table *table);
/* After http_server_close(). */
void streams_free(struct streams *s);
/* Answers x with all devices that pass the filter, then ends. 503 when there are too many. */
void streams_list(struct streams *s, struct http_exchange *x, const struct stream_filter *filter);
/* Answers x with an "up" for each device, "synced", then what happens, until the caller goes. */
void streams_watch(struct streams *s, struct http_exchange *x);
size_t streams_count(const struct streams *s);
