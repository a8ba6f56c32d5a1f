/* What OpenVPN might say, to the whole machine: line reader, events, replies, status, clients. The
 * session behind it answers by client id; a model checks that what it is told makes sense.
 * In the input 0x01 is a second passing (and a new connection if one is due), 0x02 the connection's
 * end; all else arrives as it is, in pieces that depend on the first byte. */
#include "common/log.h"
#include "sidecar-proxy/management/link_machine.h"

#include <assert.h>
#include <string.h>

#define MODEL_MAX 512   /* clients; what is over is not checked */
#define TICKS_AT_ONCE 8 /* more without time passing would be a busy loop */

struct model_client {
    uint64_t cid;
    uint64_t bytes_in;
    bool up;
    bool allowed; /* the latest question */
    bool seen;    /* in the running resync */
};

struct model {
    struct link_machine machine;
    struct link_clock now;
    uint64_t generation;
    struct model_client clients[MODEL_MAX];
    size_t count;
    bool full; /* something was not recorded: absence proves nothing */
    bool stopped;
};

static struct model_client *find(struct model *t, uint64_t cid)
{
    for (size_t i = 0; i < t->count; i++) {
        if (t->clients[i].cid == cid) {
            return &t->clients[i];
        }
    }
    return NULL;
}

static struct model_client *add(struct model *t, uint64_t cid)
{
    if (t->count == MODEL_MAX) {
        t->full = true;
        return NULL;
    }
    t->clients[t->count] = (struct model_client){.cid = cid};
    return &t->clients[t->count++];
}

static void drop(struct model *t, struct model_client *c)
{
    *c = t->clients[--t->count];
}

static void check_text(const char *text)
{
    assert(text != NULL && strpbrk(text, "\r\n") == NULL);
}

static void check_client(const struct model *t, const struct link_client *c)
{
    assert(!t->stopped);
    check_text(c->username);
    check_text(c->password);
    check_text(c->remote);
    check_text(c->version);
}

/* By client id: allow, deny, say nothing, kill, temp; and what must not be possible. */
static void answer(struct model *t, const struct link_client *c, struct model_client *known)
{
    struct link_machine *m = &t->machine;

    assert(!link_machine_allow(m, t->now, c->cid, c->kid + 1));
    switch (c->cid % 5) {
    case 0:
    case 1:
        known->allowed = link_machine_allow(m, t->now, c->cid, c->kid);
        assert(!known->allowed || !link_machine_deny(m, t->now, c->cid, c->kid, "x", NULL));
        break;
    case 2:
        link_machine_deny(m, t->now, c->cid, c->kid, c->username, c->password);
        break;
    case 3:
        break;
    default:
        link_machine_kill(m, t->now, c->cid);
        link_machine_deny_temp(m, t->now, c->cid, c->kid, (unsigned)c->kid, c->username);
        break;
    }
}

static void on_generation(void *arg, uint64_t generation, int pid, bool began)
{
    struct model *t = arg;

    assert(!t->stopped && generation == t->generation + 1 && pid > 0);
    t->generation = generation;
    t->count = 0;
    t->full = false;
}

static void on_connect(void *arg, const struct link_client *c)
{
    struct model *t = arg;
    struct model_client *known = find(t, c->cid);

    check_client(t, c);
    assert(known == NULL || !known->up);
    known = known != NULL ? known : add(t, c->cid);
    if (known != NULL) {
        known->allowed = false;
        answer(t, c, known);
    }
}

static void on_reauth(void *arg, const struct link_client *c)
{
    struct model *t = arg;
    struct model_client *known = find(t, c->cid);

    check_client(t, c);
    assert(known != NULL ? known->up : t->full || t->machine.state == LINK_RESYNC);
    known = known != NULL ? known : add(t, c->cid);
    if (known != NULL) {
        known->up = true;
        answer(t, c, known);
    }
}

static void on_established(void *arg, const struct link_client *c)
{
    struct model *t = arg;
    struct model_client *known = find(t, c->cid);

    check_client(t, c);
    assert(c->address != 0);
    assert(known != NULL ? !known->up && known->allowed : t->full);
    if (known != NULL) {
        known->up = true;
    }
}

static void on_disconnect(void *arg, const struct link_client *c)
{
    struct model *t = arg;
    struct model_client *known = find(t, c->cid);

    check_client(t, c);
    assert(known != NULL || t->full);
    if (known != NULL) {
        assert(c->bytes_in >= known->bytes_in);
        drop(t, known);
    }
}

static void on_late(void *arg, uint64_t cid)
{
    const struct model *t = arg;

    assert(!t->stopped);
}

static void on_bytes(void *arg, uint64_t cid, uint64_t bytes_in, uint64_t bytes_out)
{
    struct model *t = arg;
    struct model_client *known = find(t, cid);

    assert(!t->stopped);
    assert(known != NULL ? known->up && bytes_in >= known->bytes_in : t->full);
    if (known != NULL) {
        known->bytes_in = bytes_in;
    }
}

static void on_resync_row(void *arg, const struct link_client *c)
{
    struct model *t = arg;
    struct model_client *known = find(t, c->cid);

    check_client(t, c);
    assert(c->address != 0 && t->machine.state == LINK_RESYNC);
    known = known != NULL ? known : add(t, c->cid);
    if (known != NULL) {
        known->up = known->seen = true;
    }
}

/* Those without a row are gone, but for questions: their rows are not told. */
static void on_resync_end(void *arg)
{
    struct model *t = arg;

    assert(!t->stopped && t->machine.state == LINK_LIVE);
    for (size_t i = t->count; i-- > 0;) {
        if (t->clients[i].up && !t->clients[i].seen) {
            drop(t, &t->clients[i]);
        } else {
            t->clients[i].seen = false;
        }
    }
}

static void on_state(void *arg, enum link_state state)
{
    const struct model *t = arg;

    assert(!t->stopped && state == t->machine.state);
}

/* A resync that broke off has told rows that the next one will tell again. */
static void on_lost(void *arg, const char *why)
{
    struct model *t = arg;

    assert(!t->stopped && why[0] != '\0');
    for (size_t i = 0; i < t->count; i++) {
        t->clients[i].seen = false;
    }
}

static const struct link_callbacks callbacks = {
    .on_generation = on_generation,
    .on_connect = on_connect,
    .on_reauth = on_reauth,
    .on_established = on_established,
    .on_disconnect = on_disconnect,
    .on_late = on_late,
    .on_bytes = on_bytes,
    .on_resync_row = on_resync_row,
    .on_resync_end = on_resync_end,
    .on_state = on_state,
    .on_lost = on_lost,
};

/* Whole lines, short enough, text only. */
static void check_output(struct model *t)
{
    struct buf *output = link_machine_output(&t->machine);
    size_t line = 0;

    for (size_t i = 0; i < output->len; i++) {
        unsigned char c = (unsigned char)output->data[i];
        assert(c == '\n' || (c >= 0x20 && c != 0x7f));
        line = c == '\n' ? 0 : line + 1;
        assert(line <= COMMAND_MAX);
    }
    assert(line == 0);
    buf_consume(output, output->len);
}

static void settle(struct model *t)
{
    for (int i = 0; link_machine_deadline(&t->machine) <= t->now.monotonic_ms; i++) {
        assert(i < TICKS_AT_ONCE);
        link_machine_tick(&t->machine, t->now);
    }
    check_output(t);
}

static void pass_second(struct model *t)
{
    t->now.monotonic_ms += 1000;
    t->now.unix_ms += 1000;
    settle(t);
    if (t->machine.state == LINK_CONNECTING) {
        link_machine_connected(&t->machine, t->now);
    }
}

/* An allocation of exactly its size, so that the sanitizer sees one byte too many. */
static void arrive(struct model *t, const uint8_t *data, size_t len)
{
    char *copy = xmalloc(len);

    memcpy(copy, data, len);
    link_machine_input(&t->machine, t->now, copy, len);
    free(copy);
    settle(t);
}

static void play(struct model *t, const uint8_t *data, size_t size, size_t piece)
{
    size_t len;

    for (size_t at = 0; at < size; at += len) {
        len = 1;
        if (data[at] == 1) {
            pass_second(t);
        } else if (data[at] == 2) {
            link_machine_lost(&t->machine, t->now, "end");
            settle(t);
        } else {
            while (len < piece && at + len < size && data[at + len] > 2) {
                len++;
            }
            arrive(t, data + at, len);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct model t;
    struct link_options options = {.bytecount_s = 60, .callbacks = &callbacks, .arg = &t};

    if (size == 0) {
        return 0;
    }
    log_set_level(LOG_ERROR + 1);
    t.now = (struct link_clock){.monotonic_ms = 1000, .unix_ms = INT64_C(1764000000000)};
    t.generation = t.count = 0;
    t.full = t.stopped = false;
    link_machine_init(&t.machine, &options, t.now);
    link_machine_connected(&t.machine, t.now);
    play(&t, data + 1, size - 1, data[0] > 0 ? data[0] : 4096);
    link_machine_stop(&t.machine);
    t.stopped = true;
    play(&t, data + 1, size - 1, 4096);
    link_machine_clear(&t.machine);
    return 0;
}
