/* The table of base subnet, prefix length and index against what an instance gets. */
#include "common/subnet.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_subnet_blocks(void **state)
{
    static const struct {
        const char *base;
        uint8_t prefix;
        uint32_t index;
        const char *subnet, *gateway, *peer, *first, *last;
        uint32_t count;
    } rows[] = {
        {"100.64.0.0/10", 20, 1, "100.64.0.0/20", "100.64.0.1", "100.64.0.2", "100.64.0.3",
         "100.64.15.254", 4092},
        {"100.64.0.0/10", 20, 2, "100.64.16.0/20", "100.64.16.1", "100.64.16.2", "100.64.16.3",
         "100.64.31.254", 4092},
        {"100.64.0.0/10", 20, 17, "100.65.0.0/20", "100.65.0.1", "100.65.0.2", "100.65.0.3",
         "100.65.15.254", 4092},
        {"100.64.0.0/10", 20, 1024, "100.127.240.0/20", "100.127.240.1", "100.127.240.2",
         "100.127.240.3", "100.127.255.254", 4092},
        {"100.64.0.0/10", 16, 1, "100.64.0.0/16", "100.64.0.1", "100.64.0.2", "100.64.0.3",
         "100.64.255.254", 65532},
        {"100.64.0.0/10", 16, 64, "100.127.0.0/16", "100.127.0.1", "100.127.0.2", "100.127.0.3",
         "100.127.255.254", 65532},
        {"10.0.0.0/8", 24, 65536, "10.255.255.0/24", "10.255.255.1", "10.255.255.2", "10.255.255.3",
         "10.255.255.254", 252},
        {"192.168.1.0/24", 24, 1, "192.168.1.0/24", "192.168.1.1", "192.168.1.2", "192.168.1.3",
         "192.168.1.254", 252},
        {"192.168.1.0/24", 29, 1, "192.168.1.0/29", "192.168.1.1", "192.168.1.2", "192.168.1.3",
         "192.168.1.6", 4},
        {"192.168.1.0/24", 29, 32, "192.168.1.248/29", "192.168.1.249", "192.168.1.250",
         "192.168.1.251", "192.168.1.254", 4},
        {"172.16.0.0/12", 20, 256, "172.31.240.0/20", "172.31.240.1", "172.31.240.2",
         "172.31.240.3", "172.31.255.254", 4092},
        {"0.0.0.0/0", 29, 536870912, "255.255.255.248/29", "255.255.255.249", "255.255.255.250",
         "255.255.255.251", "255.255.255.254", 4},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct subnet base;
        struct subnet_block b;
        struct err err;
        assert_int_equal(subnet_parse(rows[i].base, &base, &err), 0);
        assert_int_equal(subnet_block(base, rows[i].prefix, rows[i].index, &b, &err), 0);
        assert_string_equal(subnet_format(b.subnet).text, rows[i].subnet);
        assert_string_equal(address_format(b.gateway).text, rows[i].gateway);
        assert_string_equal(address_format(b.peer).text, rows[i].peer);
        assert_string_equal(address_format(b.first).text, rows[i].first);
        assert_string_equal(address_format(b.last).text, rows[i].last);
        assert_int_equal(b.count, rows[i].count);
        assert_int_equal(b.last - b.first + 1, b.count);
        assert_true(subnet_contains(base, b.last + 1));
    }
}

static void test_subnet_blocks_that_do_not_exist(void **state)
{
    static const struct {
        const char *base;
        uint8_t prefix;
        uint32_t index;
        int error;
        const char *text;
    } rows[] = {
        {"100.64.0.0/10", 20, 0, -ERANGE,
         "index 0 is not in 1 to 1024, what 100.64.0.0/10 holds of /20"},
        {"100.64.0.0/10", 20, 1025, -ERANGE,
         "index 1025 is not in 1 to 1024, what 100.64.0.0/10 holds of /20"},
        {"100.64.0.0/10", 15, 1, -EINVAL, "instances of /15 do not fit into 100.64.0.0/10"},
        {"100.64.0.0/10", 30, 1, -EINVAL, "instances of /30 do not fit into 100.64.0.0/10"},
        {"192.168.1.0/24", 23, 1, -EINVAL, "instances of /23 do not fit into 192.168.1.0/24"},
        {"192.168.1.0/24", 24, 2, -ERANGE,
         "index 2 is not in 1 to 1, what 192.168.1.0/24 holds of /24"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct subnet base;
        struct subnet_block b;
        struct err err = {0};
        assert_int_equal(subnet_parse(rows[i].base, &base, &err), 0);
        assert_int_equal(subnet_block(base, rows[i].prefix, rows[i].index, &b, &err),
                         rows[i].error);
        assert_string_equal(err.text, rows[i].text);
    }
}

static void test_subnet_blocks_never_overlap(void **state)
{
    struct subnet base;
    struct subnet_block a, b;

    assert_int_equal(subnet_parse("100.64.0.0/10", &base, NULL), 0);
    assert_int_equal(subnet_instances(base, 20), 1024);
    for (uint32_t i = 1; i < 1024; i++) {
        assert_int_equal(subnet_block(base, 20, i, &a, NULL), 0);
        assert_int_equal(subnet_block(base, 20, i + 1, &b, NULL), 0);
        assert_false(subnet_overlaps(a.subnet, b.subnet));
        assert_int_equal(a.subnet.network + 4096, b.subnet.network);
    }
}

static void test_subnet_parse_refuses(void **state)
{
    static const char *const rows[] = {
        "",
        "100.64.0.0",
        "100.64.0.0/",
        "100.64.0.0/33",
        "100.64.0.0/10 ",
        "100.64.0/10",
        "100.64.0.0.0/10",
        "256.0.0.0/8",
        "100.64.0.1/10",
        "100.064.0.0/10",
        "100.64.0.0/010",
        "-1.0.0.0/8",
        "a.b.c.d/8",
        "100.64.0.0/10/20",
        "::/10",
        " 100.64.0.0/10",
        "100.64.0.0/+1",
        "1e1.0.0.0/8",
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct subnet s;
        struct err err = {0};
        if (subnet_parse(rows[i], &s, &err) != -EINVAL || err.text[0] == '\0') {
            fail_msg("'%s' was accepted", rows[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_subnet_blocks),
        cmocka_unit_test(test_subnet_blocks_that_do_not_exist),
        cmocka_unit_test(test_subnet_blocks_never_overlap),
        cmocka_unit_test(test_subnet_parse_refuses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
