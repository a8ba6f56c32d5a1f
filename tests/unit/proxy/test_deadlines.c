#include "sidecar-proxy/proxy/deadlines.h"

#include "tests/unit/cmocka_all.h"

#define COUNT 500

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

/* Set, moved and unset at random: what comes out is in order, and is what was left in. */
static void test_deadlines_come_out_in_order(void **state)
{
    struct deadlines d;
    static struct deadline items[COUNT];
    uint32_t seed = 1;
    size_t set = 0;

    (void)state;
    deadlines_init(&d);
    for (int round = 0; round < 20 * COUNT; round++) {
        struct deadline *item = &items[next_random(&seed) % COUNT];
        if (next_random(&seed) % 4 == 0) {
            set -= item->place != 0;
            deadline_unset(&d, item);
            assert_int_equal(item->place, 0);
        } else {
            set += item->place == 0;
            deadline_set(&d, item, next_random(&seed) % 1000);
        }
        assert_int_equal(d.count, set);
    }
    int64_t last = -1;
    for (struct deadline *first; (first = deadlines_first(&d)) != NULL; set--) {
        assert_true(first->at_us >= last);
        last = first->at_us;
        deadline_unset(&d, first);
    }
    assert_int_equal(set, 0);
    deadlines_clear(&d);
}

static void test_deadlines_unset_twice_is_harmless(void **state)
{
    struct deadlines d;
    struct deadline item = {0, 0};

    (void)state;
    deadlines_init(&d);
    deadline_unset(&d, &item);
    deadline_set(&d, &item, 5);
    deadline_unset(&d, &item);
    deadline_unset(&d, &item);
    assert_null(deadlines_first(&d));
    deadlines_clear(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deadlines_come_out_in_order),
        cmocka_unit_test(test_deadlines_unset_twice_is_harmless),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
