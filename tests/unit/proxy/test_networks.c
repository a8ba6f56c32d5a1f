#include "sidecar-proxy/proxy/networks.h"

#include "tests/unit/cmocka_all.h"

#include "sidecar-proxy/proxy/address.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static bool contains(const char *list, const char *host)
{
    struct networks networks;
    struct address address;
    struct err err = {0, ""};

    assert_int_equal(networks_parse(list, &networks, &err), 0);
    assert_int_equal(address_of(host, 0, &address), 0);
    struct source source = source_of(&address.storage);
    return networks_contain(&networks, &source);
}

static void test_networks_contain_answers_each_row_of_the_table(void **state)
{
    static const struct {
        const char *list;
        const char *host;
        bool inside;
    } rows[] = {
        {"", "192.0.2.1", false},
        {"192.0.2.0/24", "192.0.2.0", true},
        {"192.0.2.0/24", "192.0.2.255", true},
        {"192.0.2.0/24", "192.0.3.0", false},
        {"192.0.2.0/24", "192.0.1.255", false},
        {"192.0.2.0/24", "::ffff:192.0.2.9", true},
        {"192.0.2.0/24", "::192.0.2.9", false},
        {"192.0.2.128/25", "192.0.2.127", false},
        {"192.0.2.128/25", "192.0.2.128", true},
        {"10.0.0.0/8, 192.0.2.7", "192.0.2.7", true},
        {" 10.0.0.0/8 ,192.0.2.7 ", "192.0.2.8", false},
        {"0.0.0.0/0", "203.0.113.9", true},
        {"0.0.0.0/0", "2001:db8::1", false},
        {"::/0", "203.0.113.9", true},
        {"::/0", "2001:db8::1", true},
        {"2001:db8::/33", "2001:db8:7fff::1", true},
        {"2001:db8::/33", "2001:db8:8000::1", false},
        {"2001:db8::1", "2001:db8::2", false},
        {"198.51.100.0/24,", "198.51.100.1", true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (contains(rows[i].list, rows[i].host) != rows[i].inside) {
            fail_msg("'%s' and %s", rows[i].list, rows[i].host);
        }
    }
}

static void test_networks_parse_names_what_is_none(void **state)
{
    static const char *const lists[] = {
        "192.0.2.0/33",
        "192.0.2.1/24",
        "192.0.2/24",
        "x",
        "10.0.0.0/8,x",
        "2001:db8::/129",
        "192.0.2.0/",
        "192.0.2.0/+8",
        "10.0.0.0/8/8",
        ",10.0.0.0/8",
        "10.0.0.0/08888",
        "2001:db8::1/64",
        "0123456789012345678901234567890123456789012345678901234567890123456789",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        struct networks networks;
        struct err err = {0, ""};
        if (networks_parse(lists[i], &networks, &err) != -EINVAL || err.text[0] == '\0') {
            fail_msg("'%s' was taken", lists[i]);
        }
    }
}

static void test_networks_are_bounded(void **state)
{
    char list[NETWORKS_MAX * 16 + 16] = "";
    struct networks networks;
    struct err err = {0, ""};

    (void)state;
    for (int i = 0; i < NETWORKS_MAX; i++) {
        snprintf(list + strlen(list), sizeof(list) - strlen(list), "10.0.0.%d,", i);
    }
    assert_int_equal(networks_parse(list, &networks, &err), 0);
    assert_int_equal(networks.count, NETWORKS_MAX);
    strncat(list, "10.0.1.1", 10);
    assert_int_equal(networks_parse(list, &networks, &err), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_networks_contain_answers_each_row_of_the_table),
        cmocka_unit_test(test_networks_parse_names_what_is_none),
        cmocka_unit_test(test_networks_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
