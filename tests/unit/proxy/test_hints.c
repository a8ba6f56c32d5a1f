#include "sidecar-proxy/proxy/hints.h"

#include "tests/unit/cmocka_all.h"

#include <stdio.h>

static const struct hint here = {"192.0.2.1", 3128};
static const struct hint there = {"192.0.2.2", 3128};

static void test_hints_last_as_long_as_set(void **state)
{
    struct hints *h = hints_new(10, 2000);
    struct hint found;

    (void)state;
    hints_put(h, "a", &here, 1000);
    assert_true(hints_find(h, "a", 2999, &found));
    assert_string_equal(found.address, "192.0.2.1");
    assert_int_equal(found.port, 3128);
    assert_false(hints_find(h, "a", 3000, &found));
    assert_false(hints_find(h, "b", 1000, &found));
    hints_free(h);
}

static void test_hints_a_later_one_replaces_and_lasts_anew(void **state)
{
    struct hints *h = hints_new(10, 2000);
    struct hint found;

    (void)state;
    hints_put(h, "a", &here, 0);
    hints_put(h, "a", &there, 1500);
    assert_int_equal(hints_count(h), 1);
    assert_true(hints_find(h, "a", 3000, &found));
    assert_string_equal(found.address, "192.0.2.2");
    hints_free(h);
}

static void test_hints_one_that_was_wrong_is_dropped(void **state)
{
    struct hints *h = hints_new(10, 2000);
    struct hint found;

    (void)state;
    hints_put(h, "a", &here, 0);
    hints_drop(h, "a");
    hints_drop(h, "never");
    assert_false(hints_find(h, "a", 1, &found));
    hints_free(h);
}

static void test_hints_are_bounded_and_the_first_is_forgotten_first(void **state)
{
    struct hints *h = hints_new(100, 2000);
    struct hint found;
    char uuid[UUID_TEXT_MAX + 1];

    (void)state;
    for (int i = 0; i < 1000; i++) {
        snprintf(uuid, sizeof(uuid), "%032x", (unsigned)i);
        hints_put(h, uuid, &here, 0);
    }
    assert_int_equal(hints_count(h), 100);
    assert_true(hints_find(h, uuid, 1, &found));
    snprintf(uuid, sizeof(uuid), "%032x", 899U);
    assert_false(hints_find(h, uuid, 1, &found));
    snprintf(uuid, sizeof(uuid), "%032x", 900U);
    assert_true(hints_find(h, uuid, 1, &found));
    hints_free(h);
}

static void test_hints_that_are_too_old_make_room(void **state)
{
    struct hints *h = hints_new(100, 2000);
    char uuid[UUID_TEXT_MAX + 1];

    (void)state;
    for (int i = 0; i < 100; i++) {
        snprintf(uuid, sizeof(uuid), "%032x", (unsigned)i);
        hints_put(h, uuid, &here, 0);
    }
    for (int i = 0; i < 60; i++) {
        hints_put(h, "the one that is still asked for", &here, 5000);
    }
    assert_int_equal(hints_count(h), 1);
    hints_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hints_last_as_long_as_set),
        cmocka_unit_test(test_hints_a_later_one_replaces_and_lasts_anew),
        cmocka_unit_test(test_hints_one_that_was_wrong_is_dropped),
        cmocka_unit_test(test_hints_are_bounded_and_the_first_is_forgotten_first),
        cmocka_unit_test(test_hints_that_are_too_old_make_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
