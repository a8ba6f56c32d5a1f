#include "sidecar-proxy/state/roster.h"
#include "world.h"

static void expect(struct world *w, struct roster *r, size_t count, ...)
{
    struct roster_entry *entries = xcalloc(count, sizeof(*entries));
    va_list args;

    va_start(args, count);
    for (size_t n = 0; n < count; n++) {
        entries[n].index = va_arg(args, unsigned);
        snprintf(entries[n].epoch, sizeof(entries[n].epoch), "%s", va_arg(args, const char *));
    }
    va_end(args);
    roster_set(r, entries, count, w->table, w->now);
}

static void test_roster_is_ready_when_all_expected_gave_a_snapshot(void **state)
{
    struct world w;
    struct roster r;
    world_init(&w, NULL);
    roster_init(&r, w.now.mono_ms + 10000);

    expect(&w, &r, (size_t)2, 1u, "e", 2u, "f");
    struct table_instance *one = hello(&w, 1, 1, "e");
    struct table_instance *two = hello(&w, 2, 2, "f");
    table_snapshot(w.table, one, NULL, 0, w.now);
    assert_false(roster_ready(&r, w.table, w.now.mono_ms));
    table_snapshot(w.table, two, NULL, 0, w.now);
    assert_true(roster_ready(&r, w.table, w.now.mono_ms));
    roster_clear(&r);
    world_clear(&w);
}

static void test_roster_waits_for_the_right_epoch(void **state)
{
    struct world w;
    struct roster r;
    world_init(&w, NULL);
    roster_init(&r, w.now.mono_ms + 10000);

    expect(&w, &r, (size_t)1, 1u, "new");
    table_snapshot(w.table, hello(&w, 1, 1, "old"), NULL, 0, w.now);
    assert_false(roster_ready(&r, w.table, w.now.mono_ms));
    table_snapshot(w.table, hello(&w, 2, 1, "new"), NULL, 0, w.now);
    assert_true(roster_ready(&r, w.table, w.now.mono_ms));
    roster_clear(&r);
    world_clear(&w);
}

static void test_roster_without_a_list_is_ready_after_the_grace_time(void **state)
{
    struct world w;
    struct roster r;
    world_init(&w, NULL);
    roster_init(&r, w.now.mono_ms + 10000);

    table_snapshot(w.table, hello(&w, 1, 1, "e"), NULL, 0, w.now);
    assert_false(roster_ready(&r, w.table, w.now.mono_ms + 9999));
    assert_true(roster_ready(&r, w.table, w.now.mono_ms + 10000));
    roster_clear(&r);
    world_clear(&w);
}

static void test_roster_that_is_empty_is_ready_at_once(void **state)
{
    struct world w;
    struct roster r;
    world_init(&w, NULL);
    roster_init(&r, w.now.mono_ms + 10000);

    expect(&w, &r, (size_t)0);
    assert_true(roster_ready(&r, w.table, w.now.mono_ms));
    roster_clear(&r);
    world_clear(&w);
}

static void test_roster_stays_ready_when_a_newcomer_is_expected(void **state)
{
    struct world w;
    struct roster r;
    world_init(&w, NULL);
    roster_init(&r, w.now.mono_ms + 10000);

    expect(&w, &r, (size_t)0);
    assert_true(roster_ready(&r, w.table, w.now.mono_ms));
    expect(&w, &r, (size_t)1, 1u, "e");
    assert_true(roster_ready(&r, w.table, w.now.mono_ms));
    roster_clear(&r);
    world_clear(&w);
}

static void test_roster_drops_who_is_not_on_the_list(void **state)
{
    struct world w;
    struct roster r;
    world_init(&w, NULL);
    roster_init(&r, w.now.mono_ms + 10000);

    up(&w, hello(&w, 1, 1, "e"), "1.0", 'a', 100);
    up(&w, hello(&w, 2, 2, "f"), "1.0", 'b', 100);
    up(&w, hello(&w, 3, 3, "old"), "1.0", 'c', 100);
    world_said(&w, "up a@1 up b@2 up c@3");
    expect(&w, &r, (size_t)2, 1u, "e", 3u, "new");
    world_said(&w, "down b@2 dropped 2 down c@3 dropped 3");
    assert_int_equal(1, table_counts(w.table).instances);
    roster_clear(&r);
    world_clear(&w);
}

static struct table_hello greeting(uint32_t index, const char *epoch)
{
    struct table_hello h = {.pool = "fleet", .index = index};

    snprintf(h.epoch, sizeof(h.epoch), "%s", epoch);
    return h;
}

static void test_roster_refuses_a_dead_epoch_in_the_place_of_the_listed_one(void **state)
{
    struct world w;
    struct roster r;
    struct table_hello zombie = greeting(1, "dead"), again = greeting(1, "live");
    world_init(&w, NULL);
    roster_init(&r, w.now.mono_ms + 10000);

    assert_true(roster_admits(&r, w.table, &zombie)); /* nothing is known */
    struct table_instance *one = hello(&w, 1, 1, "live");
    assert_true(roster_admits(&r, w.table, &zombie)); /* the list is not */
    expect(&w, &r, (size_t)1, 1u, "live");
    assert_false(roster_admits(&r, w.table, &zombie));
    assert_true(roster_admits(&r, w.table, &again));
    table_feed_ended(w.table, one, w.now); /* then the list may be the one that is old */
    assert_true(roster_admits(&r, w.table, &zombie));
    roster_clear(&r);
    world_clear(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_roster_is_ready_when_all_expected_gave_a_snapshot),
        cmocka_unit_test(test_roster_waits_for_the_right_epoch),
        cmocka_unit_test(test_roster_without_a_list_is_ready_after_the_grace_time),
        cmocka_unit_test(test_roster_that_is_empty_is_ready_at_once),
        cmocka_unit_test(test_roster_stays_ready_when_a_newcomer_is_expected),
        cmocka_unit_test(test_roster_drops_who_is_not_on_the_list),
        cmocka_unit_test(test_roster_refuses_a_dead_epoch_in_the_place_of_the_listed_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
