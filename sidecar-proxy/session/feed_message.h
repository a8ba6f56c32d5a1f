/* feed_message: the texts of the feed between a sidecar and the state service (vpn-state.v1).
 * Pure. Fuzz: tests/fuzz/fuzz_feed_message.c (what comes down). */
#pragma once

#include "common/buf.h"
#include "common/err.h"
#include "sidecar-proxy/session/sessions.h"
#include "sidecar-proxy/session/verdicts.h"

#define FEED_PART_MAX 1000         /* sessions or verdicts in one part of a snapshot */
#define FEED_MESSAGE_MAX (1 << 20) /* bytes of one message */

struct feed_identity { /* who we are; borrowed texts */
    const char *pool;
    int64_t index;
    const char *epoch;
    const char *proxy;  /* where our CONNECT proxy answers, "127.0.0.1:21001" */
    const char *subnet; /* "100.64.0.0/20" */
};

/* Appended to out; phase is one of our literals. service_id 0: none yet. */
void feed_put_hello(struct buf *out, const struct feed_identity *me, int64_t service_id,
                    const char *phase);
void feed_put_up(struct buf *out, uint64_t seq, const struct session *s);
void feed_put_down(struct buf *out, uint64_t seq, const struct session *s, int64_t at_ms);
void feed_put_verdict(struct buf *out, uint64_t seq, const struct verdict *v);
void feed_put_info(struct buf *out, uint64_t seq, int64_t service_id, const char *phase);
void feed_put_bye(struct buf *out);

/* A snapshot in parts: feed_put_part() until it returns false; each call makes one message. */
struct feed_snapshot {
    struct list *session, *sessions_end; /* the next one */
    struct list *verdict, *verdicts_end;
};
void feed_snapshot_begin(struct feed_snapshot *at, struct sessions *sessions,
                         struct verdicts *verdicts);
bool feed_put_part(struct buf *out, uint64_t seq, struct feed_snapshot *at);

enum feed_down_kind { FEED_ACK, FEED_STALE, FEED_OTHER };

struct feed_downward {
    enum feed_down_kind kind;
    uint64_t seq;                 /* of FEED_ACK */
    char uuid[UUID_TEXT_MAX + 1]; /* of FEED_STALE, as is id */
    struct session_id id;
};

/* -EPROTO: not a message of the protocol. A type we do not know is FEED_OTHER. */
int feed_parse(const char *text, size_t len, struct feed_downward *ret, struct err *err);
