#include "sidecar-proxy/management/link_machine.h"

#include "common/log.h"
#include "sidecar-proxy/management/link_internal.h"
#include "sidecar-proxy/management/link_metrics.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LINK_STATES (LINK_CLOSED + 1)

struct transition {
    void (*act)(struct link_machine *m);
    enum link_state next;
};

static void stay(struct link_machine *m);
static void await_greeting(struct link_machine *m);
static void forget_life(struct link_machine *m);
static void begin_resync(struct link_machine *m);
static void begin_life(struct link_machine *m);
static void go_live(struct link_machine *m);
static void ask_alive(struct link_machine *m);
static void hang_up(struct link_machine *m);
static void back_off(struct link_machine *m);

/* The whole life of the link. There is no way out of it but EV_STOP: OpenVPN may be restarted,
 * held or stopped at any time, and the link waits for it.
 * A hold seen before the pid is a new process; one seen after is the same process, begun anew. */
static const struct transition table[LINK_STATES][MACHINE_EVENTS] = {
    [LINK_CONNECTING] =
        {
            [EV_CONNECTED] = {await_greeting, LINK_GREETING},
            [EV_LOST] = {back_off, LINK_WAITING},
            [EV_TIMER] = {back_off, LINK_WAITING},
            [EV_STOP] = {stay, LINK_CLOSED},
        },
    [LINK_GREETING] =
        {
            [EV_HOLD] = {forget_life, LINK_GREETING},
            [EV_GREETED] = {begin_resync, LINK_RESYNC},
            [EV_LOST] = {hang_up, LINK_WAITING},
            [EV_TIMER] = {hang_up, LINK_WAITING},
            [EV_STOP] = {stay, LINK_CLOSED},
        },
    [LINK_RESYNC] =
        {
            [EV_HOLD] = {begin_life, LINK_RESYNC},
            [EV_RESYNCED] = {go_live, LINK_LIVE},
            [EV_LOST] = {hang_up, LINK_WAITING},
            [EV_TIMER] = {hang_up, LINK_WAITING},
            [EV_STOP] = {stay, LINK_CLOSED},
        },
    [LINK_LIVE] =
        {
            [EV_HOLD] = {begin_life, LINK_RESYNC},
            [EV_LOST] = {hang_up, LINK_WAITING},
            [EV_TIMER] = {ask_alive, LINK_LIVE},
            [EV_STOP] = {stay, LINK_CLOSED},
        },
    [LINK_WAITING] =
        {
            [EV_TIMER] = {stay, LINK_CONNECTING},
            [EV_STOP] = {stay, LINK_CLOSED},
        },
    [LINK_CLOSED] = {[EV_STOP] = {stay, LINK_CLOSED}},
};

/* How long a state may last; WAITING's is the backoff. */
static const int64_t state_ms[LINK_STATES] = {
    [LINK_CONNECTING] = LINK_CONNECT_MS,
    [LINK_GREETING] = LINK_GREETING_MS,
    [LINK_RESYNC] = LINK_RESYNC_MS,
    [LINK_LIVE] = LINK_ALIVE_MS,
    [LINK_WAITING] = 0,
    [LINK_CLOSED] = INT64_MAX,
};

static const char *const state_names[LINK_STATES] = {
    [LINK_CONNECTING] = "connecting", [LINK_GREETING] = "greeting",
    [LINK_RESYNC] = "resync",         [LINK_LIVE] = "live",
    [LINK_WAITING] = "waiting",       [LINK_CLOSED] = "closed",
};

/* Why the connection is given up when the state has lasted too long; NULL: it is not. */
static const char *const overdue[LINK_STATES] = {
    [LINK_CONNECTING] = "no connection",
    [LINK_GREETING] = "no greeting: another client may have the management interface",
    [LINK_RESYNC] = "no status",
};

bool link_machine_stopped(const struct link_machine *m)
{
    return m->state == LINK_CLOSED;
}

static bool is_connected(const struct link_machine *m)
{
    return m->state == LINK_GREETING || m->state == LINK_RESYNC || m->state == LINK_LIVE;
}

static void machine_entered(struct link_machine *m, enum link_state from)
{
    int64_t lasts = m->state == LINK_WAITING ? m->backoff_ms : state_ms[m->state];

    m->state_deadline_ms = lasts == INT64_MAX ? INT64_MAX : m->now.monotonic_ms + lasts;
    if (from != m->state) {
        log_debug("management link", "state", state_names[m->state], "from", state_names[from],
                  NULL);
    }
}

/* The only writer of m->state. An action may run callbacks, and those may stop the machine. */
void link_machine_feed(struct link_machine *m, enum machine_event ev)
{
    const struct transition *t = &table[m->state][ev];
    enum link_state from = m->state;

    assert(t->act != NULL); /* our bug: input never produces an event the state lacks */
    m->state = t->next;
    machine_entered(m, from);
    t->act(m);
    if (m->state == t->next && from != t->next && !link_machine_stopped(m)) {
        m->callbacks->on_state(m->arg, m->state);
    }
}

/* There may be a line of whoever is at the other end in it. */
static void make_printable(char *text)
{
    for (; *text != '\0'; text++) {
        if (*text < 0x20 || *text >= 0x7f) {
            *text = '?';
        }
    }
}

void link_machine_doom(struct link_machine *m, const char *fmt, ...)
{
    va_list args;

    if (m->why[0] == '\0') {
        va_start(args, fmt);
        vsnprintf(m->why, sizeof(m->why), fmt, args);
        va_end(args);
        make_printable(m->why);
    }
}

static void end_doomed(struct link_machine *m)
{
    if (is_connected(m) && m->why[0] != '\0') {
        link_machine_feed(m, EV_LOST);
    }
}

bool link_machine_request(struct link_machine *m, enum command_kind kind, uint64_t cid,
                          uint64_t kid, const char *text)
{
    struct command command = {.kind = kind, .cid = cid, .kid = kid, .sent_ms = m->now.monotonic_ms};

    if (!commands_send(&m->commands, &command, text)) {
        link_machine_doom(m, "OpenVPN does not take our commands: the queue is full");
        return false;
    }
    metric_set(&link_metric_owed, (int64_t)m->commands.count);
    metric_set(&link_metric_output, (int64_t)m->commands.output.len);
    return true;
}

static void request(struct link_machine *m, enum command_kind kind)
{
    link_machine_request(m, kind, 0, 0, "");
}

bool link_machine_request_kill(struct link_machine *m, uint64_t cid)
{
    char text[32];

    snprintf(text, sizeof(text), " %" PRIu64, cid);
    return link_machine_request(m, COMMAND_KILL, cid, 0, text);
}

/* ---- actions ---- */

static void stay(struct link_machine *m)
{
    (void)m;
}

static void await_greeting(struct link_machine *m)
{
    m->interface_version = 0;
    m->held = false;
}

/* The pid reply that follows will then name a new one, also when it is the same number: in a
 * container it is 1 in each life. */
static void forget_life(struct link_machine *m)
{
    m->pid = 0;
    m->held = true;
    request(m, COMMAND_HOLD_RELEASE);
}

void link_machine_announce(struct link_machine *m)
{
    m->generation++;
    clients_clear(&m->clients);
    metric_inc(&link_metric_generations);
    m->callbacks->on_generation(m->arg, m->generation, m->pid, m->held);
}

/* A status can be asked for once nothing is held back, and one at a time. */
void link_machine_ask_status(struct link_machine *m)
{
    if (m->state != LINK_RESYNC || m->commands.pending[COMMAND_HOLD_RELEASE] > 0 ||
        m->commands.pending[COMMAND_STATUS] > 0 || m->status_retry_ms != INT64_MAX) {
        return;
    }
    status_reader_init(&m->status);
    m->resync++;
    request(m, COMMAND_STATUS);
}

static void begin_resync(struct link_machine *m)
{
    char text[16];

    request(m, COMMAND_VERSION);
    snprintf(text, sizeof(text), " %d", m->bytecount_s);
    link_machine_request(m, COMMAND_BYTECOUNT, 0, 0, text);
    link_machine_ask_status(m);
}

static void begin_life(struct link_machine *m)
{
    m->status_retry_ms = INT64_MAX;
    m->held = true;
    request(m, COMMAND_HOLD_RELEASE);
    link_machine_announce(m);
}

/* Clients of ours without a row ended while nobody listened. */
static void go_live(struct link_machine *m)
{
    clients_sweep(&m->clients, m->resync);
    m->backoff_ms = LINK_BACKOFF_MIN_MS;
    metric_inc(&link_metric_connections);
    log_info("management link is live", "openvpn", m->openvpn_version, "pid", NUM(m->pid),
             "clients", NUM(m->clients.count), NULL);
    m->callbacks->on_resync_end(m->arg);
}

/* A process that hangs says nothing; one that is asked nothing neither. */
static void ask_alive(struct link_machine *m)
{
    request(m, COMMAND_PID);
}

static void forget_connection(struct link_machine *m)
{
    line_reader_reset(&m->reader);
    event_parser_reset(&m->parser);
    clients_disconnected(&m->clients);
    commands_clear(&m->commands);
    m->status_retry_ms = INT64_MAX;
    m->why[0] = '\0';
    metric_set(&link_metric_owed, 0);
    metric_set(&link_metric_output, 0);
}

static uint32_t next_backoff(uint32_t ms)
{
    return ms * 2 < LINK_BACKOFF_MAX_MS ? ms * 2 : LINK_BACKOFF_MAX_MS;
}

/* It could not even connect: said once, not at each try. */
static void back_off(struct link_machine *m)
{
    if (m->backoff_ms == LINK_BACKOFF_MIN_MS) {
        log_info("OpenVPN is not there yet", "why", m->why, NULL);
    }
    m->backoff_ms = next_backoff(m->backoff_ms);
    forget_connection(m);
}

/* The clients are kept: OpenVPN and its tunnels may well live on, and the resync will tell. */
static void hang_up(struct link_machine *m)
{
    char why[LINK_WHY_MAX];

    memcpy(why, m->why, sizeof(why));
    m->backoff_ms = next_backoff(m->backoff_ms);
    forget_connection(m);
    metric_inc(&link_metric_lost);
    log_warn("management link lost", "why", why, NULL);
    m->callbacks->on_lost(m->arg, why);
}

/* ---- from outside ---- */

void link_machine_init(struct link_machine *m, const struct link_options *options,
                       struct link_clock now)
{
    *m = (struct link_machine){
        .state = LINK_CONNECTING,
        .callbacks = options->callbacks,
        .arg = options->arg,
        .bytecount_s = options->bytecount_s,
        .now = now,
        .state_deadline_ms = now.monotonic_ms + LINK_CONNECT_MS,
        .status_retry_ms = INT64_MAX,
        .backoff_ms = LINK_BACKOFF_MIN_MS,
    };
    line_reader_init(&m->reader);
    event_parser_init(&m->parser);
    commands_init(&m->commands);
    clients_init(&m->clients);
}

void link_machine_clear(struct link_machine *m)
{
    line_reader_clear(&m->reader);
    event_parser_reset(&m->parser);
    commands_clear(&m->commands);
    clients_clear(&m->clients);
}

void link_machine_connected(struct link_machine *m, struct link_clock now)
{
    m->now = now;
    if (m->state == LINK_CONNECTING) {
        link_machine_feed(m, EV_CONNECTED);
    }
}

void link_machine_lost(struct link_machine *m, struct link_clock now, const char *why)
{
    m->now = now;
    if (m->state == LINK_CONNECTING || is_connected(m)) {
        link_machine_doom(m, "%s", why);
        link_machine_feed(m, EV_LOST);
    }
}

void link_machine_input(struct link_machine *m, struct link_clock now, const char *bytes,
                        size_t len)
{
    m->now = now;
    while (len > 0 && is_connected(m) && m->why[0] == '\0') {
        char *line = NULL;
        ssize_t taken = line_take(&m->reader, bytes, len, &line);
        if (taken < 0) {
            link_machine_doom(m, "a line of over %d bytes", LINE_MAX_BYTES);
            break;
        }
        bytes += taken;
        len -= (size_t)taken;
        if (line != NULL) {
            link_lines_take(m, line);
        }
    }
    end_doomed(m);
}

static void retry_status(struct link_machine *m)
{
    if (m->status_retry_ms <= m->now.monotonic_ms) {
        m->status_retry_ms = INT64_MAX;
        link_machine_ask_status(m);
    }
}

void link_machine_tick(struct link_machine *m, struct link_clock now)
{
    m->now = now;
    retry_status(m);
    if (commands_deadline(&m->commands) <= now.monotonic_ms) {
        link_machine_doom(m, "no reply to '%s' within %d s",
                          command_name(m->commands.owed[m->commands.first].kind),
                          COMMAND_TIMEOUT_MS / 1000);
    }
    if (m->why[0] == '\0' && m->state_deadline_ms <= now.monotonic_ms) {
        if (overdue[m->state] != NULL) {
            link_machine_doom(m, "%s", overdue[m->state]);
        }
        link_machine_feed(m, EV_TIMER);
    }
    end_doomed(m);
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t link_machine_deadline(const struct link_machine *m)
{
    if (link_machine_stopped(m)) {
        return INT64_MAX; /* whatever is still owed */
    }
    if (is_connected(m) && m->why[0] != '\0') {
        return m->now.monotonic_ms; /* doomed by an answer: to be ended at once */
    }
    return earlier(m->state_deadline_ms,
                   earlier(m->status_retry_ms, commands_deadline(&m->commands)));
}

struct buf *link_machine_output(struct link_machine *m)
{
    return &m->commands.output;
}

void link_machine_stop(struct link_machine *m)
{
    link_machine_feed(m, EV_STOP);
}
