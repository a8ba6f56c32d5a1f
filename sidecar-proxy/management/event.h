/* event: lines of the management interface become typed events. A line that begins with '>' tells
 * something unasked; any other belongs to the reply of a command. What happens to a client comes
 * as a block: a head, ENV lines of key=value, and "ENV,END"; the event is complete at its end.
 * Pure: storage is the parser's, bounded; keys that nobody uses are not kept.
 * Source: OpenVPN's doc/management-notes.txt, and 2.6.14 and 2.7.8 as observed (tests/replay).
 * Fuzz: tests/fuzz/fuzz_management_line.c */
#pragma once

#include "sidecar-proxy/management/link.h"

#define EVENT_TEXT_MAX 4096   /* a user name or password: OpenVPN's own limit is a byte less */
#define EVENT_REMOTE_MAX 80   /* "[address]:port" */
#define EVENT_VERSION_MAX 128 /* IV_VER; the device writes it */

enum event_kind {
    EVENT_NONE,        /* nothing yet (inside a block), or of a type that we do not know */
    EVENT_GREETING,    /* version */
    EVENT_HOLD,        /* a process waits to be let go */
    EVENT_CONNECT,     /* client: cid, kid, username, password, remote, version, knows_temp */
    EVENT_REAUTH,      /* the same */
    EVENT_ESTABLISHED, /* client: the same without kid and password */
    EVENT_DISCONNECT,  /* client: cid; of one that was established also bytes_in and bytes_out */
    EVENT_ADDRESS,     /* client: cid and address, its own (routes behind it are EVENT_NONE) */
    EVENT_BYTES,       /* client: cid, bytes_in, bytes_out */
    EVENT_REPLY,       /* reply */
};

struct event {
    enum event_kind kind;
    struct link_client client; /* texts are the parser's: good until the next line */
    uint64_t version;          /* of the interface: 5 in OpenVPN 2.6, 6 in 2.7 */
    char *reply;               /* the whole line, borrowed from the caller */
};

struct event_parser {
    enum event_kind open; /* kind of the block that is being read, EVENT_NONE: none */
    struct link_client client;
    char username[EVENT_TEXT_MAX];
    char common_name[EVENT_TEXT_MAX];
    char password[EVENT_TEXT_MAX];
    char version[EVENT_VERSION_MAX];
    char address[EVENT_REMOTE_MAX]; /* of the peer */
    char port[EVENT_REMOTE_MAX];
    char remote[2 * EVENT_REMOTE_MAX + sizeof("[]:")];
};

void event_parser_init(struct event_parser *p);
void event_parser_reset(struct event_parser *p); /* for a new connection; wipes the password */

/* line is cut up. 0: *ret is set. -EPROTO: not what OpenVPN says: numbers that are none, or a block
 * inside a block; the connection is out of step and has to be given up.
 * Wipe with event_parser_wipe() once the event has been dealt with. */
int event_parse(struct event_parser *p, char *line, struct event *ret);
void event_parser_wipe(struct event_parser *p); /* the password */
