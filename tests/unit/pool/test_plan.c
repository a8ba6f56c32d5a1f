#include "tests/unit/cmocka_all.h"
#include "tests/unit/pool/plan_world.h"

#include "common/base.h"

#include <stdio.h>
#include <string.h>

#define NEVER INT64_MAX

struct plan_case {
    const char *name;
    struct plan_desired desired; /* zero capacity means 8 */
    const char *indices;         /* see plan_world.h */
    const char *freed;           /* NULL: none */
    int64_t pause_ms;            /* pool_not_before_ms from now; 0: none */
    const char *actions;
    const char *degraded; /* a part of it; NULL: not degraded */
};

#define POOL_SURGE(n, surge, ...)                                                  \
    {                                                                              \
        .replicas = n, .max_surge = surge, .drain_timeout_ms = 120000, __VA_ARGS__ \
    }
#define POOL(n, ...) POOL_SURGE(n, 1, __VA_ARGS__)

static const struct plan_case starting[] = {
    {"an empty pool starts all", POOL(3), "", NULL, 0, "reserve 1, reserve 2, reserve 3", NULL},
    {"no replicas, nothing to do", POOL(0), "", NULL, 0, "", NULL},
    {"all is well", POOL(2), "1 READY, 2 READY", NULL, 0, "", NULL},
    {"a missing one in between", POOL(3), "1 READY, 3 READY", NULL, 0, "reserve 2", NULL},
    {"a reserved one gets its processes", POOL(1), "1 STARTING down nosidecar", NULL, 0,
     "start-openvpn 1, start-sidecar 1", NULL},
    {"one that starts is waited for", POOL(1), "1 STARTING", NULL, 0, "", NULL},
    {"one that became ready serves", POOL(1), "1 STARTING ready linked", NULL, 0, "serve 1", NULL},
    {"ready, but its OpenVPN has just ended", POOL(1), "1 STARTING down ready", NULL, 0,
     "start-openvpn 1", NULL},
    {"starts are bounded",
     {.replicas = 100, .max_surge = 1, .capacity = 200},
     "",
     NULL,
     0,
     "reserve 1, reserve 2, reserve 3, reserve 4, reserve 5, reserve 6, reserve 7, reserve 8, "
     "reserve 9, reserve 10, reserve 11, reserve 12, reserve 13, reserve 14, reserve 15, "
     "reserve 16",
     NULL},
    {"... by as many as the driver says",
     {.replicas = 5, .max_surge = 1, .starting_max = 3},
     "",
     NULL,
     0,
     "reserve 1, reserve 2, reserve 3",
     NULL},
    {"no node for long: nobody's fault", POOL(1), "1 STARTING unscheduled since=-600s", NULL, 0, "",
     "no node"},
    {"an image that does not come: nobody's fault", POOL(1), "1 STARTING pulling since=-600s", NULL,
     0, "", "containers"},
    {"an image that takes its time", POOL(1), "1 STARTING pulling since=-10s", NULL, 0, "", NULL},
    {"not ready in time: given up, nothing else is tried yet", POOL(1), "1 STARTING since=-60s",
     NULL, 0, "give-up 1", "given up"},
    {"not ready, but it is not its fault", POOL(1), "1 STARTING linked since=-600s", NULL, 0, "",
     "the balena API does not answer it"},
    {"a moment before the time is over", POOL(1), "1 STARTING since=-59s", NULL, 0, "", NULL},
    {"the first start is not delayed by another's failures", POOL(2),
     "1 READY down failures=2 notbefore=+2s unserved, 2 STARTING down nosidecar", NULL, 0,
     "start-openvpn 2, start-sidecar 2", "fails"},
};

static const struct plan_case restarting[] = {
    {"a crashed OpenVPN takes no newcomers and starts again", POOL(2), "1 READY down, 2 READY",
     NULL, 0, "start-openvpn 1, unserve 1", NULL},
    {"a crashed OpenVPN waits for its backoff", POOL(1),
     "1 READY down unserved failures=3 notbefore=+4s", NULL, 0, "", "fails"},
    {"its backoff is over", POOL(1), "1 READY down unserved failures=3 notbefore=0s", NULL, 0,
     "start-openvpn 1", "fails"},
    {"back again", POOL(1), "1 READY unserved failures=3", NULL, 0, "serve 1", "fails"},
    {"failed too often", POOL(2), "1 READY down unserved failures=6, 2 READY", NULL, 0, "give-up 1",
     "given up"},
    {"failed often, but it runs: not given up", POOL(1), "1 READY failures=6", NULL, 0, "",
     "fails"},
    {"hung OpenVPN", POOL(1), "1 READY hung", NULL, 0, "kill-openvpn 1, unserve 1", NULL},
    {"a crashed sidecar of the only one: newcomers may wait for it", POOL(1), "1 READY nosidecar",
     NULL, 0, "start-sidecar 1", NULL},
    {"a crashed sidecar: newcomers go to the other", POOL(2), "1 READY nosidecar, 2 READY", NULL, 0,
     "start-sidecar 1, unserve 1", NULL},
    {"a crashed sidecar waits for its backoff", POOL(1), "1 READY nosidecar sidecarnotbefore=+2s",
     NULL, 0, "", NULL},
    {"hung sidecar", POOL(1), "1 READY silent", NULL, 0, "kill-sidecar 1", NULL},
    {"everything was killed", POOL(2), "1 READY down nosidecar, 2 READY down nosidecar", NULL, 0,
     "start-openvpn 1, start-sidecar 1, unserve 1, start-openvpn 2, start-sidecar 2, unserve 2",
     NULL},
    {"a sidecar that ends while it drains is needed for that", POOL(0), "1 DRAINING nosidecar",
     NULL, 0, "start-sidecar 1", NULL},
};

static const struct plan_case pausing[] = {
    {"after a given-up index nothing starts for a while", POOL(2), "1 READY", NULL, 30000, "",
     "given up"},
    {"then one at a time", POOL(4), "1 READY", NULL, -1000, "reserve 2", NULL},
    {"... and no second before the first is ready", POOL(4), "1 READY, 2 STARTING", NULL, -1000, "",
     NULL},
    {"... until it is long ago", POOL(4), "1 READY", NULL, -PLAN_PROBE_MS,
     "reserve 2, reserve 3, reserve 4", NULL},
};

static const struct plan_case scaling[] = {
    {"up", POOL(3), "1 READY, 2 READY", NULL, 0, "reserve 3", NULL},
    {"down: the fewest sessions", POOL(2),
     "1 READY sessions=1, 2 READY sessions=9, 3 READY "
     "sessions=5",
     NULL, 0, "drain 1", NULL},
    {"down: the highest of equals", POOL(2), "1 READY, 2 READY, 3 READY", NULL, 0, "drain 3", NULL},
    {"down: marked before fewest sessions", POOL(1),
     "1 READY sessions=1, 2 READY sessions=9 marked", NULL, 0, "drain 2", NULL},
    {"down: not ready before marked", POOL(2), "1 READY nosidecar, 2 READY marked, 3 READY", NULL,
     0, "drain 1", NULL},
    {"down: unscheduled before not ready", POOL(1), "1 STARTING, 2 STARTING unscheduled", NULL, 0,
     "terminate 2", NULL},
    {"down: one that never served has nothing to drain", POOL(1), "1 READY, 2 STARTING", NULL, 0,
     "terminate 2", NULL},
    {"down: nor has one whose OpenVPN is gone", POOL(1), "1 READY, 2 READY down", NULL, 0,
     "terminate 2", NULL},
    {"down: a hung one is drained, it may have devices", POOL(1), "1 READY, 2 READY hung", NULL, 0,
     "drain 2", NULL},
    {"down by several at once", POOL(1), "1 READY, 2 READY, 3 READY", NULL, 0, "drain 3, drain 2",
     NULL},
    {"down to none", POOL(0), "1 READY, 2 STARTING", NULL, 0, "terminate 2, drain 1", NULL},
    {"those that end already do not count", POOL(2), "1 READY, 2 READY, 3 DRAINING", NULL, 0, "",
     NULL},
    {"up while draining: another index, no way back", POOL(3), "1 READY, 2 READY, 3 DRAINING", NULL,
     0, "reserve 4", NULL},
    {"up, but draining ones have every index", POOL(2, .capacity = 2), "1 READY, 2 DRAINING", NULL,
     0, "", "no index is free"},
    {"down in a roll: the old one is the only one that can serve", POOL(1),
     "1 READY old, 2 STARTING, 3 STARTING", NULL, 0, "terminate 3", NULL},
    {"up and down cross: what starts goes first", POOL(2), "1 READY, 2 READY, 3 STARTING", NULL, 0,
     "terminate 3", NULL},
};

static const struct plan_case choosing[] = {
    {"rested before never used", POOL(3), "1 READY, 2 READY", "3@-61s", 0, "reserve 3", NULL},
    {"least recently freed first", POOL(2), "1 READY", "4@-100s 2@-90s 3@-80s", 0, "reserve 4",
     NULL},
    {"never used before one that has not rested", POOL(2), "1 READY", "2@-59s", 0, "reserve 3",
     NULL},
    {"no other: one that has not rested", POOL(2, .capacity = 2), "1 READY", "2@-1s", 0,
     "reserve 2", NULL},
    {"an index beyond what fits now is left alone", POOL(2, .capacity = 2), "1 READY",
     "7@-900s 2@-1s", 0, "reserve 2", NULL},
    {"several at once take different ones", POOL(4), "1 READY", "2@-70s 3@-5s", 0,
     "reserve 2, reserve 4, reserve 5", NULL},
    {"one that is being buried is not free", POOL(2, .capacity = 2), "1 READY, 2 BURYING", NULL, 0,
     "", "no index is free"},
};

static const struct plan_case rolling[] = {
    {"a new one comes before an old one goes", POOL(2), "1 READY old, 2 READY old", NULL, 0,
     "reserve 3", NULL},
    {"... and is waited for", POOL(2), "1 READY old, 2 READY old, 3 STARTING", NULL, 0, "", NULL},
    {"... and has to last a moment", POOL(2), "1 READY old, 2 READY old, 3 READY since=-4s", NULL,
     0, "", NULL},
    {"... then an old one goes and the next comes", POOL(2),
     "1 READY old, 2 READY old, 3 READY since=-5s", NULL, 0, "drain 2, reserve 4", NULL},
    {"... the last old one goes", POOL(2), "1 READY old, 3 READY, 4 READY", NULL, 0, "drain 1",
     NULL},
    {"... which may take its time", POOL(2), "1 DRAINING old, 3 READY, 4 READY", NULL, 0, "", NULL},
    {"the new one fails: the old ones stay", POOL(2),
     "1 READY old, 2 READY old, 3 STARTING down failures=6", NULL, 0, "give-up 3", "given up"},
    {"... during the pause as well", POOL(2, .max_unavailable = 1),
     "1 READY old, 2 READY old, 3 TERMINATING", NULL, 50000, "bury 3", "given up"},
    {"no surge: an old one goes first", POOL_SURGE(2, 0, .max_unavailable = 1),
     "1 READY old, 2 READY old sessions=5", NULL, 0, "drain 1, reserve 3", NULL},
    {"... but only one", POOL_SURGE(2, 0, .max_unavailable = 1),
     "2 READY old, 3 STARTING, 1 DRAINING old", NULL, 0, "", NULL},
    {"surge by two", POOL_SURGE(3, 2), "1 READY old, 2 READY old, 3 READY old", NULL, 0,
     "reserve 4, reserve 5", NULL},
    {"neither surge nor unavailable means surge by one", POOL_SURGE(1, 0), "1 READY old", NULL, 0,
     "reserve 2", NULL},
    {"a dead old one goes at once", POOL(2), "1 READY old down unserved, 2 READY", NULL, 0,
     "terminate 1, reserve 3", NULL},
    {"an old one that never got ready goes at once", POOL(1), "1 STARTING old", NULL, 0,
     "terminate 1, reserve 2", NULL},
    {"old and not ready, but it has devices: its successor comes first", POOL(1),
     "1 READY old unready", NULL, 0, "reserve 2", NULL},
    {"a controller that has heard of nobody yet ends nobody", POOL(3),
     "1 READY old unready, 2 READY old unready, 3 READY old unready", NULL, 0, "reserve 4", NULL},
    {"scaled down in a roll: an old one goes, not the one that starts", POOL(2),
     "1 READY old, 2 READY old, 3 READY old, 4 STARTING", NULL, 0, "drain 3", NULL},
    {"no index to surge into", POOL(2, .capacity = 2), "1 READY old, 2 READY old", NULL, 0, "",
     "no index is left for a new one"},
    {"a roll and no replicas", POOL(0), "1 READY old", NULL, 0, "drain 1", NULL},
};

/* Who is moved in a roll is moved once: to a new one. */
static const struct plan_case shunning[] = {
    {"newcomers go to the new one", POOL(2, .devices_max = 100),
     "1 READY old sessions=40, 2 READY old sessions=40, 3 READY since=-1s", NULL, 0,
     "unserve 1, unserve 2", NULL},
    {"... and no longer to the old ones", POOL(2, .devices_max = 100),
     "1 READY old unserved sessions=40, 2 READY old unserved sessions=40, 3 READY since=-1s", NULL,
     0, "", NULL},
    {"... which count as able to serve", POOL(2, .devices_max = 100),
     "1 READY old unserved sessions=9, 2 READY old unserved sessions=8, 3 READY since=-5s", NULL, 0,
     "drain 2, reserve 4", NULL},
    {"... unless the new one is not listed yet", POOL(2, .devices_max = 100),
     "1 READY old, 2 READY old, 3 READY unserved", NULL, 0, "serve 3", NULL},
    {"... or is not ready", POOL(2, .devices_max = 100),
     "1 READY old unserved, 2 READY old unserved, 3 READY unready", NULL, 0,
     "serve 1, serve 2, unserve 3", NULL},
    {"... or is half full", POOL(2, .devices_max = 100),
     "1 READY old, 2 READY old, 3 READY since=-1s sessions=50", NULL, 0, "", NULL},
    {"one that fills up takes some more", POOL(2, .devices_max = 100),
     "1 READY old unserved, 2 READY old unserved, 3 READY since=-1s sessions=74", NULL, 0, "",
     NULL},
    {"... before the old ones take some, too", POOL(2, .devices_max = 100),
     "1 READY old unserved, 2 READY old unserved, 3 READY since=-1s sessions=75", NULL, 0,
     "serve 1, serve 2", NULL},
    {"two have the room of two", POOL(3, .devices_max = 100),
     "1 READY old, 2 READY sessions=80, 3 READY sessions=19, 4 READY since=-1s unserved", NULL, 0,
     "unserve 1, serve 4", NULL},
    {"one that just became ready is one first", POOL(2, .devices_max = 100),
     "1 READY, 2 STARTING old ready", NULL, 0, "terminate 2, reserve 3", NULL},
};

static const struct plan_case ending[] = {
    {"draining goes on", POOL(0), "1 DRAINING", NULL, 0, "", NULL},
    {"drained", POOL(0), "1 DRAINING drained", NULL, 0, "terminate 1", NULL},
    {"drain took too long", POOL(0), "1 DRAINING since=-130s", NULL, 0, "terminate 1", NULL},
    {"drain took almost too long", POOL(0), "1 DRAINING since=-129s", NULL, 0, "", NULL},
    {"a drain in a hurry",
     {.drain_timeout_ms = 0, .shutdown = true},
     "1 DRAINING since=0s",
     NULL,
     0,
     "terminate 1",
     NULL},
    {"OpenVPN ended while draining", POOL(0), "1 DRAINING down", NULL, 0, "terminate 1", NULL},
    {"it ends", POOL(0), "1 TERMINATING alive", NULL, 0, "", NULL},
    {"it does not end", POOL(0), "1 TERMINATING alive since=-15s", NULL, 0,
     "kill-openvpn 1, kill-sidecar 1", NULL},
    {"ended, the balancer still knows it", POOL(0), "1 TERMINATING listed", NULL, 0, "", NULL},
    {"... a balancer that is down does not keep it", POOL(0), "1 TERMINATING listed since=-15s",
     NULL, 0, "bury 1", NULL},
    {"ended", POOL(0), "1 TERMINATING", NULL, 0, "bury 1", NULL},
    {"the API still lists its devices", POOL(0), "1 BURYING", NULL, 0, "", NULL},
    {"buried", POOL(0), "1 BURYING buried", NULL, 0, "free 1", NULL},
    {"ends while others live on", POOL(1), "1 READY, 2 TERMINATING, 3 BURYING buried", NULL, 0,
     "bury 2, free 3", NULL},
};

static const struct plan_case stopping[] = {
    {"all are drained", POOL(2, .shutdown = true), "1 READY, 2 READY", NULL, 0, "drain 2, drain 1",
     NULL},
    {"what starts ends at once", POOL(2, .shutdown = true), "1 STARTING", NULL, 0, "terminate 1",
     NULL},
    {"nothing is started or given up", POOL(2, .shutdown = true),
     "1 READY down unserved failures=6", NULL, 0, "terminate 1", NULL},
    {"the rest goes on", POOL(2, .shutdown = true), "1 DRAINING drained, 2 TERMINATING, 3 BURYING",
     NULL, 0, "terminate 1, bury 2", NULL},
    {"nothing is left", POOL(2, .shutdown = true), "", NULL, 0, "", NULL},
};

static const struct plan_case losing[] = {
    {"a lost one is replaced under another index", POOL(2), "1 READY lost, 2 READY", NULL, 0,
     "reserve 3, unserve 1", "out of reach"},
    {"it keeps its index", POOL(2, .capacity = 2), "1 READY lost unserved, 2 READY", NULL, 0, "",
     "no index is free"},
    {"it is back: one too many", POOL(2), "1 READY sessions=9, 2 READY sessions=8, 3 READY", NULL,
     0, "drain 3", NULL},
    {"nobody is asked to drain it", POOL(1), "1 READY lost unserved, 2 READY", NULL, 0, "",
     "out of reach"},
    {"lost while draining", POOL(0), "1 DRAINING lost since=-900s", NULL, 0, "", "out of reach"},
};

static void run(const struct plan_case *cases, size_t count)
{
    static struct plan_result result;

    for (size_t i = 0; i < count; i++) {
        const struct plan_case *c = &cases[i];
        struct plan_desired desired = c->desired;
        struct plan_world world;
        desired.capacity = desired.capacity != 0 ? desired.capacity : 8;
        plan_world_parse(c->indices, c->freed != NULL ? c->freed : "", &world);
        world.observed.pool_not_before_ms = c->pause_ms != 0 ? WORLD_NOW + c->pause_ms : 0;
        plan(&desired, &world.observed, &result);
        AUTO(str) char *actions = plan_actions_text(&result);
        bool degraded = c->degraded == NULL
                            ? result.degraded == NULL
                            : result.degraded != NULL && strstr(result.degraded, c->degraded);
        if (strcmp(actions, c->actions) != 0 || !degraded) {
            fail_msg("%s:\n  wanted '%s' (%s)\n     got '%s' (%s)", c->name, c->actions,
                     c->degraded != NULL ? c->degraded : "fine", actions,
                     result.degraded != NULL ? result.degraded : "fine");
        }
    }
}

#define TABLE(table)                        \
    static void test_plan_##table(void **s) \
    {                                       \
        (void)s;                            \
        run(table, ARRAY_LEN(table));       \
    }

TABLE(starting)
TABLE(restarting)
TABLE(pausing)
TABLE(scaling)
TABLE(choosing)
TABLE(rolling)
TABLE(shunning)
TABLE(ending)
TABLE(stopping)
TABLE(losing)

/* A controller that has just begun has not asked the sidecar yet. */
static void test_plan_gives_nobody_up_that_it_has_not_looked_at(void **s)
{
    static struct plan_result result;
    struct plan_desired desired = POOL(1, .capacity = 8);
    struct plan_world world;

    plan_world_parse("1 STARTING since=-600s", "", &world);
    world.observed.looking_since_ms = WORLD_NOW - 1000;
    plan(&desired, &world.observed, &result);
    assert_int_equal(result.count, 0);
    assert_int_equal(result.next_ms, WORLD_NOW + PLAN_START_TIMEOUT_MS - 1000);
}

/* --- when to ask again --- */

/* Who has the fewest sessions is not known at once; nor waited for, for ever. */
static void test_plan_chooses_a_victim_by_what_it_was_told(void **s)
{
    static struct plan_result result;
    struct plan_desired desired = POOL(1, .capacity = 8);
    struct plan_world world;

    (void)s;
    plan_world_parse("1 READY sessions=5, 2 READY uncounted", "", &world);
    world.observed.looking_since_ms = WORLD_NOW - 1000;
    plan(&desired, &world.observed, &result);
    assert_int_equal(result.count, 0);
    assert_int_equal(result.next_ms, WORLD_NOW + PLAN_COUNT_MS - 1000);
    assert_true(result.progressing);
    world.observed.looking_since_ms = WORLD_NOW - PLAN_COUNT_MS;
    plan(&desired, &world.observed, &result);
    AUTO(str) char *late = plan_actions_text(&result);
    assert_string_equal(late, "drain 2");
    plan_world_parse("1 READY sessions=5, 2 READY sessions=9", "", &world);
    world.observed.looking_since_ms = WORLD_NOW - 1000;
    plan(&desired, &world.observed, &result);
    AUTO(str) char *told = plan_actions_text(&result);
    assert_string_equal(told, "drain 1");
    plan_world_parse("1 READY uncounted, 2 READY uncounted", "", &world);
    world.observed.looking_since_ms = WORLD_NOW;
    desired.shutdown = true;
    plan(&desired, &world.observed, &result);
    assert_int_equal(result.count, 2);
}

static void test_plan_says_when_to_ask_again(void **s)
{
    static const struct {
        const char *name, *indices;
        int64_t pause_ms, next_ms; /* from now */
    } cases[] = {
        {"nothing is under way", "1 READY", 0, NEVER},
        {"the backoff of a start", "1 READY down unserved failures=2 notbefore=+2s", 0, 2000},
        {"the backoff of a sidecar", "1 READY nosidecar sidecarnotbefore=+3s", 0, 3000},
        {"the time a start has", "1 STARTING since=-10s", 0, 50000},
        {"the time a drain has", "1 READY, 2 DRAINING since=-20s", 0, 110000},
        {"the time an end has", "1 READY, 2 TERMINATING alive since=-5s", 0, 10000},
        {"the earliest counts", "1 STARTING since=-10s, 2 DRAINING since=-100s", 0, 30000},
        {"the pool's pause", "", 7000, 7000},
        {"a phase has changed", "1 STARTING ready linked", 0, PLAN_AGAIN_MS},
        {"a new one of a roll", "1 READY old, 2 READY since=-2s", 0, 3000},
    };
    static struct plan_result result;
    struct plan_desired desired = POOL(1, .capacity = 8);

    (void)s;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct plan_world world;
        plan_world_parse(cases[i].indices, "", &world);
        world.observed.pool_not_before_ms =
            cases[i].pause_ms != 0 ? WORLD_NOW + cases[i].pause_ms : 0;
        plan(&desired, &world.observed, &result);
        int64_t next_ms = result.next_ms == NEVER ? NEVER : result.next_ms - WORLD_NOW;
        if (next_ms != cases[i].next_ms) {
            fail_msg("%s: asks again in %lld ms, not %lld", cases[i].name, (long long)next_ms,
                     (long long)cases[i].next_ms);
        }
    }
}

static void test_plan_takes_no_index_whose_name_is_somebody_elses(void **s)
{
    static struct plan_result result;
    static const uint32_t occupied[] = {1, 3, 4, 99999};
    struct plan_desired desired = POOL(3, .capacity = 5);
    struct plan_world world;

    (void)s;
    plan_world_parse("", "4@-900s", &world);
    world.observed.occupied = occupied;
    world.observed.occupied_count = ARRAY_LEN(occupied);
    plan(&desired, &world.observed, &result);
    AUTO(str) char *actions = plan_actions_text(&result);
    assert_string_equal(actions, "reserve 2, reserve 5");
    assert_string_equal(result.degraded_reason, "NoFreeIndex");
}

static void test_plan_status(void **s)
{
    static struct plan_result result;
    struct plan_desired desired = POOL(2, .capacity = 8);
    struct plan_world world;

    (void)s;
    plan_world_parse("1 READY, 2 READY", "", &world);
    plan(&desired, &world.observed, &result);
    assert_int_equal(result.ready, 2);
    assert_true(result.available);
    assert_false(result.progressing);

    plan_world_parse("1 READY, 2 READY down", "", &world);
    plan(&desired, &world.observed, &result);
    assert_int_equal(result.ready, 1);
    assert_false(result.available);
    assert_true(result.progressing);

    desired.max_unavailable = 1;
    plan(&desired, &world.observed, &result);
    assert_true(result.available);
}

static void test_plan_backoff_doubles_up_to_a_minute(void **s)
{
    static const int64_t seconds[] = {0, 1, 2, 4, 8, 16, 32, 60, 60};

    (void)s;
    for (uint32_t i = 0; i < ARRAY_LEN(seconds); i++) {
        assert_int_equal(plan_backoff_ms(i), seconds[i] * 1000);
    }
    assert_int_equal(plan_backoff_ms(UINT32_MAX), 60000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plan_starting),
        cmocka_unit_test(test_plan_restarting),
        cmocka_unit_test(test_plan_pausing),
        cmocka_unit_test(test_plan_scaling),
        cmocka_unit_test(test_plan_choosing),
        cmocka_unit_test(test_plan_rolling),
        cmocka_unit_test(test_plan_shunning),
        cmocka_unit_test(test_plan_ending),
        cmocka_unit_test(test_plan_stopping),
        cmocka_unit_test(test_plan_losing),
        cmocka_unit_test(test_plan_gives_nobody_up_that_it_has_not_looked_at),
        cmocka_unit_test(test_plan_chooses_a_victim_by_what_it_was_told),
        cmocka_unit_test(test_plan_says_when_to_ask_again),
        cmocka_unit_test(test_plan_takes_no_index_whose_name_is_somebody_elses),
        cmocka_unit_test(test_plan_status),
        cmocka_unit_test(test_plan_backoff_doubles_up_to_a_minute),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
