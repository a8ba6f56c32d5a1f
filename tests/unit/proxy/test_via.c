#include "sidecar-proxy/proxy/via.h"

#include "tests/unit/cmocka_all.h"

#include <stdio.h>
#include <string.h>

#define SELF "vpn-00000000000000aa"

static char bytes[CONNECT_HEAD_MAX];

static struct connect_head with(const char *fields)
{
    struct connect_head head;
    int len = snprintf(bytes, sizeof(bytes), "CONNECT x:1 HTTP/1.1\r\nHost: x\r\n%s\r\n", fields);

    assert_int_equal(connect_head_parse(bytes, (size_t)len, &head, NULL), len);
    return head;
}

static void test_via_looped_only_if_it_names_us(void **state)
{
    static const struct {
        const char *fields;
        bool looped;
    } rows[] = {
        {"", false},
        {"Via: 1.1 other\r\n", false},
        {"Via: 1.1 " SELF "\r\n", true},
        {"Via: 1.0 a, 1.1 " SELF " (comment), 1.1 b\r\n", true},
        {"Via: 1.0 a\r\nVia: 1.1 " SELF "\r\n", true},
        {"Via: 1.1 VPN-00000000000000AA\r\n", true},
        {"Via: 1.1 " SELF "b\r\n", false},
        {"Via: 1.1 x-" SELF "\r\n", false},
        {"Forwarded: by=_" SELF "\r\n", true},
        {"Forwarded: for=192.0.2.1;by=\"_" SELF "\"\r\n", true},
        {"Forwarded: by=_other\r\n", false},
        {"X-Via: 1.1 " SELF "\r\n", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct connect_head head = with(rows[i].fields);
        if (via_looped(&head, SELF) != rows[i].looped) {
            fail_msg("%s", rows[i].fields);
        }
    }
}

static void test_via_chain_grows_by_us(void **state)
{
    struct connect_head head = with("Via: 1.0 a, 1.1 b\r\nVia: 1.1 c\r\n");
    char *chain = via_chain(&head, SELF);

    (void)state;
    assert_string_equal(chain, "1.0 a, 1.1 b, 1.1 c, 1.1 " SELF);
    free(chain);
}

static void test_via_a_chain_over_the_maximum_is_a_loop_and_is_not_passed_on_whole(void **state)
{
    char field[VIA_MAX + 64] = "Via: ";

    (void)state;
    memset(field + 5, 'a', VIA_MAX + 1);
    strcpy(field + 5 + VIA_MAX + 1, "\r\n");
    struct connect_head head = with(field);
    assert_true(via_looped(&head, SELF));
    char *chain = via_chain(&head, SELF);
    assert_string_equal(chain, "1.1 " SELF);
    free(chain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_via_looped_only_if_it_names_us),
        cmocka_unit_test(test_via_chain_grows_by_us),
        cmocka_unit_test(test_via_a_chain_over_the_maximum_is_a_loop_and_is_not_passed_on_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
