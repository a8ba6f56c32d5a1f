/* plan: what to do next, for one machine and for Kubernetes alike. Pure: no clock, no I/O, no
 * allocation. plan(desired, observed, now) -> actions, all due now, and the time at which to ask
 * again if nothing happens before.
 *
 * An index lives Free -> Reserved -> Starting -> Ready -> Draining -> Terminating -> Burying ->
 * Free. What was decided about it is its record, which the driver keeps where it outlives a restart
 * (controller.json, the object's status). A driver's loop:
 *
 *     observe;  plan();  for each action: plan_commit(), save, carry out;  until result.count == 0
 *
 * Saving before carrying out is what makes an index exclusive: a driver that dies between finds the
 * record and goes on. Every action may therefore be carried out twice: drivers make that harmless.
 * Tests: tests/unit/pool/test_plan.c (tables), tests/simulate (random faults against invariants).
 */
#pragma once

#include "common/base.h"

#define PLAN_INDEX_MAX 2048  /* indices ever used: POOL_REPLICAS_MAX and as many in surge */
#define PLAN_ACTIONS_MAX 64  /* of one call; what is left comes with the next */
#define PLAN_TEMPLATE_MAX 16 /* hex digits */

#define PLAN_BACKOFF_FIRST_MS 1000 /* pause before a second start in a row, then doubled */
#define PLAN_BACKOFF_MAX_MS 60000
#define PLAN_STEADY_MS 60000             /* ready for so long: failures are forgotten */
#define PLAN_GIVE_UP_FAILURES 6          /* starts in a row that failed: the index is given up */
#define PLAN_POOL_BACKOFF_FIRST_MS 10000 /* after an index was given up, then doubled */
#define PLAN_POOL_BACKOFF_MAX_MS 300000
#define PLAN_SIDECAR_SILENT_MS 20000 /* runs but does not answer: restarted */
#define PLAN_LINK_LOST_MS 90000      /* OpenVPN runs but its management is dead: restarted */
#define PLAN_UNSERVE_MS 10000        /* silent for so long: newcomers go elsewhere */
#define PLAN_ASK_AGAIN_MS 5000       /* a drain, an end, a burial that shows no effect */
#define PLAN_DRAIN_SLACK_MS 10000    /* on top of the drain's own time-out */
#define PLAN_TERMINATE_MS 20000      /* for an end in order; then PLAN_KILL */

enum plan_phase {
    PLAN_FREE,
    PLAN_RESERVED, /* ours on paper, nothing exists yet */
    PLAN_STARTING, /* exists, never served yet */
    PLAN_READY,    /* has served; may be down at the moment */
    PLAN_DRAINING, /* takes no newcomers, sheds its devices; never goes back */
    PLAN_TERMINATING,
    PLAN_BURYING, /* nothing runs; its devices are being reported disconnected */
    PLAN_PHASES
};

struct plan_template { /* names a configuration; compared as text */
    char text[PLAN_TEMPLATE_MAX + 1];
};

/* Kept by the driver across restarts; written by plan_commit() only. Zeroed but for index: an index
 * that was never used. Times are Unix ms; one in the future (the clock was set back) is due. */
struct plan_record {
    uint32_t index; /* 1..index_max */
    enum plan_phase phase;
    int64_t since_ms;             /* of the phase */
    int64_t freed_ms;             /* when it last became free; 0: never used */
    int64_t asked_ms;             /* last DRAIN, TERMINATE, KILL or BURY */
    struct plan_template openvpn; /* what it was started with */
    struct plan_template sidecar; /* what its sidecar was last started with */
    uint32_t openvpn_failures;    /* starts since it was last steady, the first not counted */
    int64_t openvpn_started_ms;   /* last start */
    uint32_t sidecar_failures;    /* the same of the sidecar */
    int64_t sidecar_started_ms;
    bool given_up; /* it ends because it did not work */
};

/* Kept likewise, one a pool. */
struct plan_pool {
    uint32_t failures;                    /* indices given up in a row with this template */
    int64_t failed_ms;                    /* the last of them */
    struct plan_template failed_template; /* another template starts with a clean slate */
};

enum plan_body {
    PLAN_BODY_GONE,    /* it is certain that nothing of it exists */
    PLAN_BODY_PRESENT, /* it exists, or was just created, or can be restarted in place */
    PLAN_BODY_LOST,    /* out of reach, perhaps alive (a node that does not answer) */
};

/* What is seen of one index now. Of what a driver does not know it says what does no harm: a driver
 * that has just started gives its own start as heard_ms and link_ms.
 * body, locally: PRESENT in phases STARTING to DRAINING whatever runs, since it can be restarted in
 * place; in TERMINATING PRESENT while a process of it runs. */
struct plan_facts {
    enum plan_body body;
    bool openvpn_running;
    bool sidecar_running;
    int64_t heard_ms;       /* the sidecar last answered */
    int64_t link_ms;        /* its link to OpenVPN was last seen live */
    bool ready;             /* the sidecar's phase is ready */
    int64_t ready_since_ms; /* without a break; 0: it is not */
    bool draining;          /* the sidecar's phase is draining or drained */
    bool drained;           /* ... no session left */
    bool serving;           /* the balancer sends newcomers to it */
    uint32_t sessions;
    bool buried; /* in phase BURYING: the API lists none of its devices, or it had no service id */
    bool failed; /* will never come up as it is (image not found, Pod evicted) */
    bool marked; /* the user wants this one to go first */
    bool unscheduled; /* Kubernetes: has no node yet */
};

struct plan_instance {
    struct plan_record record;
    struct plan_facts facts; /* of no meaning in phase FREE */
};

struct plan_observed {
    const struct plan_instance *instances; /* any order, no index twice; FREE ones included */
    size_t count;                          /* at most PLAN_INDEX_MAX */
    struct plan_pool pool;
};

struct plan_desired {
    uint32_t replicas;
    uint32_t index_max; /* pool_object_index_max() */
    uint32_t max_surge; /* both 0 is taken as surge 1 */
    uint32_t max_unavailable;
    uint32_t max_starting;    /* that start at the same time; 0: no limit */
    int64_t start_timeout_ms; /* from start until its link is live; over: given up */
    int64_t drain_timeout_ms;
    int64_t min_ready_ms;   /* before a new one counts as available in a roll */
    bool restarts_in_place; /* we restart processes (one machine); false: the kubelet does */
    bool stopping;          /* everything ends in order, whatever replicas says */
    struct plan_template openvpn;
    struct plan_template sidecar;
};

enum plan_verb {
    PLAN_RESERVE,         /* Free -> Reserved: write it down, create nothing */
    PLAN_START,           /* Reserved -> Starting: create it, a new epoch */
    PLAN_SERVE,           /* Starting -> Ready, or Ready again: newcomers may come */
    PLAN_UNSERVE,         /* it stays Ready, but newcomers go elsewhere until it works again */
    PLAN_RESTART_OPENVPN, /* end it if it runs, start it: same epoch, a new generation */
    PLAN_RESTART_SIDECAR, /* end it if it runs, start it: same epoch; devices stay */
    PLAN_FORGIVE,         /* steady: only the record changes */
    PLAN_DRAIN,           /* -> Draining, or Draining still: no newcomers, ask the sidecar */
    PLAN_TERMINATE,       /* -> Terminating, or still: out of the balancer, ended in order */
    PLAN_KILL,            /* Terminating still: it did not end, so by force */
    PLAN_BURY,            /* -> Burying, or still: report its devices disconnected */
    PLAN_RELEASE,         /* Burying -> Free */
    PLAN_VERBS
};

struct plan_action {
    enum plan_verb verb;
    uint32_t index;
    const char *reason;                    /* a few words for logs and events; static */
    bool gives_up;                         /* TERMINATE, BURY: because it did not work */
    struct plan_template openvpn, sidecar; /* START, RESTART_*: what to start it with */
};

enum plan_trouble { /* why the pool is not as it should be, the gravest first */
                    PLAN_TROUBLE_NONE,
                    PLAN_TROUBLE_GIVEN_UP,  /* instances of this configuration do not come up */
                    PLAN_TROUBLE_NO_INDEX,  /* every index is taken, ending or being buried */
                    PLAN_TROUBLE_CRASHING,  /* an OpenVPN or sidecar was restarted and is not steady
                                               yet */
                    PLAN_TROUBLE_NOT_READY, /* runs, but is not ready (the API does not answer) */
                    PLAN_TROUBLE_LOST,      /* an instance is out of reach */
};

struct plan_counts {
    uint32_t active;    /* Reserved, Starting, Ready, and within reach */
    uint32_t available; /* Ready, and it works now */
    uint32_t updated;   /* active with the desired templates */
    uint32_t draining, terminating, burying, lost;
    uint32_t sessions;
};

struct plan_result {
    struct plan_action actions[PLAN_ACTIONS_MAX]; /* in the order to carry them out */
    size_t count;
    int64_t wake_ms; /* ask again then; INT64_MAX: only when something happened */
    struct plan_counts counts;
    enum plan_trouble trouble;
    uint32_t trouble_index; /* 0: the pool's */
    bool settled;           /* as desired, nothing under way; with stopping: all is over */
};

/* Fills *ret whole. */
void plan(const struct plan_desired *desired, const struct plan_observed *observed, int64_t now_ms,
          struct plan_result *ret);

/* What action makes of its index's record and of the pool. Before carrying it out: save both.
 * Locally, an OpenVPN or sidecar that cannot even be started counts as started and dead. */
void plan_commit(struct plan_record *record, struct plan_pool *pool,
                 const struct plan_action *action, int64_t now_ms);

/* Pause before start number failures + 1 in a row, after the last start: 0, 1 s, 2 s, .. 60 s. */
int64_t plan_backoff_ms(uint32_t failures);

const char *plan_phase_text(enum plan_phase phase); /* "draining" */
bool plan_phase_parse(const char *text, enum plan_phase *ret);
const char *plan_verb_text(enum plan_verb verb);          /* "restart-openvpn" */
const char *plan_trouble_text(enum plan_trouble trouble); /* a sentence for people */
