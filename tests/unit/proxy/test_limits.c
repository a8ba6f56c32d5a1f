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
    struct limit_seat seats[2];
    struct limit_seat none;
    struct source a = from("192.0.2.1");

    (void)state;
    limits_init(&limits, &(struct limits_max){.tunnels = 2});
    assert_int_equal(limits_enter(&limits, &a, NULL, &seats[0]), LIMIT_NONE);
    assert_int_equal(limits_enter(&limits, &a, NULL, &seats[1]), LIMIT_NONE);
    assert_int_equal(limits_enter(&limits, &a, NULL, &none), LIMIT_TOTAL);
    limits_leave(&limits, &seats[0]);
    assert_int_equal(limits_enter(&limits, &a, NULL, &seats[0]), LIMIT_NONE);
    limits_clear(&limits);
}

static void test_limits_by_source_does_not_touch_others(void **state)
{
    struct limits limits;
    struct limit_seat seat_a;
    struct limit_seat seat_b;
    struct limit_seat none;
    struct source a = from("192.0.2.1");
    struct source b = from("192.0.2.2");

    (void)state;
    limits_init(&limits, &(struct limits_max){.tunnels = 100, .by_source = 1});
    assert_int_equal(limits_enter(&limits, &a, "key", &seat_a), LIMIT_NONE);
    assert_int_equal(limits_enter(&limits, &a, "other", &none), LIMIT_SOURCE);
    assert_int_equal(limits_enter(&limits, &b, "key", &seat_b), LIMIT_NONE);
    limits_leave(&limits, &seat_a);
    limits_leave(&limits, &seat_b);
    assert_int_equal(limits.counts.count, 0);
    assert_int_equal(limits.tunnels, 0);
    limits_clear(&limits);
}

static void test_limits_by_caller_follows_the_key_and_guests_their_address(void **state)
{
    struct limits limits;
    struct limit_seat seats[4];
    struct limit_seat none;
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
    for (size_t i = 0; i < ARRAY_LEN(seats); i++) {
        limits_leave(&limits, &seats[i]);
    }
    assert_int_equal(limits.counts.count, 0);
    assert_int_equal(limits_enter(&limits, &b, "key", &seats[0]), LIMIT_NONE);
    limits_clear(&limits);
}

static void test_limits_one_refused_by_its_caller_leaves_its_source_free(void **state)
{
    struct limits limits;
    struct limit_seat seats[2];
    struct limit_seat none;
    struct source a = from("192.0.2.1");

    (void)state;
    limits_init(&limits, &(struct limits_max){.tunnels = 100, .by_source = 2, .by_caller = 1});
    assert_int_equal(limits_enter(&limits, &a, "key", &seats[0]), LIMIT_NONE);
    assert_int_equal(limits_enter(&limits, &a, "key", &none), LIMIT_CALLER);
    assert_int_equal(limits_enter(&limits, &a, "other", &seats[1]), LIMIT_NONE);
    assert_int_equal(limits.tunnels, 2);
    limits_clear(&limits);
}

static void test_limits_a_proxy_of_ours_is_counted_in_all_only(void **state)
{
    struct limits limits;
    struct limit_seat seats[2];

    (void)state;
    limits_init(&limits, &(struct limits_max){.tunnels = 2, .by_source = 1, .by_caller = 1});
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
        cmocka_unit_test(test_limits_one_refused_by_its_caller_leaves_its_source_free),
        cmocka_unit_test(test_limits_a_proxy_of_ours_is_counted_in_all_only),
        cmocka_unit_test(test_limits_a_mapped_address_is_the_same_source),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
