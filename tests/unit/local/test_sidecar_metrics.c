#include "controller/pool/sidecar_metrics.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_sidecar_sockets_are_told_by_their_names(void **state)
{
    static const struct {
        const char *name;
        unsigned index;
    } cases[] = {
        {"sidecar-1.sock", 1},
        {"sidecar-1024.sock", 1024},
        {"sidecar-0.sock", 0},
        {"sidecar-1.json", 0},
        {"sidecar-1.sock.new", 0},
        {"sidecar-.sock", 0},
        {"sidecar--1.sock", 0},
        {"sidecar- 1.sock", 0},
        {"sidecar-123456.sock", 0},
        {"server-1.sock", 0},
        {"sidecar-1sock", 0},
        {"", 0},
        {"xsidecar-1.sock", 0},
        {"sidecar-1", 0},
        {"..", 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (sidecar_metrics_index(cases[i].name) != cases[i].index) {
            fail_msg("'%s'", cases[i].name);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sidecar_sockets_are_told_by_their_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
