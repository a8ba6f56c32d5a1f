/* What the real haproxy thinks of the file that it would get. */
#include "controller/pool/local_haproxy.h"

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

static struct local_paths paths;

static int setup(void **state)
{
    local_paths_init(&paths, "/run/nobody-has-this", "/var/lib/nobody-has-this");
    return 0;
}

static int teardown(void **state)
{
    local_paths_clear(&paths);
    return 0;
}

/* -> what is wrong, owned by the caller */
static char *check(const char *spec)
{
    AUTO(str) char *text = xasprintf("%s%s", POOL, spec);
    struct pool_object pool;
    struct pool_errors errors;

    pool_errors_init(&errors);
    assert_int_equal(pool_object_parse("f", text, strlen(text), &pool, &errors), 0);
    int r = local_haproxy_check("f", &pool, &paths, &errors);
    assert_int_equal(r, errors.count > 0 ? -EINVAL : 0);
    pool_object_clear(&pool);
    char *found = xstrdup(buf_str(&errors.text));
    pool_errors_clear(&errors);
    return found;
}

static bool has_haproxy(void)
{
    AUTO(str) char *path = NULL;

    return process_find_program("haproxy", false, &path, NULL) == 0;
}

static void test_haproxy_takes_what_we_write(void **state)
{
    static const char *const specs[] = {
        "  replicas: 1\n",
        "  haproxy: {cpuMap: \"auto:1/1-2 0-1\", proxyProtocol: true, threads: 2}\n",
        "  local: {httpPort: 80}\n",
        "  openvpn: {protocol: udp}\n",
    };

    for (size_t i = 0; i < ARRAY_LEN(specs); i++) {
        AUTO(str) char *found = check(specs[i]);
        assert_string_equal(found, "");
    }
}

static void test_haproxy_says_itself_what_is_wrong(void **state)
{
    if (!has_haproxy()) {
        skip();
    }
    AUTO(str) char *found = check("  haproxy: {cpuMap: \"auto:1/1-2 0-1 zz\"}\n");
    assert_non_null(strstr(found, "f:5:21: spec.haproxy.cpuMap: haproxy refuses it: "));
    assert_non_null(strstr(found, "zz"));
    assert_null(strstr(found, "/proc/"));
}

/* Nothing of ours but its file is told to it. */
static void test_haproxy_is_checked_without_secrets(void **state)
{
    setenv("MONITOR_SECRET_TOKEN", "two words \" and a quote", 1);
    AUTO(str) char *found = check("  local: {httpPort: 80}\n");
    unsetenv("MONITOR_SECRET_TOKEN");
    assert_string_equal(found, "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_haproxy_takes_what_we_write),
        TEST(test_haproxy_says_itself_what_is_wrong),
        TEST(test_haproxy_is_checked_without_secrets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
