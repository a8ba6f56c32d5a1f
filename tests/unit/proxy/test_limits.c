#include "sidecar-proxy/proxy/limits.h"

#include "cmocka_all.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static struct source from(const char *ip)
{
    struct sockaddr_storage storage = {.ss_family = AF_INET};

    assert_int_equal(inet_pton(AF_INET, ip, &((struct sockaddr_in *)&storage)->sin_addr), 1);
    return source_of(&storage);
}

static void test_limits_total_comes_back_when_tunnels_end(void **state)
{
    struct limits limits;
    struct source a = from("192.0.2.1");

    (void)state;
    limits_init(&limits, 2, 0);
    assert_int_equal(limits_enter(&limits, &a), LIMIT_NONE);
    assert_int_equal(limits_enter(&limits, &a), LIMIT_NONE);
    assert_int_equal(limits_enter(&limits, &a), LIMIT_TOTAL);
    limits_leave(&limits, &a);
    assert_int_equal(limits_enter(&limits, &a), LIMIT_NONE);
    limits_clear(&limits);
}

static void test_limits_by_source_does_not_touch_others(void **state)
{
    struct limits limits;
    struct source a = from("192.0.2.1");
    struct source b = from("192.0.2.2");

    (void)state;
    limits_init(&limits, 100, 1);
    assert_int_equal(limits_enter(&limits, &a), LIMIT_NONE);
    assert_int_equal(limits_enter(&limits, &a), LIMIT_SOURCE);
    assert_int_equal(limits_enter(&limits, &b), LIMIT_NONE);
    limits_leave(&limits, &a);
    limits_leave(&limits, &b);
    assert_int_equal(limits.sources.count, 0);
    assert_int_equal(limits.tunnels, 0);
    limits_clear(&limits);
}

static void test_limits_a_mapped_address_is_the_same_source(void **state)
{
    struct sockaddr_storage storage = {.ss_family = AF_INET6};
    struct source v4 = from("192.0.2.1");
    char text[64];

    (void)state;
    inet_pton(AF_INET6, "::ffff:192.0.2.1", &((struct sockaddr_in6 *)&storage)->sin6_addr);
    struct source mapped = source_of(&storage);
    assert_memory_equal(&mapped, &v4, sizeof(v4));
    source_format(&mapped, text, sizeof(text));
    assert_string_equal(text, "192.0.2.1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits_total_comes_back_when_tunnels_end),
        cmocka_unit_test(test_limits_by_source_does_not_touch_others),
        cmocka_unit_test(test_limits_a_mapped_address_is_the_same_source),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
