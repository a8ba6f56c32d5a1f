#include "sidecar-proxy/proxy/target.h"

#include "tests/unit/cmocka_all.h"

#include <string.h>

#define HEX "0123456789abcdef0123456789abcdef"
#define HEX62 HEX "0123456789abcdef0123456789abcd"

struct row {
    const char *host;
    const char *uuid; /* NULL: not a device */
};

static const struct row rows[] = {
    {HEX ".balena", HEX},
    {HEX ".vpn", HEX},
    {HEX ".resin", HEX},
    {HEX62 ".balena", HEX62},
    {"0123456789ABCDEF0123456789aBcDeF.balena", HEX},
    {HEX ".BALENA", NULL},
    {HEX ".Vpn", NULL},
    {HEX ".com", NULL},
    {HEX, NULL},
    {HEX "0.balena", NULL},
    {"0123456789abcdef0123456789abcdeg.balena", NULL},
    {"0123456.balena", NULL},
    {".balena", NULL},
    {"balena", NULL},
    {"x." HEX ".balena", NULL},
    {HEX ".balena.", NULL},
    {"127.0.0.1", NULL},
    {"[::1]", NULL},
    {"..%2f..%2f0123456789abcdef012345.balena", NULL},
};

static void test_target_answers_each_row_of_the_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char uuid[UUID_TEXT_MAX + 1] = "untouched";
        bool found = target_parse((struct text){rows[i].host, strlen(rows[i].host)}, uuid);
        if (found != (rows[i].uuid != NULL)) {
            fail_msg("%s", rows[i].host);
        }
        assert_string_equal(uuid, found ? rows[i].uuid : "untouched");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_target_answers_each_row_of_the_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
