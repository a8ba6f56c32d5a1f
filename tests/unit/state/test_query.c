#include "sidecar-proxy/state/query.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_query_get_decodes_the_named_value(void **state)
{
    static const struct {
        const char *query, *name, *value; /* NULL: absent or not acceptable */
    } rows[] = {
        {"uuid=abc", "uuid", "abc"},
        {"a=1&uuid=abc&b=2", "uuid", "abc"},
        {"uuid=a%62c", "uuid", "abc"},
        {"uuid=+abc%20", "uuid", "abc"},
        {"uuid=a+b", "uuid", "a b"},
        {"uuid=", "uuid", ""},
        {"uuid=%3Cscript%3E", "uuid", "<script>"},
        {"", "uuid", NULL},
        {"uuid", "uuid", NULL},
        {"uuidx=abc", "uuid", NULL},
        {"xuuid=abc", "uuid", NULL},
        {"uuid=%00", "uuid", NULL},
        {"uuid=%2", "uuid", NULL},
        {"uuid=%zz", "uuid", NULL},
        {"uuid=%4&1=2", "uuid", NULL},
        {"uuid=0123456789abcdef", "uuid", NULL}, /* too long for the room given */
        {"&&=&uuid=x&", "uuid", "x"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char out[16];
        bool found = query_get(rows[i].query, rows[i].name, out, sizeof(out));
        assert_int_equal(rows[i].value != NULL, found);
        assert_string_equal(rows[i].value != NULL ? rows[i].value : "", out);
    }
}

static void test_query_number_takes_1_to_the_maximum(void **state)
{
    uint32_t n = 0;

    assert_true(query_number("limit=1", "limit", 50, &n));
    assert_int_equal(1, n);
    assert_true(query_number("limit=50", "limit", 50, &n));
    assert_int_equal(50, n);
    assert_false(query_number("limit=0", "limit", 50, &n));
    assert_false(query_number("limit=51", "limit", 50, &n));
    assert_false(query_number("limit=-1", "limit", 50, &n));
    assert_false(query_number("limit=", "limit", 50, &n));
    assert_false(query_number("limit=99999999999", "limit", 50, &n));
    assert_int_equal(50, n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_query_get_decodes_the_named_value),
        cmocka_unit_test(test_query_number_takes_1_to_the_maximum),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
