/* relay: moves bytes between two sockets, both ways, until both have ended. Raw sockets with
 * edge-triggered epoll; one thread. Copies through a buffer that the thread's tunnels share; a flow
 * that streams (RELAY_STREAK reads in a row of RELAY_FULL or more) is spliced through a pooled pipe
 * and goes back to copying when it pauses. An idle pair of sockets holds neither buffer nor pipe.
 * Measured: a copy is cheaper for small messages, splice costs half as much per byte. What goes
 * through TLS is always copied. */
#pragma once

#include "sidecar-proxy/proxy/end.h"
#include "sidecar-proxy/proxy/pipes.h"

#define RELAY_BUFFER (64 * 1024) /* bytes, one a thread */
#define RELAY_FULL (16 * 1024)   /* a read of this size or more hints at a stream */
#define RELAY_STREAK 4
#define RELAY_ROUNDS 8 /* reads of one flow before the thread looks at other tunnels */

struct relay_chunk; /* bytes that were read but that the other side did not take yet */

struct relay_flow { /* from ends[i] to ends[1 - i] */
    uint64_t bytes;
    struct relay_chunk *chunk; /* owned */
    struct pipe *pipe;         /* borrowed from the thread's pool */
    uint32_t in_pipe;          /* bytes in it */
    uint8_t streak;            /* full reads in a row */
    bool ended;                /* the source's FIN was passed on */
    bool source_ended;         /* ... was read */
    bool aborted;              /* the source was reset: no FIN is to follow its last bytes */
};

struct relay {
    struct relay_end ends[2];
    struct relay_flow flows[2];
};

struct relay_thread { /* what a thread's relays share */
    char *buffer;     /* RELAY_BUFFER bytes */
    struct pipes pipes;
    int64_t now_us;
    uint64_t spliced; /* bytes, for a metric */
};

enum relay_result {
    RELAY_WAIT,  /* nothing more to do until an event */
    RELAY_MORE,  /* its rounds are used up: call again soon */
    RELAY_ENDED, /* all was passed on, the FIN included; once both ways have: close both sockets */
    RELAY_RESET, /* the source, or the other side while being written to, is gone by RST or error */
};

/* Moves what can be moved from ends[from]. After RELAY_RESET *at_fault is the end that is gone. */
enum relay_result relay_pump(struct relay *relay, int from, struct relay_thread *thread,
                             int *at_fault);
/* Puts bytes that were read ahead (behind a head) at the front of the flow from ends[from]. */
void relay_prepend(struct relay *relay, int from, const char *bytes, size_t len);
/* Anything read but not yet written? */
bool relay_holds(const struct relay *relay, int from);
/* Frees chunks, gives pipes back; the sockets stay the caller's. */
void relay_clear(struct relay *relay, struct relay_thread *thread);
