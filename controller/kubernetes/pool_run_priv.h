/* pool_run_priv: what the steps of a look share. Private to pool_run*.c. */
#pragma once

#include "controller/kube/expectations.h"
#include "controller/kubernetes/pod_render.h"
#include "controller/kubernetes/pods_observe.h"
#include "controller/kubernetes/pool_run.h"
#include "controller/kubernetes/views.h"
#include "controller/pool/burials.h"

#define RUN_CALLS_MAX 256 /* under way at once in one look; more come with the next */
#define RUN_VERSIONS 16
#define RUN_TAKEN_MAX 64
#define RUN_TAKEN_MS 60000 /* then the name is tried again */
#define RUN_CALL_MS 30000
#define RUN_SESSIONS_MS 10000 /* figures that change all the time are written that often */
#define RUN_SOON_MS 1000
#define RUN_LATEST_MS 30000

enum run_step { RUN_IDLE, RUN_LOAD, RUN_LOOK, RUN_WRITE, RUN_ACT };

struct run_call {
    struct pool_run *run;
    struct kube_call *call;
    void (*on_answer)(struct run_call *c, struct kube_answer *answer);
    uint32_t index;            /* of the instance it is about; 0: none */
    char uid[POD_UID_MAX + 1]; /* of the Pod it is about; "" */
    int value;                 /* the caller's */
    struct run_call *next;
};

struct pool_run {
    struct driver *d;
    char *name;
    enum run_step step;

    /* The pool, as last read. */
    char uid[POD_UID_MAX + 1];
    bool loaded;    /* status is the pool's */
    bool must_load; /* somebody may have changed it since */
    bool deleting;
    int64_t generation;
    char *resource_version;
    char *versions[RUN_VERSIONS]; /* that we made: news of them is none */
    size_t version_at;
    struct pool_object spec;
    bool spec_ok;
    int64_t spec_generation; /* of spec; 0: none was read */
    char *fault;             /* why it is not ok */

    struct pool_status status;
    char *written, *written_all; /* gist and whole of what the API server has */
    int64_t written_ms;

    struct run_call *calls; /* under way */
    size_t call_count;
    bool failed; /* one of this look's calls has */
    bool again;  /* something was learned that has to be decided about */
    int64_t wake_ms;
    char why_failed[POOL_MESSAGE_MAX + 1]; /* of creates: for people; "" */

    struct expectations pods;
    struct burials *burials;
    int64_t pool_not_before_ms;
    struct {
        uint32_t index;
        int64_t until_ms;
    } taken[RUN_TAKEN_MAX]; /* names that others have, as an answer said */
    size_t taken_count;
    struct { /* the sidecar whose image was patched last */
        char uid[POD_UID_MAX + 1];
        uint32_t restarts;
        int64_t at_ms;
    } refresh;
    const char *was_degraded;
    int64_t told_generation; /* of the Event that says why Pods are replaced */
};

/* What pods_*() is asked with. */
/* Has no balancer of it answered for a while? */
bool run_balancers_silent(const struct pool_run *run);
struct pods_seen run_seen(struct pool_run *run, int64_t now_ms);
const struct pod_view *run_pod(const struct pool_run *run, const char *name); /* cached, or NULL */

/* One request of this look. path and body are borrowed. False: too many are under way. */
struct run_request {
    const char *method, *path, *body, *content_type;
    void (*on_answer)(struct run_call *c, struct kube_answer *answer);
    uint32_t index;
    const char *uid;
    int value;
};
bool run_send(struct pool_run *run, const struct run_request *request);
/* The answer is none, or a refusal: remembered, so that the look ends as a failure. */
void run_call_failed(struct run_call *c, const struct kube_answer *answer);

void run_load(struct pool_run *run);
void run_free_spec(struct pool_run *run);
void run_look(struct pool_run *run);
void run_decide(struct pool_run *run, int64_t now_ms);
/* DECIDE is over. Each of them leads to run_finish(), now or when its calls have ended. */
void run_write(struct pool_run *run, int64_t now_ms);
void run_act(struct pool_run *run, int64_t now_ms);
void run_finish(struct pool_run *run);
/* Ends the step if nothing of it is under way. */
void run_step_ends(struct pool_run *run);

void run_wake_at(struct pool_run *run, int64_t at_ms);
void run_take_name(struct pool_run *run, uint32_t index, int64_t now_ms);
void run_version(struct pool_run *run, const char *resource_version); /* ours */
/* The template's hash of each instance, as the spec is now. */
void run_rehash(struct pool_run *run);

void run_event(struct pool_run *run, enum kube_event_type type, const char *reason,
               const char *action, const char *fmt, ...) PRINTF_LIKE(5, 6);
