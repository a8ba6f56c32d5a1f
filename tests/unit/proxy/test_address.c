#include "sidecar-proxy/proxy/address.h"

#include "tests/unit/cmocka_all.h"

#include <errno.h>

static void test_address_parse_listen_answers_each_row_of_the_table(void **state)
{
    static const struct {
        const char *text;
        const char *host; /* NULL: refused */
        uint16_t port;
    } rows[] = {
        {"127.0.0.1:21001", "127.0.0.1", 21001},
        {"0.0.0.0:3128", "0.0.0.0", 3128},
        {"[::1]:80", "::1", 80},
        {":3128", "::", 3128},
        {"127.0.0.1:0", "127.0.0.1", 0},
        {"127.0.0.1", NULL, 0},
        {"127.0.0.1:", NULL, 0},
        {"127.0.0.1:65536", NULL, 0},
        {"127.0.0.1:+1", NULL, 0},
        {"localhost:80", NULL, 0},
        {"[::1:80", NULL, 0},
        {"", NULL, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct address address;
        char host[ADDRESS_TEXT_MAX];
        int r = address_parse_listen(rows[i].text, &address, NULL);
        if (rows[i].host == NULL) {
            assert_int_equal(r, -EINVAL);
            continue;
        }
        assert_int_equal(r, 0);
        address_host(&address.storage, host);
        assert_string_equal(host, rows[i].host);
        assert_int_equal(address_port(&address), rows[i].port);
    }
}

static void test_address_same_host_in_any_spelling(void **state)
{
    (void)state;
    assert_true(address_same_host("192.0.2.1", "::ffff:192.0.2.1"));
    assert_true(address_same_host("2001:db8::1", "2001:0db8:0::1"));
    assert_false(address_same_host("192.0.2.1", "192.0.2.2"));
    assert_false(address_same_host("rubbish", "rubbish"));
}

static void test_address_is_loopback(void **state)
{
    (void)state;
    assert_true(address_is_loopback("127.0.0.1"));
    assert_true(address_is_loopback("127.1.2.3"));
    assert_true(address_is_loopback("::1"));
    assert_true(address_is_loopback("::ffff:127.0.0.1"));
    assert_false(address_is_loopback("192.0.2.1"));
    assert_false(address_is_loopback("host"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_address_parse_listen_answers_each_row_of_the_table),
        cmocka_unit_test(test_address_same_host_in_any_spelling),
        cmocka_unit_test(test_address_is_loopback),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
