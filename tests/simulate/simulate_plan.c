/* Random worlds against the planner. Each seed is one world: faults and changes for a while, the
 * rules checked at every plan; then all is well, and the pool has to come to rest as desired; then
 * everything is stopped, and nothing may be left.
 *     simulate_plan                 many seeds, for about ten seconds
 *     simulate_plan --seed 17       that one, with every action printed */
#include "tests/simulate/rules.h"
#include "tests/simulate/world.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define PLANS_WITH_FAULTS 1500
#define REST_MS (1800 * (int64_t)1000) /* of simulated time, to settle in */
#define SECONDS 8
#define TRACE_MAX ((size_t)1 << 22)

struct simulation {
    uint64_t seed;
    bool loud;
    struct world world;
    struct plan_result result;
    struct flood flood;
    struct buf trace; /* the actions, for a seed that fails */
    uint64_t plans, actions;
};

static void note(struct simulation *s, const struct plan_action *a, bool dies)
{
    struct buf *t = &s->trace;

    if (t->len > TRACE_MAX / 2) { /* the end is what matters */
        buf_consume(t, TRACE_MAX / 4);
    }
    size_t from = t->len;
    buf_printf(t, "%10lld %-14s %u  %s%s\n", (long long)s->world.now_ms, plan_action_name(a->kind),
               a->index, a->reason, dies ? "  (the controller dies before it does)" : "");
    if (s->loud) {
        fputs(t->data + from, stdout);
    }
}

static bool fail(struct simulation *s, const struct buf *why)
{
    const char *last = buf_str(&s->trace);
    size_t keep = 4000;

    if (s->trace.len > keep) {
        last += s->trace.len - keep;
    }
    printf("%s\n%s\nseed %llu fails at %lld: run simulate_plan --seed %llu\n", last, buf_str(why),
           (unsigned long long)s->seed, (long long)s->world.now_ms, (unsigned long long)s->seed);
    return false;
}

/* One round of a driver. Sometimes the controller dies in the middle of it. */
static bool round_of(struct simulation *s)
{
    struct world *w = &s->world;
    struct plan_observed observed;
    AUTO(buf) struct buf why;

    buf_init(&why, 65536);
    world_observe(w, &observed);
    plan(&w->desired, &observed, &s->result);
    s->plans++;
    s->actions += s->result.count;
    if (!rules_hold(w, &s->result, &why) || !flood_holds(&s->flood, w->now_ms, &s->result, &why)) {
        for (size_t i = 0; i < s->result.count; i++) {
            note(s, &s->result.actions[i], false);
        }
        return fail(s, &why);
    }
    for (size_t i = 0; i < s->result.count; i++) {
        bool dies = w->faults && world_chance(w, 200);
        note(s, &s->result.actions[i], dies);
        world_carry_out(w, &s->result.actions[i], dies);
        if (dies) {
            world_restart_controller(w);
            break;
        }
    }
    return true;
}

/* Until the next round: the plan's own wish, or something that happens before. */
static int64_t pause_of(struct simulation *s)
{
    int64_t wish = s->result.next_ms == WORLD_NEVER ? 1000 : s->result.next_ms - s->world.now_ms;

    wish = wish < 1000 ? wish : 1000;
    return world_chance(&s->world, 3) ? 1 + world_random(&s->world, 1000) : wish;
}

static bool with_faults(struct simulation *s)
{
    /* some worlds are quiet, some are not */
    uint32_t calm = 2 + world_random(&s->world, 60);

    for (int i = 0; i < PLANS_WITH_FAULTS; i++) {
        if (world_chance(&s->world, calm)) {
            world_disturb(&s->world);
        }
        if (!round_of(s)) {
            return false;
        }
        world_pass(&s->world, pause_of(s));
    }
    return true;
}

static bool comes_to_rest(struct simulation *s)
{
    int64_t until_ms = s->world.now_ms + REST_MS;
    AUTO(buf) struct buf why;

    buf_init(&why, 65536);
    while (s->world.now_ms < until_ms) {
        if (!round_of(s)) {
            return false;
        }
        world_pass(&s->world, pause_of(s));
    }
    struct plan_observed observed;
    world_observe(&s->world, &observed);
    plan(&s->world.desired, &observed, &s->result);
    return rules_settled(&s->world, &s->result, &why) || fail(s, &why);
}

static bool stops(struct simulation *s)
{
    struct plan_desired *d = &s->world.desired;
    struct plan_desired before = *d;

    d->shutdown = true;
    bool good = comes_to_rest(s);
    *d = before;
    return good;
}

/* A configuration that does not come up, in a world without other faults: nothing that serves is
 * touched beyond the budget, and few indices are tried. */
static bool survives_a_broken_configuration(struct simulation *s)
{
    struct world *w = &s->world;
    uint32_t given_up = w->given_up;
    int64_t until_ms = w->now_ms + REST_MS;

    w->revision++;
    w->broken = true;
    w->pool_not_before_ms = 0;
    while (w->now_ms < until_ms) {
        if (!round_of(s)) {
            return false;
        }
        world_pass(w, pause_of(s));
    }
    AUTO(buf) struct buf why;
    buf_init(&why, 1024);
    uint32_t serving = 0;
    for (size_t i = 0; i < w->count; i++) {
        serving += life_serves(w, &w->lives[i]);
    }
    uint32_t floor = w->desired.replicas > w->desired.max_unavailable
                         ? w->desired.replicas - w->desired.max_unavailable
                         : 0;
    if (serving < floor) {
        buf_printf(&why, "rule broken: %u of %u serve after half an hour of a broken configuration",
                   serving, floor);
    }
    /* the first ones at once, then one about every 90 s */
    if (w->given_up - given_up > 24 + w->desired.replicas) {
        buf_printf(&why, "rule broken: %u indices were tried in half an hour",
                   w->given_up - given_up);
    }
    world_mend(w);
    return why.len == 0 || fail(s, &why);
}

static bool run(struct simulation *s, uint64_t seed)
{
    s->seed = seed;
    buf_truncate(&s->trace, 0);
    memset(&s->flood, 0, sizeof(s->flood));
    world_init(&s->world, seed);
    if (!with_faults(s)) {
        return false;
    }
    world_mend(&s->world);
    return comes_to_rest(s) && survives_a_broken_configuration(s) && comes_to_rest(s) && stops(s);
}

int main(int argc, char **argv)
{
    static struct simulation s;
    struct timespec begin, now;
    uint64_t seed = 0, born = 0, given_up = 0, buried = 0, controllers = 0;
    bool good = true;

    buf_init(&s.trace, TRACE_MAX);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    if (argc == 3 && strcmp(argv[1], "--seed") == 0) {
        s.loud = true;
        seed = strtoull(argv[2], NULL, 10);
        good = run(&s, seed);
    } else {
        do {
            good = run(&s, ++seed);
            born += s.world.born;
            given_up += s.world.given_up;
            buried += s.world.buried;
            controllers += s.world.controllers;
            clock_gettime(CLOCK_MONOTONIC, &now);
        } while (good && now.tv_sec - begin.tv_sec < SECONDS);
        printf("seeds 1 to %llu: %llu plans, %llu actions, %llu lives, %llu given up, %llu buried, "
               "%llu controllers\n",
               (unsigned long long)seed, (unsigned long long)s.plans, (unsigned long long)s.actions,
               (unsigned long long)born, (unsigned long long)given_up, (unsigned long long)buried,
               (unsigned long long)controllers);
    }
    buf_clear(&s.trace);
    return good ? 0 : 1;
}
