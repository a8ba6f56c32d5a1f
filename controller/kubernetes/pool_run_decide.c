/* DECIDE: what is seen and what the planner says goes into the status, in memory. */
#include "common/log.h"
#include "controller/kubernetes/pool_run_priv.h"

#include <stdio.h>
#include <string.h>

/* One thread, and nothing of it outlives run_decide(). */
static struct observed_index observed_indices[PLAN_INDEX_MAX];
static uint32_t occupied[PLAN_INDEX_MAX];
static struct plan_result result;

/* --- names that others have --- */

static uint32_t index_in(const struct pool_run *run, const char *name)
{
    size_t len = strlen(run->name);
    unsigned long n = 0;

    if (strncmp(name, run->name, len) == 0 && name[len] == '-' && name[len + 1] >= '1' &&
        name[len + 1] <= '9' && strlen(name + len + 1) <= 4 &&
        strspn(name + len + 1, "0123456789") == strlen(name + len + 1)) {
        n = strtoul(name + len + 1, NULL, 10);
    }
    return n <= PLAN_INDEX_MAX ? (uint32_t)n : 0;
}

static void occupy(size_t *count, uint32_t index)
{
    if (index != 0 && *count < ARRAY_LEN(occupied)) {
        occupied[(*count)++] = index;
    }
}

/* Pods in the cache that are not of this pool's status, and what answers said. */
static size_t find_occupied(struct pool_run *run, int64_t now_ms)
{
    size_t count = 0;

    for (struct kube_store_iter i = {.store = run->d->pods}; kube_store_next(&i);) {
        const struct pod_view *v = i.object->kept;
        uint32_t index = index_in(run, v->name);
        const struct pool_instance *ours =
            index != 0 ? pool_status_find(&run->status, index) : NULL;
        bool known = ours != NULL && strcmp(ours->uid, v->uid) == 0;
        if (!known && expectations_has(&run->pods, v->name) == EXPECT_NONE) {
            occupy(&count, index);
        }
    }
    for (size_t i = 0; i < run->taken_count;) {
        if (now_ms >= run->taken[i].until_ms) {
            run->taken[i] = run->taken[--run->taken_count];
        } else {
            occupy(&count, run->taken[i++].index);
        }
    }
    return count;
}

static bool is_occupied(size_t count, uint32_t index)
{
    for (size_t i = 0; i < count; i++) {
        if (occupied[i] == index) {
            return true;
        }
    }
    return false;
}

/* A reservation whose name turns out to be somebody else's is worth nothing. */
static void give_back(struct pool_run *run, size_t occupied_count, int64_t now_ms)
{
    for (size_t n = run->status.count; n > 0; n--) {
        const struct pool_instance *i = &run->status.instances[n - 1];
        if (i->phase == INDEX_STARTING && i->uid[0] == '\0' &&
            is_occupied(occupied_count, i->index)) {
            log_error("a Pod that is not this pool's has the name; another index is taken", "pool",
                      run->name, "index", NUM(i->index), NULL);
            run_event(run, KUBE_EVENT_WARNING, "NameTaken", "CreatePod",
                      "Pod %s-%u is not this pool's; it is left alone, another index is taken",
                      run->name, i->index);
            pool_status_remove(&run->status, i->index, now_ms);
        }
    }
}

/* --- what the planner says --- */

static void reserve(struct pool_run *run, uint32_t index, int64_t now_ms)
{
    struct pool_instance *i = pool_status_add(&run->status, index, now_ms);
    struct pod_owner owner = {.ns = run->d->ns, .pool_uid = run->uid};
    struct pod_template template;
    cJSON *pod = NULL;

    if (pod_render(&run->spec, &owner, index, &pod, &template, NULL) == 0) {
        memcpy(i->template_hash, template.hash, sizeof(i->template_hash));
    }
    cJSON_Delete(pod);
}

static void drain(struct pool_instance *i, const char *reason, int64_t now_ms)
{
    char word[POD_REASON_MAX + 1];

    pool_reason(reason, word);
    pool_instance_enter(i, INDEX_DRAINING, word, now_ms);
}

static void give_up(struct pool_run *run, struct pool_instance *i, const char *reason,
                    int64_t now_ms)
{
    run->pool_not_before_ms = now_ms + PLAN_GIVE_UP_PAUSE_MS;
    run_event(run, KUBE_EVENT_WARNING, "GivenUp", "DeletePod", "%s-%u %s (%s)", run->name, i->index,
              reason, i->reason);
    pool_instance_enter(i, INDEX_TERMINATING, "GivenUp", now_ms);
}

static void serve(struct pool_instance *i, int64_t now_ms)
{
    i->unserved = false;
    pool_instance_enter(i, INDEX_READY, "Ready", now_ms);
}

static void apply(struct pool_run *run, const struct plan_action *a, int64_t now_ms)
{
    struct pool_instance *i = pool_status_find(&run->status, a->index);
    char reason[POD_REASON_MAX + 1];

    if (a->kind == PLAN_RESERVE) {
        reserve(run, a->index, now_ms);
        return;
    }
    pool_reason(a->reason, reason);
    switch (a->kind) {
    case PLAN_RESERVE:
    case PLAN_START_OPENVPN: /* making the Pod, and its containers' starts: the kubelet's */
    case PLAN_START_SIDECAR:
    case PLAN_KILL_OPENVPN: /* the Pod's grace period is over some time */
    case PLAN_KILL_SIDECAR:
        break;
    case PLAN_SERVE:
        serve(i, now_ms);
        break;
    case PLAN_UNSERVE:
        i->unserved = true;
        break;
    case PLAN_DRAIN:
        drain(i, a->reason, now_ms);
        break;
    case PLAN_TERMINATE:
        pool_instance_enter(i, INDEX_TERMINATING, reason, now_ms);
        break;
    case PLAN_GIVE_UP:
        give_up(run, i, a->reason, now_ms);
        break;
    case PLAN_BURY:
        memcpy(reason, i->reason, sizeof(reason)); /* why it ended is what a person asks */
        pool_instance_enter(i, INDEX_BURYING, reason, now_ms);
        burials_gone(run->burials, i->index, i->uid);
        sidecar_calls_forget(run->d->sidecars, i->uid);
        break;
    case PLAN_FREE:
        pool_status_remove(&run->status, a->index, now_ms);
        break;
    }
}

/* One Event for all of a kind: of a hundred the API server would take twenty-five. */
static const struct {
    enum plan_action_kind kind;
    const char *reason, *action, *words;
} told[] = {
    {PLAN_RESERVE, "ScalingUp", "CreatePods", "made"},
    {PLAN_SERVE, "Ready", "Serve", "ready to take devices"},
    {PLAN_DRAIN, "Draining", "Drain", "drained"},
    {PLAN_TERMINATE, "Terminating", "DeletePods", "ended"},
    {PLAN_FREE, "Freed", "Free", "gone for good"},
};

/* SERVE is planned again and again until the Pod shows it; only the first is news. */
static bool is_news(const struct pool_run *run, const struct plan_action *a)
{
    const struct pool_instance *i = pool_status_find(&run->status, a->index);

    return a->kind != PLAN_SERVE || (i != NULL && i->phase == INDEX_STARTING);
}

static void tell(struct pool_run *run, enum plan_action_kind kind, const char *reason,
                 const char *action, const char *words)
{
    char names[256] = "";
    const char *why = "";
    size_t count = 0, len = 0;

    for (size_t i = 0; i < result.count; i++) {
        const struct plan_action *a = &result.actions[i];
        if (a->kind != kind || !is_news(run, a)) {
            continue;
        }
        why = a->reason;
        if (count++ < 8) {
            len += (size_t)snprintf(names + len, sizeof(names) - len, "%s%u", len > 0 ? ", " : "",
                                    a->index);
        }
    }
    if (count > 0) {
        run_event(run, KUBE_EVENT_NORMAL, reason, action, "%zu %s %s (%s): index %s%s", count,
                  count == 1 ? "instance is" : "instances are", words, why, names,
                  count > 8 ? ", ..." : "");
    }
}

static void tell_plan(struct pool_run *run)
{
    for (size_t i = 0; i < ARRAY_LEN(told); i++) {
        tell(run, told[i].kind, told[i].reason, told[i].action, told[i].words);
    }
}

/* Why Pods are replaced, once for each spec. */
static void tell_difference(struct pool_run *run, const struct pods_seen *seen)
{
    struct pod_owner owner = {.ns = run->d->ns, .pool_uid = run->uid};

    for (size_t n = 0; n < run->status.count; n++) {
        const struct pool_instance *i = &run->status.instances[n];
        const struct pod_view *v = pods_find(seen, i);
        struct pod_template template;
        cJSON *pod = NULL;
        if (v == NULL || i->phase > INDEX_READY || observed_indices[n].current ||
            run->told_generation == run->generation ||
            pod_render(&run->spec, &owner, i->index, &pod, &template, NULL) < 0) {
            continue;
        }
        cJSON_Delete(pod);
        AUTO(str) char *what = pod_template_difference(v->parts, template.parts);
        run->told_generation = run->generation;
        log_info("instances are replaced one by one", "pool", run->name, "changed", what, NULL);
        run_event(run, KUBE_EVENT_NORMAL, "RollingOut", "ReplacePods",
                  "instances are replaced: what changed is %s", what);
    }
}

static bool is_worth_a_line(enum plan_action_kind kind)
{
    return kind == PLAN_RESERVE || kind == PLAN_DRAIN || kind == PLAN_TERMINATE ||
           kind == PLAN_GIVE_UP || kind == PLAN_BURY;
}

static void ask_planner(struct pool_run *run, const struct pods_seen *seen, size_t occupied_count)
{
    const struct pool_object *spec = &run->spec;
    bool udp = spec->openvpn.protocol >= POOL_UDP;
    struct plan_desired desired = {
        .replicas = spec->replicas,
        .capacity = pool_object_capacity(spec, false),
        .max_surge = udp ? 0 : spec->rollout.max_surge,
        .max_unavailable = udp ? 1 : spec->rollout.max_unavailable,
        .drain_timeout_ms = (int64_t)spec->drain.timeout_s * 1000,
        .starting_max = PLAN_INDEX_MAX, /* the scheduler and the nodes pace them */
        .devices_max = pool_object_devices_max(spec),
    };
    struct plan_observed observed = {
        .now_ms = seen->now_ms,
        .indices = observed_indices,
        .index_count = run->status.count,
        .freed = run->status.freed,
        .freed_count = run->status.freed_count,
        .occupied = occupied,
        .occupied_count = occupied_count,
        .pool_not_before_ms = run->pool_not_before_ms,
        .looking_since_ms = run->d->leading_since_ms,
    };

    pods_observe(seen, &run->status, observed_indices);
    tell_difference(run, seen);
    plan(&desired, &observed, &result);
    tell_plan(run);
    for (size_t i = 0; i < result.count; i++) {
        const struct plan_action *a = &result.actions[i];
        if (is_worth_a_line(a->kind)) {
            log_info(plan_action_name(a->kind), "pool", run->name, "index", NUM(a->index), "why",
                     a->reason, NULL);
        }
        apply(run, a, seen->now_ms);
    }
    if (result.next_ms != INT64_MAX) {
        run_wake_at(run, result.next_ms);
    }
}

/* --- conditions --- */

/* Nothing waits for being made any more: what went wrong with it is over. */
static void forgive_creates(struct pool_run *run)
{
    for (size_t n = 0; n < run->status.count; n++) {
        const struct pool_instance *i = &run->status.instances[n];
        if (i->phase == INDEX_STARTING && i->uid[0] == '\0') {
            return;
        }
    }
    run->why_failed[0] = '\0';
}

static const char balancers_silent[] = "no balancer has answered for 30 s, so no device may get in";

/* -> what is worth an Event when it begins, NULL: nothing */
static const char *set_degraded(struct pool_run *run, const struct pods_seen *seen,
                                size_t occupied_count)
{
    struct pool_status *s = &run->status;
    char message[POOL_MESSAGE_MAX + 1] = "", why[POOL_MESSAGE_MAX + 1] = "";
    const char *reason = result.degraded_reason;

    if (run->why_failed[0] != '\0') {
        pool_status_condition(s, POOL_DEGRADED, true, "CreateFailed", run->why_failed,
                              seen->now_ms);
        return result.degraded;
    }
    if (reason == NULL && occupied_count > 0 && run->taken_count > 0) {
        snprintf(message, sizeof(message), "Pod %s-%u is not this pool's; it is left alone",
                 run->name, run->taken[0].index);
        pool_status_condition(s, POOL_DEGRADED, true, "NameTaken", message, seen->now_ms);
        return result.degraded;
    }
    if (reason == NULL && run_balancers_silent(run)) {
        snprintf(message, sizeof(message), "%s: %.200s", balancers_silent,
                 pool_run_balancers_name(run));
        pool_status_condition(s, POOL_DEGRADED, true, "BalancersSilent", message, seen->now_ms);
        return balancers_silent;
    }
    if (reason == NULL) {
        pool_status_condition(s, POOL_DEGRADED, false, "AsDesired", "", seen->now_ms);
        return NULL;
    }
    bool has_why = pods_why(seen, s, why);
    if (strcmp(reason, "WaitingForApi") == 0 && strstr(why, "no balancer") != NULL) {
        pool_status_condition(s, POOL_DEGRADED, true, "WaitingForBalancer", why, seen->now_ms);
        return result.degraded;
    }
    snprintf(message, sizeof(message), "%.200s%s%.800s", result.degraded, has_why ? "; " : "", why);
    pool_status_condition(s, POOL_DEGRADED, true, reason, message, seen->now_ms);
    return result.degraded;
}

static void tell_change(struct pool_run *run, const char *now)
{
    const struct pool_condition *c = &run->status.conditions[POOL_DEGRADED];

    if (now != NULL && now != run->was_degraded) {
        log_warn("the pool is degraded", "pool", run->name, "why", c->message, NULL);
        run_event(run, KUBE_EVENT_WARNING, c->reason, "Watch", "%s", c->message);
    }
    run->was_degraded = now;
}

static void say_changing(const struct pool_run *run, char message[128])
{
    unsigned starting = 0, outdated = 0, leaving = 0;

    for (size_t n = 0; n < run->status.count; n++) {
        enum index_phase phase = run->status.instances[n].phase;
        starting += phase == INDEX_STARTING;
        leaving += phase > INDEX_READY;
        outdated += phase <= INDEX_READY && !observed_indices[n].current;
    }
    snprintf(message, 128, "%u starting, %u to be replaced, %u leaving", starting, outdated,
             leaving);
}

static void set_conditions(struct pool_run *run, const struct pods_seen *seen,
                           size_t occupied_count)
{
    struct pool_status *s = &run->status;
    char message[128];

    snprintf(message, sizeof(message), "%u of %u can take devices", result.ready,
             run->spec.replicas);
    pool_status_condition(s, POOL_AVAILABLE, result.available,
                          result.available ? "EnoughReady" : "TooFewReady", message, seen->now_ms);
    forgive_creates(run);
    const char *worth_telling = set_degraded(run, seen, occupied_count);
    if (!result.progressing) {
        pool_status_condition(s, POOL_PROGRESSING, false, "Settled", "", seen->now_ms);
    } else if (result.degraded_reason != NULL &&
               strcmp(result.degraded_reason, "InstanceGivenUp") == 0) {
        pool_status_condition(s, POOL_PROGRESSING, false, "Stopped",
                              "nothing new is begun for a while after an instance was given up",
                              seen->now_ms);
    } else {
        say_changing(run, message);
        pool_status_condition(s, POOL_PROGRESSING, true, "Changing", message, seen->now_ms);
    }
    tell_change(run, worth_telling);
}

/* --- what waits for its burial --- */

static void copy_burials(struct pool_run *run)
{
    struct pool_status *s = &run->status;
    size_t count = 0;
    const struct burial *items = burials_items(run->burials, &count);

    s->burial_count = 0;
    s->burials = xrealloc(s->burials, (count + 1) * sizeof(s->burials[0]));
    for (size_t i = 0; i < count; i++) {
        if (items[i].gone) {
            struct pool_burial *b = &s->burials[s->burial_count++];
            *b = (struct pool_burial){.index = items[i].index, .service_id = items[i].service_id};
            snprintf(b->epoch, sizeof(b->epoch), "%s", items[i].epoch);
        }
    }
}

static void follow_burials(struct pool_run *run)
{
    for (size_t n = 0; n < run->status.count; n++) {
        const struct pool_instance *i = &run->status.instances[n];
        if (i->service_id != 0 && i->uid[0] != '\0' && i->phase < INDEX_BURYING) {
            burials_live(run->burials, i->index, i->uid, i->service_id, NULL);
        }
    }
}

/* --- the whole --- */

void run_rehash(struct pool_run *run)
{
    struct pod_owner owner = {.ns = run->d->ns, .pool_uid = run->uid};

    for (size_t n = 0; n < run->status.count; n++) {
        struct pool_instance *i = &run->status.instances[n];
        struct pod_template template = {.hash = ""};
        cJSON *pod = NULL;
        if (run->spec_ok) {
            pod_render(&run->spec, &owner, i->index, &pod, &template, NULL);
        }
        cJSON_Delete(pod);
        memcpy(i->template_hash, template.hash, sizeof(i->template_hash));
    }
}

void run_decide(struct pool_run *run, int64_t now_ms)
{
    struct pods_seen seen = run_seen(run, now_ms);
    struct pool_status *s = &run->status;

    s->observed_generation = run->generation;
    pods_follow(&seen, s);
    follow_burials(run);
    size_t occupied_count = find_occupied(run, now_ms);
    give_back(run, occupied_count, now_ms);
    if (run->spec_ok) {
        s->capacity = pool_object_capacity(&run->spec, false);
        ask_planner(run, &seen, occupied_count);
        set_conditions(run, &seen, occupied_count);
    } else {
        pool_status_condition(s, POOL_DEGRADED, true, "InvalidSpec",
                              run->fault != NULL ? run->fault : "", now_ms);
    }
    copy_burials(run);
    pods_count(&seen, s);
}
