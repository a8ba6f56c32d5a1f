#include "sidecar-proxy/proxy/relay.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

struct relay_chunk {
    size_t at;
    size_t len; /* from at on */
    char bytes[];
};

/* What one step of a flow came to. */
enum step {
    STEP_ON,   /* something moved: go on */
    STEP_WAIT, /* a side is not ready */
    STEP_EOF,  /* the source sent FIN and all before it is through */
    STEP_SOURCE_GONE,
    STEP_SINK_GONE,
};

struct flow_ends {
    struct relay_flow *flow;
    const struct relay_flow *back; /* the other way */
    struct relay_end *source;
    struct relay_end *sink;
    struct relay_thread *thread;
};

static bool would_block(int error)
{
    return error == EAGAIN || error == EWOULDBLOCK; /* these calls never sleep, so never EINTR */
}

static void keep(struct relay_flow *flow, const char *bytes, size_t len)
{
    struct relay_chunk *chunk = xmalloc(sizeof(*chunk) + len);

    chunk->at = 0;
    chunk->len = len;
    memcpy(chunk->bytes, bytes, len);
    flow->chunk = chunk;
}

static void drop_chunk(struct relay_flow *flow)
{
    free(flow->chunk);
    flow->chunk = NULL;
}

static enum step send_failed(struct flow_ends *f)
{
    if (would_block(errno)) {
        f->sink->writable = false;
        return STEP_WAIT;
    }
    return STEP_SINK_GONE;
}

static enum step flush_chunk(struct flow_ends *f)
{
    struct relay_chunk *chunk = f->flow->chunk;
    ssize_t n = end_send(f->sink, chunk->bytes + chunk->at, chunk->len);

    if (n < 0) {
        return send_failed(f);
    }
    f->flow->bytes += (uint64_t)n;
    chunk->at += (size_t)n;
    chunk->len -= (size_t)n;
    if (chunk->len == 0) {
        drop_chunk(f->flow);
    }
    return STEP_ON;
}

static enum step flush_pipe(struct flow_ends *f)
{
    ssize_t n = splice(f->flow->pipe->out, NULL, f->sink->fd, NULL, f->flow->in_pipe,
                       SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

    if (n < 0) {
        return send_failed(f);
    }
    f->flow->bytes += (uint64_t)n;
    f->thread->spliced += (uint64_t)n;
    f->flow->in_pipe -= (uint32_t)n;
    return STEP_ON;
}

static void leave_pipe(struct flow_ends *f)
{
    if (f->flow->pipe != NULL) {
        pipes_give(&f->thread->pipes, f->flow->pipe, f->flow->in_pipe == 0);
        f->flow->pipe = NULL;
        f->flow->in_pipe = 0;
    }
    f->flow->streak = 0;
}

/* What a read of 0 or less means; the pipe, if any, is empty. */
static enum step read_ended(struct flow_ends *f, ssize_t n)
{
    if (n < 0 && would_block(errno)) {
        f->source->readable = false;
        leave_pipe(f);
        return STEP_WAIT;
    }
    leave_pipe(f);
    return n == 0 ? STEP_EOF : STEP_SOURCE_GONE;
}

static enum step read_spliced(struct flow_ends *f)
{
    ssize_t n = splice(f->source->fd, NULL, f->flow->pipe->in, NULL, f->flow->pipe->size,
                       SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

    if (n <= 0) {
        return read_ended(f, n);
    }
    f->flow->in_pipe = (uint32_t)n;
    return STEP_ON;
}

static void note_streak(struct flow_ends *f, size_t n)
{
    if (n < RELAY_FULL) {
        f->flow->streak = 0;
    } else if (f->flow->streak < RELAY_STREAK) {
        f->flow->streak++;
    }
}

static enum step read_copied(struct flow_ends *f)
{
    ssize_t n = end_recv(f->source, f->thread->buffer, RELAY_BUFFER);

    if (n <= 0) {
        return read_ended(f, n);
    }
    if (n < RELAY_BUFFER && !f->source->hangs_up && f->source->tls == NULL) {
        f->source->readable = false; /* edge-triggered: a short read has emptied it (epoll(7)) */
    }
    ssize_t sent = end_send(f->sink, f->thread->buffer, (size_t)n);
    if (sent < n) {
        keep(f->flow, f->thread->buffer + (sent > 0 ? sent : 0),
             (size_t)(n - (sent > 0 ? sent : 0)));
    }
    if (sent < 0) {
        return send_failed(f);
    }
    f->flow->bytes += (uint64_t)sent;
    note_streak(f, (size_t)n);
    return STEP_ON;
}

static enum step pass_fin(struct flow_ends *f)
{
    f->flow->source_ended = true;
    bool last = f->back->ended; /* then closing the sockets says it */
    if (!last && !f->flow->aborted && end_finish(f->sink) < 0) {
        return send_failed(f);
    }
    f->flow->ended = true;
    return STEP_EOF;
}

static bool may_splice(const struct flow_ends *f)
{
    return f->source->tls == NULL && f->sink->tls == NULL;
}

static enum step step(struct flow_ends *f)
{
    if (f->flow->chunk != NULL) {
        return f->sink->writable ? flush_chunk(f) : STEP_WAIT;
    }
    if (f->flow->in_pipe > 0) {
        return f->sink->writable ? flush_pipe(f) : STEP_WAIT;
    }
    if (f->flow->source_ended) {
        return pass_fin(f);
    }
    if (!f->source->readable || !f->sink->writable) {
        return STEP_WAIT;
    }
    if (f->flow->pipe == NULL && f->flow->streak == RELAY_STREAK && may_splice(f)) {
        f->flow->streak = 0; /* with no pipe to be had it is tried again later */
        f->flow->pipe = pipes_take(&f->thread->pipes, f->thread->now_us);
    }
    enum step s = f->flow->pipe != NULL ? read_spliced(f) : read_copied(f);
    return s == STEP_EOF ? pass_fin(f) : s;
}

static enum relay_result gone(struct relay *relay, int end, int *at_fault)
{
    relay->flows[end].aborted = true;
    *at_fault = end;
    return RELAY_RESET;
}

enum relay_result relay_pump(struct relay *relay, int from, struct relay_thread *thread,
                             int *at_fault)
{
    struct flow_ends f = {&relay->flows[from], &relay->flows[1 - from], &relay->ends[from],
                          &relay->ends[1 - from], thread};

    if (f.flow->ended) {
        return RELAY_ENDED;
    }
    for (int round = 0; round < 2 * RELAY_ROUNDS; round++) { /* a read and a write are two */
        switch (step(&f)) {
        case STEP_ON:
            break;
        case STEP_WAIT:
            return RELAY_WAIT;
        case STEP_EOF:
            return RELAY_ENDED;
        case STEP_SOURCE_GONE:
            return gone(relay, from, at_fault);
        case STEP_SINK_GONE:
            return gone(relay, 1 - from, at_fault);
        }
    }
    return RELAY_MORE;
}

void relay_prepend(struct relay *relay, int from, const char *bytes, size_t len)
{
    assert(relay->flows[from].chunk == NULL);
    if (len > 0) {
        keep(&relay->flows[from], bytes, len);
    }
}

bool relay_holds(const struct relay *relay, int from)
{
    return relay->flows[from].chunk != NULL || relay->flows[from].in_pipe > 0;
}

void relay_clear(struct relay *relay, struct relay_thread *thread)
{
    for (int i = 0; i < 2; i++) {
        struct flow_ends f = {&relay->flows[i], NULL, NULL, NULL, thread};
        drop_chunk(&relay->flows[i]);
        leave_pipe(&f);
    }
}
