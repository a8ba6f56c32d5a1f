/* OpenVPN's command line, to the letter. test_openvpn_real.c starts the real one with it. */
#include "tests/unit/cmocka_all.h"

#include "common/base.h"
#include "controller/pool/openvpn_args.h"

#include <errno.h>
#include <string.h>

#define HEAD                                   \
    "apiVersion: vpn.openbalena.io/v1alpha1\n" \
    "kind: VPNPool\n"                          \
    "metadata: {name: fleet}\n"                \
    "spec:\n"

static const struct openvpn_paths local_paths = {
    .program = "/usr/sbin/openvpn",
    .management = "/run/openvpn/server-2.sock",
    .status_file = "/run/openvpn/server-2.status",
    .ca_file = "/tls/ca.crt",
    .cert_file = "/tls/server.crt",
    .key_file = "/tls/server.key",
    .management_user = "root",
    .listen_address = "127.0.0.1",
    .port = 10002,
};

static void check(const char *spec, const struct openvpn_paths *paths, uint32_t index,
                  const char *wanted)
{
    AUTO(str) char *text = xasprintf("%s%s", HEAD, spec);
    struct pool_errors errors;
    struct pool_object pool;
    struct openvpn_args args;

    pool_errors_init(&errors);
    assert_int_equal(pool_object_parse("f", text, strlen(text), &pool, &errors), 0);
    assert_int_equal(openvpn_args_make(&pool, index, paths, &args, NULL), 0);
    AUTO(str) char *line = openvpn_args_text(&args);
    assert_string_equal(line, wanted);
    assert_null(args.argv[args.count]);
    openvpn_args_clear(&args);
    pool_object_clear(&pool);
    pool_errors_clear(&errors);
}

static void test_openvpn_args_of_a_local_instance(void **s)
{
    check("  replicas: 2\n", &local_paths, 2,
          "/usr/sbin/openvpn --mode server"
          " --proto tcp-server --local 127.0.0.1 --port 10002 --tcp-nodelay"
          " --dev tun2 --dev-type tun --topology p2p"
          " --ifconfig 100.64.16.1 100.64.16.2 --ifconfig-pool 100.64.16.3 100.64.31.254"
          " --route 100.64.16.0 255.255.240.0 --push 'route 100.64.16.1' --max-clients 4092"
          " --ping 10 --ping-exit 120 --push 'ping 10' --push 'ping-exit 60'"
          " --push 'sndbuf 0' --push 'rcvbuf 0'"
          " --tls-server --tls-version-min 1.2 --dh none"
          " --ca /tls/ca.crt --cert /tls/server.crt --key /tls/server.key"
          " --data-ciphers "
          "AES-128-GCM:AES-192-GCM:AES-256-GCM:AES-128-CBC:AES-192-CBC:AES-256-CBC"
          " --compress migrate --hand-window 60 --tls-timeout 20"
          " --reneg-sec 0 --reneg-bytes 1073741824"
          " --verify-client-cert none --username-as-common-name"
          " --management /run/openvpn/server-2.sock unix --management-hold"
          " --management-client-auth --management-client-user root"
          " --status /run/openvpn/server-2.status 10 --status-version 2"
          " --user nobody --group nogroup --persist-key --persist-tun --verb 1");
}

static void test_openvpn_args_follow_the_object(void **s)
{
    struct openvpn_paths paths = local_paths;

    paths.dh_file = "/tls/dh.pem";
    check("  network: {baseSubnet: 10.0.0.0/8, instancePrefixLength: 29, gateway: 10.0.1.1}\n"
          "  openvpn:\n"
          "    protocol: tcp4\n"
          "    dataCiphers: [AES-256-GCM]\n"
          "    opensslProviders: [legacy, default]\n"
          "    keepalive: {intervalSeconds: 7, timeoutSeconds: 21}\n"
          "    handWindowSeconds: 30\n"
          "    statusIntervalSeconds: 5\n",
          &paths, 3,
          "/usr/sbin/openvpn --mode server"
          " --proto tcp4-server --local 127.0.0.1 --port 10002 --tcp-nodelay"
          " --dev tun3 --dev-type tun --topology p2p"
          " --ifconfig 10.0.1.1 10.0.0.18 --ifconfig-pool 10.0.0.19 10.0.0.22"
          " --route 10.0.0.16 255.255.255.248 --push 'route 10.0.1.1' --max-clients 4"
          " --ping 7 --ping-exit 42 --push 'ping 7' --push 'ping-exit 21'"
          " --push 'sndbuf 0' --push 'rcvbuf 0'"
          " --tls-server --tls-version-min 1.2 --dh /tls/dh.pem"
          " --ca /tls/ca.crt --cert /tls/server.crt --key /tls/server.key"
          " --data-ciphers AES-256-GCM --compress migrate"
          " --providers legacy default --hand-window 30 --tls-timeout 20"
          " --reneg-sec 0 --reneg-bytes 1073741824"
          " --verify-client-cert none --username-as-common-name"
          " --management /run/openvpn/server-2.sock unix --management-hold"
          " --management-client-auth --management-client-user root"
          " --status /run/openvpn/server-2.status 5 --status-version 2"
          " --user nobody --group nogroup --persist-key --persist-tun --verb 1");
}

/* A container: its own network, its own user, no file to write. */
static void test_openvpn_args_of_a_container(void **s)
{
    struct openvpn_paths paths = {
        .program = "openvpn",
        .management = "/run/m.sock",
        .ca_file = "/tls/ca.crt",
        .cert_file = "/tls/tls.crt",
        .key_file = "/tls/tls.key",
        .port = 1194,
        .keep_user = true,
    };

    check("  openvpn: {protocol: udp, explicitExitNotify: 1}\n", &paths, 1,
          "openvpn --mode server --proto udp --port 1194 --explicit-exit-notify 1"
          " --dev tun1 --dev-type tun --topology p2p"
          " --ifconfig 100.64.0.1 100.64.0.2 --ifconfig-pool 100.64.0.3 100.64.15.254"
          " --route 100.64.0.0 255.255.240.0 --push 'route 100.64.0.1' --max-clients 4092"
          " --ping 10 --ping-exit 120 --push 'ping 10' --push 'ping-exit 60'"
          " --push 'sndbuf 0' --push 'rcvbuf 0'"
          " --tls-server --tls-version-min 1.2 --dh none"
          " --ca /tls/ca.crt --cert /tls/tls.crt --key /tls/tls.key"
          " --data-ciphers "
          "AES-128-GCM:AES-192-GCM:AES-256-GCM:AES-128-CBC:AES-192-CBC:AES-256-CBC"
          " --compress migrate --hand-window 60 --tls-timeout 20"
          " --reneg-sec 0 --reneg-bytes 1073741824"
          " --verify-client-cert none --username-as-common-name"
          " --management /run/m.sock unix --management-hold --management-client-auth"
          " --persist-key --persist-tun --verb 1");
}

static void test_openvpn_args_refuse_an_index_outside(void **s)
{
    struct pool_object pool;
    struct openvpn_args args;

    pool_object_init(&pool);
    assert_int_equal(openvpn_args_make(&pool, 0, &local_paths, &args, NULL), -ERANGE);
    assert_int_equal(openvpn_args_make(&pool, 1025, &local_paths, &args, NULL), -ERANGE);
    assert_int_equal(openvpn_args_make(&pool, 1024, &local_paths, &args, NULL), 0);
    openvpn_args_clear(&args);
    pool_object_clear(&pool);
}

/* More devices than OpenVPN has room for. */
static void test_openvpn_args_bound_the_clients(void **s)
{
    struct pool_object pool;
    struct openvpn_args args;

    pool_object_init(&pool);
    pool.network.instance_prefix_len = 16;
    assert_int_equal(openvpn_args_make(&pool, 1, &local_paths, &args, NULL), 0);
    AUTO(str) char *line = openvpn_args_text(&args);
    assert_non_null(strstr(line, " --max-clients 32768 "));
    openvpn_args_clear(&args);
    pool_object_clear(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_openvpn_args_of_a_local_instance),
        cmocka_unit_test(test_openvpn_args_follow_the_object),
        cmocka_unit_test(test_openvpn_args_of_a_container),
        cmocka_unit_test(test_openvpn_args_refuse_an_index_outside),
        cmocka_unit_test(test_openvpn_args_bound_the_clients),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
