#include "world.h"

static void test_table_session_comes_and_goes(void **state)
{
    struct world w;
    world_init(&w, NULL);
    struct table_instance *one = hello(&w, 1, 1, "e");

    up(&w, one, "1.0", 'a', 100);
    assert_int_equal(1, where(&w, 'a'));
    assert_string_equal("1.0", table_find(w.table, uuid_of('a'))->id);
    assert_true(down(&w, one, "1.0"));
    assert_int_equal(0, where(&w, 'a'));
    world_said(&w, "up a@1 down a@1");
    world_clear(&w);
}

static void test_table_down_of_an_unknown_session_is_nothing(void **state)
{
    struct world w;
    world_init(&w, NULL);
    struct table_instance *one = hello(&w, 1, 1, "e");

    up(&w, one, "1.0", 'a', 100);
    assert_false(down(&w, one, "1.1"));
    assert_int_equal(1, where(&w, 'a'));
    world_said(&w, "up a@1");
    world_clear(&w);
}

static void test_table_ids_of_two_instances_are_apart(void **state)
{
    struct world w;
    world_init(&w, NULL);
    struct table_instance *one = hello(&w, 1, 1, "e");
    struct table_instance *two = hello(&w, 2, 2, "f");

    up(&w, one, "1.0", 'a', 100);
    up(&w, two, "1.0", 'b', 100);
    down(&w, two, "1.0");
    assert_int_equal(1, where(&w, 'a'));
    assert_int_equal(0, where(&w, 'b'));
    world_clear(&w);
}

static void test_table_move_makes_the_older_session_stale(void **state)
{
    struct world w;
    world_init(&w, NULL);
    struct table_instance *one = hello(&w, 1, 1, "e");
    struct table_instance *two = hello(&w, 2, 2, "f");

    up(&w, one, "1.0", 'a', 100);
    up(&w, two, "1.5", 'a', 200);
    assert_int_equal(2, where(&w, 'a'));
    world_said(&w, "up a@1 stale a/1.0 to 1 up a@2");
    assert_int_equal(0, one->sessions.count);
    world_clear(&w);
}

/* A -> B, then A's end of the old session arrives: it must not undo B. */
static void test_table_late_down_of_the_old_place_does_not_undo_the_new(void **state)
{
    struct world w;
    world_init(&w, NULL);
    struct table_instance *one = hello(&w, 1, 1, "e");
    struct table_instance *two = hello(&w, 2, 2, "f");

    up(&w, one, "1.0", 'a', 100);
    up(&w, two, "1.5", 'a', 200);
    assert_false(down(&w, one, "1.0"));
    assert_int_equal(2, where(&w, 'a'));
    world_clear(&w);
}

/* B's message came first: A's older session arrives late, and goes back to A as stale. */
static void test_table_late_up_of_an_older_session_is_stale(void **state)
{
    struct world w;
    world_init(&w, NULL);
    struct table_instance *one = hello(&w, 1, 1, "e");
    struct table_instance *two = hello(&w, 2, 2, "f");

    up(&w, two, "1.5", 'a', 200);
    up(&w, one, "1.0", 'a', 100);
    assert_int_equal(2, where(&w, 'a'));
    world_said(&w, "up a@2 stale a/1.0 to 1");
    world_clear(&w);
}

static void test_table_between_equals_the_later_arrival_wins(void **state)
{
    struct world w;
    world_init(&w, NULL);
    struct table_instance *one = hello(&w, 1, 1, "e");
    struct table_instance *two = hello(&w, 2, 2, "f");

    up(&w, one, "1.0", 'a', 100);
    up(&w, two, "1.5", 'a', 100);
    assert_int_equal(2, where(&w, 'a'));
    world_clear(&w);
}

static void test_table_snapshot_between_equals_takes_nothing_back(void **state)
{
    struct world w;
    world_init(&w, NULL);
    struct table_instance *one = hello(&w, 1, 1, "e");
    struct table_instance *two = hello(&w, 2, 2, "f");
    struct table_claim old = claim_of("1.0", 'a', 100);

    up(&w, one, "1.0", 'a', 100);
    up(&w, two, "1.5", 'a', 100);
    world_said(&w, "up a@1 stale a/1.0 to 1 up a@2");
    table_snapshot(w.table, one, &old, 1, w.now);
    assert_int_equal(2, where(&w, 'a'));
    world_said(&w, "stale a/1.0 to 1");
    world_clear(&w);
}

/* OpenVPN announces the device's new session before it ends the old one. */
static void test_table_two_sessions_at_one_instance_the_newer_counts(void **state)
{
    struct world w;
    world_init(&w, NULL);
    struct table_instance *one = hello(&w, 1, 1, "e");

    up(&w, one, "1.0", 'a', 100);
    up(&w, one, "1.1", 'a', 200);
    assert_string_equal("1.1", table_find(w.table, uuid_of('a'))->id);
    down(&w, one, "1.0");
    assert_string_equal("1.1", table_find(w.table, uuid_of('a'))->id);
    world_said(&w, "up a@1 up a@1"); /* nothing is stale within one instance */
    world_clear(&w);
}

static void test_table_reserve_steps_in_when_the_newer_ends_first(void **state)
{
    struct world w;
    world_init(&w, NULL);
    struct table_instance *one = hello(&w, 1, 1, "e");

    up(&w, one, "1.1", 'a', 200);
    up(&w, one, "1.0", 'a', 100);
    world_said(&w, "up a@1");
    down(&w, one, "1.1");
    assert_string_equal("1.0", table_find(w.table, uuid_of('a'))->id);
    down(&w, one, "1.0");
    world_said(&w, "up a@1 down a@1");
    world_clear(&w);
}

static void test_table_move_ends_all_sessions_of_the_old_place(void **state)
{
    struct world w;
    world_init(&w, NULL);
    struct table_instance *one = hello(&w, 1, 1, "e");
    struct table_instance *two = hello(&w, 2, 2, "f");

    up(&w, one, "1.0", 'a', 100);
    up(&w, one, "1.1", 'a', 110);
    up(&w, two, "1.0", 'a', 200);
    world_said(&w, "up a@1 up a@1 stale a/1.1 to 1 stale a/1.0 to 1 up a@2");
    assert_int_equal(1, table_counts(w.table).sessions);
    down(&w, two, "1.0"); /* none of the old ones comes back */
    assert_int_equal(0, where(&w, 'a'));
    world_clear(&w);
}

static void test_table_same_up_twice_says_nothing(void **state)
{
    struct world w;
    world_init(&w, NULL);
    struct table_instance *one = hello(&w, 1, 1, "e");

    up(&w, one, "1.0", 'a', 100);
    up(&w, one, "1.0", 'a', 100);
    world_said(&w, "up a@1");
    assert_int_equal(1, table_counts(w.table).sessions);
    world_clear(&w);
}

static void test_table_up_with_another_address_is_told(void **state)
{
    struct world w;
    world_init(&w, NULL);
    struct table_instance *one = hello(&w, 1, 1, "e");
    struct table_claim c = claim_of("1.0", 'a', 100);

    table_up(w.table, one, &c, w.now);
    c.address++;
    table_up(w.table, one, &c, w.now);
    world_said(&w, "up a@1 up a@1");
    assert_int_equal(c.address, table_find(w.table, uuid_of('a'))->address);
    world_clear(&w);
}

/* A restarted sidecar knows the start only in whole seconds. */
static void test_table_coarser_start_of_a_known_session_is_no_event(void **state)
{
    struct world w;
    world_init(&w, NULL);
    struct table_instance *one = hello(&w, 1, 1, "e");

    up(&w, one, "1.0", 'a', 1764000000123);
    struct table_claim c = claim_of("1.0", 'a', 1764000000000);
    table_snapshot(w.table, one, &c, 1, w.now);
    world_said(&w, "up a@1");
    assert_int_equal(1764000000000, table_find(w.table, uuid_of('a'))->since_ms);
    world_clear(&w);
}

static void test_table_id_that_names_another_device_replaces_it(void **state)
{
    struct world w;
    world_init(&w, NULL);
    struct table_instance *one = hello(&w, 1, 1, "e");

    up(&w, one, "1.0", 'a', 100);
    up(&w, one, "1.0", 'b', 100);
    world_said(&w, "up a@1 down a@1 up b@1");
    assert_int_equal(1, one->sessions.count);
    world_clear(&w);
}

static void test_table_snapshot_replaces_without_absence(void **state)
{
    struct world w;
    world_init(&w, NULL);
    struct table_instance *one = hello(&w, 1, 1, "e");
    struct table_claim claims[2] = {claim_of("1.1", 'b', 100), claim_of("1.2", 'c', 100)};

    up(&w, one, "1.0", 'a', 100);
    up(&w, one, "1.1", 'b', 100);
    world_said(&w, "up a@1 up b@1");
    table_snapshot(w.table, one, claims, 2, w.now);
    world_said(&w, "up c@1 down a@1");
    assert_true(one->synced);
    world_clear(&w);
}

/* The device came again while nobody listened: another id, never offline. */
static void test_table_snapshot_with_a_new_id_keeps_the_device_online(void **state)
{
    struct world w;
    world_init(&w, NULL);
    struct table_instance *one = hello(&w, 1, 1, "e");
    struct table_claim c = claim_of("2.0", 'a', 200);

    up(&w, one, "1.0", 'a', 100);
    table_snapshot(w.table, one, &c, 1, w.now);
    world_said(&w, "up a@1 up a@1");
    assert_string_equal("2.0", table_find(w.table, uuid_of('a'))->id);
    world_clear(&w);
}

/* Reserves must not step in on the way, whatever the order of the hash map is. */
static void test_table_snapshot_of_nothing_ends_all(void **state)
{
    struct world w;
    world_init(&w, NULL);
    struct table_instance *one = hello(&w, 1, 1, "e");

    for (int n = 0; n < 9; n++) {
        char id[8];
        snprintf(id, sizeof(id), "1.%d", n);
        up(&w, one, id, 'a', 100 + n);
    }
    world_said(&w, "up a@1 up a@1 up a@1 up a@1 up a@1 up a@1 up a@1 up a@1 up a@1");
    table_snapshot(w.table, one, NULL, 0, w.now);
    world_said(&w, "down a@1");
    assert_int_equal(0, table_counts(w.table).devices);
    world_clear(&w);
}

static void test_table_snapshot_brings_back_what_was_stale_when_nothing_newer_is_left(void **state)
{
    struct world w;
    world_init(&w, NULL);
    struct table_instance *one = hello(&w, 1, 1, "e");
    struct table_instance *two = hello(&w, 2, 2, "f");
    struct table_claim c = claim_of("1.0", 'a', 100);

    up(&w, one, "1.0", 'a', 100);
    up(&w, two, "1.0", 'a', 200);
    down(&w, two, "1.0");
    table_snapshot(w.table, one, &c, 1, w.now); /* it never heard that it was stale */
    assert_int_equal(1, where(&w, 'a'));
    world_clear(&w);
}

static void test_table_second_connection_of_an_epoch_replaces_the_first(void **state)
{
    struct world w;
    world_init(&w, NULL);
    struct table_instance *one = hello(&w, 1, 1, "e");

    up(&w, one, "1.0", 'a', 100);
    assert_ptr_equal(one, hello(&w, 2, 1, "e"));
    world_said(&w, "up a@1 dropped 1");
    assert_int_equal(1, where(&w, 'a')); /* until its snapshot */
    assert_ptr_equal(&w.feeds[2].hooks, one->feed);
    world_clear(&w);
}

static void test_table_new_epoch_ends_the_old_ones_sessions(void **state)
{
    struct world w;
    world_init(&w, NULL);
    struct table_instance *one = hello(&w, 1, 1, "e");

    up(&w, one, "1.0", 'a', 100);
    one = hello(&w, 2, 1, "later");
    world_said(&w, "up a@1 down a@1 dropped 1");
    assert_string_equal("later", one->epoch);
    assert_int_equal(1, table_counts(w.table).instances);
    world_clear(&w);
}

static void test_table_pools_are_apart(void **state)
{
    struct world w;
    world_init(&w, NULL);
    struct table_instance *one = hello(&w, 1, 1, "e");
    struct table_hello h = {.pool = "other", .index = 1, .epoch = "x", .phase = "ready"};
    struct table_instance *other = NULL;

    assert_int_equal(0, table_hello(w.table, &h, &w.feeds[2].hooks, w.now, &other, NULL));
    assert_ptr_not_equal(one, other);
    assert_int_equal(2, table_counts(w.table).instances);
    assert_ptr_equal(other, one->next);
    world_clear(&w);
}

static void test_table_broken_feed_keeps_its_sessions_for_the_time_to_come_back(void **state)
{
    struct world w;
    world_init(&w, NULL);
    struct table_instance *one = hello(&w, 1, 1, "e");

    up(&w, one, "1.0", 'a', 100);
    table_feed_ended(w.table, one, w.now);
    w.now.mono_ms += 29999;
    table_tick(w.table, w.now);
    assert_int_equal(1, where(&w, 'a'));
    w.now.mono_ms += 1;
    table_tick(w.table, w.now);
    assert_int_equal(0, where(&w, 'a'));
    assert_int_equal(0, table_counts(w.table).instances);
    assert_int_equal(1, table_counts(w.table).lost);
    world_said(&w, "up a@1 down a@1");
    world_clear(&w);
}

static void test_table_feed_that_comes_back_in_time_loses_nothing(void **state)
{
    struct world w;
    world_init(&w, NULL);
    struct table_instance *one = hello(&w, 1, 1, "e");
    struct table_claim c = claim_of("1.0", 'a', 100);

    up(&w, one, "1.0", 'a', 100);
    table_feed_ended(w.table, one, w.now);
    w.now.mono_ms += 20000;
    one = hello(&w, 2, 1, "e");
    table_snapshot(w.table, one, &c, 1, w.now);
    w.now.mono_ms += 20000;
    table_tick(w.table, w.now);
    world_said(&w, "up a@1");
    assert_int_equal(1, where(&w, 'a'));
    world_clear(&w);
}

/* The device moved while its old instance had no feed: nobody can be told, nothing breaks. */
static void test_table_move_away_from_an_instance_without_a_feed(void **state)
{
    struct world w;
    world_init(&w, NULL);
    struct table_instance *one = hello(&w, 1, 1, "e");
    struct table_instance *two = hello(&w, 2, 2, "f");
    struct table_claim c = claim_of("1.0", 'a', 100);

    up(&w, one, "1.0", 'a', 100);
    table_feed_ended(w.table, one, w.now);
    up(&w, two, "1.0", 'a', 200);
    world_said(&w, "up a@1 up a@2");
    one = hello(&w, 1, 1, "e");
    table_snapshot(w.table, one, &c, 1, w.now); /* told now */
    world_said(&w, "stale a/1.0 to 1");
    world_clear(&w);
}

static void test_table_bye_ends_its_sessions_at_once(void **state)
{
    struct world w;
    world_init(&w, NULL);
    w.instances_too = true;
    struct table_instance *one = hello(&w, 1, 1, "e");

    up(&w, one, "1.0", 'a', 100);
    up(&w, one, "1.1", 'a', 110);
    up(&w, one, "1.2", 'b', 110);
    table_drop(w.table, one, NULL, "bye", w.now);
    assert_int_equal(0, table_counts(w.table).sessions);
    assert_int_equal(0, where(&w, 'a') + where(&w, 'b'));
    assert_non_null(strstr(buf_str(&w.said), "gone 1"));
    assert_null(strstr(buf_str(&w.said), "down a@1 up a@1"));
    world_clear(&w);
}

static void test_table_over_the_maximum_nothing_is_taken_but_moves(void **state)
{
    struct world w;
    world_init(&w, &(struct table_options){.lost_ms = 1, .max_sessions = 2, .max_instances = 2});
    struct table_instance *one = hello(&w, 1, 1, "e");
    struct table_instance *two = hello(&w, 2, 2, "f");

    up(&w, one, "1.0", 'a', 100);
    up(&w, one, "1.1", 'b', 100);
    up(&w, one, "1.2", 'c', 100);
    assert_int_equal(0, where(&w, 'c'));
    assert_int_equal(1, table_counts(w.table).refused);
    up(&w, two, "1.0", 'a', 200);
    assert_int_equal(2, where(&w, 'a'));
    assert_int_equal(2, table_counts(w.table).sessions);
    world_clear(&w);
}

static void test_table_refuses_instances_over_the_maximum(void **state)
{
    struct world w;
    world_init(&w, &(struct table_options){.lost_ms = 1, .max_sessions = 2, .max_instances = 1});
    struct table_hello h = {.pool = "fleet", .index = 2, .epoch = "x"};
    struct table_instance *i = NULL;
    struct err err;

    hello(&w, 1, 1, "e");
    assert_int_equal(-28, table_hello(w.table, &h, &w.feeds[2].hooks, w.now, &i, &err));
    hello(&w, 2, 1, "another epoch"); /* takes the place of the first */
    world_clear(&w);
}

static void test_table_cursor_survives_changes(void **state)
{
    struct world w;
    world_init(&w, NULL);
    struct table_instance *one = hello(&w, 1, 1, "e");
    struct table_cursor c;

    up(&w, one, "1.0", 'a', 100);
    up(&w, one, "1.1", 'b', 100);
    up(&w, one, "1.2", 'c', 100);
    table_cursor_open(w.table, &c);
    assert_int_equal('a', table_cursor_next(&c)->device->uuid[0]);
    down(&w, one, "1.1"); /* the one it would come to */
    assert_int_equal('c', table_cursor_next(&c)->device->uuid[0]);
    down(&w, one, "1.2");
    assert_null(table_cursor_next(&c));
    table_cursor_close(w.table, &c);
    world_clear(&w);
}

static void test_table_cursors_may_be_closed_in_any_order(void **state)
{
    struct world w;
    world_init(&w, NULL);
    struct table_instance *one = hello(&w, 1, 1, "e");
    struct table_cursor a, b, c;

    up(&w, one, "1.0", 'a', 100);
    table_cursor_open(w.table, &a);
    table_cursor_open(w.table, &b);
    table_cursor_open(w.table, &c);
    table_cursor_close(w.table, &b);
    down(&w, one, "1.0");
    assert_null(table_cursor_next(&a));
    assert_null(table_cursor_next(&c));
    table_cursor_close(w.table, &a);
    table_cursor_close(w.table, &c);
    world_clear(&w);
}

static void test_table_info_changes_phase_and_service_id(void **state)
{
    struct world w;
    world_init(&w, NULL);
    w.instances_too = true;
    struct table_instance *one = hello(&w, 1, 1, "e");

    table_info(w.table, one, 77, "draining");
    assert_int_equal(77, one->service_id);
    assert_string_equal("draining", one->phase);
    world_said(&w, "inst 1 inst 1");
    world_clear(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_session_comes_and_goes),
        cmocka_unit_test(test_table_down_of_an_unknown_session_is_nothing),
        cmocka_unit_test(test_table_ids_of_two_instances_are_apart),
        cmocka_unit_test(test_table_move_makes_the_older_session_stale),
        cmocka_unit_test(test_table_late_down_of_the_old_place_does_not_undo_the_new),
        cmocka_unit_test(test_table_late_up_of_an_older_session_is_stale),
        cmocka_unit_test(test_table_between_equals_the_later_arrival_wins),
        cmocka_unit_test(test_table_snapshot_between_equals_takes_nothing_back),
        cmocka_unit_test(test_table_two_sessions_at_one_instance_the_newer_counts),
        cmocka_unit_test(test_table_reserve_steps_in_when_the_newer_ends_first),
        cmocka_unit_test(test_table_move_ends_all_sessions_of_the_old_place),
        cmocka_unit_test(test_table_same_up_twice_says_nothing),
        cmocka_unit_test(test_table_up_with_another_address_is_told),
        cmocka_unit_test(test_table_coarser_start_of_a_known_session_is_no_event),
        cmocka_unit_test(test_table_id_that_names_another_device_replaces_it),
        cmocka_unit_test(test_table_snapshot_replaces_without_absence),
        cmocka_unit_test(test_table_snapshot_with_a_new_id_keeps_the_device_online),
        cmocka_unit_test(test_table_snapshot_of_nothing_ends_all),
        cmocka_unit_test(test_table_snapshot_brings_back_what_was_stale_when_nothing_newer_is_left),
        cmocka_unit_test(test_table_second_connection_of_an_epoch_replaces_the_first),
        cmocka_unit_test(test_table_new_epoch_ends_the_old_ones_sessions),
        cmocka_unit_test(test_table_pools_are_apart),
        cmocka_unit_test(test_table_broken_feed_keeps_its_sessions_for_the_time_to_come_back),
        cmocka_unit_test(test_table_feed_that_comes_back_in_time_loses_nothing),
        cmocka_unit_test(test_table_move_away_from_an_instance_without_a_feed),
        cmocka_unit_test(test_table_bye_ends_its_sessions_at_once),
        cmocka_unit_test(test_table_over_the_maximum_nothing_is_taken_but_moves),
        cmocka_unit_test(test_table_refuses_instances_over_the_maximum),
        cmocka_unit_test(test_table_cursor_survives_changes),
        cmocka_unit_test(test_table_cursors_may_be_closed_in_any_order),
        cmocka_unit_test(test_table_info_changes_phase_and_service_id),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
