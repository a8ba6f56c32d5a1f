#include "common/hashmap.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static char keys[10000][12];

static void number_keys(void)
{
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        snprintf(keys[i], sizeof(keys[i]), "key-%zu", i);
    }
}

/* libcrypto's SipHash, told the same numbers of rounds, is the reference. */
static uint64_t reference(const uint8_t key[16], const uint8_t *bytes, size_t len)
{
    unsigned size = 8, c = 1, d = 3;
    uint8_t out[8];
    size_t out_len = 0;
    OSSL_PARAM params[] = {OSSL_PARAM_construct_uint(OSSL_MAC_PARAM_SIZE, &size),
                           OSSL_PARAM_construct_uint(OSSL_MAC_PARAM_C_ROUNDS, &c),
                           OSSL_PARAM_construct_uint(OSSL_MAC_PARAM_D_ROUNDS, &d),
                           OSSL_PARAM_construct_end()};
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "SIPHASH", NULL);
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(mac);

    assert_int_equal(1, EVP_MAC_init(ctx, key, 16, params));
    assert_int_equal(1, EVP_MAC_update(ctx, bytes, len));
    assert_int_equal(1, EVP_MAC_final(ctx, out, &out_len, sizeof(out)));
    EVP_MAC_CTX_free(ctx);
    EVP_MAC_free(mac);
    uint64_t x = 0;
    for (int i = 7; i >= 0; i--) {
        x = x << 8 | out[i];
    }
    return x;
}

static void test_siphash13_agrees_with_libcrypto_for_each_length(void **state)
{
    uint8_t key[16];
    uint8_t bytes[70];

    for (size_t i = 0; i < sizeof(key); i++) {
        key[i] = (uint8_t)(i * 7 + 1);
    }
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)(i * 31 + 200);
    }
    for (size_t len = 0; len <= sizeof(bytes); len++) {
        assert_true(siphash13(key, bytes, len) == reference(key, bytes, len));
    }
}

static void test_hashmap_empty_has_nothing(void **state)
{
    struct hashmap m;

    hashmap_init(&m);
    assert_null(hashmap_get(&m, "x"));
    assert_null(hashmap_remove(&m, "x"));
    struct hashmap_iter i = {.map = &m};
    assert_false(hashmap_next(&i));
    hashmap_clear(&m);
}

static void test_hashmap_finds_what_was_put_while_it_grows(void **state)
{
    struct hashmap m;

    hashmap_init(&m);
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        assert_null(hashmap_put(&m, keys[i], keys[i]));
        assert_int_equal(i + 1, m.count);
    }
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        char copy[12];
        memcpy(copy, keys[i], sizeof(copy));
        assert_ptr_equal(keys[i], hashmap_get(&m, copy));
    }
    assert_null(hashmap_get(&m, "key-10000"));
    assert_null(hashmap_get(&m, ""));
    hashmap_clear(&m);
}

static void test_hashmap_put_again_replaces_key_and_value(void **state)
{
    struct hashmap m;
    char *first = xstrdup("same");
    char *second = xstrdup("same");

    hashmap_init(&m);
    assert_null(hashmap_put(&m, first, first));
    assert_ptr_equal(first, hashmap_put(&m, second, second));
    free(first);
    assert_ptr_equal(second, hashmap_get(&m, "same"));
    assert_int_equal(1, m.count);
    assert_ptr_equal(second, hashmap_remove(&m, second));
    free(second);
    assert_null(hashmap_get(&m, "same"));
    hashmap_clear(&m);
}

/* The empty string is a key like others, though removed slots wear it. */
static void test_hashmap_holds_the_empty_key(void **state)
{
    struct hashmap m;
    int a = 1, b = 2;

    hashmap_init(&m);
    hashmap_put(&m, "gone", &b);
    hashmap_remove(&m, "gone");
    assert_null(hashmap_get(&m, ""));
    hashmap_put(&m, "", &a);
    assert_ptr_equal(&a, hashmap_get(&m, ""));
    assert_ptr_equal(&a, hashmap_remove(&m, ""));
    assert_int_equal(0, m.count);
    hashmap_clear(&m);
}

static void test_hashmap_iterates_each_entry_once_and_may_remove_it(void **state)
{
    struct hashmap m;
    size_t seen = 0;

    hashmap_init(&m);
    for (size_t i = 0; i < 1000; i++) {
        hashmap_put(&m, keys[i], keys[i]);
    }
    for (struct hashmap_iter i = {.map = &m}; hashmap_next(&i);) {
        assert_ptr_equal(i.key, i.value);
        assert_ptr_equal(i.value, hashmap_remove(&m, i.key));
        seen++;
    }
    assert_int_equal(1000, seen);
    assert_int_equal(0, m.count);
    hashmap_clear(&m);
}

/* As many come as go, for long: the table must not grow with the number of removals. */
static void test_hashmap_stays_small_under_churn(void **state)
{
    struct hashmap m;

    hashmap_init(&m);
    for (size_t round = 0; round < 20; round++) {
        for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
            hashmap_put(&m, keys[i], keys[i]);
            if (i >= 10) {
                assert_non_null(hashmap_remove(&m, keys[i - 10]));
            }
        }
        for (size_t i = ARRAY_LEN(keys) - 10; i < ARRAY_LEN(keys); i++) {
            hashmap_remove(&m, keys[i]);
        }
    }
    assert_int_equal(0, m.count);
    assert_true(m.slot_count <= 64);
    hashmap_clear(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_siphash13_agrees_with_libcrypto_for_each_length),
        cmocka_unit_test(test_hashmap_empty_has_nothing),
        cmocka_unit_test(test_hashmap_finds_what_was_put_while_it_grows),
        cmocka_unit_test(test_hashmap_put_again_replaces_key_and_value),
        cmocka_unit_test(test_hashmap_holds_the_empty_key),
        cmocka_unit_test(test_hashmap_iterates_each_entry_once_and_may_remove_it),
        cmocka_unit_test(test_hashmap_stays_small_under_churn),
    };

    number_keys();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
