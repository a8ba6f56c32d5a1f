#include "common/endpoint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_endpoint_accepts_names_and_addresses(void **state)
{
    static const struct {
        const char *text, *host, *url;
        uint16_t port;
    } good[] = {
        {"127.0.0.1:8090", "127.0.0.1", "http://127.0.0.1:8090", 8090},
        {"vpn-state.vpn.svc:1", "vpn-state.vpn.svc", "http://vpn-state.vpn.svc:1", 1},
        {"[::1]:65535", "::1", "http://[::1]:65535", 65535},
    };
    struct endpoint e;

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_int_equal(endpoint_parse(good[i].text, &e, NULL), 0);
        assert_string_equal(e.host, good[i].host);
        assert_int_equal(e.port, good[i].port);
        AUTO(str) char *url = endpoint_url(&e);
        assert_string_equal(url, good[i].url);
    }
}

static void test_endpoint_refuses_others(void **state)
{
    static const char *const bad[] = {"",       "host",   ":80",    "host:",   "host:0",  "h:65536",
                                      "h:1x",   "h/x:80", "[::1]",  "[::1:80", "[]:80",   "::1:80",
                                      "h h:80", "h:-1",   "[h]:80", "u@h:80",  "h:000001"};
    struct endpoint e;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_true(endpoint_parse(bad[i], &e, NULL) < 0);
    }
}

static void test_endpoint_lists(void **state)
{
    struct endpoint list[2];
    size_t count = 9;

    assert_int_equal(endpoint_parse_list("a:1, b:2,", list, 2, &count, NULL), 0);
    assert_int_equal(count, 2);
    assert_string_equal(list[1].host, "b");
    assert_int_equal(endpoint_parse_list("", list, 2, &count, NULL), 0);
    assert_int_equal(count, 0);
    assert_true(endpoint_parse_list("a:1,b:2,c:3", list, 2, &count, NULL) < 0);
    assert_true(endpoint_parse_list("a:1,b", list, 2, &count, NULL) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_endpoint_accepts_names_and_addresses),
        cmocka_unit_test(test_endpoint_refuses_others),
        cmocka_unit_test(test_endpoint_lists),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
