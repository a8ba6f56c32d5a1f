#include "controller/pool/local_commands.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct pool_object pool;
static struct local_paths paths;

static int setup(void **state)
{
    pool_object_init(&pool);
    local_paths_init(&paths, "/run/x", "/var/x");
    return 0;
}

static int teardown(void **state)
{
    pool_object_clear(&pool);
    local_paths_clear(&paths);
    return 0;
}

static char *joined(const struct args *a)
{
    struct buf text;

    buf_init(&text, 65536);
    for (size_t i = 0; i < a->count; i++) {
        buf_printf(&text, "%s%s", i > 0 ? " " : "", a->items[i]);
    }
    return buf_take(&text);
}

static void test_sidecar_command_line_is_as_documented(void **state)
{
    struct args a = {0};
    struct err err;

    assert_int_equal(local_sidecar_args(&pool, &paths, 2, "1764000000000", "192.0.2.1", &a, &err),
                     0);
    AUTO(str) char *text = joined(&a);
    assert_string_equal(
        text, "vpn-sidecar --pool fleet --index 2 --epoch 1764000000000 "
              "--management /run/x/server-2.sock --subnet 100.64.16.0/20 "
              "--control unix:/run/x/sidecar-2.sock --nss unix:/run/x/nss-2.sock "
              "--record /run/x/sidecar-2.json --proxy-listen 127.0.0.1:21002 "
              "--proxy-advertise 127.0.0.1:21002 --register-address 192.0.2.1 "
              "--state 127.0.0.1:8090 --auth-cache-seconds 60 --auth-grace-seconds 3600 "
              "--auth-max-in-flight 32 --drain-rate-per-minute 500 --drain-timeout-seconds 120 "
              "--bytecount-seconds 60");
    args_clear(&a);
}

static void test_sidecar_command_line_refuses_an_index_that_has_no_subnet(void **state)
{
    struct args a = {0};
    struct err err;

    assert_int_equal(local_sidecar_args(&pool, &paths, 1025, "1", NULL, &a, &err), -ERANGE);
    args_clear(&a);
}

static void test_connect_proxy_command_line_brackets_ipv6(void **state)
{
    struct args a = {0};

    free(pool.connect_proxy.listen);
    pool.connect_proxy.listen = xstrdup("::1");
    local_connect_proxy_args(&pool, &paths, "", &a);
    AUTO(str) char *text = joined(&a);
    assert_non_null(strstr(text, "--listen [::1]:3128 "));
    assert_null(strstr(text, "--self-address"));
    assert_null(strstr(text, "--tls-"));
    assert_null(strstr(text, "--proxy-protocol"));
    assert_non_null(strstr(text, " --owner /run/x/controller.sock"));
    args_clear(&a);
}

static void test_connect_proxy_command_line_has_tls_and_balancers(void **state)
{
    struct args a = {0};

    pool.connect_proxy.cert_file = xstrdup("/etc/vpn/p.crt");
    pool.connect_proxy.key_file = xstrdup("/etc/vpn/p.key");
    pool.connect_proxy.proxy_protocol = true;
    local_connect_proxy_args(&pool, &paths, "", &a);
    AUTO(str) char *text = joined(&a);
    assert_non_null(strstr(text, " --tls-cert /etc/vpn/p.crt --tls-key /etc/vpn/p.key"));
    assert_non_null(strstr(text, " --proxy-protocol"));
    args_clear(&a);
}

static void test_haproxy_command_line_takes_the_sockets_over(void **state)
{
    struct args a = {0};

    local_haproxy_args(&paths, 4711, &a);
    AUTO(str) char *text = joined(&a);
    assert_string_equal(text, "haproxy -db -f /run/x/haproxy.cfg -x /run/x/haproxy.sock -sf 4711");
    args_clear(&a);
}

static void test_state_command_line_names_its_owner(void **state)
{
    struct args a = {0};

    local_state_args(&pool, &paths, &a);
    AUTO(str) char *text = joined(&a);
    assert_string_equal(text, "vpn-state --listen 127.0.0.1:8090 --owner /run/x/controller.sock");
    args_clear(&a);
}

static void test_instance_path_is_parsed_as_it_is_made(void **state)
{
    static const char *const others[] = {
        "server-.sock",       "server-0.sock",         "server-01.sock", "server-1.socket",
        "xserver-1.sock",     "server-+1.sock",        "nss-1.json",     "",
        "server-1.sock.real", "server-4294967297.sock"};
    enum instance_path what;
    uint32_t index;

    for (int w = 0; w < INSTANCE_PATHS; w++) {
        AUTO(str) char *path = local_instance_path(&paths, (enum instance_path)w, 1024);
        assert_true(local_instance_path_parse(strrchr(path, '/') + 1, &what, &index));
        assert_int_equal(what, w);
        assert_int_equal(index, 1024);
    }
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        assert_false(local_instance_path_parse(others[i], &what, &index));
    }
}

static void test_args_revision_differs_when_a_word_does(void **state)
{
    struct args a = {0}, b = {0};
    char one[17], two[17];

    args_add(&a, "ab");
    args_add(&a, "c");
    args_add(&b, "a");
    args_add(&b, "bc");
    args_revision(&a, one);
    args_revision(&b, two);
    assert_string_not_equal(one, two);
    args_clear(&a);
    args_clear(&b);
}

static bool has(char *const *env, const char *start)
{
    for (; *env != NULL; env++) {
        if (strncmp(*env, start, strlen(start)) == 0) {
            return true;
        }
    }
    return false;
}

/* The programs need not be installed for this: a folder of empty ones. */
static void test_secrets_go_only_to_who_needs_them(void **state)
{
    char folder[] = "/tmp/test-tools-XXXXXX";
    struct local_tools t;
    struct err err;

    assert_non_null(mkdtemp(folder));
    for (int i = 0; i < LOCAL_TOOLS; i++) {
        AUTO(str) char *path = xasprintf("%s/%s", folder, local_tool_names[i]);
        FILE *f = fopen(path, "we");
        fputs("#!/bin/sh\n", f);
        fclose(f);
        AUTO(str) char *command = xasprintf("chmod +x %s", path);
        assert_int_equal(system(command), 0);
    }
    AUTO(str) char *with_ours = xasprintf("%s:%s", folder, getenv("PATH"));
    setenv("PATH", with_ours, 1);
    setenv("VPN_SERVICE_API_KEY", "s", 1);
    setenv("VPN_GUEST_API_KEY", "g", 1);
    setenv("MONITOR_SECRET_TOKEN", "m", 1);
    setenv("BALENA_API_HOST", "api.example.com", 1);
    setenv("VPN_OPENVPN_SERVER_KEY", "k", 1);
    assert_int_equal(local_tools_find(&t, &err), 0);
    assert_true(has(t.env[TOOL_SIDECAR], "VPN_SERVICE_API_KEY=s"));
    assert_true(has(t.env[TOOL_CONNECT_PROXY], "VPN_GUEST_API_KEY=g"));
    assert_true(has(t.env[TOOL_STATE], "VPN_SERVICE_API_KEY=s"));
    assert_false(has(t.env[TOOL_STATE], "VPN_GUEST_API_KEY"));
    assert_true(has(t.env[TOOL_HAPROXY], "MONITOR_SECRET_TOKEN=m"));
    for (int i = 0; i < LOCAL_TOOLS; i++) {
        assert_true(has(t.env[i], "PATH="));
        assert_false(has(t.env[i], "VPN_OPENVPN_SERVER_KEY"));
        if (i <= TOOL_NFT) {
            assert_false(has(t.env[i], "VPN_SERVICE_API_KEY"));
            assert_false(has(t.env[i], "BALENA_API_HOST"));
        }
        AUTO(str) char *path = xasprintf("%s/%s", folder, local_tool_names[i]);
        unlink(path);
    }
    local_tools_clear(&t);
    rmdir(folder);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_sidecar_command_line_is_as_documented),
        TEST(test_sidecar_command_line_refuses_an_index_that_has_no_subnet),
        TEST(test_connect_proxy_command_line_brackets_ipv6),
        TEST(test_connect_proxy_command_line_has_tls_and_balancers),
        TEST(test_haproxy_command_line_takes_the_sockets_over),
        TEST(test_state_command_line_names_its_owner),
        TEST(test_instance_path_is_parsed_as_it_is_made),
        TEST(test_args_revision_differs_when_a_word_does),
        TEST(test_secrets_go_only_to_who_needs_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
