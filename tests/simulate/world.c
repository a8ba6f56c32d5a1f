#include "tests/simulate/world.h"

#include <assert.h>
#include <string.h>

/* --- chance --- */

uint32_t world_random(struct world *w, uint32_t below)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return (uint32_t)(w->random >> 32) % below;
}

bool world_chance(struct world *w, uint32_t in)
{
    return world_random(w, in) == 0;
}

static int64_t later(struct world *w, uint32_t least_ms, uint32_t most_ms)
{
    return w->now_ms + least_ms + world_random(w, most_ms - least_ms + 1);
}

void world_init(struct world *w, uint64_t seed)
{
    *w = (struct world){.random = seed * 0x9e3779b97f4a7c15U + 1, .faults = true};
    for (int i = 0; i < 16; i++) {
        world_random(w, 2);
    }
    w->now_ms = 1000000;
    w->looking_since_ms = w->now_ms;
    w->cluster = world_chance(w, 2);
    w->api_ok = w->balancer_ok = true;
    w->api_change_ms = w->balancer_change_ms = WORLD_NEVER;
    w->revision = 1;
    w->desired = (struct plan_desired){
        .replicas = world_random(w, 5),
        .capacity = 4 + world_random(w, 20),
        .max_surge = world_random(w, 3),
        .max_unavailable = world_random(w, 2),
        .drain_timeout_ms = 1000 * (5 + (int64_t)world_random(w, 60)),
        .starting_max = w->cluster ? PLAN_INDEX_MAX : world_random(w, 3),
        .devices_max = world_chance(w, 3) ? 100 : 1000000,
    };
}

/* --- what is --- */

struct life *world_find(struct world *w, uint32_t index)
{
    for (size_t i = 0; i < w->count; i++) {
        if (w->lives[i].index == index) {
            return &w->lives[i];
        }
    }
    return NULL;
}

static bool is_up(const struct world *w, const struct toy_process *p)
{
    return p->state == TOY_RUNNING && w->now_ms >= p->up_ms;
}

bool life_is_lost(const struct world *w, const struct life *l)
{
    return w->now_ms < l->lost_until_ms;
}

bool life_works(const struct world *w, const struct life *l)
{
    return is_up(w, &l->openvpn) && is_up(w, &l->sidecar);
}

static bool is_ready(const struct world *w, const struct life *l)
{
    return life_works(w, l) && l->api_seen && !l->drain_told;
}

bool life_can_serve(const struct world *w, const struct life *l)
{
    return l->phase == INDEX_READY && is_ready(w, l) && !life_is_lost(w, l);
}

bool life_serves(const struct world *w, const struct life *l)
{
    return l->serving && life_can_serve(w, l);
}

static bool may_live(const struct life *l)
{
    return l->phase == INDEX_STARTING || l->phase == INDEX_READY;
}

/* --- processes --- */

/* How long the start of one of this life has to wait for a node or an image. */
static int64_t held_ms(const struct world *w, const struct life *l)
{
    return l->held_until_ms > w->now_ms ? l->held_until_ms - w->now_ms : 0;
}

static void start_openvpn(struct world *w, struct life *l)
{
    bool bad = w->broken && l->revision == w->revision;
    int64_t held = held_ms(w, l);

    l->openvpn = (struct toy_process){
        .state = TOY_RUNNING,
        .begun_ms = w->now_ms + held,
        .up_ms = bad ? WORLD_NEVER
                     : held + later(w, 50, w->faults && world_chance(w, 10) ? 40000 : 3000),
        .dies_ms = bad && !world_chance(w, 4) ? held + later(w, 10, 2000) : WORLD_NEVER,
        .stubborn = w->faults && world_chance(w, 20),
        .ends_ms = WORLD_NEVER,
        .starts = l->openvpn.starts + 1,
    };
    l->sessions = 0;
}

static void start_sidecar(struct world *w, struct life *l)
{
    int64_t held = held_ms(w, l);

    l->sidecar = (struct toy_process){
        .state = TOY_RUNNING,
        .begun_ms = w->now_ms + held,
        .up_ms = held + later(w, 20, 500),
        .dies_ms = w->faults && world_chance(w, 20) ? held + later(w, 10, 3000) : WORLD_NEVER,
        .stubborn = w->faults && world_chance(w, 20),
        .ends_ms = WORLD_NEVER,
        .starts = l->sidecar.starts + 1,
    };
    l->api_seen = false;
    l->drain_told = false;
}

static void ask_to_end(struct world *w, struct toy_process *p)
{
    if (p->state == TOY_RUNNING && !p->stubborn && p->ends_ms == WORLD_NEVER) {
        p->ends_ms = later(w, 10, 3000);
    }
}

static void openvpn_is_gone(struct world *w, struct life *l)
{
    l->openvpn.state = TOY_GONE;
    l->sessions = 0;
    if (may_live(l)) { /* nobody asked for it */
        l->failures++;
        l->not_before_ms = w->now_ms + plan_backoff_ms(l->failures);
    }
}

static void sidecar_is_gone(struct world *w, struct life *l)
{
    l->sidecar.state = TOY_GONE;
    l->drain_told = false;
    l->sidecar_not_before_ms = w->now_ms + plan_backoff_ms(l->sidecar_failures++);
}

static bool has_ended(const struct world *w, const struct toy_process *p)
{
    return p->state == TOY_RUNNING && (w->now_ms >= p->dies_ms || w->now_ms >= p->ends_ms);
}

/* --- time --- */

/* What a driver does again and again, so that what was begun by a predecessor goes on. */
static void driver_tick(struct world *w, struct life *l)
{
    bool known = w->now_ms >= l->known_ms && !life_is_lost(w, l);

    if (life_is_lost(w, l)) {
        return;
    }
    if (l->held_until_ms != 0 && w->now_ms >= l->held_until_ms) {
        l->held_until_ms = 0;
        l->phase_since_ms = l->phase == INDEX_STARTING ? w->now_ms : l->phase_since_ms;
    }
    if (l->phase == INDEX_DRAINING && known && is_up(w, &l->sidecar) && !l->drain_told) {
        l->drain_told = true;
        l->drained_ms = w->now_ms + (int64_t)l->sessions * 20;
    }
    if (l->phase == INDEX_TERMINATING) {
        ask_to_end(w, &l->openvpn);
        if (l->openvpn.state == TOY_GONE) {
            ask_to_end(w, &l->sidecar);
        }
    }
    if (l->phase == INDEX_BURYING && w->api_ok && l->buried_ms == WORLD_NEVER) {
        l->buried_ms = later(w, 50, 5000);
    }
    bool ready = known && l->phase == INDEX_READY && is_ready(w, l);
    l->ready_ms = !ready ? 0 : l->ready_ms == 0 ? w->now_ms : l->ready_ms;
    if (ready && w->now_ms - l->ready_ms >= PLAN_HEALTHY_MS) {
        l->failures = 0;
        l->sidecar_failures = 0;
    }
}

static void life_pass(struct world *w, struct life *l)
{
    if (has_ended(w, &l->openvpn)) {
        openvpn_is_gone(w, l);
    }
    if (has_ended(w, &l->sidecar)) {
        sidecar_is_gone(w, l);
    }
    if (life_works(w, l) && w->api_ok) {
        l->api_seen = true;
        l->registered = true;
    }
    if (life_serves(w, l) && world_chance(w, 4)) {
        l->sessions += world_random(w, 50);
        l->served = true;
    }
    if (l->drain_told && w->now_ms >= l->drained_ms) {
        l->sessions = 0;
    }
    if (w->balancer_ok) {
        l->listed = l->phase == INDEX_READY || l->phase == INDEX_DRAINING ||
                    (l->phase == INDEX_TERMINATING && l->openvpn.state != TOY_GONE);
    }
    driver_tick(w, l);
}

void world_pass(struct world *w, int64_t ms)
{
    w->now_ms += ms;
    if (w->now_ms >= w->api_change_ms) {
        w->api_ok = true;
        w->api_change_ms = WORLD_NEVER;
    }
    if (w->now_ms >= w->balancer_change_ms) {
        w->balancer_ok = true;
        w->balancer_change_ms = WORLD_NEVER;
    }
    for (size_t i = 0; i < w->count; i++) {
        life_pass(w, &w->lives[i]);
    }
}

/* --- faults and wishes --- */

static struct life *any_life(struct world *w)
{
    return w->count > 0 ? &w->lives[world_random(w, (uint32_t)w->count)] : NULL;
}

static void hang(const struct world *w, struct toy_process *p)
{
    if (p->state == TOY_RUNNING) {
        p->state = TOY_HUNG;
        p->hung_ms = w->now_ms;
    }
}

static void disturb_life(struct world *w, struct life *l)
{
    switch (world_random(w, 8)) {
    case 0:
    case 1:
        l->openvpn.dies_ms = w->now_ms;
        break;
    case 2:
    case 3:
        l->sidecar.dies_ms = w->now_ms;
        break;
    case 4:
        hang(w, &l->openvpn);
        break;
    case 5:
        hang(w, &l->sidecar);
        break;
    case 6:
        l->marked = !l->marked;
        break;
    default:
        if (w->cluster) { /* its node is out of reach, and perhaps dead */
            l->lost_until_ms = later(w, 1000, 300000);
            if (world_chance(w, 3)) {
                l->openvpn.dies_ms = l->sidecar.dies_ms = w->now_ms;
            }
        }
    }
}

static void change_wishes(struct world *w)
{
    struct plan_desired *d = &w->desired;

    switch (world_random(w, 6)) {
    case 0:
    case 1:
        d->replicas = world_random(w, d->capacity < 8 ? d->capacity : 8);
        break;
    case 2:
        d->max_surge = world_random(w, 3);
        d->max_unavailable = world_random(w, 3);
        break;
    default: /* a new configuration, which may be a bad one */
        w->revision++;
        w->broken = world_chance(w, 4);
        w->pool_not_before_ms = 0;
    }
}

/* Others take names and give them back. */
static void occupy(struct world *w)
{
    w->occupied_count = world_random(w, WORLD_OCCUPIED_MAX + 1);
    for (size_t i = 0; i < w->occupied_count; i++) {
        w->occupied[i] = 1 + world_random(w, w->desired.capacity);
    }
}

void world_disturb(struct world *w)
{
    switch (world_random(w, 13)) {
    case 0:
        change_wishes(w);
        break;
    case 12:
        if (w->cluster) {
            occupy(w);
        }
        break;
    case 1:
        w->api_ok = false;
        w->api_change_ms = later(w, 1000, 200000);
        break;
    case 2:
        w->balancer_ok = false;
        w->balancer_change_ms = later(w, 1000, 60000);
        break;
    case 3:
        world_restart_controller(w);
        break;
    case 4: /* everything at once */
        for (size_t i = 0; i < w->count; i++) {
            w->lives[i].openvpn.dies_ms = w->lives[i].sidecar.dies_ms = w->now_ms;
        }
        break;
    default:
        if (w->count > 0) {
            disturb_life(w, any_life(w));
        }
    }
}

void world_mend(struct world *w)
{
    w->faults = false;
    w->api_ok = w->balancer_ok = true;
    w->api_change_ms = w->balancer_change_ms = WORLD_NEVER;
    w->occupied_count = 0;
    if (w->broken) {
        w->broken = false;
        w->revision++;
        w->pool_not_before_ms = 0;
    }
    if (w->desired.replicas >= w->desired.capacity && w->desired.max_unavailable == 0) {
        w->desired.max_unavailable = 1; /* else there is no room to replace one */
    }
    for (size_t i = 0; i < w->count; i++) {
        w->lives[i].lost_until_ms = 0;
        w->lives[i].marked = false;
    }
}

/* --- the driver: what it sees --- */

#define HANG_NOTICED_MS 20000  /* by its silence */
#define START_NOTICED_MS 30000 /* runs and cannot be reached */

static enum observed_process seen(const struct world *w, const struct toy_process *p)
{
    bool silent = p->state == TOY_HUNG && w->now_ms - p->hung_ms >= HANG_NOTICED_MS;
    bool absent =
        p->state != TOY_GONE && w->now_ms < p->up_ms && w->now_ms - p->begun_ms >= START_NOTICED_MS;

    return p->state == TOY_GONE ? PROCESS_ABSENT
           : silent || absent   ? PROCESS_HUNG
                                : PROCESS_RUNNING;
}

static void observe(const struct world *w, const struct life *l, struct observed_index *ret)
{
    bool lost = life_is_lost(w, l);
    bool known = w->now_ms >= l->known_ms && !lost && is_up(w, &l->sidecar);

    *ret = (struct observed_index){
        .index = l->index,
        .phase = l->phase,
        .phase_since_ms = l->phase_since_ms,
        .openvpn = lost ? PROCESS_RUNNING : seen(w, &l->openvpn),
        .sidecar = lost ? PROCESS_RUNNING : seen(w, &l->sidecar),
        .ready = known && is_ready(w, l),
        .drained = known && l->drain_told && w->now_ms >= l->drained_ms,
        .serving = l->phase == INDEX_READY && l->serving,
        .listed = l->listed,
        .lost = lost,
        .marked = l->marked,
        .current = l->revision == w->revision,
        .buried = l->phase == INDEX_BURYING && (!l->registered || w->now_ms >= l->buried_ms),
        .sessions = known ? l->sessions : 0,
        .counted = known,
        .failures = l->failures,
        .not_before_ms = l->not_before_ms,
        .leaving_for_good = l->phase >= INDEX_DRAINING,
        .linked = known && is_up(w, &l->openvpn),
        .unscheduled = l->held_until_ms > w->now_ms && l->epoch % 2 == 0,
        .pulling = l->held_until_ms > w->now_ms && l->epoch % 2 == 1,
        .sidecar_not_before_ms = l->sidecar_not_before_ms,
    };
}

void world_observe(struct world *w, struct plan_observed *ret)
{
    for (size_t i = 0; i < w->count; i++) {
        observe(w, &w->lives[i], &w->observed[i]);
    }
    *ret = (struct plan_observed){
        .now_ms = w->now_ms,
        .indices = w->observed,
        .index_count = w->count,
        .freed = w->freed,
        .freed_count = w->freed_count,
        .occupied = w->occupied,
        .occupied_count = w->occupied_count,
        .pool_not_before_ms = w->pool_not_before_ms,
        .looking_since_ms = w->looking_since_ms,
    };
}

/* --- the driver: what it does --- */

static void take(struct world *w, uint32_t index)
{
    for (size_t i = 0; i < w->freed_count; i++) {
        if (w->freed[i].index == index) {
            memmove(&w->freed[i], &w->freed[i + 1], (w->freed_count - i - 1) * sizeof(w->freed[0]));
            w->freed_count--;
            return;
        }
    }
}

static void reserve(struct world *w, uint32_t index)
{
    assert(w->count < WORLD_LIVES_MAX);
    take(w, index);
    w->born++;
    w->lives[w->count++] = (struct life){
        .index = index,
        .epoch = ++w->epochs,
        .phase = INDEX_STARTING,
        .phase_since_ms = w->now_ms,
        .revision = w->revision,
        .buried_ms = WORLD_NEVER,
        .held_until_ms = w->cluster && world_chance(w, 4) ? later(w, 100, 100000) : 0,
    };
}

static void release(struct world *w, struct life *l)
{
    w->buried++;
    w->freed[w->freed_count++] = (struct freed_index){.index = l->index, .freed_ms = w->now_ms};
    *l = w->lives[--w->count];
}

static void enter(struct world *w, struct life *l, enum index_phase phase)
{
    if (l->phase != phase) {
        l->phase = phase;
        l->phase_since_ms = w->now_ms;
    }
}

static void write_down(struct world *w, struct life *l, const struct plan_action *action)
{
    switch (action->kind) {
    case PLAN_SERVE:
        l->serving = true;
        enter(w, l, INDEX_READY);
        break;
    case PLAN_UNSERVE:
        l->serving = false;
        break;
    case PLAN_DRAIN:
        enter(w, l, INDEX_DRAINING);
        break;
    case PLAN_GIVE_UP:
        w->given_up++;
        w->pool_not_before_ms = w->now_ms + PLAN_GIVE_UP_PAUSE_MS;
        enter(w, l, INDEX_TERMINATING);
        break;
    case PLAN_TERMINATE:
        enter(w, l, INDEX_TERMINATING);
        break;
    case PLAN_BURY:
        enter(w, l, INDEX_BURYING);
        break;
    case PLAN_START_OPENVPN:
        l->revision = l->openvpn.state == TOY_GONE ? w->revision : l->revision;
        break;
    default:
        break;
    }
}

static void do_it(struct world *w, struct life *l, const struct plan_action *action)
{
    switch (action->kind) {
    case PLAN_START_OPENVPN:
        if (l->openvpn.state == TOY_GONE) {
            start_openvpn(w, l);
        }
        break;
    case PLAN_START_SIDECAR:
        if (l->sidecar.state == TOY_GONE) {
            start_sidecar(w, l);
        }
        break;
    case PLAN_KILL_OPENVPN:
        openvpn_is_gone(w, l);
        break;
    case PLAN_KILL_SIDECAR:
        sidecar_is_gone(w, l);
        break;
    default: /* the rest follows from the phase, see driver_tick() */
        break;
    }
}

void world_carry_out(struct world *w, const struct plan_action *action, bool dies_before_doing)
{
    struct life *l = world_find(w, action->index);

    if (action->kind == PLAN_RESERVE) {
        reserve(w, action->index);
    } else if (l != NULL && action->kind == PLAN_FREE) {
        release(w, l);
    } else if (l != NULL) {
        write_down(w, l, action);
        if (!dies_before_doing) {
            do_it(w, l, action);
        }
    }
}

void world_restart_controller(struct world *w)
{
    w->controllers++;
    world_pass(w, 100 + world_random(w, world_chance(w, 5) ? 120000 : 3000));
    w->looking_since_ms = w->now_ms;
    for (size_t i = 0; i < w->count; i++) {
        w->lives[i].known_ms = later(w, 0, 2000);
        w->lives[i].ready_ms = 0;
        w->lives[i].sidecar_failures = 0;
        w->lives[i].sidecar_not_before_ms = 0;
    }
}
