/* What is said of the environment before anything is started. */
#include "controller/pool/local_load.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct local_paths paths;
static struct local_findings findings;

static int setup(void **state)
{
    local_paths_init(&paths, "/run/nobody-has-this", "/var/lib/nobody-has-this");
    local_findings_init(&findings);
    return 0;
}

static int teardown(void **state)
{
    local_findings_clear(&findings);
    local_paths_clear(&paths);
    return 0;
}

/* With a pool file that is not there: what is wrong with the environment is said all the same.
 * -> all errors, borrowed */
static const char *load(void)
{
    struct local_settings settings = {.file = "/nobody/has/this.yaml"};
    struct pool_object pool;
    struct env_pem pem;

    assert_int_equal(local_load_pool(&settings, &paths, &pool, &pem, &findings), -EINVAL);
    return buf_str(&findings.errors.text);
}

static void test_local_load_names_a_key_that_cannot_be_sent_and_does_not_tell_it(void **state)
{
    static const char *const names[] = {"VPN_SERVICE_API_KEY", "VPN_GUEST_API_KEY",
                                        "MONITOR_SECRET_TOKEN"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        AUTO(str) char *begin = xasprintf("environment: %s: holds a ", names[i]);
        setenv(names[i], "hush\nhush", 1);
        assert_non_null(strstr(load(), begin));
        assert_null(strstr(load(), "hush"));
        unsetenv(names[i]);
    }
}

static void test_local_load_takes_a_password_of_several_words(void **state)
{
    setenv("MONITOR_SECRET_TOKEN", "two words \" and \xc3\xa9", 1);
    assert_null(strstr(load(), "MONITOR_SECRET_TOKEN"));
    unsetenv("MONITOR_SECRET_TOKEN");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_local_load_names_a_key_that_cannot_be_sent_and_does_not_tell_it),
        TEST(test_local_load_takes_a_password_of_several_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
