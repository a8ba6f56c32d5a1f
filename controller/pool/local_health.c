#include "controller/pool/local_health.h"

#include "common/log.h"

#include <errno.h>
#include <stdio.h>

#define CHECK_MS 3000
#define CHECK_SOON_MS 100 /* while one has just been started */
#define ANSWER_MS 2500
#define SILENT_SOME 2 /* in a row: nobody is served by it */
#define SILENT_MAX 4  /* in a row: then it hangs, and is not just slow */

struct check { /* of one program */
    struct local_health *owner;
    enum local_program which;
    struct http_call *call;
    unsigned silent;
    pid_t asked, answered; /* which process; 0: none */
    int64_t due_ms;        /* of the next question to one that answers */
};

struct local_health {
    struct local_health_options o;
    struct check checks[LOCAL_PROGRAMS];
    struct loop_timer *timer;
};

static pid_t pid_of(const struct check *c)
{
    return local_programs_record(c->owner->o.programs, c->which)->process.id.pid;
}

static bool is_wanted(const struct check *c)
{
    return c->which != LOCAL_HAPROXY || !pool_is_udp(c->owner->o.pool);
}

static bool is_starting(const struct check *c)
{
    return local_programs_state(c->owner->o.programs, c->which) == KEEPER_RUNNING &&
           c->answered != pid_of(c);
}

static void kill_if_stuck(struct check *c)
{
    struct local_programs *programs = c->owner->o.programs;

    if (c->silent >= SILENT_MAX && local_programs_state(programs, c->which) == KEEPER_RUNNING) {
        log_error("killed: it runs and does not answer", "what", local_program_names[c->which],
                  NULL);
        c->silent = 0;
        local_programs_kill(programs, c->which);
    }
}

static void on_done(void *arg, int result, const struct http_response *res, const struct err *err)
{
    struct check *c = arg;
    bool refused = result == -ECONNREFUSED || result == -ENOENT || result == -EHOSTUNREACH;
    bool before = local_health_answers(c->owner, c->which);

    c->call = NULL;
    c->silent = result == -ETIMEDOUT ? c->silent + 1 : 0;
    if (refused) {
        c->answered = 0;
    } else if (result != -ETIMEDOUT) {
        c->answered = c->asked;
    }
    kill_if_stuck(c);
    if (before != local_health_answers(c->owner, c->which)) {
        c->owner->o.on_change(c->owner->o.arg);
    }
}

/* haproxy's runtime socket speaks no HTTP, and says so: that is an answer. */
static void ask(struct check *c)
{
    const struct local_health_options *o = &c->owner->o;
    char url[64];
    struct http_request request = {
        .method = "GET",
        .url = url,
        .unix_socket = c->which == LOCAL_HAPROXY ? o->paths->haproxy_socket : NULL,
        .timeout_ms = ANSWER_MS,
        .on_done = on_done,
        .arg = c,
    };

    snprintf(url, sizeof(url), "http://127.0.0.1:%u/healthz",
             c->which == LOCAL_STATE ? o->pool->state_port : o->pool->connect_proxy.metrics_port);
    c->asked = pid_of(c);
    if (http_client_send(o->http, &request, &c->call, NULL) < 0) {
        c->call = NULL;
    }
}

static void on_timer(void *arg)
{
    struct local_health *h = arg;
    int64_t now = clock_monotonic_ms();
    bool soon = false;

    for (int w = 0; w < LOCAL_PROGRAMS; w++) {
        struct check *c = &h->checks[w];
        if (local_programs_state(h->o.programs, c->which) != KEEPER_RUNNING) {
            c->silent = 0;
            soon = soon || is_wanted(c); /* it may be there in a moment */
        } else if (c->call == NULL && (is_starting(c) || now >= c->due_ms)) {
            c->due_ms = now + CHECK_MS;
            ask(c);
        }
        soon = soon || is_starting(c);
    }
    loop_timer_start(h->timer, soon ? CHECK_SOON_MS : CHECK_MS, 0);
}

struct local_health *local_health_new(const struct local_health_options *options)
{
    struct local_health *h = xcalloc(1, sizeof(*h));

    h->o = *options;
    for (int w = 0; w < LOCAL_PROGRAMS; w++) {
        h->checks[w] = (struct check){.owner = h, .which = (enum local_program)w};
    }
    h->timer = loop_timer_new(h->o.loop, on_timer, h);
    loop_timer_start(h->timer, CHECK_SOON_MS, 0);
    return h;
}

bool local_health_answers(const struct local_health *h, enum local_program which)
{
    const struct check *c = &h->checks[which];

    return c->answered != 0 && c->answered == pid_of(c) && c->silent < SILENT_SOME;
}

void local_health_close(struct local_health *h)
{
    if (h == NULL) {
        return;
    }
    for (int w = 0; w < LOCAL_PROGRAMS; w++) {
        if (h->checks[w].call != NULL) {
            http_call_cancel(h->checks[w].call);
        }
    }
    loop_timer_close(h->timer);
    free(h);
}
