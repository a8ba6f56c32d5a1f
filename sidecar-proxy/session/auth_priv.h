/* The parts of auth among themselves: auth.c takes the questions, auth_flight.c decides on a
 * credential that is not known well enough. */
#pragma once

#include "sidecar-proxy/session/auth.h"
#include "sidecar-proxy/session/flaps.h"
#include "sidecar-proxy/session/refusals.h"
#include "sidecar-proxy/session/session_metrics.h"

/* Seconds after which a device is to come again. */
#define DRAIN_BACKOFF 5, 10
#define BUSY_BACKOFF 5, 30
#define ILL_BACKOFF 5, 30
#define FLAP_BACKOFF 60, 60

enum flight_state { FLIGHT_WAITING, FLIGHT_ASKING_API, FLIGHT_ASKING_STATE, FLIGHT_ENDED };

/* One credential that is being decided upon, for all who wait for it. */
struct flight {
    struct auth *auth;
    enum flight_state state;
    struct fingerprint fingerprint;
    char uuid[UUID_TEXT_MAX + 1];
    char *key; /* wiped once the API is asked */
    struct api_call *call;
    struct verdict_query *query;
    struct loop_timer *patience;
    int64_t vouched_at_ms;
    struct list questions;
    struct dict_node by_fingerprint;
    struct list in_waiting; /* or alone */
};

struct question {
    uint64_t cid, kid;
    bool reauth;
    char remote[64];
    int64_t asked_ms;
    struct list in_flight;
};

struct auth {
    struct auth_options o;
    struct link *link;
    uint64_t generation;
    bool draining;
    struct dict flights; /* by fingerprint */
    struct list waiting; /* for their turn, in order */
    size_t waiting_count;
    size_t in_flight;
    struct refusals refusals;
    struct flaps flaps;
};

/* Answers, each counted and logged once. uuid NULL: it is none. */
void auth_allow(struct auth *a, const char *uuid, const struct question *q, enum auth_source source,
                enum auth_result result);
void auth_refuse(struct auth *a, const char *uuid, const struct question *q,
                 enum auth_source source, const char *why);
void auth_put_off(struct auth *a, const char *uuid, const struct question *q,
                  enum auth_source source, const char *why, uint32_t low_s, uint32_t high_s);

/* A flight that waits for its turn; it frees itself with its decision. */
struct flight *flight_new(struct auth *a, const char *uuid, const char *key,
                          const struct fingerprint *fingerprint);
void flight_add(struct flight *f, const struct question *q);
void flight_forget_questions(struct flight *f); /* what is learnt is of use all the same */
void flight_drop(struct flight *f);             /* frees it, answers nobody */
void flights_take_turns(struct auth *a);        /* calls as many as may be called */
