#include "tests/simulate/rules.h"

#include <string.h>

#define BROKEN(why, ...) buf_printf(why, "rule broken: " __VA_ARGS__)

static bool is_live(const struct world *w, const struct life *l)
{
    return (l->phase == INDEX_STARTING || l->phase == INDEX_READY) && !life_is_lost(w, l);
}

/* So many of what the world would have to stay able to serve, as far as it is up to us. */
static uint32_t floor_of(const struct plan_desired *d)
{
    return !d->shutdown && d->replicas > d->max_unavailable ? d->replicas - d->max_unavailable : 0;
}

static void check_reserve(struct world *w, uint32_t index, struct buf *why)
{
    if (index < 1 || index > w->desired.capacity) {
        BROKEN(why, "index %u is outside of 1 to %u\n", index, w->desired.capacity);
    }
    if (world_find(w, index) != NULL) {
        BROKEN(why, "index %u is reserved a second time\n", index);
    }
    for (size_t i = 0; i < w->occupied_count; i++) {
        if (w->occupied[i] == index) {
            BROKEN(why, "index %u is reserved, but its name is somebody else's\n", index);
        }
    }
}

static void check_start(const struct world *w, const struct life *l, bool openvpn, struct buf *why)
{
    const struct toy_process *p = openvpn ? &l->openvpn : &l->sidecar;

    if (w->now_ms < (openvpn ? l->not_before_ms : l->sidecar_not_before_ms)) {
        BROKEN(why, "something is started for index %u before its time\n", l->index);
    }
    if (openvpn && l->failures >= PLAN_FAILURES_MAX) {
        BROKEN(why, "index %u is tried once more after %u failures\n", l->index, l->failures);
    }

    if (p->state != TOY_GONE) {
        BROKEN(why, "a second process is started for index %u\n", l->index);
    }
    if (l->phase > INDEX_READY && (openvpn || l->phase != INDEX_DRAINING)) {
        BROKEN(why, "something is started for index %u, which ends\n", l->index);
    }
}

static void check_terminate(const struct world *w, const struct life *l, bool given_up,
                            struct buf *why)
{
    int64_t patience =
        w->desired.drain_timeout_ms > 0 ? w->desired.drain_timeout_ms + PLAN_DRAIN_SLACK_MS : 0;
    bool drained = l->drain_told && w->now_ms >= l->drained_ms;
    bool late = w->now_ms >= l->phase_since_ms + patience;
    bool has_devices = l->served && l->openvpn.state != TOY_GONE && l->phase >= INDEX_READY;

    if (has_devices && !(l->phase == INDEX_DRAINING && (drained || late))) {
        BROKEN(why, "index %u ends with %u devices that nobody has moved\n", l->index, l->sessions);
    }
    if (given_up && l->phase == INDEX_STARTING && life_works(w, l) &&
        l->failures < PLAN_FAILURES_MAX) {
        BROKEN(why, "index %u is given up although it works\n", l->index);
    }
    if (given_up && w->now_ms < l->held_until_ms) {
        BROKEN(why, "index %u is given up before it could begin\n", l->index);
    }
}

static void check_end(const struct world *w, const struct life *l, enum plan_action_kind kind,
                      struct buf *why)
{
    bool gone = l->openvpn.state == TOY_GONE && l->sidecar.state == TOY_GONE;

    if (kind == PLAN_BURY && (l->phase != INDEX_TERMINATING || !gone)) {
        BROKEN(why, "index %u is buried alive\n", l->index);
    }
    if (kind == PLAN_FREE && (l->phase != INDEX_BURYING || !gone)) {
        BROKEN(why, "index %u is freed while something of it exists\n", l->index);
    }
    if (kind == PLAN_FREE && l->registered && w->now_ms < l->buried_ms) {
        BROKEN(why, "index %u is freed and not buried\n", l->index);
    }
}

static void check_action(struct world *w, const struct plan_action *a, struct buf *why)
{
    const struct life *l = world_find(w, a->index);

    if (a->kind == PLAN_RESERVE) {
        check_reserve(w, a->index, why);
        return;
    }
    if (l == NULL) {
        BROKEN(why, "%s for index %u, which is free\n", plan_action_name(a->kind), a->index);
        return;
    }
    if (life_is_lost(w, l) && a->kind != PLAN_UNSERVE) {
        BROKEN(why, "%s for index %u, which is out of reach\n", plan_action_name(a->kind),
               a->index);
    }
    switch (a->kind) {
    case PLAN_START_OPENVPN:
    case PLAN_START_SIDECAR:
        check_start(w, l, a->kind == PLAN_START_OPENVPN, why);
        break;
    case PLAN_SERVE:
    case PLAN_DRAIN:
        if (l->phase > INDEX_READY) {
            BROKEN(why, "%s for index %u, which ends\n", plan_action_name(a->kind), a->index);
        }
        break;
    case PLAN_TERMINATE:
    case PLAN_GIVE_UP:
        check_terminate(w, l, a->kind == PLAN_GIVE_UP, why);
        break;
    case PLAN_BURY:
    case PLAN_FREE:
        check_end(w, l, a->kind, why);
        break;
    default:
        break;
    }
}

static bool has_action(const struct plan_result *result, uint32_t index, unsigned kinds)
{
    for (size_t i = 0; i < result->count; i++) {
        const struct plan_action *a = &result->actions[i];
        if (a->index == index && (kinds >> a->kind & 1) != 0) {
            return true;
        }
    }
    return false;
}

#define ENDS (1U << PLAN_DRAIN | 1U << PLAN_TERMINATE | 1U << PLAN_GIVE_UP)

/* What a plan must not leave as it is. */
static void check_left_alone(struct world *w, const struct plan_result *result, struct buf *why)
{
    for (size_t i = 0; i < w->count; i++) {
        const struct life *l = &w->lives[i];
        bool in_time = w->now_ms >= l->sidecar_not_before_ms;
        if (l->phase == INDEX_READY && l->serving && l->openvpn.state == TOY_GONE &&
            !life_is_lost(w, l) && !has_action(result, l->index, ENDS | 1U << PLAN_UNSERVE)) {
            BROKEN(why, "newcomers still go to index %u, which has no OpenVPN\n", l->index);
        }
        if (l->phase == INDEX_DRAINING && l->openvpn.state != TOY_GONE && in_time &&
            l->sidecar.state == TOY_GONE && !life_is_lost(w, l) &&
            !has_action(result, l->index, ENDS | 1U << PLAN_START_SIDECAR)) {
            BROKEN(why, "nobody drains index %u\n", l->index);
        }
    }
}

/* Newcomers are kept from one that could take them only for the sake of a new one that does; and
 * while the new ones are empty, they are. What is known is what was observed. */
static void check_newcomers(struct world *w, const struct plan_result *result, struct buf *why)
{
    uint32_t fresh = 0, sessions = 0;

    for (size_t i = 0; i < w->count; i++) {
        const struct observed_index *o = &w->observed[i];
        bool takes = o->phase == INDEX_READY && o->ready && o->serving && o->current && !o->lost &&
                     o->openvpn == PROCESS_RUNNING && !has_action(result, o->index, ENDS);
        fresh += takes;
        sessions += takes ? o->sessions : 0;
    }
    for (size_t i = 0; i < w->count; i++) {
        const struct observed_index *o = &w->observed[i];
        bool able = o->phase == INDEX_READY && o->ready && !o->lost &&
                    o->openvpn == PROCESS_RUNNING && !has_action(result, o->index, ENDS);
        bool kept = o->serving ? has_action(result, o->index, 1U << PLAN_UNSERVE)
                               : !has_action(result, o->index, 1U << PLAN_SERVE);
        if (able && kept && (o->current || fresh == 0)) {
            BROKEN(why, "newcomers are kept from index %u, which could take them\n", o->index);
        }
        if (able && !kept && !o->current && fresh > 0 && sessions == 0 && o->serving) {
            BROKEN(why, "newcomers go to index %u, which is to be replaced\n", o->index);
        }
    }
}

/* A plan that ends one that can serve, and that the controller knows of, leaves enough that can. */
static void check_available(struct world *w, const struct plan_result *result, struct buf *why)
{
    uint32_t left = 0;

    for (size_t i = 0; i < w->count; i++) {
        left += life_can_serve(w, &w->lives[i]) && !has_action(result, w->lives[i].index, ENDS);
    }
    for (size_t i = 0; i < w->count && left < floor_of(&w->desired); i++) {
        const struct life *l = &w->lives[i];
        if (life_can_serve(w, l) && w->now_ms >= l->known_ms &&
            has_action(result, l->index, ENDS)) {
            BROKEN(why, "index %u is ended, %u of %u are left to serve\n", l->index, left,
                   floor_of(&w->desired));
        }
    }
}

/* No more are started than the surge allows; no plan starts many at once. */
static void check_numbers(struct world *w, const struct plan_result *result, struct buf *why)
{
    const struct plan_desired *d = &w->desired;
    uint32_t live = 0, starting = 0, outdated = 0, reserved = 0, drained = 0;

    for (size_t i = 0; i < w->count; i++) {
        const struct life *l = &w->lives[i];
        bool stays = is_live(w, l) && !has_action(result, l->index, ENDS);
        live += stays;
        starting += stays && l->phase == INDEX_STARTING;
        outdated += stays && l->revision != w->revision;
    }
    for (size_t i = 0; i < result->count; i++) {
        reserved += result->actions[i].kind == PLAN_RESERVE;
        drained += result->actions[i].kind == PLAN_DRAIN;
    }
    uint32_t surge = d->max_surge + d->max_unavailable == 0 ? 1 : d->max_surge;
    if (reserved > 0 && live + reserved > d->replicas + (outdated > 0 ? surge : 0)) {
        BROKEN(why, "%u live and %u more, for %u replicas and a surge of %u\n", live, reserved,
               d->replicas, surge);
    }
    uint32_t most = d->starting_max == 0 ? PLAN_STARTING_MAX : d->starting_max;
    if (reserved > 0 && starting + reserved > most) {
        BROKEN(why, "%u start at once\n", starting + reserved);
    }
    if (drained > 0 && w->now_ms < w->pool_not_before_ms && live + drained <= d->replicas) {
        BROKEN(why, "outdated ones are drained while new ones do not come up\n");
    }
    if (reserved > 0 && w->now_ms < w->pool_not_before_ms) {
        BROKEN(why, "an index is taken during the pause\n");
    }
    if (reserved > 1 && w->pool_not_before_ms > 0 &&
        w->now_ms - w->pool_not_before_ms < PLAN_PROBE_MS) {
        BROKEN(why, "%u are tried at once after one was given up\n", reserved);
    }
}

bool rules_hold(struct world *w, const struct plan_result *result, struct buf *why)
{
    for (size_t i = 0; i < result->count; i++) {
        check_action(w, &result->actions[i], why);
        for (size_t k = 0; k < i; k++) {
            if (result->actions[k].kind == PLAN_RESERVE &&
                result->actions[i].kind == PLAN_RESERVE &&
                result->actions[k].index == result->actions[i].index) {
                BROKEN(why, "index %u is reserved twice\n", result->actions[i].index);
            }
        }
    }
    check_available(w, result, why);
    check_left_alone(w, result, why);
    check_newcomers(w, result, why);
    check_numbers(w, result, why);
    if (result->next_ms <= w->now_ms) {
        BROKEN(why, "the plan wants to be asked again in the past\n");
    }
    return why->len == 0;
}

bool rules_settled(struct world *w, const struct plan_result *result, struct buf *why)
{
    uint32_t replicas = w->desired.shutdown ? 0 : w->desired.replicas;

    if (result->count > 0) {
        BROKEN(why, "there is still something to do: %s %u\n",
               plan_action_name(result->actions[0].kind), result->actions[0].index);
    }
    if (w->count != replicas) {
        BROKEN(why, "%zu instances, not %u\n", w->count, replicas);
    }
    for (size_t i = 0; i < w->count; i++) {
        const struct life *l = &w->lives[i];
        if (!life_serves(w, l) || l->revision != w->revision) {
            BROKEN(why, "index %u does not serve or is outdated: %s\n", l->index,
                   index_phase_name(l->phase));
        }
    }
    if (result->progressing || !result->available || result->degraded != NULL) {
        BROKEN(why, "the plan says: progressing %d, available %d, degraded '%s'\n",
               result->progressing, result->available,
               result->degraded != NULL ? result->degraded : "");
    }
    return why->len == 0;
}

/* What a minute may hold: a start every few seconds of a backoff that begins anew, a kill with
 * each; serving may come and go with them. */
#define PER_MINUTE_MAX 40

bool flood_holds(struct flood *f, int64_t now_ms, const struct plan_result *result, struct buf *why)
{
    if (now_ms / 60000 != f->minute) {
        memset(f, 0, sizeof(*f));
        f->minute = now_ms / 60000;
    }
    for (size_t i = 0; i < result->count; i++) {
        const struct plan_action *a = &result->actions[i];
        if (++f->counts[a->index][a->kind] > PER_MINUTE_MAX) {
            BROKEN(why, "%s %u more than %d times in a minute\n", plan_action_name(a->kind),
                   a->index, PER_MINUTE_MAX);
        }
    }
    return why->len == 0;
}
