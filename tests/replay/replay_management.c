/* replay_management: runs a scenario against the real link_machine, three times over: each line as
 * one read, each byte as one read, and all lines up to the next expectation as one read.
 *     replay_management FILE...           0: all that was expected happened, and nothing else
 *     replay_management --record FILE     prints FILE with what did happen as what is expected */
#include "common/log.h"
#include "sidecar-proxy/management/link_machine.h"
#include "tests/replay/scenario.h"
#include "tests/replay/told.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define START_UNIX_MS INT64_C(1764000000000)
#define TEXT_MAX 65536

enum reading { BY_LINE, BY_BYTE, BY_RUN };
static const char *const reading_names[] = {"line by line", "byte by byte", "run by run"};

struct queue { /* texts that have happened and are not accounted for yet */
    char **texts;
    size_t first;
    size_t count;
};

struct player {
    struct link_machine machine;
    struct link_clock now;
    struct queue sent;
    struct queue told;
    bool recording;
};

static void queue_push(struct queue *q, char *text)
{
    q->texts = xrealloc(q->texts, (q->count + 1) * sizeof(*q->texts));
    q->texts[q->count++] = text;
}

static const char *queue_pop(struct queue *q)
{
    return q->first < q->count ? q->texts[q->first++] : NULL;
}

static void queue_clear(struct queue *q)
{
    for (size_t i = 0; i < q->count; i++) {
        free(q->texts[i]);
    }
    free(q->texts);
    *q = (struct queue){.count = 0};
}

/* ---- what the machine tells, as text ---- */

static void tell_client(struct player *p, const char *what, const struct link_client *c)
{
    queue_push(&p->told, told_client(what, c));
}

static void tell_text(struct player *p, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void tell_text(struct player *p, const char *fmt, ...)
{
    char text[256];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    queue_push(&p->told, xstrdup(text));
}

static void on_generation(void *arg, uint64_t generation, int pid, bool began)
{
    tell_text(arg, "generation %" PRIu64 " pid=%d", generation, pid);
}

static void on_connect(void *arg, const struct link_client *c)
{
    tell_client(arg, "connect", c);
}

static void on_reauth(void *arg, const struct link_client *c)
{
    tell_client(arg, "reauth", c);
}

static void on_established(void *arg, const struct link_client *c)
{
    tell_client(arg, "established", c);
}

static void on_disconnect(void *arg, const struct link_client *c)
{
    tell_client(arg, "disconnect", c);
}

static void on_late(void *arg, uint64_t cid)
{
    tell_text(arg, "late %" PRIu64, cid);
}

static void on_bytes(void *arg, uint64_t cid, uint64_t bytes_in, uint64_t bytes_out)
{
    tell_text(arg, "bytes %" PRIu64 " in=%" PRIu64 " out=%" PRIu64, cid, bytes_in, bytes_out);
}

static void on_resync_row(void *arg, const struct link_client *c)
{
    tell_client(arg, "row", c);
}

static void on_resync_end(void *arg)
{
    tell_text(arg, "resync-end");
}

static void on_state(void *arg, enum link_state state)
{
    static const char *const names[] = {
        [LINK_CONNECTING] = "connecting", [LINK_GREETING] = "greeting",
        [LINK_RESYNC] = "resync",         [LINK_LIVE] = "live",
        [LINK_WAITING] = "waiting",       [LINK_CLOSED] = "closed",
    };
    tell_text(arg, "state %s", names[state]);
}

static void on_lost(void *arg, const char *why)
{
    tell_text(arg, "lost %s", why);
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

/* ---- steps ---- */

/* What the machine has put out, line by line. */
static void collect_output(struct player *p)
{
    struct buf *output = link_machine_output(&p->machine);
    char *end;

    while (output->len > 0 && (end = memchr(output->data, '\n', output->len)) != NULL) {
        size_t len = (size_t)(end - output->data);
        queue_push(&p->sent, xstrndup(output->data, len));
        buf_consume(output, len + 1);
    }
}

/* As the loop would: the timer runs at each deadline on the way, or at once if it is due already.
 */
static void run_clock(struct player *p, int64_t ms)
{
    int64_t until = p->now.monotonic_ms + ms;
    int64_t deadline;

    while ((deadline = link_machine_deadline(&p->machine)) <= until) {
        if (deadline > p->now.monotonic_ms) {
            p->now.unix_ms += deadline - p->now.monotonic_ms;
            p->now.monotonic_ms = deadline;
        }
        link_machine_tick(&p->machine, p->now);
        collect_output(p);
    }
    p->now.unix_ms += until - p->now.monotonic_ms;
    p->now.monotonic_ms = until;
}

static void feed(struct player *p, const char *bytes, size_t len, enum reading reading)
{
    size_t piece = reading == BY_BYTE ? 1 : len;

    for (size_t at = 0; at < len; at += piece) {
        /* Exactly as large as the piece, so that the sanitizer sees one byte too many. */
        char *copy = xmalloc(piece);
        memcpy(copy, bytes + at, piece);
        link_machine_input(&p->machine, p->now, copy, piece);
        free(copy);
    }
    collect_output(p);
}

/* "log text | client text", the second left out for none. */
static bool deny(struct player *p, uint64_t cid, uint64_t kid, char *text)
{
    char *bar = strstr(text, " | ");

    if (bar != NULL) {
        *bar = '\0';
    }
    return link_machine_deny(&p->machine, p->now, cid, kid, text, bar != NULL ? bar + 3 : NULL);
}

/* False: no such act. */
static bool act(struct player *p, const char *source)
{
    AUTO(str) char *line = xstrdup(source);
    struct link_machine *m = &p->machine;
    uint64_t cid = 0;
    uint64_t kid = 0;
    unsigned backoff = 0;
    int text = 0;
    bool ok = true;

    if (strcmp(line, "connected") == 0) {
        link_machine_connected(m, p->now);
    } else if (strcmp(line, "closed") == 0) {
        link_machine_lost(m, p->now, "closed by the peer");
    } else if (strcmp(line, "refused") == 0) {
        link_machine_lost(m, p->now, "refused");
    } else if (strcmp(line, "stop") == 0) {
        link_machine_stop(m);
    } else if (strcmp(line, "terminate") == 0) {
        ok = link_machine_terminate(m, p->now);
    } else if (sscanf(line, "allow %" SCNu64 " %" SCNu64, &cid, &kid) == 2) {
        ok = link_machine_allow(m, p->now, cid, kid);
    } else if (sscanf(line, "deny %" SCNu64 " %" SCNu64 " %n", &cid, &kid, &text) == 2) {
        ok = deny(p, cid, kid, line + text);
    } else if (sscanf(line, "temp %" SCNu64 " %" SCNu64 " %u %n", &cid, &kid, &backoff, &text) ==
               3) {
        ok = link_machine_deny_temp(m, p->now, cid, kid, backoff, line + text);
    } else if (sscanf(line, "kill %" SCNu64, &cid) == 1) {
        ok = link_machine_kill(m, p->now, cid);
    } else {
        return false;
    }
    if (!ok) {
        tell_text(p, "not sent");
    }
    collect_output(p);
    return true;
}

static int complain(const struct step *step, const char *what, const char *expected,
                    const char *got)
{
    fprintf(stderr, "%s: %s\n  expected: %s\n  got:      %s\n", step->place, what,
            expected != NULL ? expected : "(nothing)", got != NULL ? got : "(nothing)");
    return -1;
}

static int expect(struct queue *q, const struct step *step, const char *what)
{
    const char *got = queue_pop(q);

    return got != NULL && strcmp(got, step->text) == 0 ? 0 : complain(step, what, step->text, got);
}

/* Before anything else happens, all that did happen must have been expected. */
static int expect_nothing(struct player *p, const struct step *step)
{
    const char *got;

    if ((got = queue_pop(&p->sent)) != NULL) {
        return complain(step, "before this was sent", NULL, got);
    }
    if ((got = queue_pop(&p->told)) != NULL) {
        return complain(step, "before this was told", NULL, got);
    }
    return 0;
}

static bool is_stimulus(const struct step *step)
{
    return step->kind == STEP_ARRIVES || step->kind == STEP_PASSES || step->kind == STEP_ACT;
}

/* The steps from at that arrive together; remarks between do not part them. */
static size_t gather(const struct scenario *s, size_t at, enum reading reading, struct buf *bytes)
{
    size_t i = at;

    do {
        if (s->steps[i].kind == STEP_ARRIVES) {
            buf_append(bytes, s->steps[i].text, s->steps[i].len);
        }
        i++;
    } while (reading == BY_RUN && i < s->count &&
             (s->steps[i].kind == STEP_ARRIVES || s->steps[i].kind == STEP_REMARK));
    return i;
}

static int stimulate(struct player *p, const struct step *step)
{
    if (step->kind == STEP_PASSES) {
        run_clock(p, step->ms);
    } else if (!act(p, step->text)) {
        return complain(step, "no such act", "connected, closed, allow 0 1, ...", step->text);
    }
    return 0;
}

static void print_happened(struct player *p, bool show)
{
    const char *text;

    while ((text = queue_pop(&p->sent)) != NULL) {
        if (show) {
            printf("< %s\n", text);
        }
    }
    while ((text = queue_pop(&p->told)) != NULL) {
        if (show) {
            printf("! %s\n", text);
        }
    }
}

/* One step, or several that arrive together; returns the index of the next, -1 on failure. */
static ssize_t play_step(struct player *p, const struct scenario *s, size_t at,
                         enum reading reading)
{
    const struct step *step = &s->steps[at];
    AUTO(buf) struct buf bytes;

    buf_init(&bytes, TEXT_MAX * 16);
    if (is_stimulus(step) && !p->recording && expect_nothing(p, step) < 0) {
        return -1;
    }
    switch (step->kind) {
    case STEP_ARRIVES:
        at = gather(s, at, reading, &bytes);
        feed(p, bytes.data, bytes.len, reading);
        run_clock(p, 0);
        return (ssize_t)at;
    case STEP_PASSES:
    case STEP_ACT:
        if (stimulate(p, step) < 0) {
            return -1;
        }
        run_clock(p, 0);
        break;
    case STEP_SENT:
        if (!p->recording && expect(&p->sent, step, "sent") < 0) {
            return -1;
        }
        break;
    case STEP_TOLD:
        if (!p->recording && expect(&p->told, step, "told") < 0) {
            return -1;
        }
        break;
    case STEP_REMARK:
        break;
    }
    return (ssize_t)at + 1;
}

static void player_init(struct player *p)
{
    struct link_options options = {.bytecount_s = 60, .callbacks = &callbacks, .arg = p};

    *p = (struct player){.now = {.monotonic_ms = 1000, .unix_ms = START_UNIX_MS}};
    link_machine_init(&p->machine, &options, p->now);
}

static void player_clear(struct player *p)
{
    link_machine_clear(&p->machine);
    queue_clear(&p->sent);
    queue_clear(&p->told);
}

static int play(const struct scenario *s, enum reading reading)
{
    struct player p;
    ssize_t at = 0;

    player_init(&p);
    while (at >= 0 && (size_t)at < s->count) {
        at = play_step(&p, s, (size_t)at, reading);
    }
    if (at >= 0 && s->count > 0 && expect_nothing(&p, &s->steps[s->count - 1]) < 0) {
        at = -1;
    }
    player_clear(&p);
    return at < 0 ? -1 : 0;
}

/* Steps that come from an include are played, not printed. */
static void record(const struct scenario *s)
{
    struct player p;

    player_init(&p);
    p.recording = true;
    for (size_t i = 0; i < s->count; i++) {
        const struct step *step = &s->steps[i];
        bool expectation = step->kind == STEP_SENT || step->kind == STEP_TOLD;
        if (step->from_file && !expectation) {
            printf("%s\n", step->source);
        }
        play_step(&p, s, i, BY_LINE);
        print_happened(&p, step->from_file);
    }
    player_clear(&p);
}

static int play_file(const char *path, bool recording)
{
    struct scenario s;
    struct err err;
    int result = 0;

    if (scenario_read(path, &s, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        return -1;
    }
    if (recording) {
        record(&s);
    }
    for (enum reading r = BY_LINE; !recording && result == 0 && r <= BY_RUN; r++) {
        result = play(&s, r);
        if (result < 0) {
            fprintf(stderr, "%s, read %s: failed\n", path, reading_names[r]);
        }
    }
    scenario_clear(&s);
    return result;
}

int main(int argc, char **argv)
{
    bool recording = argc > 1 && strcmp(argv[1], "--record") == 0;
    int failed = 0;

    log_set_level(getenv("REPLAY_LOG") != NULL ? LOG_DEBUG : LOG_ERROR + 1);
    for (int i = recording ? 2 : 1; i < argc; i++) {
        failed += play_file(argv[i], recording) < 0;
    }
    return failed > 0 || argc < 2 ? 1 : 0;
}
