/* scenario: a text file of what arrives, what must be sent, what must be told, and time passing.
 *     > text       a line arrives, with CRLF; \xNN is that byte
 *     >. text      the same bytes without a line end
 *     >* N text    text N times, without a line end
 *     < text       this line must have been sent
 *     ! text       this must have been told (a callback)
 *     + 30s, 5ms   time passes
 *     = text       we or the peer do something
 *     @ name       the steps of name.inc in the same folder
 *     # text       for the reader, as are empty lines */
#pragma once

#include "common/err.h"

enum step_kind {
    STEP_ARRIVES, /* text, len: all bytes, with the line end */
    STEP_SENT,
    STEP_TOLD,
    STEP_PASSES, /* ms */
    STEP_ACT,
    STEP_REMARK, /* comments and empty lines, for recording */
};

struct step {
    enum step_kind kind;
    char *text; /* owned */
    size_t len;
    int64_t ms;
    char *source;   /* owned: the line as written */
    char *place;    /* owned: "file:line" */
    bool from_file; /* not included: belongs to the scenario itself */
};

struct scenario {
    struct step *steps; /* owned */
    size_t count;
};

/* -EINVAL names file and line. */
int scenario_read(const char *path, struct scenario *ret, struct err *err);
void scenario_clear(struct scenario *s);
