#include "sidecar-proxy/state/verdicts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define DAY_MS INT64_C(86400000)
#define NOW INT64_C(1764000000000)

static struct verdict verdict_of(char device, char key, int64_t at_ms)
{
    struct verdict v = {.at_ms = at_ms};

    memset(v.uuid, device, 32);
    memset(v.fingerprint, key, SECRET_HEX_LEN);
    return v;
}

static bool known(const struct verdicts *v, char device, char key, int64_t now_ms, int64_t *at_ms)
{
    struct verdict asked = verdict_of(device, key, 0);

    return verdicts_get(v, asked.uuid, asked.fingerprint, now_ms, at_ms);
}

static void put(struct verdicts *v, char device, char key, int64_t at_ms)
{
    struct verdict verdict = verdict_of(device, key, at_ms);

    verdicts_put(v, &verdict, NOW);
}

static void test_verdicts_know_the_device_with_the_key_only(void **state)
{
    struct verdicts v;
    int64_t at_ms = 0;

    verdicts_init(&v, DAY_MS, 10);
    put(&v, 'a', '1', NOW - 5);
    assert_true(known(&v, 'a', '1', NOW, &at_ms));
    assert_true(at_ms == NOW - 5);
    assert_false(known(&v, 'a', '2', NOW, &at_ms));
    assert_false(known(&v, 'b', '1', NOW, &at_ms));
    verdicts_clear(&v);
}

static void test_verdicts_end_with_their_time_to_live(void **state)
{
    struct verdicts v;
    int64_t at_ms = 0;

    verdicts_init(&v, DAY_MS, 10);
    put(&v, 'a', '1', NOW);
    assert_true(known(&v, 'a', '1', NOW + DAY_MS - 1, &at_ms));
    assert_false(known(&v, 'a', '1', NOW + DAY_MS, &at_ms));
    verdicts_sweep(&v, NOW + DAY_MS - 1);
    assert_int_equal(1, verdicts_count(&v));
    verdicts_sweep(&v, NOW + DAY_MS);
    assert_int_equal(0, verdicts_count(&v));
    verdicts_clear(&v);
}

static void test_verdicts_too_old_are_not_taken(void **state)
{
    struct verdicts v;

    verdicts_init(&v, DAY_MS, 10);
    put(&v, 'a', '1', NOW - DAY_MS);
    assert_int_equal(0, verdicts_count(&v));
    verdicts_clear(&v);
}

static void test_verdicts_keep_the_newest_time(void **state)
{
    struct verdicts v;
    int64_t at_ms = 0;

    verdicts_init(&v, DAY_MS, 10);
    put(&v, 'a', '1', NOW - 10);
    put(&v, 'a', '1', NOW - 500);
    assert_true(known(&v, 'a', '1', NOW, &at_ms));
    assert_true(at_ms == NOW - 10);
    assert_int_equal(1, verdicts_count(&v));
    verdicts_clear(&v);
}

/* A clock that is ahead must not make a verdict live longer than the time to live. */
static void test_verdicts_from_the_future_count_as_now(void **state)
{
    struct verdicts v;
    int64_t at_ms = 0;

    verdicts_init(&v, DAY_MS, 10);
    put(&v, 'a', '1', NOW + 10 * DAY_MS);
    assert_true(known(&v, 'a', '1', NOW, &at_ms));
    assert_true(at_ms == NOW);
    verdicts_clear(&v);
}

static void test_verdicts_over_the_maximum_forget_what_was_put_longest_ago(void **state)
{
    struct verdicts v;
    int64_t at_ms = 0;

    verdicts_init(&v, DAY_MS, 2);
    put(&v, 'a', '1', NOW);
    put(&v, 'b', '1', NOW);
    put(&v, 'a', '1', NOW); /* again: now b is the one */
    put(&v, 'c', '1', NOW);
    assert_true(known(&v, 'a', '1', NOW, &at_ms));
    assert_false(known(&v, 'b', '1', NOW, &at_ms));
    assert_true(known(&v, 'c', '1', NOW, &at_ms));
    assert_int_equal(1, v.evicted);
    verdicts_clear(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verdicts_know_the_device_with_the_key_only),
        cmocka_unit_test(test_verdicts_end_with_their_time_to_live),
        cmocka_unit_test(test_verdicts_too_old_are_not_taken),
        cmocka_unit_test(test_verdicts_keep_the_newest_time),
        cmocka_unit_test(test_verdicts_from_the_future_count_as_now),
        cmocka_unit_test(test_verdicts_over_the_maximum_forget_what_was_put_longest_ago),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
