#include "sidecar-proxy/proxy/limits.h"

#include "tests/unit/cmocka_all.h"

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
    struct limit_count *seats[3];
    struct source a = from("192.0.2.1");

    (void)state;
    limits_init(&limits, &(struct limits_max){.tunnels = 2});
    assert_int_equal(limits_enter(&limits, &a, NULL, &seats[0]), LIMIT_NONE);
    assert_int_equal(limits_enter(&limits, &a, NULL, &seats[1]), LIMIT_NONE);
    assert_int_equal(limits_enter(&limits, &a, NULL, &seats[2]), LIMIT_TOTAL);
    limits_leave(&limits, &seats[0]);
    assert_int_equal(limits_enter(&limits, &a, NULL, &seats[0]), LIMIT_NONE);
    limits_clear(&limits);
}

static void test_limits_by_source_does_not_touch_others(void **state)
{
    struct limits limits;
    struct limit_count *seats[3];
    struct source a = from("192.0.2.1");
    struct source b = from("192.0.2.2");

    (void)state;
    limits_init(&limits, &(struct limits_max){.tunnels = 100, .by_source = 1});
    assert_true(limits_admit(&limits, &a, &seats[0]));
    assert_false(limits_admit(&limits, &a, &seats[1]));
    assert_null(seats[1]);
    assert_true(limits_admit(&limits, &b, &seats[2]));
    for (size_t i = 0; i < ARRAY_LEN(seats); i++) {
        limits_dismiss(&limits, &seats[i]);
        limits_dismiss(&limits, &seats[i]);
    }
    assert_int_equal(limits.counts.count, 0);
    assert_true(limits_admit(&limits, &a, &seats[0]));
    limits_clear(&limits);
}

static void test_limits_by_caller_follows_the_key_and_guests_their_address(void **state)
{
    struct limits limits;
    struct limit_count *seats[4];
    struct limit_count *none;
    struct source a = from("192.0.2.1");
    struct source b = from("192.0.2.2");

    (void)state;
    limits_init(&limits, &(struct limits_max){.tunnels = 100, .by_caller = 1});
    assert_int_equal(limits_enter(&limits, &a, "key", &seats[0]), LIMIT_NONE);
    assert_int_equal(limits_enter(&limits, &b, "key", &none), LIMIT_CALLER);
    assert_int_equal(limits_enter(&limits, &a, "other", &seats[1]), LIMIT_NONE);
    assert_int_equal(limits_enter(&limits, &a, NULL, &seats[2]), LIMIT_NONE);
    assert_int_equal(limits_enter(&limits, &a, NULL, &none), LIMIT_CALLER);
    assert_int_equal(limits_enter(&limits, &b, NULL, &seats[3]), LIMIT_NONE);
    assert_int_equal(limits.tunnels, 4);
    for (size_t i = 0; i < ARRAY_LEN(seats); i++) {
        limits_leave(&limits, &seats[i]);
    }
    assert_int_equal(limits.counts.count, 0);
    assert_int_equal(limits.tunnels, 0);
    assert_int_equal(limits_enter(&limits, &b, "key", &seats[0]), LIMIT_NONE);
    limits_clear(&limits);
}

static void test_limits_a_guest_and_its_address_are_counted_apart(void **state)
{
    struct limits limits;
    struct limit_count *connection;
    struct limit_count *request;
    struct source a = from("192.0.2.1");

    (void)state;
    limits_init(&limits, &(struct limits_max){.tunnels = 100, .by_source = 1, .by_caller = 1});
    assert_true(limits_admit(&limits, &a, &connection));
    assert_int_equal(limits_enter(&limits, &a, NULL, &request), LIMIT_NONE);
    limits_leave(&limits, &request);
    limits_dismiss(&limits, &connection);
    assert_int_equal(limits.counts.count, 0);
    limits_clear(&limits);
}

static void test_limits_a_proxy_of_ours_is_counted_in_all_only(void **state)
{
    struct limits limits;
    struct limit_count *seats[2];

    (void)state;
    limits_init(&limits, &(struct limits_max){.tunnels = 2, .by_caller = 1});
    assert_int_equal(limits_enter(&limits, NULL, NULL, &seats[0]), LIMIT_NONE);
    assert_int_equal(limits_enter(&limits, NULL, NULL, &seats[1]), LIMIT_NONE);
    assert_int_equal(limits.counts.count, 0);
    limits_leave(&limits, &seats[0]);
    limits_leave(&limits, &seats[1]);
    assert_int_equal(limits.tunnels, 0);
    limits_clear(&limits);
}

static void test_limits_a_mapped_address_is_the_same_source(void **state)
{
    struct sockaddr_storage storage = {.ss_family = AF_INET6};
    struct source v4 = from("192.0.2.1");
    char text[SOURCE_TEXT_MAX];

    (void)state;
    inet_pton(AF_INET6, "::ffff:192.0.2.1", &((struct sockaddr_in6 *)&storage)->sin6_addr);
    struct source mapped = source_of(&storage);
    assert_memory_equal(&mapped, &v4, sizeof(v4));
    source_format(&mapped, text);
    assert_string_equal(text, "192.0.2.1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits_total_comes_back_when_tunnels_end),
        cmocka_unit_test(test_limits_by_source_does_not_touch_others),
        cmocka_unit_test(test_limits_by_caller_follows_the_key_and_guests_their_address),
        cmocka_unit_test(test_limits_a_guest_and_its_address_are_counted_apart),
        cmocka_unit_test(test_limits_a_proxy_of_ours_is_counted_in_all_only),
        cmocka_unit_test(test_limits_a_mapped_address_is_the_same_source),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
