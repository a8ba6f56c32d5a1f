/* tunnel: the life of one client connection: CONNECT requests until one becomes a tunnel, then the
 * tunnel to its end. The states, and what leads from one to the next, are the table in tunnel.c;
 * the actions are in tunnel_preface.c (before the head), tunnel_request.c (head to refusal),
 * tunnel_dial.c (to the device or the next hop) and tunnel_relay.c (200 to the end); what is told
 * of it afterwards is in tunnel_record.c. */
#pragma once

#include "sidecar-proxy/proxy/answer.h"
#include "sidecar-proxy/proxy/connect_head.h"
#include "sidecar-proxy/proxy/worker.h"

enum tunnel_state {
    TUNNEL_PREFACE,    /* a balancer is to say first who the client is (PROXY protocol) */
    TUNNEL_HELLO,      /* TLS is being agreed upon */
    TUNNEL_HEAD,       /* until a whole request head has come */
    TUNNEL_ASKING,     /* may the caller, and where is the device? */
    TUNNEL_CONNECTING, /* to the device or the next hop */
    TUNNEL_HOP,        /* CONNECT was sent on, its answer is awaited */
    TUNNEL_OPENING,    /* the 200 is on its way; the device's bytes wait so that it travels alone */
    TUNNEL_RELAYING,
    TUNNEL_RESETTING, /* one end is gone by RST; the other still gets what was sent before */
    TUNNEL_REFUSED,   /* an answer other than 200 was written; passed through at once */
    TUNNEL_LINGERING, /* refused and FIN sent; what still comes is dropped, so that no RST of ours
                         overtakes the answer */
    TUNNEL_OVER,
    TUNNEL_STATES
};

enum tunnel_event {
    EV_NONE,
    EV_CLIENT, /* something happened on the client's socket */
    EV_FAR,    /* ... on the device's or the next hop's */
    EV_TIMER,  /* the state's deadline has passed */
    EV_ANSWER, /* the broker has answered */
    EV_STOP,   /* the program ends */
    /* results of actions */
    EV_NAMED,    /* the balancer has said who the client is */
    EV_SECURE,   /* TLS stands, or there is none */
    EV_REQUEST,  /* a head is complete and in order */
    EV_REFUSE,   /* record.status says with what */
    EV_ROUTED,   /* dial */
    EV_STALE,    /* the next hop does not have the device (any more): ask once more */
    EV_REACHED,  /* the way to the device is open */
    EV_NEXT_HOP, /* connected to a proxy: it wants a CONNECT of its own */
    EV_OPEN,     /* both ways from now on */
    EV_RESET,
    EV_KEEP,   /* the refused client may try again */
    EV_LINGER, /* the refused client is to be closed */
    EV_END,
    TUNNEL_EVENTS
};

enum tunnel_end { /* who or what ended it; for the log */
                  ENDED_NOT,
                  ENDED_CLIENT,
                  ENDED_DEVICE,
                  ENDED_CLIENT_RESET,
                  ENDED_DEVICE_RESET,
                  ENDED_IDLE,
                  ENDED_STOP,
};

enum tunnel_phase { PHASE_HEAD, PHASE_ACCESS, PHASE_ROUTE, PHASE_CONNECT, PHASE_HOP, PHASES };

struct tunnel_record { /* of one request; all that its log line says */
    char uuid[UUID_TEXT_MAX + 1];
    uint16_t port;
    uint16_t status;  /* 0: the client left before there was one */
    uint8_t source;   /* enum decision_source */
    uint8_t end;      /* enum tunnel_end */
    bool limited;     /* refused by a limit: why says which */
    bool told;        /* its line was written */
    char address[46]; /* where it was dialled; "" if it was not */
    uint16_t address_port;
    char why[ASK_WHY_MAX];
    int64_t begun_us; /* first byte of the head (monotonic) */
    int64_t open_us;  /* 200 was sent; 0: never */
    uint32_t phase_us[PHASES];
};

struct tunnel {
    struct relay relay; /* ends[0]: the client, ends[1]: the device or next hop */
    struct worker *worker;
    struct tunnel *prev, *next;
    struct tunnel *next_ready;
    struct tunnel *next_dead;
    struct deadline deadline;
    struct buf head;      /* client bytes from an incomplete head, or behind a complete one */
    struct buf hop_head;  /* the next hop's answer as far as it came */
    struct ask *ask;      /* out or answered; freed once the tunnel is open */
    struct source source; /* the client's address, also behind a balancer */
    struct limit_count *address_seat; /* NULL: not counted */
    struct limit_count *caller_seat;
    struct tunnel_record record;
    int64_t since_us;  /* the state was entered */
    int64_t active_us; /* bytes moved */
    int64_t due_us;    /* by then the head is in; later: something is answered */
    int64_t mark_us;   /* the phase began */
    size_t early;      /* bytes that came with the head */
    uint8_t state;     /* enum tunnel_state; written by tunnel_feed() only */
    uint8_t minor;     /* of the request's HTTP version */
    int8_t gone;       /* end that was reset, or -1 */
    uint8_t requests;  /* refused ones before this, saturating */
    bool close;        /* after a refusal */
    bool is_ready;     /* in worker->ready */
    bool entered;      /* counted in limits */
    bool from_hop;     /* by a valid ticket: the caller is a proxy of ours */
    bool forward;      /* no 200: the request itself goes to the device, in t->head */
};

#define CLIENT 0
#define FAR 1

/* Takes the accepted socket over. */
void tunnel_start(struct worker *w, int fd, const struct sockaddr_storage *from);
void tunnel_feed(struct tunnel *t, enum tunnel_event ev);
void tunnel_free(struct tunnel *t); /* TUNNEL_OVER only */

typedef enum tunnel_event (*tunnel_action)(struct tunnel *t);

/* tunnel_preface.c */
enum tunnel_event tunnel_read_preface(struct tunnel *t);
enum tunnel_event tunnel_secure(struct tunnel *t);
enum tunnel_event tunnel_shake_hands(struct tunnel *t);
enum tunnel_event tunnel_begin(struct tunnel *t);
/* tunnel_request.c */
enum tunnel_event tunnel_read_head(struct tunnel *t);
enum tunnel_event tunnel_head_late(struct tunnel *t);
enum tunnel_event tunnel_ask(struct tunnel *t);
enum tunnel_event tunnel_ask_again(struct tunnel *t);
enum tunnel_event tunnel_take_answer(struct tunnel *t);
enum tunnel_event tunnel_watch_client(struct tunnel *t);
enum tunnel_event tunnel_answer_late(struct tunnel *t);
enum tunnel_event tunnel_refuse(struct tunnel *t);
enum tunnel_event tunnel_next_request(struct tunnel *t);
enum tunnel_event tunnel_linger(struct tunnel *t);
enum tunnel_event tunnel_discard(struct tunnel *t);
/* tunnel_dial.c */
enum tunnel_event tunnel_dial(struct tunnel *t);
enum tunnel_event tunnel_check_dial(struct tunnel *t);
enum tunnel_event tunnel_dial_late(struct tunnel *t);
enum tunnel_event tunnel_send_hop(struct tunnel *t);
enum tunnel_event tunnel_read_hop(struct tunnel *t);
/* tunnel_relay.c */
enum tunnel_event tunnel_open(struct tunnel *t);
enum tunnel_event tunnel_pump_opening(struct tunnel *t);
enum tunnel_event tunnel_check_alone(struct tunnel *t);
enum tunnel_event tunnel_pump(struct tunnel *t);
enum tunnel_event tunnel_check_idle(struct tunnel *t);
enum tunnel_event tunnel_reset(struct tunnel *t);
enum tunnel_event tunnel_reset_late(struct tunnel *t);
enum tunnel_event tunnel_stop(struct tunnel *t);
enum tunnel_event tunnel_end(struct tunnel *t);
/* tunnel_record.c */
void tunnel_metrics_register(void);
void tunnel_limited(enum limit which);
enum preface { PREFACE_PROXY_PROTOCOL, PREFACE_TLS, PREFACES };
void tunnel_preface_failed(const struct tunnel *t, enum preface which, const char *why);
void tunnel_record_begin(struct tunnel *t);
void tunnel_record_phase(struct tunnel *t, enum tunnel_phase phase); /* ends now, the next begins */
void tunnel_record_opened(struct tunnel *t);
void tunnel_record_finish(struct tunnel *t); /* the log line and the counters; once a request */

/* Shared by the actions. */
enum tunnel_event tunnel_refuse_with(struct tunnel *t, int status, const char *why);
void tunnel_drop_ask(struct tunnel *t);
void tunnel_drop_far(struct tunnel *t);
/* worker.c */
int worker_watch(struct worker *w, struct tunnel *t, int end); /* 0 or -errno */
void worker_again(struct worker *w, struct tunnel *t);
void worker_post(struct worker *w, struct ask *ask);
void worker_forget(struct worker *w, struct ask *ask);
