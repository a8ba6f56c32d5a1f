#include "sidecar-proxy/management/line.h"

#include "tests/unit/cmocka_all.h"

#include <errno.h>
#include <string.h>

static void test_line_take_stops_behind_the_first_end(void **state)
{
    struct line_reader r;
    const char bytes[] = "one\r\ntwo\nthr";
    char *line;

    line_reader_init(&r);
    assert_int_equal(line_take(&r, bytes, 12, &line), 5);
    assert_string_equal(line, "one");
    assert_int_equal(line_take(&r, bytes + 5, 7, &line), 4);
    assert_string_equal(line, "two");
    assert_int_equal(line_take(&r, bytes + 9, 3, &line), 3);
    assert_null(line);
    assert_int_equal(line_take(&r, "ee\n", 3, &line), 3);
    assert_string_equal(line, "three");
    line_reader_clear(&r);
}

static void test_line_take_accepts_the_longest_line_and_no_longer(void **state)
{
    static char bytes[LINE_MAX_BYTES + 3];
    struct line_reader r;
    char *line;

    memset(bytes, 'x', sizeof(bytes));
    line_reader_init(&r);
    memcpy(bytes + LINE_MAX_BYTES, "\r\n", 2);
    assert_int_equal(line_take(&r, bytes, LINE_MAX_BYTES + 2, &line), LINE_MAX_BYTES + 2);
    assert_int_equal(strlen(line), LINE_MAX_BYTES);
    memcpy(bytes + LINE_MAX_BYTES, "xx\n", 3);
    assert_int_equal(line_take(&r, bytes, LINE_MAX_BYTES + 3, &line), -EMSGSIZE);
    line_reader_clear(&r);
}

static void test_line_is_wiped_when_the_next_one_begins(void **state)
{
    struct line_reader r;
    char *line;

    line_reader_init(&r);
    line_take(&r, "password=secret\n", 16, &line);
    assert_string_equal(line, "password=secret");
    const char *place = line;
    line_take(&r, "END\n", 4, &line);
    assert_ptr_equal(line, place);
    for (size_t i = sizeof("END"); i < 16; i++) {
        assert_int_equal(place[i], 0);
    }
    line_reader_clear(&r);
}

static void test_line_reader_reset_forgets_half_a_line(void **state)
{
    struct line_reader r;
    char *line;

    line_reader_init(&r);
    line_take(&r, "half", 4, &line);
    line_reader_reset(&r);
    line_take(&r, "whole\n", 6, &line);
    assert_string_equal(line, "whole");
    line_reader_clear(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line_take_stops_behind_the_first_end),
        cmocka_unit_test(test_line_take_accepts_the_longest_line_and_no_longer),
        cmocka_unit_test(test_line_is_wiped_when_the_next_one_begins),
        cmocka_unit_test(test_line_reader_reset_forgets_half_a_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
