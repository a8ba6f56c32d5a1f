/* feed_message: one text message of a sidecar's feed, checked. Pure. What passes here needs no
 * further check: ids are "{digits}.{digits}", texts hold nothing that JSON would have to escape.
 * Source: ARCHITECTURE.md, vpn-state, "Feed". Fuzz: tests/fuzz/fuzz_feed.c */
#pragma once

#include "sidecar-proxy/state/table.h"
#include "sidecar-proxy/state/verdicts.h"

#define FEED_MESSAGE_MAX (2 * 1024 * 1024) /* bytes */
#define FEED_LIST_MAX 16384                /* sessions or verdicts in one message */
#define FEED_TIME_MAX INT64_C(9007199254740991)

enum feed_event {
    FEED_HELLO,
    FEED_PART,     /* a snapshot with more to come */
    FEED_SNAPSHOT, /* its last part */
    FEED_UP,
    FEED_DOWN,
    FEED_VERDICT,
    FEED_INFO,
    FEED_BYE,
    FEED_EVENTS
};

struct feed_message {
    enum feed_event event;
    int64_t seq;                  /* -1: the type has none */
    struct table_hello hello;     /* FEED_HELLO; FEED_INFO: what is known of service_id and phase */
    bool has_service_id;          /* FEED_INFO */
    struct table_claim *sessions; /* owned; one for FEED_UP; FEED_DOWN: id and uuid are set */
    size_t session_count;
    struct verdict *verdicts; /* owned */
    size_t verdict_count;
    int64_t at_ms; /* FEED_DOWN */
};

/* Caller clears *ret. -EPROTO: what is wrong is in err. */
int feed_message_parse(const char *text, size_t len, struct feed_message *ret, struct err *err);
void feed_message_clear(struct feed_message *m);
const char *feed_event_name(enum feed_event event);
/* 1 to TABLE_EPOCH_MAX letters, digits and "-_.:"; for the roster too. */
bool feed_epoch_valid(const char *text);
