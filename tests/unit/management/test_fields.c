#include "sidecar-proxy/management/fields.h"

#include "tests/unit/cmocka_all.h"

#include <string.h>

static void test_field_u64_reads_digits_only(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        uint64_t value;
    } rows[] = {
        {"0", true, 0},
        {"007", true, 7},
        {"18446744073709551615", true, UINT64_MAX},
        {"18446744073709551616", false, 0},
        {"99999999999999999999", false, 0},
        {"", false, 0},
        {"-1", false, 0},
        {"+1", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"0x1", false, 0},
        {"\xff", false, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t n = 42;
        assert_int_equal(field_u64(rows[i].text, &n), rows[i].ok);
        assert_int_equal(n, rows[i].ok ? rows[i].value : 42);
    }
}

static void test_field_ipv4_is_in_host_byte_order(void **state)
{
    uint32_t a = 0;

    assert_true(field_ipv4("100.64.0.3", &a));
    assert_int_equal(a, 0x64400003);
    assert_false(field_ipv4("100.64.0.3/32", &a));
    assert_false(field_ipv4("100.64.0", &a));
    assert_false(field_ipv4("fd00::1", &a));
    assert_false(field_ipv4("", &a));
}

static void test_fields_split_leaves_the_rest_to_the_last(void **state)
{
    char line[] = "a,,c,d,e";
    char *fields[4];

    assert_int_equal(fields_split(line, ',', fields, 4), 4);
    assert_string_equal(fields[0], "a");
    assert_string_equal(fields[1], "");
    assert_string_equal(fields[2], "c");
    assert_string_equal(fields[3], "d,e");
}

static void test_fields_split_of_nothing_is_one_empty_field(void **state)
{
    char line[] = "";
    char *fields[2];

    assert_int_equal(fields_split(line, ',', fields, 2), 1);
    assert_string_equal(fields[0], "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_field_u64_reads_digits_only),
        cmocka_unit_test(test_field_ipv4_is_in_host_byte_order),
        cmocka_unit_test(test_fields_split_leaves_the_rest_to_the_last),
        cmocka_unit_test(test_fields_split_of_nothing_is_one_empty_field),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
