#include "controller/kube/lease_priv.h"

#include <errno.h>
#include <string.h>

#define DURATION_S 15
#define RENEW_DEADLINE_MS 10000
#define RETRY_MS 2000

static void take_options(struct lease *l, const struct lease_options *o)
{
    *l = (struct lease){
        .client = o->client,
        .ns = xstrdup(o->ns),
        .name = xstrdup(o->name),
        .identity = xstrdup(o->identity),
        .path = kube_path(&kube_leases, o->ns, o->name, NULL),
        .all_path = kube_path(&kube_leases, o->ns, NULL, NULL),
        .duration_s = o->duration_s > 0 ? o->duration_s : DURATION_S,
        .renew_deadline_ms = o->renew_deadline_ms > 0 ? o->renew_deadline_ms : RENEW_DEADLINE_MS,
        .retry_ms = o->retry_ms > 0 ? o->retry_ms : RETRY_MS,
        .on_started = o->on_started,
        .on_stopped = o->on_stopped,
        .on_leader = o->on_leader,
        .arg = o->arg,
    };
}

static int check(const struct lease *l, struct err *err)
{
    if (l->identity[0] == '\0' || l->renew_deadline_ms >= l->duration_s * 1000 ||
        l->retry_ms >= l->renew_deadline_ms) {
        return err_text(err, -EINVAL,
                        "a lease needs an identity, and retry < renew deadline < duration");
    }
    return 0;
}

static void lease_free(void *arg)
{
    struct lease *l = arg;

    lease_forget(l);
    free(l->ns);
    free(l->name);
    free(l->identity);
    free(l->path);
    free(l->all_path);
    free(l->leader);
    free(l);
}

int lease_open(struct loop *loop, const struct lease_options *options, struct lease **ret,
               struct err *err)
{
    struct lease *l = xmalloc(sizeof(*l));

    take_options(l, options);
    int r = check(l, err);
    if (r < 0) {
        lease_free(l);
        return r;
    }
    AUTO(str) char *label = kube_label(l->name);
    AUTO(str) char *labels = xasprintf("name=\"%s\"", label);
    l->status = kube_metric(METRIC_GAUGE, "leader_election_master_status",
                            "1: this process leads, 0: it does not.", labels);
    metric_set(l->status, 0);
    l->loop = loop;
    l->timer = loop_timer_new(loop, lease_on_timer, l);
    l->deadline = loop_timer_new(loop, lease_on_deadline, l);
    l->state = LEASE_WAITING;
    loop_timer_start(l->timer, 0, 0);
    *ret = l;
    return 0;
}

void lease_release(struct lease *l, void (*on_released)(void *arg), void *arg)
{
    l->on_released = on_released;
    l->released_arg = arg;
    lease_give_up(l);
}

/* Our own frames may be on the stack: the memory goes with the loop's next round. */
void lease_close(struct lease *l)
{
    if (l == NULL || l->closed) {
        return;
    }
    l->closed = true;
    l->held = false;
    metric_set(l->status, 0);
    kube_call_cancel(MOVE(l->call));
    loop_timer_close(l->timer);
    loop_timer_close(l->deadline);
    loop_post(l->loop, lease_free, l);
}

bool lease_is_held(const struct lease *l)
{
    return l->held && lease_now_ms() - l->renewed_ms < l->renew_deadline_ms;
}

bool lease_is_healthy(const struct lease *l)
{
    return !l->held || lease_now_ms() - l->renewed_ms <= (int64_t)l->duration_s * 1000;
}

const char *lease_leader(const struct lease *l)
{
    return l->leader != NULL ? l->leader : "";
}
