#include "controller/balancer/members.h"

#include "common/log.h"
#include "common/metrics.h"

#include <stdio.h>
#include <string.h>

#define SYNC_EVERY_MS 1000
#define RETRY_MS 100  /* while haproxy does not answer: it has just been started */
#define STEP_MS 50    /* between a server's slow steps: connections shut, their end */
#define QUICK_STEPS 3 /* in a row without that wait: a server comes in two, goes in three */
#define PLAN_MAX ((size_t)SERVERS_MAX * 192)

struct members {
    struct loop *loop;
    struct haproxy *haproxy;
    struct members_options options;
    char *backend;
    struct server_list *desired, *observed;
    bool told;      /* what to have: before that it looks, and touches nothing */
    bool answered;  /* ever */
    bool known;     /* observed is haproxy's answer */
    bool fresh;     /* to a question of after the last change */
    bool settled;   /* the last comparison, begun after the last change, found no difference */
    bool busy;      /* a comparison is under way */
    bool again;     /* something changed meanwhile */
    bool failed;    /* a command of this comparison was refused */
    unsigned quick; /* comparisons in a row that followed each other at once */
    size_t pending;
    char why[ERR_TEXT_MAX];
    struct loop_timer *timer;
};

static struct metric commands_ok = {
    .name = "vpn_haproxy_commands_total",
    .labels = "result=\"ok\"",
    .help = "Commands to haproxy's runtime socket that change servers.",
    .kind = METRIC_COUNTER,
};
static struct metric commands_failed = {
    .name = "vpn_haproxy_commands_total",
    .labels = "result=\"refused\"",
    .kind = METRIC_COUNTER,
};

static void on_timer(void *arg);

static void set_why(struct members *m, const char *why)
{
    if (strcmp(m->why, why) != 0) {
        snprintf(m->why, sizeof(m->why), "%s", why);
        if (why[0] == '\0') {
            log_info("haproxy's servers are as they should be", NULL);
        } else if (m->answered) { /* before its first answer it is only starting */
            log_warn("haproxy's servers are not as they should be", "why", why, NULL);
        }
    }
}

static void end_comparison(struct members *m, uint64_t next_ms)
{
    m->busy = false;
    loop_timer_start(m->timer, m->again ? 0 : next_ms, 0);
}

static void on_command(void *arg, const char *command, int result, const char *reply)
{
    struct members *m = arg;
    struct err err;
    int r = result < 0 ? err_set(&err, result, "haproxy: '%s'", command)
                       : servers_check_reply(command, reply, &err);

    metric_inc(r == 0 ? &commands_ok : &commands_failed);
    if (r < 0) {
        m->failed = true;
        set_why(m, err.text);
    }
    if (--m->pending == 0) {
        bool at_once = !m->failed && m->quick < QUICK_STEPS;
        m->quick = at_once ? m->quick + 1 : 0;
        end_comparison(m, m->failed ? SYNC_EVERY_MS : at_once ? 0 : STEP_MS);
    }
}

static void send_step(struct members *m, const char *line, size_t len)
{
    AUTO(str) char *command = xstrndup(line, len);

    log_debug("haproxy", "command", command, NULL);
    if (haproxy_command(m->haproxy, command, on_command, m) == 0) {
        m->pending++; /* else the queue is full: the next comparison finds what is left */
    }
}

static void carry_out(struct members *m)
{
    struct buf plan;

    if (!m->told) {
        end_comparison(m, SYNC_EVERY_MS);
        return;
    }
    buf_init(&plan, PLAN_MAX);
    m->failed = servers_plan(m->backend, m->desired, m->observed, &plan) < 0;
    m->settled = plan.len == 0 && !m->failed && !m->again;
    for (const char *line = buf_str(&plan); *line != '\0';) {
        size_t len = strcspn(line, "\n");
        send_step(m, line, len);
        line += len + (line[len] == '\n');
    }
    if (m->settled) {
        set_why(m, "");
        m->quick = 0;
    }
    if (m->pending == 0) {
        end_comparison(m, SYNC_EVERY_MS);
    }
    buf_clear(&plan);
}

static void forget(struct members *m, const char *why)
{
    m->known = false;
    m->settled = false;
    set_why(m, why);
    end_comparison(m, RETRY_MS);
}

static void on_stat(void *arg, const char *command, int result, const char *reply)
{
    struct members *m = arg;
    struct err err;
    int r = result < 0 ? err_set(&err, result, "haproxy does not answer")
                       : servers_parse(reply, m->backend, m->observed, &err);

    if (r < 0) {
        forget(m, err.text);
    } else {
        m->known = true;
        m->answered = true;
        m->fresh = !m->again;
        carry_out(m);
    }
    if (m->options.on_change != NULL) {
        m->options.on_change(m->options.arg);
    }
}

static void on_timer(void *arg)
{
    struct members *m = arg;

    if (m->busy) {
        m->again = true;
        return;
    }
    AUTO(str) char *command = servers_stat_command(m->backend);
    m->busy = true;
    m->again = false;
    if (haproxy_command(m->haproxy, command, on_stat, m) < 0) {
        end_comparison(m, SYNC_EVERY_MS);
    }
}

struct members *members_new(struct loop *loop, const struct members_options *options)
{
    struct members *m = xcalloc(1, sizeof(*m));

    static bool registered;

    if (!registered) {
        registered = true;
        metrics_register(&commands_ok);
        metrics_register(&commands_failed);
    }
    m->loop = loop;
    m->options = *options;
    m->backend = xstrdup(options->backend);
    m->haproxy = haproxy_new(loop, options->socket_path);
    m->desired = xcalloc(1, sizeof(*m->desired));
    m->observed = xcalloc(1, sizeof(*m->observed));
    m->timer = loop_timer_new(loop, on_timer, m);
    return m;
}

void members_close(struct members *m)
{
    if (m != NULL) {
        haproxy_close(m->haproxy);
        loop_timer_close(m->timer);
        free(m->backend);
        free(m->desired);
        free(m->observed);
        free(m);
    }
}

void members_set(struct members *m, const struct server_list *desired)
{
    *m->desired = *desired;
    m->told = true;
    members_sync(m);
}

void members_sync(struct members *m)
{
    m->settled = false;
    m->fresh = false;
    if (m->busy) {
        m->again = true;
    } else {
        loop_timer_start(m->timer, 0, 0);
    }
}

const struct server_list *members_observed(const struct members *m)
{
    return m->known ? m->observed : NULL;
}

bool members_fresh(const struct members *m)
{
    return m->known && m->fresh;
}

bool members_settled(const struct members *m)
{
    return m->settled;
}

const char *members_why(const struct members *m)
{
    return m->why;
}
