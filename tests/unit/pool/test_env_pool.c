/* The original's variables: what each means, and what is said of a bad one. */
#include "tests/unit/cmocka_all.h"

#include "common/base.h"
#include "controller/pool/env_pool.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <string.h>

#define CORES 4

/* --- an environment with nothing but what a case says --- */

static char *certificate(const char *name)
{
    AUTO(str) char *path = xasprintf("%s/%s", POOL_TEST_TLS, name);
    AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    unsigned char text[16384];
    ssize_t len = read(fd, text, sizeof(text));
    char *encoded = xcalloc(1, 32768);

    assert_true(len > 0);
    EVP_EncodeBlock((unsigned char *)encoded, text, (int)len);
    return encoded;
}

static void set_certificate(const char *variable, const char *name)
{
    AUTO(str) char *text = certificate(name);

    setenv(variable, text, 1);
}

static void set_certificates(void)
{
    set_certificate("VPN_OPENVPN_CA_CRT", "ca.crt");
    set_certificate("VPN_OPENVPN_SERVER_CRT", "chain.crt");
    set_certificate("VPN_OPENVPN_SERVER_KEY", "server.key");
    set_certificate("VPN_OPENVPN_SERVER_DH", "dh2048.pem");
}

/* "A=1\nB=2" */
static void set_variables(const char *lines)
{
    AUTO(str) char *copy = xstrdup(lines);

    clearenv();
    set_certificates();
    for (char *rest = copy, *line; (line = strsep(&rest, "\n")) != NULL;) {
        char *equals = strchr(line, '=');
        if (equals != NULL) {
            *equals = '\0';
            setenv(line, equals + 1, 1);
        } else {
            unsetenv(line);
        }
    }
}

struct loaded {
    int r;
    struct pool_object pool;
    struct env_pem pem;
    struct env_notes notes;
    struct pool_errors errors, warnings;
};

static void load(struct loaded *l, const char *variables)
{
    *l = (struct loaded){0};
    pool_errors_init(&l->errors);
    pool_errors_init(&l->warnings);
    set_variables(variables);
    l->r = env_pool_load("/run/openvpn/tls", CORES, &l->pool, &l->pem, &l->notes, &l->errors,
                         &l->warnings);
}

static void load_good(struct loaded *l, const char *variables)
{
    load(l, variables);
    if (l->r < 0) {
        fail_msg("%s:\n%s", variables, buf_str(&l->errors.text));
    }
}

static void unload(struct loaded *l)
{
    pool_object_clear(&l->pool);
    env_pem_clear(&l->pem);
    buf_clear(&l->notes.text);
    pool_errors_clear(&l->errors);
    pool_errors_clear(&l->warnings);
}

/* --- what they mean --- */

static void test_env_pool_defaults(void **s)
{
    struct loaded l;

    load_good(&l, "");
    assert_string_equal(l.pool.name, "local");
    assert_int_equal(l.pool.replicas, CORES);
    assert_string_equal(subnet_format(l.pool.network.base).text, "100.64.0.0/10");
    assert_int_equal(l.pool.network.instance_prefix_len, 16);
    assert_int_equal(l.pool.openvpn.protocol, POOL_TCP);
    assert_int_equal(l.pool.haproxy.port, 443);
    assert_int_equal(l.pool.haproxy.idle_timeout_s, 60);
    assert_int_equal(l.pool.local.http_port, 80);
    assert_int_equal(l.pool.local.base_port, 10000);
    assert_int_equal(l.pool.connect_proxy.port, 3128);
    assert_string_equal(l.pool.openvpn.tls.ca_file, "/run/openvpn/tls/ca.crt");
    assert_string_equal(l.pool.openvpn.tls.cert_file, "/run/openvpn/tls/server.crt");
    assert_string_equal(l.pool.openvpn.tls.key_file, "/run/openvpn/tls/server.key");
    assert_string_equal(l.pool.openvpn.tls.dh_file, "/run/openvpn/tls/dh.pem");
    assert_non_null(strstr(l.pem.cert, "-----BEGIN CERTIFICATE-----"));
    assert_non_null(strstr(l.pem.key, "PRIVATE KEY-----"));
    assert_string_equal(buf_str(&l.notes.text), "");
    unload(&l);
}

static void test_env_pool_reads_every_variable(void **s)
{
    struct loaded l;

    load_good(&l, "VPN_PORT=8443\n"
                  "VPN_BASE_SUBNET=10.0.0.0/8\n"
                  "VPN_INSTANCE_SUBNET_BITMASK=24\n"
                  "VPN_GATEWAY=10.0.3.1\n"
                  "VPN_INSTANCE_COUNT=3\n"
                  "VPN_BASE_PORT=11000\n"
                  "VPN_CONNECT_PROXY_PORT=3129\n"
                  "VPN_FORWARD_PROXY_PORT=3130\n"
                  "VPN_CONNECT_INSTANCE_COUNT=2\n"
                  "VPN_OPENVPN_PROTO=tcp4-server\n"
                  "VPN_DATA_CIPHERS=AES-256-GCM:AES-128-CBC\n"
                  "VPN_OPENSSL_PROVIDERS=legacy default\n"
                  "VPN_KEEPALIVE_FREQUENCY=20\n"
                  "VPN_KEEPALIVE_TIMEOUT=90\n"
                  "VPN_BYTECOUNT_INTERVAL=0\n"
                  "VPN_STATUS_FILE_WRITE_INTERVAL_SECONDS=30\n"
                  "VPN_AUTH_CACHE_TIMEOUT=1500\n"
                  "DEFAULT_SIGTERM_TIMEOUT=60\n"
                  "MINIMUM_DRAIN_RATE_PER_MINUTE=100\n"
                  "VPN_SERVICE_REGISTER_INTERFACE=eth0\n"
                  "VPN_DOWNRATE=10mbit\n"
                  "VPN_UPRATE=2mbit\n"
                  "VPN_HAPROXY_MAXCONN=500\n"
                  "VPN_HAPROXY_TIMEOUT=120\n"
                  "HAPROXY_NBTHREAD=4\n"
                  "HAPROXY_CPU_MAP=auto:1/1-4 0-3\n"
                  "VPN_HAPROXY_USEPROXYPROTOCOL=True\n");
    assert_int_equal(l.pool.haproxy.port, 8443);
    assert_string_equal(subnet_format(l.pool.network.base).text, "10.0.0.0/8");
    assert_int_equal(l.pool.network.instance_prefix_len, 24);
    assert_string_equal(address_format(l.pool.network.gateway).text, "10.0.3.1");
    assert_int_equal(l.pool.replicas, 3);
    assert_int_equal(l.pool.local.base_port, 11000);
    assert_int_equal(l.pool.connect_proxy.port, 3129);
    assert_int_equal(l.pool.connect_proxy.forward_port, 3130);
    assert_int_equal(l.pool.connect_proxy.workers, 2);
    assert_int_equal(l.pool.openvpn.protocol, POOL_TCP4);
    assert_string_equal(l.pool.openvpn.data_ciphers, "AES-256-GCM:AES-128-CBC");
    assert_string_equal(l.pool.openvpn.openssl_providers, "legacy:default");
    assert_int_equal(l.pool.openvpn.keepalive_interval_s, 20);
    assert_int_equal(l.pool.openvpn.keepalive_timeout_s, 90);
    assert_int_equal(l.pool.openvpn.bytecount_s, 0);
    assert_int_equal(l.pool.openvpn.status_interval_s, 30);
    assert_int_equal(l.pool.auth.cache_s, 2);
    assert_int_equal(l.pool.drain.timeout_s, 60);
    assert_int_equal(l.pool.drain.rate_per_minute, 100);
    assert_string_equal(l.pool.local.register_interface, "eth0");
    assert_true(l.pool.throttle.down == 10000000 && l.pool.throttle.up == 2000000);
    assert_int_equal(l.pool.haproxy.max_connections, 500);
    assert_int_equal(l.pool.haproxy.idle_timeout_s, 120);
    assert_int_equal(l.pool.haproxy.threads, 4);
    assert_string_equal(l.pool.haproxy.cpu_map, "auto:1/1-4 0-3");
    assert_true(l.pool.haproxy.proxy_protocol);
    assert_string_equal(buf_str(&l.notes.text), "");
    unload(&l);
}

/* The original's rule: base prefix + ceil(log2(instances)), never below 16. */
static void test_env_pool_divides_the_base_subnet(void **s)
{
    static const struct {
        const char *base;
        unsigned count, prefix;
    } cases[] = {
        {"100.64.0.0/10", 1, 16}, {"100.64.0.0/10", 64, 16}, {"100.64.0.0/10", 65, 17},
        {"10.0.0.0/16", 1, 16},   {"10.0.0.0/16", 2, 17},    {"10.0.0.0/16", 3, 18},
        {"10.0.0.0/16", 4, 18},   {"10.0.0.0/16", 5, 19},    {"10.0.0.0/24", 8, 27},
        {"10.0.0.0/24", 32, 29},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct loaded l;
        AUTO(str)
        char *variables =
            xasprintf("VPN_BASE_SUBNET=%s\nVPN_INSTANCE_COUNT=%u\n", cases[i].base, cases[i].count);
        load_good(&l, variables);
        assert_int_equal(l.pool.replicas, cases[i].count);
        assert_int_equal(l.pool.network.instance_prefix_len, cases[i].prefix);
        unload(&l);
    }
}

static void test_env_pool_takes_other_ways_to_say_it(void **s)
{
    struct loaded l;

    load_good(&l, "VPN_INSTANCE_COUNT=0\n"); /* as many as there are cores */
    assert_int_equal(l.pool.replicas, CORES);
    unload(&l);

    load_good(&l, "VPN_OPENVPN_PROTO=udp4\nVPN_UDP_SERVER_EXPLICIT_EXIT_NOTIFY=1\n");
    assert_int_equal(l.pool.replicas, 1);
    assert_int_equal(l.pool.openvpn.protocol, POOL_UDP4);
    assert_int_equal(l.pool.openvpn.explicit_exit_notify, 1);
    unload(&l);

    load_good(&l, "BALENA_VPN_GATEWAY=100.65.0.1\nMINIMUM_DRAIN_RATE=7\nHAPROXY_CPU_MAP=auto\n");
    assert_string_equal(address_format(l.pool.network.gateway).text, "100.65.0.1");
    assert_int_equal(l.pool.drain.rate_per_minute, 7);
    assert_null(l.pool.haproxy.cpu_map);
    unload(&l);

    load_good(&l, "VPN_GATEWAY=100.65.0.1\nBALENA_VPN_GATEWAY=100.65.0.1\n"); /* twice the same */
    unload(&l);

    load_good(&l, "VPN_GATEWAY=\nVPN_INSTANCE_COUNT=\nVPN_DOWNRATE=\n"); /* set to nothing */
    assert_int_equal(l.pool.network.gateway, 0);
    assert_int_equal(l.pool.replicas, CORES);
    unload(&l);

    load_good(&l, "VPN_PORT=80\n"); /* then there is no port for /ping */
    assert_int_equal(l.pool.local.http_port, 0);
    unload(&l);

    load_good(&l, "VPN_OPENVPN_SERVER_DH\n"); /* not needed any more */
    assert_null(l.pool.openvpn.tls.dh_file);
    assert_null(l.pem.dh);
    unload(&l);
}

/* base64 as `base64` prints it, with line ends. */
static void test_env_pool_takes_wrapped_base64(void **s)
{
    AUTO(str) char *text = certificate("ca.crt");
    AUTO(buf) struct buf wrapped;
    struct loaded l;

    buf_init(&wrapped, 65536);
    for (size_t i = 0; i < strlen(text); i += 76) {
        buf_printf(&wrapped, "%.76s\n", text + i);
    }
    l = (struct loaded){0};
    pool_errors_init(&l.errors);
    set_variables("");
    setenv("VPN_OPENVPN_CA_CRT", buf_str(&wrapped), 1);
    l.r = env_pool_load("/tls", CORES, &l.pool, &l.pem, &l.notes, &l.errors, NULL);
    assert_int_equal(l.r, 0);
    assert_non_null(strstr(l.pem.ca, "-----END CERTIFICATE-----"));
    unload(&l);
}

static void test_env_pool_notes_what_it_does_not_use(void **s)
{
    struct loaded l;

    load_good(&l, "VPN_API_PORT=30000\nVPN_BASE_MANAGEMENT_PORT=20000\nDELAY_ON_AUTH_FAIL=10000\n"
                  "LEARN_ADDRESS_DEBUG=1\nVPN_SENTRY_DSN=https://x\nVPN_PROTO=x\nTRUST_PROXY=1\n"
                  "VPN_SERVICE_API_KEY=k\nVPN_GUEST_API_KEY=g\nMONITOR_SECRET_TOKEN=t\nHOME=/\n");
    assert_string_equal(
        buf_str(&l.notes.text),
        "VPN_BASE_MANAGEMENT_PORT is not used: management interfaces are unix sockets\n"
        "VPN_API_PORT is not used: there is no internal API\n"
        "DELAY_ON_AUTH_FAIL is not used: a refusal is answered at once, repeated ones are limited\n"
        "TRUST_PROXY is not used: there is no web framework\n"
        "LEARN_ADDRESS_DEBUG is not used: throttling needs no scripts\n"
        "VPN_SENTRY_DSN is not used: errors are in the log\n"
        "VPN_PROTO is not used: no such variable\n");
    unload(&l);
}

/* --- what is wrong --- */

static void test_env_pool_refuses(void **s)
{
    static const struct {
        const char *variables, *errors;
    } cases[] = {
        {"VPN_PORT=99999\n", "VPN_PORT: 99999 is not in 1 to 65535\n"},
        {"VPN_PORT=tcp://10.0.0.1:443\n", "VPN_PORT: 'tcp://10.0.0.1:443' is not a whole number\n"},
        {"VPN_INSTANCE_COUNT=many\n", "VPN_INSTANCE_COUNT: 'many' is not a whole number\n"},
        {"VPN_INSTANCE_COUNT=1025\n", "VPN_INSTANCE_COUNT: 1025 is not in 0 to 1024\n"},
        {"VPN_BASE_SUBNET=10.0.0.0\n",
         "VPN_BASE_SUBNET: '10.0.0.0' is not an IPv4 subnet such as 100.64.0.0/10\n"},
        {"VPN_INSTANCE_SUBNET_BITMASK=15\n",
         "VPN_INSTANCE_SUBNET_BITMASK: 15 is not in 16 to 29\n"},
        {"VPN_BASE_SUBNET=10.0.0.0/24\nVPN_INSTANCE_SUBNET_BITMASK=26\nVPN_INSTANCE_COUNT=5\n",
         "VPN_INSTANCE_COUNT: 5 instances of /26 do not fit into 10.0.0.0/24: 4 do\n"},
        {"VPN_BASE_SUBNET=10.0.0.0/28\nVPN_INSTANCE_COUNT=8\n",
         "VPN_INSTANCE_SUBNET_BITMASK: 31 is not in 16 to 29\n"},
        {"VPN_GATEWAY=10.0.0.1\n",
         "VPN_GATEWAY: 10.0.0.1 is not in the base subnet 100.64.0.0/10\n"},
        {"VPN_GATEWAY=100.64.0.1\nBALENA_VPN_GATEWAY=100.65.0.1\n",
         "VPN_GATEWAY: '100.64.0.1' contradicts BALENA_VPN_GATEWAY, which is '100.65.0.1'\n"},
        {"VPN_OPENVPN_PROTO=sctp\n",
         "VPN_OPENVPN_PROTO: 'sctp' is none of tcp-server, tcp4-server, "
         "tcp6-server, udp, udp4, udp6\n"},
        {"VPN_OPENVPN_PROTO=udp\nVPN_INSTANCE_COUNT=2\n",
         "VPN_OPENVPN_PROTO: udp cannot be balanced: it takes 1 replica, not 2\n"},
        {"VPN_UDP_SERVER_EXPLICIT_EXIT_NOTIFY=1\n",
         "VPN_UDP_SERVER_EXPLICIT_EXIT_NOTIFY: has a meaning with udp only\n"},
        {"VPN_DATA_CIPHERS=AES-128-GCM:;rm\n", "VPN_DATA_CIPHERS: ';rm' is not a name\n"},
        {"VPN_DATA_CIPHERS=::\n", "VPN_DATA_CIPHERS: is a list, not a list of names\n"},
        {"VPN_KEEPALIVE_FREQUENCY=50\n",
         "VPN_KEEPALIVE_TIMEOUT: 60 is less than twice VPN_KEEPALIVE_FREQUENCY (50): one lost "
         "ping would end a link\n"},
        {"VPN_AUTH_CACHE_TIMEOUT=1 minute\n",
         "VPN_AUTH_CACHE_TIMEOUT: '1 minute' is not a number of milliseconds, 0 to 999999999\n"},
        {"VPN_DOWNRATE=10mbit\n",
         "VPN_DOWNRATE, VPN_UPRATE: has down without up: give both or neither\n"},
        {"VPN_DOWNRATE=fast\nVPN_UPRATE=1mbit\n",
         "VPN_DOWNRATE: 'fast' is not a rate such as 500kbit, 10mbit or 1gbit\n"},
        {"VPN_HAPROXY_USEPROXYPROTOCOL=maybe\n",
         "VPN_HAPROXY_USEPROXYPROTOCOL: 'maybe' is not true or false\n"},
        {"HAPROXY_CPU_MAP=$(x)\n", "HAPROXY_CPU_MAP: '$(x)' is not a cpu-map of haproxy's\n"},
        {"VPN_OPENVPN_CA_CRT\n", "VPN_OPENVPN_CA_CRT: is missing: base64 of a PEM text\n"},
        {"VPN_OPENVPN_CA_CRT=-----BEGIN CERTIFICATE-----\n",
         "VPN_OPENVPN_CA_CRT: is not base64 of a PEM text\n"},
        {"VPN_OPENVPN_SERVER_CRT=aGVsbG8=\n",
         "VPN_OPENVPN_SERVER_CRT: the value holds no PEM certificate\n"},
        {"VPN_OPENVPN_SERVER_KEY=aGVsbG8=\n",
         "VPN_OPENVPN_SERVER_KEY: the value holds no PEM private key without a passphrase\n"},
        {"VPN_OPENVPN_SERVER_DH=aGVsbG8=\n",
         "VPN_OPENVPN_SERVER_DH: the value holds no PEM DH parameters\n"},
        /* all at once */
        {"VPN_PORT=0\nVPN_OPENVPN_SERVER_KEY\nVPN_BASE_PORT=x\n",
         "VPN_OPENVPN_SERVER_KEY: is missing: base64 of a PEM text\n"
         "VPN_BASE_PORT: 'x' is not a whole number\n"
         "VPN_PORT: 0 is not in 1 to 65535\n"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct loaded l;
        AUTO(buf) struct buf wanted;
        AUTO(str) char *copy = xstrdup(cases[i].errors);
        buf_init(&wanted, 65536);
        for (char *rest = copy, *line; (line = strsep(&rest, "\n")) != NULL && *line != '\0';) {
            buf_printf(&wanted, "environment: %s\n", line);
        }
        load(&l, cases[i].variables);
        assert_string_equal(buf_str(&l.errors.text), buf_str(&wanted));
        assert_int_equal(l.r, -EINVAL);
        assert_null(l.pem.key);
        unload(&l);
    }
}

static void test_env_pool_refuses_a_key_of_another_certificate(void **s)
{
    struct loaded l = {0};

    pool_errors_init(&l.errors);
    set_variables("");
    set_certificate("VPN_OPENVPN_SERVER_CRT", "client.crt");
    l.r = env_pool_load("/tls", CORES, &l.pool, &l.pem, &l.notes, &l.errors, NULL);
    assert_int_equal(l.r, -EINVAL);
    assert_string_equal(buf_str(&l.errors.text),
                        "environment: VPN_OPENVPN_SERVER_KEY: the value does not belong to the "
                        "certificate\n");
    unload(&l);
}

/* Later checks speak of variables as well, also where the other side has none. */
static void test_env_pool_names_variables_in_local_checks(void **s)
{
    static const struct {
        const char *variables, *error;
    } cases[] = {
        {"VPN_PORT=3128\n", "VPN_PORT: port 3128 is taken by VPN_CONNECT_PROXY_PORT\n"},
        {"VPN_CONNECT_PROXY_PORT=80\n",
         "VPN_CONNECT_PROXY_PORT: port 80 is taken by the port of /ping and metrics\n"},
        {"VPN_PORT=8090\n", "VPN_PORT: port 8090 is taken by the state service's port\n"},
        {"VPN_BASE_PORT=20999\n",
         "VPN_BASE_PORT: port 21001 is taken by the ports of the sidecars' proxies\n"},
        {"VPN_SERVICE_REGISTER_INTERFACE=nosuch0\n",
         "VPN_SERVICE_REGISTER_INTERFACE: there is no interface 'nosuch0'\n"},
        {"VPN_DOWNRATE=1kbit\nVPN_UPRATE=1mbit\n",
         "VPN_DOWNRATE: 1000 bit/s is not in 8kbit to 100gbit\n"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct loaded l;
        AUTO(str) char *wanted = xasprintf("environment: %s", cases[i].error);
        load_good(&l, cases[i].variables);
        assert_int_equal(pool_object_check_local("environment", &l.pool, &l.errors, NULL), -EINVAL);
        assert_string_equal(buf_str(&l.errors.text), wanted);
        unload(&l);
    }
}

/* Their certificates are no files yet. */
static void test_env_pool_warns_of_certificates(void **s)
{
    struct loaded l = {0};

    pool_errors_init(&l.errors);
    pool_errors_init(&l.warnings);
    set_variables("");
    set_certificate("VPN_OPENVPN_CA_CRT", "client.crt");
    l.r = env_pool_load("/tls", CORES, &l.pool, &l.pem, &l.notes, &l.errors, &l.warnings);
    assert_int_equal(l.r, 0);
    assert_int_equal(pool_object_check_local("environment", &l.pool, &l.errors, NULL), 0);
    assert_string_equal(buf_str(&l.warnings.text),
                        "environment: VPN_OPENVPN_SERVER_CRT: the value was not signed by the CA: "
                        "devices that trust that CA refuse it\n");
    unload(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_env_pool_defaults),
        cmocka_unit_test(test_env_pool_reads_every_variable),
        cmocka_unit_test(test_env_pool_divides_the_base_subnet),
        cmocka_unit_test(test_env_pool_takes_other_ways_to_say_it),
        cmocka_unit_test(test_env_pool_takes_wrapped_base64),
        cmocka_unit_test(test_env_pool_notes_what_it_does_not_use),
        cmocka_unit_test(test_env_pool_refuses),
        cmocka_unit_test(test_env_pool_refuses_a_key_of_another_certificate),
        cmocka_unit_test(test_env_pool_names_variables_in_local_checks),
        cmocka_unit_test(test_env_pool_warns_of_certificates),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
