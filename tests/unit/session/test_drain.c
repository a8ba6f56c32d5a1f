#include "sidecar-proxy/session/drain.h"

#include "tests/unit/session/fakes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
    struct loop *loop;
    struct sessions sessions;
    struct drain *drain;
    int moving; /* times that it began to move */
    int changes;
    bool told_over; /* the last change was told when it was over */
};

static void on_change(void *arg)
{
    struct fixture *f = arg;

    f->moving += f->changes++ == 0 && drain_is_moving(f->drain);
    f->told_over = drain_is_over(f->drain);
}

static void start(struct fixture *f, uint32_t rate, uint32_t timeout_s, uint32_t pause_s)
{
    const struct drain_figures figures = {rate, timeout_s, pause_s, 0};

    drain_start(f->drain, &figures);
}

static int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));

    assert_int_equal(loop_new(&f->loop, NULL), 0);
    sessions_init(&f->sessions, 16);
    f->drain = drain_new(f->loop, &f->sessions, on_change, f);
    drain_set_link(f->drain, fake_link());
    fake_link_live = true;
    fake_link_take();
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    drain_close(f->drain);
    sessions_clear(&f->sessions);
    loop_free(f->loop);
    free(f);
    return 0;
}

static void up(struct fixture *f, uint64_t cid)
{
    char uuid[UUID_TEXT_MAX + 1];
    struct session_claim c = {.id = {1, cid}, .uuid = uuid, .address = 1, .since_ms = 1};

    snprintf(uuid, sizeof(uuid), "%032d", (int)cid);
    sessions_up(&f->sessions, &c);
}

struct told {
    char text[256];
    size_t lines;
    size_t wanted;
};

static bool enough_told(void *arg)
{
    struct told *told = arg;
    const char *text = fake_link_take();

    strncat(told->text, text, sizeof(told->text) - strlen(told->text) - 1);
    for (; *text != '\0'; text++) {
        told->lines += *text == '\n';
    }
    return told->lines >= told->wanted;
}

static void test_drain_moves_the_first_at_once_and_not_all(void **state)
{
    struct fixture *f = *state;
    struct told told = {.wanted = 1};

    for (uint64_t cid = 0; cid < 5; cid++) {
        up(f, cid);
    }
    start(f, 1, 3600, 0);
    fake_run_until(f->loop, enough_told, &told);
    assert_string_equal(told.text, "kill 0\n");
}

static void test_drain_without_time_moves_all(void **state)
{
    struct fixture *f = *state;
    struct told told = {.wanted = 3};

    for (uint64_t cid = 0; cid < 3; cid++) {
        up(f, cid);
    }
    start(f, 1, 0, 0);
    fake_run_until(f->loop, enough_told, &told);
    assert_string_equal(told.text, "kill 0\nkill 1\nkill 2\n");
}

static void test_drain_other_figures_go_on_from_where_it_is(void **state)
{
    struct fixture *f = *state;
    struct told told = {.wanted = 1};

    up(f, 0);
    up(f, 1);
    start(f, 1, 3600, 0);
    fake_run_until(f->loop, enough_told, &told);
    start(f, 1, 0, 0);
    told.wanted = 2;
    fake_run_until(f->loop, enough_told, &told);
    assert_string_equal(told.text, "kill 0\nkill 1\n");
}

static void test_drain_moves_who_still_came(void **state)
{
    struct fixture *f = *state;
    struct told told = {.wanted = 1};

    start(f, 60, 1, 0);
    up(f, 9);
    fake_run_until(f->loop, enough_told, &told);
    assert_string_equal(told.text, "kill 9\n");
}

static void test_drain_waits_for_the_link(void **state)
{
    struct fixture *f = *state;
    struct told told = {.wanted = 1};

    up(f, 0);
    fake_link_live = false;
    start(f, 60, 0, 0);
    fake_settle(f->loop);
    fake_link_live = true;
    fake_run_until(f->loop, enough_told, &told);
    assert_string_equal(told.text, "kill 0\n");
}

static bool is_moving(void *arg)
{
    return drain_is_moving(((struct fixture *)arg)->drain);
}

static void test_drain_moves_nobody_in_its_pause(void **state)
{
    struct fixture *f = *state;
    struct told told = {.wanted = 1};

    up(f, 0);
    start(f, 60000, 3600, 3600);
    fake_settle(f->loop);
    assert_true(drain_started(f->drain));
    assert_false(drain_is_moving(f->drain));
    assert_int_equal(f->moving, 0);
    assert_string_equal(fake_link_take(), "");
    start(f, 60000, 3600, 1); /* a shorter one */
    fake_run_until(f->loop, is_moving, f);
    assert_int_equal(f->moving, 1);
    fake_run_until(f->loop, enough_told, &told);
    assert_string_equal(told.text, "kill 0\n");
}

static void test_drain_again_does_not_pause_again(void **state)
{
    struct fixture *f = *state;
    struct told told = {.wanted = 1};

    start(f, 60, 60, 0);
    fake_run_until(f->loop, is_moving, f);
    up(f, 0);
    start(f, 60, 3600, 3600);
    assert_true(drain_is_moving(f->drain));
    fake_run_until(f->loop, enough_told, &told);
    assert_int_equal(f->moving, 1);
}

static void test_drain_pause_is_no_longer_than_its_time(void **state)
{
    struct fixture *f = *state;
    struct told told = {.wanted = 2};

    up(f, 0);
    up(f, 1);
    start(f, 1, 0, 3600);
    fake_run_until(f->loop, enough_told, &told);
    assert_string_equal(told.text, "kill 0\nkill 1\n");
}

static bool is_over(void *arg)
{
    return drain_is_over(((struct fixture *)arg)->drain);
}

/* An empty one has nobody to wait for. */
static void test_drain_of_nobody_is_over_with_its_pause(void **state)
{
    struct fixture *f = *state;
    const struct drain_figures figures = {60, 3600, 0, 1000};

    drain_start(f->drain, &figures);
    assert_false(drain_is_over(f->drain));
    fake_run_until(f->loop, is_over, f);
    assert_true(f->changes >= 1);
}

static bool is_told(void *arg)
{
    const struct fixture *f = arg;

    return f->told_over;
}

static void test_drain_lingers_after_the_last_has_gone(void **state)
{
    struct fixture *f = *state;
    const struct drain_figures figures = {60, 3600, 0, 1};
    struct told told = {.wanted = 1};

    up(f, 0);
    drain_start(f->drain, &figures);
    fake_run_until(f->loop, enough_told, &told);
    sessions_down(&f->sessions, (struct session_id){1, 0}, 0);
    int64_t gone_ms = clock_monotonic_ms();
    assert_false(drain_is_over(f->drain));
    int changes = f->changes;
    fake_run_until(f->loop, is_over, f);
    assert_in_range(clock_monotonic_ms() - gone_ms, 1000, INT64_MAX);
    fake_run_until(f->loop, is_told, f); /* with the next look */
    assert_int_equal(f->changes, changes + 1);
    up(f, 1);
    assert_false(drain_is_over(f->drain));
}

static void test_drain_lingers_no_longer_than_half_its_time(void **state)
{
    struct fixture *f = *state;
    const struct drain_figures figures = {1, 2, 0, 3600};
    struct told told = {.wanted = 2};

    up(f, 0);
    up(f, 1);
    drain_start(f->drain, &figures);
    fake_run_until(f->loop, enough_told, &told);
    sessions_down(&f->sessions, (struct session_id){1, 0}, 0);
    sessions_down(&f->sessions, (struct session_id){1, 1}, 0);
    fake_run_until(f->loop, is_over, f);
}

int main(void)
{
#define WITH_DRAIN(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_DRAIN(test_drain_moves_the_first_at_once_and_not_all),
        WITH_DRAIN(test_drain_without_time_moves_all),
        WITH_DRAIN(test_drain_other_figures_go_on_from_where_it_is),
        WITH_DRAIN(test_drain_moves_who_still_came),
        WITH_DRAIN(test_drain_waits_for_the_link),
        WITH_DRAIN(test_drain_moves_nobody_in_its_pause),
        WITH_DRAIN(test_drain_again_does_not_pause_again),
        WITH_DRAIN(test_drain_pause_is_no_longer_than_its_time),
        WITH_DRAIN(test_drain_of_nobody_is_over_with_its_pause),
        WITH_DRAIN(test_drain_lingers_after_the_last_has_gone),
        WITH_DRAIN(test_drain_lingers_no_longer_than_half_its_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
