/* ledger: what the balena API should believe of each device, and what it has been told. The
 * difference is what has to be reported. A told "connected" remembers for which session, so that a
 * device that left and came back is reported again although both are "connected".
 * Pure: no clock, no input or output. reporter_api.c carries the reports.
 *
 * One report is on its way at a time. Its end is ledger_end(): delivered, or nobody knows; what
 * nobody knows is repeated if it is still true, and undone if it is not. */
#pragma once

#include "sidecar-proxy/session/sessions.h"

enum ledger_told { TOLD_OFF, TOLD_ON, TOLD_UNKNOWN };

struct ledger {
    struct dict by_uuid;
    struct list clean;  /* nothing to do */
    struct list dirty;  /* to be reported, in order of becoming so */
    struct list on_way; /* in the report that is under way */
    struct list held;   /* adopted sessions: reported only if the API does not list them */
    size_t dirty_count; /* dirty and on_way */
    bool on_way_connected;
};

void ledger_init(struct ledger *l, size_t max); /* devices */
void ledger_clear(struct ledger *l);

/* The newest session of the device, or NULL: it has none. now_ms: for the report's lag.
 * False: the ledger is full; the device is then found by the next ledger_compare(). */
bool ledger_set(struct ledger *l, const char *uuid, const struct session_id *id, int64_t now_ms);
/* Lived before we did: the API probably knows; ledger_compare() finds out. */
bool ledger_adopt(struct ledger *l, const char *uuid, const struct session_id *id, int64_t now_ms);

/* Takes up to max devices of one kind for a report, the longest waiting first. uuids[] are borrowed
 * until ledger_end(). 0: there is nothing to report. */
size_t ledger_begin(struct ledger *l, size_t max, bool *connected, const char **uuids);
enum ledger_outcome {
    LEDGER_DELIVERED,
    LEDGER_UNKNOWN, /* it may or may not have been heard */
    LEDGER_REFUSED, /* it was not */
};
/* on_lag (or NULL) gets, of each delivered device, when it was set. */
void ledger_end(struct ledger *l, enum ledger_outcome outcome,
                void (*on_lag)(void *arg, int64_t since_ms), void *arg);

/* The API has forgotten all: everything is to be reported. */
void ledger_reset(struct ledger *l);

/* uuids: what the API lists as connected here; no report was under way since it was asked.
 * Listed without a session: reported disconnected. A session that is not listed is reported again,
 * but if it has been delivered before only at the second comparison in a row, and only if trusted:
 * the device may have moved on without us knowing, and then the API is right. */
struct ledger_difference {
    size_t missing;  /* sessions that the API does not list, to be reported */
    size_t extra;    /* listed devices without session, to be reported */
    size_t suspects; /* missing, not yet reported: compare again soon */
};
struct ledger_difference ledger_compare(struct ledger *l, const char *const *uuids, size_t count,
                                        bool trusted, int64_t now_ms);

size_t ledger_unreported(const struct ledger *l); /* devices; held ones are not counted */
int64_t ledger_oldest(const struct ledger *l);    /* when the longest waiting was set; 0: none */
