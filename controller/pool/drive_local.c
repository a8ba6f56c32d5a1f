#include "controller/pool/drive_local.h"

#include "common/log.h"
#include "common/metrics.h"
#include "controller/balancer/haproxy_config.h"
#include "controller/balancer/members.h"
#include "controller/pool/drive_local_priv.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define ROUND_SOON_MS 5 /* gathers what changes together */
#define ROUND_LATEST_MS 1000
#define BURY_AT_STOP_MS 5000
#define BURY_HURRIED_MS 1000

static void set_round(struct drive_local *d, uint64_t after_ms)
{
    loop_timer_start(d->timer, after_ms, 0);
}

void drive_local_round_soon(void *arg)
{
    set_round(arg, ROUND_SOON_MS);
}

/* --- what is on disk --- */

static void note_saved(struct drive_local *d, const char *why)
{
    if (why[0] != '\0' && d->unsaved[0] == '\0') {
        log_error("state is not on disk; tried again until it is", "why", why, NULL);
    } else if (why[0] == '\0' && d->unsaved[0] != '\0') {
        log_info("state is on disk again", NULL);
    }
    snprintf(d->unsaved, sizeof(d->unsaved), "%s", why);
}

void drive_local_save(void *arg)
{
    struct drive_local *d = arg;
    struct local_state *s = &d->state;
    struct err err = {0};

    if (!d->adopted) { /* the file still names what is adopted next */
        return;
    }
    s->instance_count = d->count;
    for (size_t i = 0; i < d->count; i++) {
        s->instances[i] = *instance_record(d->items[i]);
    }
    for (int p = 0; p < LOCAL_PROGRAMS; p++) {
        s->programs[p] = *local_programs_record(d->programs, (enum local_program)p);
    }
    note_saved(d, local_state_save(d->options.paths->state_file, s, &err) < 0 ? err.text : "");
}

/* A disk that was full may have room again. */
static void save_again(struct drive_local *d)
{
    if (d->unsaved[0] != '\0') {
        drive_local_save(d);
    }
}

/* Settings that could not be written at the start, with devices to look after. */
static void refresh_again(struct drive_local *d)
{
    struct err err;

    if (d->unrefreshed[0] == '\0') {
        return;
    }
    if (local_programs_refresh(d->programs, &err) < 0) {
        snprintf(d->unrefreshed, sizeof(d->unrefreshed), "%s", err.text);
        return;
    }
    d->unrefreshed[0] = '\0';
    log_info("the programs have their settings", NULL);
}

/* The same for certificates: instances take them up one after the other. */
static void certify_again(struct drive_local *d)
{
    if (d->uncertified[0] != '\0' && drive_local_certify(d, NULL) == 0) {
        log_info("the certificates are in their files", NULL);
    }
}

/* --- the table of instances, in order of index --- */

static size_t place_of(const struct drive_local *d, uint32_t index)
{
    size_t at = 0;

    while (at < d->count && instance_record(d->items[at])->index < index) {
        at++;
    }
    return at;
}

struct instance *drive_local_find(const struct drive_local *d, uint32_t index)
{
    size_t at = place_of(d, index);

    return at < d->count && instance_record(d->items[at])->index == index ? d->items[at] : NULL;
}

void drive_local_insert(struct drive_local *d, struct instance *i)
{
    size_t at = place_of(d, instance_record(i)->index);

    assert(d->count < LOCAL_INSTANCES_MAX);
    memmove(&d->items[at + 1], &d->items[at], (d->count - at) * sizeof(d->items[0]));
    d->items[at] = i;
    d->count++;
}

static void take_out(struct drive_local *d, uint32_t index)
{
    size_t at = place_of(d, index);

    memmove(&d->items[at], &d->items[at + 1], (--d->count - at) * sizeof(d->items[0]));
}

/* --- carrying out --- */

/* Two lives of an index never share a name, whatever the clock does. */
static void reserve(struct drive_local *d, uint32_t index)
{
    int64_t now = clock_realtime_ms();
    char epoch[24];

    d->last_epoch_ms = now > d->last_epoch_ms ? now : d->last_epoch_ms + 1;
    snprintf(epoch, sizeof(epoch), "%lld", (long long)d->last_epoch_ms);
    struct instance *i = instance_new(&d->instance_host, index, epoch);
    instance_remove_files(i); /* of a life that nobody ended in order */
    drive_local_insert(d, i);
    local_state_taken(&d->state, index);
    drive_local_save(d);
}

static void release(struct drive_local *d, struct instance *i)
{
    uint32_t index = instance_record(i)->index;

    instance_remove_files(i);
    take_out(d, index);
    local_state_freed(&d->state, index, clock_monotonic_ms());
    drive_local_save(d);
    instance_close(i);
}

static bool is_worth_a_line(enum plan_action_kind kind)
{
    return kind != PLAN_START_OPENVPN && kind != PLAN_START_SIDECAR && kind != PLAN_FREE;
}

static void carry_out(struct drive_local *d, const struct plan_action *action, int64_t now_ms)
{
    struct instance *i = drive_local_find(d, action->index);

    if (action->kind == PLAN_START_OPENVPN && !wall_covers(d->wall, action->index)) {
        return; /* planned again when it does */
    }
    if (is_worth_a_line(action->kind)) {
        log_info(plan_action_name(action->kind), "index", NUM(action->index), "why", action->reason,
                 NULL);
    }
    if (action->kind == PLAN_RESERVE) {
        reserve(d, action->index);
        return;
    }
    if (action->kind == PLAN_GIVE_UP) {
        d->state.pool_not_before_ms = now_ms + PLAN_GIVE_UP_PAUSE_MS;
    }
    if (i != NULL && action->kind == PLAN_FREE) {
        release(d, i);
    } else if (i != NULL) {
        instance_carry_out(i, action, now_ms);
    }
}

/* --- what follows from who exists --- */

static void follow_members(struct drive_local *d)
{
    struct server_list *list = d->servers;

    if (d->members == NULL || pool_is_udp(&d->pool)) {
        return;
    }
    list->count = 0;
    for (size_t i = 0; i < d->count; i++) {
        list->count += instance_server(d->items[i], &list->items[list->count]);
    }
    if (!d->servers_told || list->count != d->servers_last->count ||
        memcmp(list->items, d->servers_last->items, list->count * sizeof(list->items[0])) != 0) {
        d->servers_told = true;
        *d->servers_last = *list;
        members_set(d->members, list);
    }
}

void drive_local_follow_wall(struct drive_local *d)
{
    size_t count = 0;

    for (size_t i = 0; i < d->count; i++) {
        const struct local_instance *r = instance_record(d->items[i]);
        if (r->phase != INDEX_BURYING) {
            d->indices[count++] = r->index;
        }
    }
    wall_limit(d->wall, d->pool.throttle.down, d->pool.throttle.up);
    wall_set(d->wall, d->indices, count);
}

static void follow_roster(struct drive_local *d)
{
    struct buf text;

    buf_init(&text, (size_t)1 << 20);
    buf_append_str(&text, "{\"instances\":[");
    for (size_t i = 0, n = 0; i < d->count; i++) {
        const struct local_instance *r = instance_record(d->items[i]);
        if (r->phase != INDEX_BURYING) {
            buf_printf(&text, "%s{\"index\":%u,\"epoch\":\"%s\"}", n++ > 0 ? "," : "", r->index,
                       r->epoch);
        }
    }
    buf_append_str(&text, "]}");
    roster_set(d->roster, d->pool.state_port, buf_str(&text));
    buf_clear(&text);
}

/* One at a time: each is blind to new devices until it is back. */
static void refresh_a_sidecar(struct drive_local *d)
{
    for (size_t i = 0; i < d->count; i++) {
        enum index_phase phase = instance_record(d->items[i])->phase;
        if (phase <= INDEX_READY && !instance_sidecar_answers(d->items[i])) {
            return;
        }
    }
    for (size_t i = 0; i < d->count; i++) {
        if (instance_refresh_sidecar(d->items[i])) {
            return;
        }
    }
}

/* --- a round --- */

static void observe(struct drive_local *d, int64_t now_ms)
{
    const struct server_list *servers = d->members != NULL ? members_observed(d->members) : NULL;

    for (size_t i = 0; i < d->count; i++) {
        struct observed_index *o = &d->observed[i];
        char name[SERVER_NAME_MAX + 1];
        instance_observe(d->items[i], now_ms, d->revision, o);
        snprintf(name, sizeof(name), "vpn%u", o->index);
        o->listed = servers != NULL && servers_find(servers, name) != NULL;
        o->serving = o->phase == INDEX_READY && instance_record(d->items[i])->serving;
    }
}

static void ask_planner(struct drive_local *d, int64_t now_ms)
{
    struct plan_desired desired = {
        .replicas = d->pool.replicas,
        .capacity = pool_object_capacity(&d->pool, true),
        .max_surge = pool_is_udp(&d->pool) ? 0 : d->pool.rollout.max_surge,
        .max_unavailable = pool_is_udp(&d->pool) ? 1 : d->pool.rollout.max_unavailable,
        .drain_timeout_ms = d->hurried ? 0 : (int64_t)d->pool.drain.timeout_s * 1000,
        .devices_max = pool_object_devices_max(&d->pool),
        .shutdown = d->stopping,
    };
    struct plan_observed observed = {
        .now_ms = now_ms,
        .indices = d->observed,
        .index_count = d->count,
        .freed = d->state.freed,
        .freed_count = d->state.freed_count,
        .pool_not_before_ms = d->state.pool_not_before_ms,
        .looking_since_ms = d->begun_ms,
    };

    plan(&desired, &observed, &d->plan);
}

static void go_on_stopping(struct drive_local *d);

void drive_local_round(void *arg)
{
    struct drive_local *d = arg;
    int64_t now_ms = clock_monotonic_ms();

    if (!d->begun || d->ended) {
        return;
    }
    for (size_t i = 0; i < d->count; i++) {
        instance_tick(d->items[i], now_ms);
    }
    observe(d, now_ms);
    ask_planner(d, now_ms);
    for (size_t i = 0; i < d->plan.count; i++) {
        carry_out(d, &d->plan.actions[i], now_ms);
    }
    drive_local_judge(d);
    save_again(d);
    refresh_again(d);
    certify_again(d);
    follow_members(d);
    follow_roster(d);
    if (d->stopping) {
        go_on_stopping(d);
    } else {
        refresh_a_sidecar(d);
    }
    if (!d->ended && !d->wall_going) {
        drive_local_follow_wall(d);
    }
    int64_t wait = d->plan.next_ms == INT64_MAX ? ROUND_LATEST_MS : d->plan.next_ms - now_ms;
    set_round(d, wait < ROUND_SOON_MS     ? ROUND_SOON_MS
                 : wait < ROUND_LATEST_MS ? (uint64_t)wait
                                          : ROUND_LATEST_MS);
}

/* --- the end --- */

static void finish(struct drive_local *d)
{
    d->ended = true;
    loop_timer_stop(d->timer);
    for (size_t i = 0; i < d->count; i++) { /* those whose burial goes on with the next start */
        instance_remove_files(d->items[i]);
    }
    local_programs_remove_files(d->programs);
    unlink(d->options.paths->state_file);
    loop_timer_start(d->stopped_timer, 0, 0);
}

static bool all_are_buried(const struct drive_local *d)
{
    for (size_t i = 0; i < d->count; i++) {
        if (instance_record(d->items[i])->phase != INDEX_BURYING) {
            return false;
        }
    }
    int64_t patience = d->hurried ? BURY_HURRIED_MS : BURY_AT_STOP_MS;
    return d->count == 0 || clock_monotonic_ms() - d->processes_gone_ms > patience;
}

static bool no_process_is_left(const struct drive_local *d)
{
    for (size_t i = 0; i < d->count; i++) {
        if (instance_record(d->items[i])->phase != INDEX_BURYING) {
            return false;
        }
    }
    return true;
}

/* Called in each round while stopping: the next thing in order that has not ended yet. */
static void go_on_stopping(struct drive_local *d)
{
    if (!no_process_is_left(d)) {
        return;
    }
    if (d->processes_gone_ms == 0) {
        d->processes_gone_ms = clock_monotonic_ms();
    }
    local_programs_stop(d->programs, LOCAL_CONNECT_PROXY, 3000);
    if (!all_are_buried(d) || !local_programs_stopped(d->programs, LOCAL_CONNECT_PROXY)) {
        return;
    }
    if (burials_count_pending(d->burials) > 0 && !d->told_burials) {
        d->told_burials = true;
        log_warn(
            "the API still lists devices of instances that are gone; the next start reports them",
            "why", burials_why(d->burials), NULL);
    }
    members_close(d->members); /* haproxy may go: it is no fault */
    d->members = NULL;
    local_programs_stop(d->programs, LOCAL_HAPROXY, 1000);
    local_programs_stop(d->programs, LOCAL_STATE, 5000);
    if (!local_programs_stopped(d->programs, LOCAL_HAPROXY) ||
        !local_programs_stopped(d->programs, LOCAL_STATE)) {
        return;
    }
    d->wall_going = true;
    wall_remove(d->wall);
    if (wall_settled(d->wall)) {
        finish(d);
    }
}

void drive_local_stop(struct drive_local *d)
{
    uint32_t grace_ms = d->pool.drain.timeout_s * 1000 + 5000;

    if (d->stopping) {
        d->hurried = true;
        grace_ms = 1000;
        log_info("hurrying", NULL);
    } else {
        log_info("ending everything in order; once more hurries", "instances", NUM(d->count), NULL);
    }
    d->stopping = true;
    local_programs_stop(d->programs, LOCAL_CONNECT_PROXY, grace_ms);
    set_round(d, ROUND_SOON_MS);
}

/* --- from outside --- */

const struct pool_object *drive_local_pool(const struct drive_local *d)
{
    return &d->pool;
}

void drive_local_set_notice(struct drive_local *d, const char *notice)
{
    free(d->notice);
    d->notice = notice != NULL ? xstrdup(notice) : NULL;
}
