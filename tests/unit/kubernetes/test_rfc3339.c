#include "controller/kubernetes/rfc3339.h"
#include "tests/unit/cmocka_all.h"

#include <stdio.h>
#include <string.h>

static void test_rfc3339_reads_what_the_api_server_writes(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"2026-11-23T22:26:37Z", 1795472797000},
        {"2026-11-23T22:26:37.5Z", 1795472797500},
        {"2026-11-23T22:26:37.123456Z", 1795472797123},
        {"2026-11-24T00:26:37+02:00", 1795472797000},
        {"2026-11-23T20:56:37-01:30", 1795472797000},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t ms = -1;
        if (!rfc3339_parse(cases[i].text, &ms) || ms != cases[i].ms) {
            fail_msg("%s is %lld", cases[i].text, (long long)ms);
        }
    }
}

static void test_rfc3339_refuses_the_rest(void **state)
{
    static const char *const cases[] = {
        "",
        "now",
        "2026-11-23",
        "2026-11-23T22:26:37",
        "2026-11-23T22:26:37z ",
        "2026-13-23T22:26:37Z",
        "2026-11-32T22:26:37Z",
        "2026-11-23T24:26:37Z",
        "2026-11-23T22:26:37.Z",
        "2026-11-23T22:26:37+2:00",
        "1969-11-23T22:26:37Z",
        "-026-11-23T22:26:37Z",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t ms = 7;
        if (rfc3339_parse(cases[i], &ms) || ms != 7) {
            fail_msg("'%s' is a time", cases[i]);
        }
    }
}

static void test_rfc3339_writes_what_it_reads(void **state)
{
    char text[RFC3339_MAX];
    int64_t ms = 0;

    (void)state;
    rfc3339_format_ms(1795472797042, text);
    assert_string_equal(text, "2026-11-23T22:26:37.042Z");
    assert_true(rfc3339_parse(text, &ms));
    assert_int_equal(ms, 1795472797042);
    rfc3339_format(1795472797042, text);
    assert_string_equal(text, "2026-11-23T22:26:37Z");
    rfc3339_format(-1, text);
    assert_string_equal(text, "1970-01-01T00:00:00Z");
    rfc3339_format(INT64_MAX, text);
    assert_string_equal(text, "9999-12-31T23:59:59Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc3339_reads_what_the_api_server_writes),
        cmocka_unit_test(test_rfc3339_refuses_the_rest),
        cmocka_unit_test(test_rfc3339_writes_what_it_reads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
