/* The work queue: who has a turn, when, and how often. */
#include "controller/kube/queue.h"
#include "tests/unit/common_net/net_test.h"

#include <errno.h>

static struct queue *q;
static char given[64][16]; /* in order */
static int64_t given_ms[64];
static size_t count;

static void on_work(void *arg, const char *key)
{
    (void)arg;
    assert_true(count < ARRAY_LEN(given));
    given_ms[count] = clock_monotonic_ms();
    snprintf(given[count++], sizeof(given[0]), "%s", key);
}

static int setup(void **state)
{
    count = 0;
    return net_setup(state);
}

static int teardown(void **state)
{
    queue_close(q);
    return net_teardown(state);
}

#define queue_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static void open_queue(struct queue_options options)
{
    options.name = "test";
    options.on_work = on_work;
    q = queue_new(loop, &options);
}

static void let_pass(int64_t ms)
{
    int64_t until = clock_monotonic_ms() + ms;
    RUN_UNTIL(clock_monotonic_ms() >= until);
}

static void test_a_key_is_queued_once(void **state)
{
    (void)state;
    open_queue((struct queue_options){0});
    queue_add(q, "a");
    queue_add(q, "b");
    queue_add(q, "a");
    assert_int_equal(count, 0); /* never within queue_add() */
    assert_int_equal(queue_depth(q), 2);
    RUN_UNTIL(count == 1);
    let_pass(5);
    assert_int_equal(count, 1); /* one worker */
    queue_done(q, "a");
    RUN_UNTIL(count == 2);
    assert_string_equal(given[1], "b");
    queue_done(q, "b");
    let_pass(5);
    assert_int_equal(count, 2);
}

static void test_a_key_at_work_comes_again_after_it(void **state)
{
    (void)state;
    open_queue((struct queue_options){.workers = 2});
    queue_add(q, "a");
    RUN_UNTIL(count == 1);
    queue_add(q, "a");
    queue_add(q, "a");
    queue_add(q, "b");
    RUN_UNTIL(count == 2);
    assert_string_equal(given[1], "b"); /* never "a" twice at once, though a worker is free */
    let_pass(5);
    assert_int_equal(count, 2);
    assert_int_equal(queue_at_work(q), 2);
    queue_done(q, "a");
    RUN_UNTIL(count == 3);
    assert_string_equal(given[2], "a");
    queue_done(q, "a");
    queue_done(q, "b");
    let_pass(5);
    assert_int_equal(count, 3);
}

static void test_failures_come_again_later_and_later(void **state)
{
    (void)state;
    open_queue((struct queue_options){.first_retry_ms = 10, .last_retry_ms = 40});
    static const int64_t waits[] = {10, 20, 40, 40};
    queue_add(q, "a");
    RUN_UNTIL(count == 1);
    for (size_t i = 0; i < ARRAY_LEN(waits); i++) {
        int64_t failed_ms = clock_monotonic_ms();
        queue_retry(q, "a");
        RUN_UNTIL(count == i + 2);
        assert_true(given_ms[i + 1] - failed_ms >= waits[i]);
    }
    queue_done(q, "a"); /* forgets its failures */
    queue_add(q, "a");
    RUN_UNTIL(count == 6);
    int64_t failed_ms = clock_monotonic_ms();
    queue_retry(q, "a");
    RUN_UNTIL(count == 7);
    assert_true(given_ms[6] - failed_ms >= 10);
    queue_done(q, "a");
}

static void test_all_failures_share_a_bucket(void **state)
{
    (void)state;
    open_queue((struct queue_options){
        .workers = 4, .first_retry_ms = 1, .retries_per_s = 20, .retry_burst = 1});
    static const char *const keys[] = {"a", "b", "c"};
    for (size_t i = 0; i < 3; i++) {
        queue_add(q, keys[i]);
    }
    RUN_UNTIL(count == 3);
    int64_t failed_ms = clock_monotonic_ms();
    for (size_t i = 0; i < 3; i++) {
        queue_retry(q, keys[i]);
    }
    RUN_UNTIL(count == 6);
    assert_true(given_ms[5] - failed_ms >= 100); /* 20 a second: 0, 50, 100 ms */
}

static void test_news_do_not_wait_for_a_failure(void **state)
{
    (void)state;
    open_queue((struct queue_options){.first_retry_ms = 1000 * 1000});
    queue_add(q, "a");
    RUN_UNTIL(count == 1);
    queue_retry(q, "a");
    queue_add(q, "a");
    RUN_UNTIL(count == 2);
    queue_add(q, "a");
    queue_retry(q, "a"); /* what came meanwhile counts here as well */
    RUN_UNTIL(count == 3);
    queue_done(q, "a");
    let_pass(5);
    assert_int_equal(count, 3);
}

static void test_later_means_the_earliest(void **state)
{
    (void)state;
    open_queue((struct queue_options){0});
    int64_t began = clock_monotonic_ms();
    queue_add_after(q, "a", 100000);
    queue_add_after(q, "a", 30);
    queue_add_after(q, "a", 60);
    queue_add_after(q, "b", 10);
    RUN_UNTIL(count == 1);
    assert_string_equal(given[0], "b");
    queue_done_after(q, "b", 100000);
    RUN_UNTIL(count == 2);
    assert_string_equal(given[1], "a");
    assert_true(given_ms[1] - began >= 30);
    queue_done(q, "a");
    let_pass(40); /* the 60 was the same wish */
    assert_int_equal(count, 2);
}

static void test_the_queue_is_bounded(void **state)
{
    (void)state;
    open_queue((struct queue_options){.max_keys = 2});
    assert_int_equal(queue_add(q, "a"), 0);
    assert_int_equal(queue_add_after(q, "b", 1000), 0);
    assert_int_equal(queue_add(q, "c"), -EBUSY);
    assert_int_equal(queue_add(q, "a"), 0);
    RUN_UNTIL(count == 1);
    queue_done(q, "a");
    assert_int_equal(queue_add(q, "c"), 0); /* "a" is forgotten */
}

static void on_idle(void *arg)
{
    *(bool *)arg = true;
}

static void test_stopping_lets_work_end_and_gives_out_none(void **state)
{
    (void)state;
    bool idle = false;
    open_queue((struct queue_options){0});
    queue_add(q, "a");
    queue_add(q, "b");
    RUN_UNTIL(count == 1);
    assert_true(queue_longest_ms(q) >= 0);
    queue_stop(q, on_idle, &idle);
    let_pass(5);
    assert_false(idle);
    queue_done(q, "a");
    RUN_UNTIL(idle);
    assert_int_equal(count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        queue_test(test_a_key_is_queued_once),
        queue_test(test_a_key_at_work_comes_again_after_it),
        queue_test(test_failures_come_again_later_and_later),
        queue_test(test_all_failures_share_a_bucket),
        queue_test(test_news_do_not_wait_for_a_failure),
        queue_test(test_later_means_the_earliest),
        queue_test(test_the_queue_is_bounded),
        queue_test(test_stopping_lets_work_end_and_gives_out_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
