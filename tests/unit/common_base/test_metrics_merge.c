#include "common/metrics_merge.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void expect(const char *first, const char *second, const char *merged)
{
    struct metrics_merge *m = metrics_merge_new();
    AUTO(buf) struct buf out;

    buf_init(&out, 65536);
    metrics_merge_add(m, first, "index=\"1\"");
    metrics_merge_add(m, second, "index=\"2\"");
    assert_int_equal(metrics_merge_render(m, &out), 0);
    assert_string_equal(buf_str(&out), merged);
    metrics_merge_free(m);
}

static void test_merge_keeps_a_name_together_and_says_whose(void **state)
{
    expect(
        "# HELP a Of a.\n# TYPE a counter\na 1\n# HELP b Of b.\n# TYPE b gauge\n"
        "b{x=\"y\"} 2\nb{x=\"z\"} 3\n",
        "# HELP a Of a.\n# TYPE a counter\na 10\n# HELP b Of b.\n# TYPE b gauge\nb{x=\"y\"} 20\n",
        "# HELP a Of a.\n# TYPE a counter\na{index=\"1\"} 1\na{index=\"2\"} 10\n"
        "# HELP b Of b.\n# TYPE b gauge\nb{index=\"1\",x=\"y\"} 2\nb{index=\"1\",x=\"z\"} 3\n"
        "b{index=\"2\",x=\"y\"} 20\n");
}

static void test_merge_keeps_histograms_together(void **state)
{
    expect(
        "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n",
        "# TYPE h histogram\nh_bucket{le=\"1\"} 0\nh_sum 0\nh_count 0\n",
        "# TYPE h histogram\nh_bucket{index=\"1\",le=\"1\"} 1\nh_bucket{index=\"1\",le=\"+Inf\"} "
        "2\n"
        "h_sum{index=\"1\"} 3\nh_count{index=\"1\"} 2\nh_bucket{index=\"2\",le=\"1\"} 0\n"
        "h_sum{index=\"2\"} 0\nh_count{index=\"2\"} 0\n");
}

static void test_merge_of_different_names(void **state)
{
    expect(
        "# TYPE a gauge\na 1\n", "# TYPE b gauge\nb 1\n# TYPE a gauge\na 2\n",
        "# TYPE a gauge\na{index=\"1\"} 1\na{index=\"2\"} 2\n# TYPE b gauge\nb{index=\"2\"} 1\n");
}

static void test_merge_leaves_out_what_is_none(void **state)
{
    expect("\n# something\n{} 5\n<html>\n#\n", "a{} 1\nb 2",
           "a{index=\"2\"} 1\nb{index=\"2\"} 2\n");
    expect("", "", "");
}

static void test_merge_says_when_it_is_too_much(void **state)
{
    struct metrics_merge *m = metrics_merge_new();
    AUTO(buf) struct buf out;

    buf_init(&out, 8);
    metrics_merge_add(m, "a_name_that_does_not_fit 1\n", "x=\"y\"");
    assert_int_equal(metrics_merge_render(m, &out), -EMSGSIZE);
    metrics_merge_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merge_keeps_a_name_together_and_says_whose),
        cmocka_unit_test(test_merge_keeps_histograms_together),
        cmocka_unit_test(test_merge_of_different_names),
        cmocka_unit_test(test_merge_leaves_out_what_is_none),
        cmocka_unit_test(test_merge_says_when_it_is_too_much),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
