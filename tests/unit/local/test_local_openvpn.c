/* What the real OpenVPN thinks of ciphers and providers. */
#include "controller/pool/local_openvpn.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define POOL                                   \
    "apiVersion: vpn.openbalena.io/v1alpha1\n" \
    "kind: VPNPool\n"                          \
    "metadata: {name: fleet}\n"                \
    "spec:\n"

/* -> what is wrong, owned by the caller */
static char *check(const char *spec)
{
    AUTO(str) char *text = xasprintf("%s%s", POOL, spec);
    struct pool_object pool;
    struct pool_errors errors;

    pool_errors_init(&errors);
    assert_int_equal(pool_object_parse("f", text, strlen(text), &pool, &errors), 0);
    int r = local_openvpn_check("f", &pool, &errors);
    assert_int_equal(r, errors.count > 0 ? -EINVAL : 0);
    pool_object_clear(&pool);
    char *found = xstrdup(buf_str(&errors.text));
    pool_errors_clear(&errors);
    return found;
}

static int need_openvpn(void **state)
{
    AUTO(str) char *path = NULL;

    if (process_find_program("openvpn", false, &path, NULL) < 0) {
        skip();
    }
    return 0;
}

static void test_openvpn_takes_what_it_has(void **state)
{
    static const char *const specs[] = {
        "  replicas: 1\n",
        "  openvpn: {dataCiphers: [AES-256-GCM, aes-128-cbc]}\n",
        "  openvpn: {opensslProviders: [default]}\n",
    };

    for (size_t i = 0; i < ARRAY_LEN(specs); i++) {
        AUTO(str) char *found = check(specs[i]);
        assert_string_equal(found, "");
    }
}

static void test_openvpn_names_the_ciphers_that_it_lacks(void **state)
{
    AUTO(str) char *found = check("  openvpn: {dataCiphers: [AES-256-GCM, NOPE, NOPE-2]}\n");
    assert_non_null(strstr(found, "f:5:40: spec.openvpn.dataCiphers: openvpn refuses it: "));
    assert_non_null(strstr(found, "NOPE\n"));
    assert_null(strstr(found, "AES"));
}

static void test_openvpn_names_the_provider_that_it_lacks(void **state)
{
    AUTO(str) char *found = check("  openvpn: {opensslProviders: [default, nope]}\n");
    assert_non_null(strstr(found, "f:5:41: spec.openvpn.opensslProviders: openvpn refuses it: "));
    assert_non_null(strstr(found, "nope"));
}

#define TEST(name) cmocka_unit_test_setup(name, need_openvpn)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_openvpn_takes_what_it_has),
        TEST(test_openvpn_names_the_ciphers_that_it_lacks),
        TEST(test_openvpn_names_the_provider_that_it_lacks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
