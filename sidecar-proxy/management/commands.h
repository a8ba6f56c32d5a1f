/* commands: what we say to OpenVPN, and what it owes us in return. Replies carry no number: they
 * come in the order of the commands, so each command sent is remembered with the shape of its
 * reply. Output waits in a queue until the socket takes it. Pure. Source: OpenVPN 2.6.14 and 2.7.8
 * as observed (tests/replay); README.md here has the limits. */
#pragma once

#include "common/buf.h"

#define COMMAND_MAX 900 /* bytes of a line; at 1,025 OpenVPN takes the rest for another command */
#define COMMAND_TEXT_MAX 200 /* bytes of one free text before quoting; OpenVPN's limit is 255 */
#define COMMANDS_MAX 65536   /* waiting for their replies */
#define COMMANDS_OUTPUT_MAX 4194304 /* bytes waiting to be sent */
#define COMMAND_TIMEOUT_MS 10000    /* without a line of a reply that is owed */

enum command_kind {
    COMMAND_PID,
    COMMAND_VERSION,
    COMMAND_BYTECOUNT,
    COMMAND_STATUS,
    COMMAND_HOLD_RELEASE,
    COMMAND_ALLOW,
    COMMAND_DENY,
    COMMAND_KILL,
    COMMAND_TERMINATE,
    COMMAND_KINDS,
};

struct command {
    enum command_kind kind;
    uint64_t cid;    /* ALLOW, DENY, KILL */
    uint64_t kid;    /* ALLOW, DENY */
    int64_t sent_ms; /* monotonic */
};

struct commands {
    struct command *owed; /* ring, owned; grows up to COMMANDS_MAX */
    size_t first;
    size_t count;
    size_t size;                   /* of the ring: 0 or a power of two */
    size_t pending[COMMAND_KINDS]; /* how many of each kind are owed */
    bool in_body;                  /* the first line of a reply of many has come */
    int64_t heard_ms;              /* the last line of a reply */
    struct buf output;
};

void commands_init(struct commands *c);
void commands_clear(struct commands *c); /* frees; can be used again */

/* Puts the command into the output. text: its arguments with a leading blank, "" for none. False
 * when a limit is reached: OpenVPN has stopped reading, the connection is of no use. */
bool commands_send(struct commands *c, const struct command *command, const char *text);

enum reply {
    REPLY_LINE,     /* of a body that goes on */
    REPLY_OK,       /* SUCCESS, or the body's END */
    REPLY_ERROR,    /* ERROR */
    REPLY_MISMATCH, /* nothing is owed, or not this: out of step */
};

/* line is a reply's (it does not begin with '>'). *ret: the command it belongs to, except with
 * REPLY_MISMATCH. */
enum reply commands_take_reply(struct commands *c, const char *line, int64_t now_ms,
                               struct command *ret);

/* When the reply that is owed first is overdue, monotonic ms; INT64_MAX: none is owed. */
int64_t commands_deadline(const struct commands *c);
const char *command_name(enum command_kind kind); /* "client-auth-nt" */

/* ' "text"' is appended: quoted for OpenVPN's reader, control bytes left out, cut to
 * COMMAND_TEXT_MAX bytes but never inside a UTF-8 character. */
void command_quote(struct buf *out, const char *text);
