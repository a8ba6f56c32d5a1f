#include "sidecar-proxy/proxy/tunnel.h"

#include <assert.h>
#include <string.h>

struct transition {
    tunnel_action act;
    enum tunnel_state next;
};

static enum tunnel_event stay(struct tunnel *t)
{
    (void)t;
    return EV_NONE;
}

#define REFUSES [EV_REFUSE] = {tunnel_refuse, TUNNEL_REFUSED}
#define ENDS [EV_STOP] = {tunnel_stop, TUNNEL_OVER}, [EV_END] = {tunnel_end, TUNNEL_OVER}

/* clang-format off */
/* The whole life of a client connection. An action that has its result at once returns it as the
 * next event; what takes longer comes back by an event of the worker's. */
static const struct transition table[TUNNEL_STATES][TUNNEL_EVENTS] = {
    [TUNNEL_PREFACE] = {
        [EV_CLIENT] = {tunnel_read_preface, TUNNEL_PREFACE},
        [EV_NAMED] = {tunnel_secure, TUNNEL_HELLO},
        [EV_TIMER] = {tunnel_end, TUNNEL_OVER},
        ENDS,
    },
    [TUNNEL_HELLO] = {
        [EV_CLIENT] = {tunnel_shake_hands, TUNNEL_HELLO},
        [EV_SECURE] = {tunnel_begin, TUNNEL_HEAD},
        [EV_TIMER] = {tunnel_end, TUNNEL_OVER},
        ENDS,
    },
    [TUNNEL_HEAD] = {
        [EV_CLIENT] = {tunnel_read_head, TUNNEL_HEAD},
        [EV_REQUEST] = {tunnel_ask, TUNNEL_ASKING},
        [EV_TIMER] = {tunnel_head_late, TUNNEL_HEAD},
        REFUSES,
        ENDS,
    },
    [TUNNEL_ASKING] = {
        [EV_CLIENT] = {tunnel_watch_client, TUNNEL_ASKING},
        [EV_ANSWER] = {tunnel_take_answer, TUNNEL_ASKING},
        [EV_ROUTED] = {tunnel_dial, TUNNEL_CONNECTING},
        [EV_TIMER] = {tunnel_answer_late, TUNNEL_ASKING},
        REFUSES,
        ENDS,
    },
    [TUNNEL_CONNECTING] = {
        [EV_CLIENT] = {tunnel_watch_client, TUNNEL_CONNECTING},
        [EV_FAR] = {tunnel_check_dial, TUNNEL_CONNECTING},
        [EV_REACHED] = {tunnel_open, TUNNEL_OPENING},
        [EV_NEXT_HOP] = {tunnel_send_hop, TUNNEL_HOP},
        [EV_STALE] = {tunnel_ask_again, TUNNEL_ASKING},
        [EV_TIMER] = {tunnel_dial_late, TUNNEL_CONNECTING},
        REFUSES,
        ENDS,
    },
    [TUNNEL_HOP] = {
        [EV_CLIENT] = {tunnel_watch_client, TUNNEL_HOP},
        [EV_FAR] = {tunnel_read_hop, TUNNEL_HOP},
        [EV_REACHED] = {tunnel_open, TUNNEL_OPENING},
        [EV_STALE] = {tunnel_ask_again, TUNNEL_ASKING},
        [EV_TIMER] = {tunnel_dial_late, TUNNEL_HOP},
        REFUSES,
        ENDS,
    },
    [TUNNEL_OPENING] = {
        [EV_CLIENT] = {tunnel_pump_opening, TUNNEL_OPENING},
        [EV_FAR] = {tunnel_pump_opening, TUNNEL_OPENING},
        [EV_TIMER] = {tunnel_check_alone, TUNNEL_OPENING},
        [EV_OPEN] = {tunnel_pump, TUNNEL_RELAYING},
        [EV_RESET] = {tunnel_reset, TUNNEL_RESETTING},
        ENDS,
    },
    [TUNNEL_RELAYING] = {
        [EV_CLIENT] = {tunnel_pump, TUNNEL_RELAYING},
        [EV_FAR] = {tunnel_pump, TUNNEL_RELAYING},
        [EV_TIMER] = {tunnel_check_idle, TUNNEL_RELAYING},
        [EV_RESET] = {tunnel_reset, TUNNEL_RESETTING},
        ENDS,
    },
    [TUNNEL_RESETTING] = {
        [EV_CLIENT] = {tunnel_reset, TUNNEL_RESETTING},
        [EV_FAR] = {tunnel_reset, TUNNEL_RESETTING},
        [EV_TIMER] = {tunnel_reset_late, TUNNEL_RESETTING},
        ENDS,
    },
    [TUNNEL_REFUSED] = {
        [EV_KEEP] = {tunnel_next_request, TUNNEL_HEAD},
        [EV_LINGER] = {tunnel_linger, TUNNEL_LINGERING},
        ENDS,
    },
    [TUNNEL_LINGERING] = {
        [EV_CLIENT] = {tunnel_discard, TUNNEL_LINGERING},
        [EV_TIMER] = {tunnel_end, TUNNEL_OVER},
        ENDS,
    },
    [TUNNEL_OVER] = {
        [EV_CLIENT] = {stay, TUNNEL_OVER}, /* were under way when it ended */
        [EV_FAR] = {stay, TUNNEL_OVER},
    },
};
/* clang-format on */

#define LINGER_US 2000000
#define RESET_US 1000 /* looks again that often until tunnel_reset_late() */
#define ALONE_US 8000 /* likewise tunnel_check_alone() */

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* When the state that was entered now has lasted too long. Each that waits has a deadline. */
static int64_t deadline_of(const struct tunnel *t)
{
    const struct proxy_settings *s = &t->worker->shared->settings;

    switch ((enum tunnel_state)t->state) {
    case TUNNEL_PREFACE:
    case TUNNEL_HELLO:
    case TUNNEL_HEAD:
    case TUNNEL_ASKING:
    case TUNNEL_HOP:
        return t->due_us;
    case TUNNEL_CONNECTING:
        return earlier(t->since_us + s->connect_timeout_us, t->due_us);
    case TUNNEL_OPENING:
        return t->since_us + ALONE_US;
    case TUNNEL_RELAYING:
        return t->since_us + s->idle_timeout_us;
    case TUNNEL_RESETTING:
        return t->since_us + RESET_US;
    case TUNNEL_LINGERING:
        return t->since_us + LINGER_US;
    case TUNNEL_REFUSED:
    case TUNNEL_OVER:
    case TUNNEL_STATES:
        break;
    }
    return 0;
}

static void entered(struct tunnel *t)
{
    t->since_us = ask_clock_us();
    int64_t at_us = deadline_of(t);

    if (at_us > 0) {
        deadline_set(&t->worker->deadlines, &t->deadline, at_us);
    } else {
        deadline_unset(&t->worker->deadlines, &t->deadline);
    }
}

void tunnel_feed(struct tunnel *t, enum tunnel_event ev) /* the only writer of t->state */
{
    while (ev != EV_NONE) {
        const struct transition *to = &table[t->state][ev];
        if (to->act == NULL && (ev == EV_CLIENT || ev == EV_FAR)) {
            return; /* of no interest now: what is ready stays noted in relay.ends */
        }
        assert(to->act != NULL);
        if (t->state != to->next) {
            t->state = (uint8_t)to->next;
            entered(t);
        }
        ev = to->act(t);
    }
}

/* Others connect directly, without a balancer. */
static bool expects_preface(const struct tunnel *t)
{
    return networks_contain(&t->worker->shared->settings.balancers, &t->source);
}

void tunnel_start(struct worker *w, int fd, const struct sockaddr_storage *from)
{
    struct tunnel *t = xcalloc(1, sizeof(*t));

    t->worker = w;
    t->relay.ends[CLIENT] = (struct relay_end){.fd = fd, .writable = true};
    t->relay.ends[FAR] = (struct relay_end){.fd = -1};
    t->gone = -1;
    t->source = source_of(from);
    t->state = TUNNEL_PREFACE;
    t->due_us = w->relay.now_us + w->shared->settings.head_timeout_us;
    buf_init(&t->head, CONNECT_HEAD_MAX);
    buf_init(&t->hop_head, ANSWER_HEAD_MAX);
    t->next = w->tunnels;
    if (t->next != NULL) {
        t->next->prev = t;
    }
    w->tunnels = t;
    tunnel_record_begin(t);
    entered(t);
    if (worker_watch(w, t, CLIENT) < 0) {
        tunnel_feed(t, EV_END);
    } else if (!expects_preface(t)) {
        tunnel_feed(t, EV_NAMED);
    }
}

void tunnel_free(struct tunnel *t)
{
    assert(t->state == TUNNEL_OVER);
    buf_wipe(&t->head); /* may hold a key */
    buf_wipe(&t->hop_head);
    free(t);
}
