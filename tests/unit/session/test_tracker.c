#include "sidecar-proxy/session/tracker.h"

#include "tests/unit/session/fakes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define UUID_A "0123456789abcdef0123456789abcdef"
#define UUID_B "fedcba9876543210fedcba9876543210"

struct fixture {
    struct loop *loop;
    struct sessions sessions;
    struct tracker *tracker;
    struct tracker_options options;
    uint64_t generation;
    int synced;
};

static void on_generation(void *arg, uint64_t generation, int pid)
{
    ((struct fixture *)arg)->generation = generation;
}

static void on_synced(void *arg)
{
    ((struct fixture *)arg)->synced++;
}

static void open_tracker(struct fixture *f)
{
    f->tracker = tracker_new(&f->options);
    tracker_set_link(f->tracker, fake_link());
}

static int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));

    assert_int_equal(loop_new(&f->loop, NULL), 0);
    sessions_init(&f->sessions, 2);
    f->options = (struct tracker_options){
        .loop = f->loop,
        .sessions = &f->sessions,
        .lost_ms = 10,
        .on_generation = on_generation,
        .on_synced = on_synced,
        .arg = f,
    };
    subnet_parse("100.64.0.0/20", &f->options.subnet, NULL);
    open_tracker(f);
    fake_link_live = true;
    fake_link_take();
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    tracker_close(f->tracker);
    sessions_clear(&f->sessions);
    loop_free(f->loop);
    free(f);
    return 0;
}

static struct link_client client(uint64_t cid, const char *uuid)
{
    return (struct link_client){.cid = cid,
                                .username = uuid,
                                .password = "",
                                .remote = "",
                                .version = "",
                                .address = 0x64400003 + (uint32_t)cid};
}

static void established(struct fixture *f, uint64_t cid, const char *uuid)
{
    struct link_client c = client(cid, uuid);

    tracker_established(f->tracker, &c);
}

static void row(struct fixture *f, uint64_t cid, const char *uuid)
{
    struct link_client c = client(cid, uuid);

    tracker_resync_row(f->tracker, &c);
}

static void disconnect(struct fixture *f, uint64_t cid)
{
    struct link_client c = client(cid, "");

    tracker_disconnect(f->tracker, &c);
}

static void live(struct fixture *f)
{
    tracker_generation(f->tracker, 1, 4711, false);
    tracker_resync_end(f->tracker);
}

static size_t count(struct fixture *f)
{
    return sessions_count(&f->sessions);
}

static bool nobody_left(void *arg)
{
    return count(arg) == 0;
}

static void test_tracker_follows_start_and_end(void **state)
{
    struct fixture *f = *state;

    live(f);
    established(f, 0, UUID_A);
    assert_int_equal(sessions_find(&f->sessions, UUID_A)->id.generation, 1);
    disconnect(f, 0);
    assert_int_equal(count(f), 0);
    established(f, 0, UUID_A);
    assert_int_equal(count(f), 0);
}

static void test_tracker_new_life_ends_all_sessions(void **state)
{
    struct fixture *f = *state;

    live(f);
    established(f, 0, UUID_A);
    tracker_generation(f->tracker, 2, 4712, false);
    assert_int_equal(count(f), 0);
    assert_int_equal(f->generation, 2);
    established(f, 0, UUID_A);
    assert_int_equal(sessions_find(&f->sessions, UUID_A)->id.generation, 2);
}

static void test_tracker_goes_on_with_the_recorded_life(void **state)
{
    struct fixture *f = *state;

    tracker_close(f->tracker);
    f->options.known_generation = 5;
    f->options.known_pid = 4711;
    open_tracker(f);
    tracker_generation(f->tracker, 1, 4711, false);
    assert_int_equal(f->generation, 5);
    tracker_generation(f->tracker, 2, 4711, false);
    assert_int_equal(f->generation, 6);
}

static void test_tracker_counts_on_after_a_life_it_did_not_see(void **state)
{
    struct fixture *f = *state;

    tracker_close(f->tracker);
    f->options.known_generation = 5;
    f->options.known_pid = 4711;
    open_tracker(f);
    tracker_generation(f->tracker, 1, 4712, false);
    assert_int_equal(f->generation, 6);
}

/* In a container OpenVPN's pid is 1 in each of its lives. */
static void test_tracker_a_life_that_just_began_is_not_the_recorded_one(void **state)
{
    struct fixture *f = *state;

    tracker_close(f->tracker);
    f->options.known_generation = 5;
    f->options.known_pid = 1;
    open_tracker(f);
    tracker_generation(f->tracker, 1, 1, true);
    assert_int_equal(f->generation, 6);
}

static void test_tracker_short_loss_ends_nothing(void **state)
{
    struct fixture *f = *state;

    live(f);
    established(f, 0, UUID_A);
    tracker_lost(f->tracker);
    assert_true(tracker_is_lost(f->tracker));
    assert_true(tracker_undecided(f->tracker));
    row(f, 0, UUID_A);
    tracker_resync_end(f->tracker);
    assert_false(tracker_undecided(f->tracker));
    assert_int_equal(count(f), 1);
    assert_int_equal(f->synced, 2);
}

static void test_tracker_resync_finds_what_happened_unseen(void **state)
{
    struct fixture *f = *state;

    live(f);
    established(f, 0, UUID_A);
    tracker_lost(f->tracker);
    row(f, 1, UUID_B);
    tracker_resync_end(f->tracker);
    assert_null(sessions_find(&f->sessions, UUID_A));
    assert_non_null(sessions_find(&f->sessions, UUID_B));
}

static void test_tracker_long_loss_ends_all(void **state)
{
    struct fixture *f = *state;

    live(f);
    established(f, 0, UUID_A);
    tracker_lost(f->tracker);
    tracker_lost(f->tracker);
    fake_run_until(f->loop, nobody_left, f);
    assert_false(tracker_undecided(f->tracker));
    assert_true(tracker_is_lost(f->tracker));
}

static void test_tracker_openvpn_that_lives_after_all_brings_them_back(void **state)
{
    struct fixture *f = *state;

    live(f);
    established(f, 0, UUID_A);
    tracker_lost(f->tracker);
    fake_run_until(f->loop, nobody_left, f);
    row(f, 0, UUID_A);
    tracker_resync_end(f->tracker);
    assert_int_equal(count(f), 1);
}

static void test_tracker_sends_away_what_does_not_fit(void **state)
{
    struct fixture *f = *state;
    struct link_client foreign = client(3, UUID_A);

    live(f);
    foreign.address = 0x0a000001;
    tracker_established(f->tracker, &foreign);
    established(f, 4, "no uuid");
    assert_string_equal(fake_link_take(), "kill 3\nkill 4\n");
    assert_int_equal(count(f), 0);
}

static void test_tracker_sends_away_what_the_table_can_not_hold(void **state)
{
    struct fixture *f = *state;

    live(f);
    established(f, 0, UUID_A);
    established(f, 1, UUID_B);
    established(f, 2, "00000000000000000000000000000009");
    assert_string_equal(fake_link_take(), "kill 2\n");
}

static void test_tracker_drops_a_stale_session(void **state)
{
    struct fixture *f = *state;

    live(f);
    established(f, 0, UUID_A);
    assert_false(tracker_drop(f->tracker, UUID_B, (struct session_id){1, 0}, "test"));
    assert_false(tracker_drop(f->tracker, UUID_A, (struct session_id){1, 9}, "test"));
    assert_true(tracker_drop(f->tracker, UUID_A, (struct session_id){1, 0}, "test"));
    assert_string_equal(fake_link_take(), "kill 0\n");
    assert_int_equal(count(f), 0);
}

int main(void)
{
#define WITH_TRACKER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_TRACKER(test_tracker_follows_start_and_end),
        WITH_TRACKER(test_tracker_new_life_ends_all_sessions),
        WITH_TRACKER(test_tracker_goes_on_with_the_recorded_life),
        WITH_TRACKER(test_tracker_counts_on_after_a_life_it_did_not_see),
        WITH_TRACKER(test_tracker_a_life_that_just_began_is_not_the_recorded_one),
        WITH_TRACKER(test_tracker_short_loss_ends_nothing),
        WITH_TRACKER(test_tracker_resync_finds_what_happened_unseen),
        WITH_TRACKER(test_tracker_long_loss_ends_all),
        WITH_TRACKER(test_tracker_openvpn_that_lives_after_all_brings_them_back),
        WITH_TRACKER(test_tracker_sends_away_what_does_not_fit),
        WITH_TRACKER(test_tracker_sends_away_what_the_table_can_not_hold),
        WITH_TRACKER(test_tracker_drops_a_stale_session),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
