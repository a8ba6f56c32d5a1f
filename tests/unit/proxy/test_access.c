#include "sidecar-proxy/proxy/access.h"

#include "tests/unit/cmocka_all.h"

#include <stdio.h>
#include <string.h>

#define UUID "0123456789abcdef0123456789abcdef"
#define TTL 5000
#define GRACE 60000

static struct access_key key_of(const struct access_cache *cache, const char *uuid, uint16_t port,
                                const char *token)
{
    struct access_key key;

    access_key_of(cache, uuid, port, token, &key);
    return key;
}

static void test_access_key_differs_by_device_port_and_token(void **state)
{
    struct access_cache *cache = access_cache_new(16, TTL, 0);
    char long_token[300];
    char longer_token[301];

    (void)state;
    memset(long_token, 'a', sizeof(long_token) - 1);
    long_token[sizeof(long_token) - 1] = '\0';
    memset(longer_token, 'a', sizeof(longer_token) - 1);
    longer_token[sizeof(longer_token) - 1] = '\0';
    const struct access_key keys[] = {
        key_of(cache, UUID, 22, "t"),        key_of(cache, UUID, 23, "t"),
        key_of(cache, UUID, 22, "u"),        key_of(cache, UUID, 22, NULL),
        key_of(cache, UUID, 22, ""),         key_of(cache, "f" UUID, 22, "t"),
        key_of(cache, UUID, 22, long_token), key_of(cache, UUID, 22, longer_token),
    };
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        for (size_t j = 0; j < ARRAY_LEN(keys); j++) {
            assert_int_equal(memcmp(&keys[i], &keys[j], sizeof(keys[i])) == 0, i == j);
        }
    }
    struct access_key again = key_of(cache, UUID, 22, "t");
    assert_memory_equal(&again, &keys[0], sizeof(again));
    access_cache_free(cache);
}

static void test_access_yes_and_no_last_as_long_as_set(void **state)
{
    struct access_cache *cache = access_cache_new(16, TTL, 0);
    struct access_key yes = key_of(cache, UUID, 22, "yes");
    struct access_key no = key_of(cache, UUID, 22, "no");
    int64_t id = 0;

    (void)state;
    access_cache_put(cache, &yes, true, 42, 1000);
    access_cache_put(cache, &no, false, 0, 1000);
    assert_int_equal(access_cache_find(cache, &yes, 5999, &id), ACCESS_YES);
    assert_int_equal(id, 42);
    assert_int_equal(access_cache_find(cache, &no, 5999, &id), ACCESS_NO);
    assert_int_equal(access_cache_find(cache, &yes, 6000, &id), ACCESS_MISS);
    assert_int_equal(access_cache_find(cache, &no, 6000, &id), ACCESS_MISS);
    access_cache_free(cache);
}

static void test_access_grace_is_for_an_earlier_yes_only(void **state)
{
    struct access_cache *cache = access_cache_new(16, TTL, GRACE);
    struct access_key yes = key_of(cache, UUID, 22, "yes");
    struct access_key no = key_of(cache, UUID, 22, "no");
    int64_t id = 0;

    (void)state;
    access_cache_put(cache, &yes, true, 42, 0);
    access_cache_put(cache, &no, false, 0, 0);
    assert_true(access_cache_grace(cache, &yes, TTL + GRACE - 1, &id));
    assert_int_equal(id, 42);
    assert_false(access_cache_grace(cache, &yes, TTL + GRACE, &id));
    assert_false(access_cache_grace(cache, &no, TTL + 1, &id));
    access_cache_put(cache, &yes, false, 0, TTL); /* a later no ends it */
    assert_false(access_cache_grace(cache, &yes, TTL + 1, &id));
    access_cache_free(cache);
}

static void test_access_cache_drops_what_was_used_least_recently(void **state)
{
    struct access_cache *cache = access_cache_new(2, TTL, 0);
    struct access_key a = key_of(cache, UUID, 1, "t");
    struct access_key b = key_of(cache, UUID, 2, "t");
    struct access_key c = key_of(cache, UUID, 3, "t");
    int64_t id = 0;

    (void)state;
    access_cache_put(cache, &a, true, 1, 0);
    access_cache_put(cache, &b, true, 2, 0);
    assert_int_equal(access_cache_find(cache, &a, 1, &id), ACCESS_YES);
    access_cache_put(cache, &c, true, 3, 2);
    assert_int_equal(access_cache_find(cache, &b, 3, &id), ACCESS_MISS);
    assert_int_equal(access_cache_find(cache, &a, 3, &id), ACCESS_YES);
    assert_int_equal(access_cache_find(cache, &c, 3, &id), ACCESS_YES);
    access_cache_free(cache);
}

static void test_access_cache_is_bounded(void **state)
{
    struct access_cache *cache = access_cache_new(1000, TTL, 0);
    char token[32];

    (void)state;
    for (int i = 0; i < 20000; i++) {
        snprintf(token, sizeof(token), "token %d", i);
        struct access_key key = key_of(cache, UUID, 22, token);
        access_cache_put(cache, &key, i % 2 == 0, i, i);
    }
    assert_int_equal(access_cache_count(cache), 1000);
    access_cache_free(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_access_key_differs_by_device_port_and_token),
        cmocka_unit_test(test_access_yes_and_no_last_as_long_as_set),
        cmocka_unit_test(test_access_grace_is_for_an_earlier_yes_only),
        cmocka_unit_test(test_access_cache_drops_what_was_used_least_recently),
        cmocka_unit_test(test_access_cache_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
