#include "controller/balancer/haproxy_config.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

static const struct haproxy_config plain = {
    .port = 443,
    .max_connections = 10000,
    .idle_timeout_s = 60,
    .threads = 2,
    .runtime_socket = "/tmp/haproxy-config-test.sock",
    .state_port = 8090,
    .connect_proxy_metrics_port = 8091,
    .controller_socket = "/tmp/controller.sock",
};

/* Does haproxy itself accept it, without a warning? Skipped where there is no haproxy. */
static void assert_haproxy_accepts(const struct haproxy_config *config)
{
    struct buf text;
    struct err err;
    char path[] = "/tmp/haproxy-config-XXXXXX";

    if (access("/usr/sbin/haproxy", X_OK) != 0) {
        skip();
    }
    buf_init(&text, 65536);
    assert_int_equal(haproxy_config_render(config, &text, &err), 0);
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text.data, text.len), (ssize_t)text.len);
    close(fd);
    AUTO(str)
    char *command =
        xasprintf("MONITOR_SECRET_TOKEN=secret /usr/sbin/haproxy -c -dW -f %s >/dev/null", path);
    assert_int_equal(system(command), 0);
    unlink(path);
    buf_clear(&text);
}

static void test_haproxy_config_is_accepted_by_haproxy(void **state)
{
    assert_haproxy_accepts(&plain);
}

static void test_haproxy_config_with_everything_is_accepted_by_haproxy(void **state)
{
    struct haproxy_config all = plain;

    all.proxy_protocol = true;
    all.ipv6 = access("/proc/net/if_inet6", F_OK) == 0;
    all.user = "nobody";
    all.http_port = 80;
    all.metrics = true;
    assert_haproxy_accepts(&all);
}

static void test_haproxy_config_names_no_server_of_an_instance(void **state)
{
    struct buf text;
    struct err err;

    buf_init(&text, 65536);
    assert_int_equal(haproxy_config_render(&plain, &text, &err), 0);
    assert_null(strstr(buf_str(&text), "    server "));
    assert_non_null(strstr(buf_str(&text), "bind *:443\n"));
    buf_clear(&text);
}

static void test_haproxy_config_refuses_a_path_with_a_blank(void **state)
{
    struct haproxy_config odd = plain;
    struct buf text;
    struct err err;

    odd.runtime_socket = "/tmp/a b.sock";
    buf_init(&text, 65536);
    assert_int_equal(haproxy_config_render(&odd, &text, &err), -EINVAL);
    buf_clear(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_haproxy_config_is_accepted_by_haproxy),
        cmocka_unit_test(test_haproxy_config_with_everything_is_accepted_by_haproxy),
        cmocka_unit_test(test_haproxy_config_names_no_server_of_an_instance),
        cmocka_unit_test(test_haproxy_config_refuses_a_path_with_a_blank),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
