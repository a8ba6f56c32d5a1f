#include "controller/pool/keeper.h"

#include "common/log.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define PAUSE_FIRST_MS 100
#define PAUSE_MAX_MS 15000
#define PROVEN_MS 30000 /* having run that long forgives earlier ends */

enum keeper_event { EV_START, EV_STARTED, EV_ENDED, EV_LEFT, EV_TIMER, EV_STOP, KEEPER_EVENTS };

struct keeper {
    struct loop *loop;
    struct keeper_options options;
    enum keeper_state state;
    struct process *process;
    int64_t started_at_ms, started_ms;
    uint32_t pause_ms, restarts, grace_ms;
    const char *killed; /* why, NULL: we did not */
    char last_end[ERR_TEXT_MAX];
    struct loop_timer *timer;  /* the pause, or the end of a start that failed at once */
    struct loop_timer *notify; /* on_change, so that it never runs inside a call of the owner's */
};

struct transition {
    void (*act)(struct keeper *k);
    enum keeper_state next;
};

static void start(struct keeper *k);
static void arm_pause(struct keeper *k);
static void stop_process(struct keeper *k);
static void tell(struct keeper *k);
static void disarm(struct keeper *k);
static void stay(struct keeper *k);

/* A start that fails at once says so by the timer: an action never feeds. */
static const struct transition table[KEEPER_STATES][KEEPER_EVENTS] = {
    [KEEPER_IDLE] =
        {
            [EV_START] = {start, KEEPER_RUNNING},
            [EV_STARTED] = {tell, KEEPER_RUNNING}, /* adopted */
            [EV_STOP] = {tell, KEEPER_IDLE},
        },
    [KEEPER_RUNNING] =
        {
            [EV_START] = {stay, KEEPER_RUNNING},
            [EV_ENDED] = {arm_pause, KEEPER_WAITING},
            [EV_LEFT] = {tell, KEEPER_IDLE}, /* its owner decides about another start */
            [EV_STOP] = {stop_process, KEEPER_STOPPING},
        },
    [KEEPER_WAITING] =
        {
            [EV_START] = {stay, KEEPER_WAITING},
            [EV_TIMER] = {start, KEEPER_RUNNING},
            [EV_STOP] = {disarm, KEEPER_IDLE},
        },
    [KEEPER_STOPPING] =
        {
            [EV_LEFT] = {tell, KEEPER_IDLE},
            [EV_START] = {stay, KEEPER_STOPPING},
            [EV_ENDED] = {tell, KEEPER_IDLE},
            [EV_STOP] = {stop_process, KEEPER_STOPPING},
        },
};

static void feed(struct keeper *k, enum keeper_event ev) /* the only writer of k->state */
{
    const struct transition *t = &table[k->state][ev];

    assert(t->act != NULL);
    k->state = t->next;
    t->act(k);
}

static void stay(struct keeper *k)
{
}

static void tell(struct keeper *k)
{
    if (k->options.on_change != NULL) {
        loop_timer_start(k->notify, 0, 0);
    }
}

static void disarm(struct keeper *k)
{
    loop_timer_stop(k->timer);
    tell(k);
}

static void arm_pause(struct keeper *k)
{
    bool proven = k->started_ms != 0 && clock_monotonic_ms() - k->started_ms >= PROVEN_MS;

    k->pause_ms = proven || k->pause_ms == 0 ? PAUSE_FIRST_MS : k->pause_ms * 2;
    if (k->pause_ms > PAUSE_MAX_MS) {
        k->pause_ms = PAUSE_MAX_MS;
    }
    loop_timer_start(k->timer, k->pause_ms, 0);
    log_warn(keeper_was_started(k) ? "a program ended; starting it again"
                                   : "a program cannot be started; it is tried again",
             "what", k->options.name, "index", k->options.index > 0 ? NUM(k->options.index) : NULL,
             "why", k->last_end, "pause_ms", NUM(k->pause_ms), NULL);
    tell(k);
}

static void stop_process(struct keeper *k)
{
    if (k->process != NULL) {
        process_stop(k->process, k->grace_ms);
    }
}

static void ended(struct keeper *k)
{
    feed(k, k->options.once && k->state == KEEPER_RUNNING ? EV_LEFT : EV_ENDED);
}

static void on_timer(void *arg)
{
    struct keeper *k = arg;

    if (k->state == KEEPER_WAITING) {
        feed(k, EV_TIMER);
    } else { /* there was no process to begin with */
        ended(k);
    }
}

static void on_notify(void *arg)
{
    struct keeper *k = arg;

    k->options.on_change(k->options.arg);
}

static void note_end(struct keeper *k, const struct process_end *end)
{
    const char *complaint = k->killed != NULL              ? k->killed
                            : k->options.complaint != NULL ? k->options.complaint(k->options.arg)
                                                           : NULL;
    bool more = complaint != NULL && complaint[0] != '\0';

    snprintf(k->last_end, sizeof(k->last_end), "%s%s%s", process_end_text(end).text,
             more ? ": " : "", more ? complaint : "");
}

static void on_process_end(void *arg, const struct process_end *end)
{
    struct keeper *k = arg;

    k->process = NULL;
    note_end(k, end);
    k->restarts += k->state == KEEPER_RUNNING;
    k->options.record(k->options.arg);
    ended(k);
}

static int try_start(struct keeper *k, struct err *err)
{
    struct keeper_command command = {.output_fd = -1};
    int r = k->options.command(k->options.arg, &command, err);

    if (r == 0) {
        struct process_spec spec = {.program = command.program,
                                    .argv = command.argv,
                                    .envp = command.envp,
                                    .user = command.user,
                                    .stdin_fd = -1,
                                    .output_fd = command.output_fd};
        r = process_hold(k->loop, &spec, on_process_end, k, &k->process, err);
    }
    if (k->options.started != NULL) {
        k->options.started(k->options.arg);
    }
    if (r < 0) {
        return r;
    }
    k->started_at_ms = clock_realtime_ms();
    k->started_ms = clock_monotonic_ms();
    k->killed = NULL;
    k->options.record(k->options.arg);
    process_release(k->process);
    return 0;
}

static void start(struct keeper *k)
{
    struct err err;

    if (try_start(k, &err) < 0) {
        snprintf(k->last_end, sizeof(k->last_end), "%s", err.text);
        k->started_ms = 0;
        loop_timer_start(k->timer, 0, 0);
        return;
    }
    log_info("started", "what", k->options.name, "index",
             k->options.index > 0 ? NUM(k->options.index) : NULL, "pid",
             NUM(process_id(k->process).pid), NULL);
    tell(k);
}

struct keeper *keeper_new(struct loop *loop, const struct keeper_options *options)
{
    struct keeper *k = xcalloc(1, sizeof(*k));

    k->loop = loop;
    k->options = *options;
    k->timer = loop_timer_new(loop, on_timer, k);
    k->notify = loop_timer_new(loop, on_notify, k);
    return k;
}

void keeper_close(struct keeper *k)
{
    if (k != NULL) {
        process_close(k->process);
        loop_timer_close(k->timer);
        loop_timer_close(k->notify);
        free(k);
    }
}

bool keeper_adopt(struct keeper *k, const struct keeper_record *record)
{
    struct err err;

    if (k->state != KEEPER_IDLE || process_adopt(k->loop, record->id, k->options.name,
                                                 on_process_end, k, &k->process, &err) < 0) {
        return false;
    }
    k->started_at_ms = record->started_at_ms;
    k->started_ms = clock_monotonic_ms();
    k->restarts = record->restarts;
    feed(k, EV_STARTED);
    return true;
}

void keeper_start(struct keeper *k)
{
    feed(k, EV_START);
}

void keeper_stop(struct keeper *k, uint32_t grace_ms)
{
    k->grace_ms = grace_ms;
    feed(k, EV_STOP);
}

void keeper_kill(struct keeper *k, const char *why)
{
    if (k->process != NULL) {
        k->killed = why;
        process_signal(k->process, SIGKILL);
    }
}

struct process_id keeper_forget(struct keeper *k)
{
    if (k->state != KEEPER_RUNNING || k->process == NULL) {
        return (struct process_id){0};
    }
    struct process_id id = process_id(k->process);
    process_close(k->process);
    k->process = NULL;
    feed(k, EV_LEFT);
    return id;
}

enum keeper_state keeper_state(const struct keeper *k)
{
    return k->state;
}

struct keeper_record keeper_record(const struct keeper *k)
{
    return (struct keeper_record){
        .id = k->process != NULL ? process_id(k->process) : (struct process_id){0},
        .started_at_ms = k->process != NULL ? k->started_at_ms : 0,
        .restarts = k->restarts,
    };
}

bool keeper_was_started(const struct keeper *k)
{
    return k->started_ms != 0;
}

const char *keeper_last_end(const struct keeper *k)
{
    return k->last_end;
}
