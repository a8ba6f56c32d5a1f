/* What only the machine can tell: certificates, ports, interfaces. */
#include "tests/unit/cmocka_all.h"

#include "common/base.h"
#include "controller/pool/object.h"
#include "controller/pool/tls_check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define HEAD                                   \
    "apiVersion: vpn.openbalena.io/v1alpha1\n" \
    "kind: VPNPool\n"                          \
    "metadata: {name: fleet}\n"                \
    "spec:\n"
#define TLS "  openvpn: {tls: {caFile: ca.crt, certFile: server.crt, keyFile: server.key}}\n"
#define FILE_NAME POOL_TEST_TLS "/pool.yaml" /* not there: only what it says is given */

struct local_case {
    const char *spec; /* from line 5 */
    const char *errors, *warnings;
};

static const struct local_case certificates[] = {
    {TLS, "", ""},
    {"  openvpn: {tls: {caFile: ca.crt, certFile: chain.crt, keyFile: server.key, dhFile: "
     "dh2048.pem}}\n",
     "", ""},
    {"  replicas: 1\n",
     "5:3: spec.openvpn.tls.caFile: is missing: one machine needs caFile, certFile and keyFile\n"
     "5:3: spec.openvpn.tls.certFile: is missing: one machine needs caFile, certFile and keyFile\n"
     "5:3: spec.openvpn.tls.keyFile: is missing: one machine needs caFile, certFile and keyFile\n",
     ""},
    {"  openvpn: {tls: {secretName: s}}\n",
     "5:31: spec.openvpn.tls.secretName: is for Kubernetes: one machine needs caFile, certFile and "
     "keyFile\n",
     ""},
    {"  openvpn: {tls: {caFile: none.crt, certFile: tls, keyFile: server.key}}\n",
     "5:27: spec.openvpn.tls.caFile: 'T/none.crt' cannot be read: No such file or directory\n"
     "5:47: spec.openvpn.tls.certFile: 'T/tls' cannot be read: No such file or directory\n",
     ""},
    {"  openvpn: {tls: {caFile: ., certFile: server.crt, keyFile: server.key}}\n",
     "5:27: spec.openvpn.tls.caFile: 'T/.' cannot be read: Is a directory\n", ""},
    {"  openvpn: {tls: {caFile: server.key, certFile: dh2048.pem, keyFile: ca.crt}}\n",
     "5:27: spec.openvpn.tls.caFile: 'T/server.key' holds no PEM certificate\n"
     "5:49: spec.openvpn.tls.certFile: 'T/dh2048.pem' holds no PEM certificate\n"
     "5:70: spec.openvpn.tls.keyFile: 'T/ca.crt' holds no PEM private key without a passphrase\n",
     ""},
    {"  openvpn: {tls: {caFile: ca.crt, certFile: ca.crt, keyFile: server.key}}\n",
     "5:62: spec.openvpn.tls.keyFile: 'T/server.key' does not belong to the certificate\n",
     "5:45: spec.openvpn.tls.certFile: 'T/ca.crt' is not marked for TLS servers (extendedKeyUsage "
     "serverAuth): devices refuse it\n"},
    {"  openvpn: {tls: {caFile: ca.crt, certFile: server.crt, keyFile: encrypted.key}}\n",
     "5:66: spec.openvpn.tls.keyFile: 'T/encrypted.key' holds no PEM private key without a "
     "passphrase\n",
     ""},
    {"  openvpn: {tls: {caFile: expired.crt, certFile: server.crt, keyFile: server.key}}\n",
     "5:27: spec.openvpn.tls.caFile: 'T/expired.crt' has expired\n",
     "5:50: spec.openvpn.tls.certFile: 'T/server.crt' was not signed by the CA: devices "
     "that trust that CA refuse it\n"},
    {"  openvpn: {tls: {caFile: ca.crt, certFile: server.crt, keyFile: server.key, dhFile: "
     "ca.crt}}\n",
     "5:86: spec.openvpn.tls.dhFile: 'T/ca.crt' holds no PEM DH parameters\n", ""},
    {"  openvpn: {tls: {caFile: ca.crt, certFile: server.crt, keyFile: server.key, dhFile: "
     "dh1024.pem}}\n",
     "5:86: spec.openvpn.tls.dhFile: 'T/dh1024.pem' has 1024 bits, OpenSSL takes no less than "
     "2048\n",
     ""},
};

static const struct local_case ports[] = {
    {TLS "  haproxy: {port: 3128}\n",
     "6:19: spec.haproxy.port: port 3128 is taken by spec.connectProxy.port\n", ""},
    {TLS "  connectProxy: {port: 443}\n",
     "6:24: spec.connectProxy.port: port 443 is taken by spec.haproxy.port\n", ""},
    {TLS "  state: {port: 8091}\n",
     "6:17: spec.state.port: port 8091 is taken by spec.connectProxy.metricsPort\n", ""},
    {TLS "  replicas: 3\n  local: {basePort: 8088}\n",
     "7:21: spec.local.basePort: port 8091 is taken by spec.connectProxy.metricsPort\n"
     "7:21: spec.local.basePort: port 8090 is taken by spec.state.port\n",
     ""},
    {TLS "  replicas: 10\n  local: {basePort: 65530}\n",
     "7:21: spec.local.basePort: 65530 and 10 replicas pass port 65535\n", ""},
    {TLS "  replicas: 5\n  local: {basePort: 20996}\n",
     "7:21: spec.local.basePort: port 21001 is taken by spec.local.sidecarBasePort\n", ""},
    {TLS "  local: {httpPort: 443}\n",
     "6:21: spec.local.httpPort: port 443 is taken by spec.haproxy.port\n", ""},
};

static const struct local_case room[] = {
    {TLS "  replicas: 4\n  network: {baseSubnet: 10.222.0.0/24, instancePrefixLength: 26}\n", "",
     "6:13: spec.replicas: 4 leave no index for a new instance beside an outdated one: a change of "
     "what OpenVPN runs with would wait for a larger base subnet or rollout.maxUnavailable\n"},
    {TLS "  replicas: 4\n  network: {baseSubnet: 10.222.0.0/24, instancePrefixLength: 26}\n"
         "  rollout: {maxUnavailable: 1}\n",
     "", ""},
    {TLS "  replicas: 3\n  network: {baseSubnet: 10.222.0.0/24, instancePrefixLength: 26}\n", "",
     ""},
    {TLS "  replicas: 5\n  local: {basePort: 20995}\n", "",
     "6:13: spec.replicas: 5 leave no index for a new instance beside an outdated one: a change of "
     "what OpenVPN runs with would wait for other base ports or rollout.maxUnavailable\n"},
    {TLS "  replicas: 4\n  local: {basePort: 20995}\n", "", ""},
};

static const struct local_case rates[] = {
    {TLS "  throttle: {down: 7kbit, up: 999999999gbit}\n",
     "6:20: spec.throttle.down: 7000 bit/s is not in 8kbit to 100gbit\n"
     "6:31: spec.throttle.up: 999999999000000000 bit/s is not in 8kbit to 100gbit\n",
     ""},
    {TLS "  throttle: {down: 8kbit, up: 100gbit}\n", "", ""},
};

static const struct local_case interfaces[] = {
    {TLS "  local: {registerInterface: nosuch0}\n",
     "6:30: spec.local.registerInterface: there is no interface 'nosuch0'\n", ""},
    {TLS "  local: {registerInterface: lo}\n", "", ""},
};

/* Each line with "FILE:" before it and T for the folder. */
static char *expected_text(const char *lines)
{
    AUTO(str) char *copy = xstrdup(lines);
    struct buf text;

    buf_init(&text, 65536);
    for (char *rest = copy, *line; (line = strsep(&rest, "\n")) != NULL && line[0] != '\0';) {
        buf_printf(&text, "%s:", FILE_NAME);
        for (char *at; (at = strstr(line, "'T/")) != NULL; line = at + 2) {
            buf_printf(&text, "%.*s'%s", (int)(at - line), line, POOL_TEST_TLS);
        }
        buf_printf(&text, "%s\n", line);
    }
    return buf_take(&text);
}

static void run(const struct local_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        AUTO(str) char *text = xasprintf("%s%s", HEAD, cases[i].spec);
        AUTO(str) char *errors_wanted = expected_text(cases[i].errors);
        AUTO(str) char *warnings_wanted = expected_text(cases[i].warnings);
        struct pool_errors errors, warnings;
        struct pool_object p;
        pool_errors_init(&errors);
        pool_errors_init(&warnings);
        int r = pool_object_parse_local(FILE_NAME, text, strlen(text), &p, &errors, &warnings);
        assert_string_equal(buf_str(&errors.text), errors_wanted);
        assert_string_equal(buf_str(&warnings.text), warnings_wanted);
        assert_int_equal(r, errors_wanted[0] != '\0' ? -EINVAL : 0);
        if (r == 0) {
            pool_object_clear(&p);
        }
        pool_errors_clear(&errors);
        pool_errors_clear(&warnings);
    }
}

static void test_object_local_certificates(void **s)
{
    run(certificates, ARRAY_LEN(certificates));
}

static void copy(const char *from, const char *folder, const char *name, mode_t mode)
{
    AUTO(str) char *to = xasprintf("%s/%s", folder, name);
    char bytes[4096];
    FILE *in = fopen(from, "re");
    FILE *out = fopen(to, "we");

    assert_non_null(in);
    assert_non_null(out);
    size_t len = fread(bytes, 1, sizeof(bytes), in);
    assert_int_equal(fwrite(bytes, 1, len, out), len);
    fclose(in);
    fclose(out);
    assert_int_equal(chmod(to, mode), 0);
}

/* What is said of a proxy with this key, by its mode; "" if nothing. */
static void expect_proxy_key(const char *folder, mode_t mode, const char *cert, const char *says)
{
    AUTO(str)
    char *text = xasprintf("%s" TLS "  connectProxy: {tls: {certFile: %s/%s, keyFile: %s/p.key}}\n",
                           HEAD, folder, cert, folder);
    struct pool_errors errors;
    struct pool_object p;

    copy(POOL_TEST_TLS "/server.key", folder, "p.key", mode);
    pool_errors_init(&errors);
    assert_int_equal(pool_object_parse(FILE_NAME, text, strlen(text), &p, &errors), 0);
    pool_object_check_local(FILE_NAME, &p, &errors, NULL);
    if (says[0] == '\0') {
        assert_string_equal(buf_str(&errors.text), "");
    } else {
        assert_non_null(strstr(buf_str(&errors.text), says));
    }
    pool_object_clear(&p);
    pool_errors_clear(&errors);
}

static void test_object_local_proxy_tls(void **s)
{
    char folder[] = "/tmp/test_object_local-XXXXXX";

    (void)s;
    assert_non_null(mkdtemp(folder));
    copy(POOL_TEST_TLS "/server.crt", folder, "p.crt", 0644);
    expect_proxy_key(folder, 0644, "p.crt", "");
    expect_proxy_key(folder, 0600, "p.crt",
                     geteuid() == 0 ? "spec.connectProxy.tls.keyFile: '" : "");
    expect_proxy_key(folder, 0644, "no.crt", "no.crt' cannot be read");
    for (size_t i = 0; i < 2; i++) {
        AUTO(str) char *file = xasprintf("%s/p.%s", folder, i == 0 ? "crt" : "key");
        unlink(file);
    }
    rmdir(folder);
}

static void test_object_local_ports(void **s)
{
    run(ports, ARRAY_LEN(ports));
}

static void test_object_local_room_for_a_roll(void **s)
{
    run(room, ARRAY_LEN(room));
}

/* Mistakes of the file and of the machine, in the order of its lines, in one go. */
static const struct local_case together[] = {
    {"  replicas: 2000\n"
     "  color: red\n"
     "  openvpn: {tls: {caFile: none.crt, certFile: server.crt, keyFile: encrypted.key}}\n"
     "  local: {registerInterface: no-such-if}\n"
     "  network: {instancePrefixLength: 40}\n",
     "5:13: spec.replicas: 2000 is not in 0 to 1024\n"
     "6:3: spec.color: unknown field\n"
     "7:27: spec.openvpn.tls.caFile: 'T/none.crt' cannot be read: No such file or directory\n"
     "7:68: spec.openvpn.tls.keyFile: 'T/encrypted.key' holds no PEM private key without a "
     "passphrase\n"
     "8:30: spec.local.registerInterface: there is no interface 'no-such-if'\n"
     "9:35: spec.network.instancePrefixLength: 40 is not in 16 to 29\n",
     ""},
    {"  openvpn: {tls: [ca.crt]}\n", "5:18: spec.openvpn.tls: is a list, not a map of fields\n",
     ""},
    {"  openvpn: {tls: {caFile: [x], certFile: server.crt, keyFile: server.key}}\n"
     "  haproxy: {port: http}\n"
     "  state: {port: 443}\n",
     "5:27: spec.openvpn.tls.caFile: is a list, not a text\n"
     "6:19: spec.haproxy.port: 'http' is not a whole number\n",
     ""},
};

static void test_object_local_all_at_once(void **s)
{
    run(together, ARRAY_LEN(together));
}

static void test_object_local_rates(void **s)
{
    run(rates, ARRAY_LEN(rates));
}

static void test_object_local_interfaces(void **s)
{
    run(interfaces, ARRAY_LEN(interfaces));
}

static void test_object_local_warns_of_a_network_that_is_here_already(void **s)
{
    struct pool_object p;
    struct pool_errors errors, warnings;
    struct subnet loopback = {.network = 0x7f000000, .prefix_len = 8};

    pool_object_init(&p);
    p.network.base = loopback; /* no file may say so, but every machine has it */
    pool_errors_init(&errors);
    pool_errors_init(&warnings);
    pool_object_check_local("f", &p, &errors, &warnings);
    assert_string_equal(
        buf_str(&warnings.text),
        "f: spec.network.baseSubnet: 127.0.0.0/8 holds 127.0.0.1 of interface lo\n");
    pool_object_clear(&p);
    pool_errors_clear(&errors);
    pool_errors_clear(&warnings);
}

/* --- dates --- */

static char *read_text(const char *name)
{
    AUTO(str) char *path = xasprintf("%s/%s", POOL_TEST_TLS, name);
    AUTO(fd) int fd = open(path, O_RDONLY);
    char *text = xcalloc(1, 16384);

    assert_true(fd >= 0);
    assert_true(read(fd, text, 16383) > 0);
    return text;
}

static void check_at(time_t now, struct faults *errors, struct faults *warnings)
{
    AUTO(str) char *cert = read_text("expired.crt"); /* 2020-01-01 to 2021-01-01 */
    struct tls_parts parts = {.ca = {.path = "ca", .what = "it", .pem = cert, .len = strlen(cert)}};

    faults_init(errors, "f");
    faults_init(warnings, "f");
    tls_check(&parts, now, NULL, errors, warnings);
}

static void test_tls_check_dates(void **s)
{
    static const struct {
        time_t now;
        const char *error, *warning;
    } cases[] = {
        {1577750400, NULL, "it is not valid yet"}, /* 2019-12-31 */
        {1577923200, NULL, NULL},                  /* 2020-01-02 */
        {1608940800, NULL, "it expires in less than 14 days"},
        {1609545600, "it has expired", NULL}, /* 2021-01-02 */
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(faults) struct faults errors;
        AUTO(faults) struct faults warnings;
        check_at(cases[i].now, &errors, &warnings);
        assert_int_equal(errors.count, cases[i].error != NULL);
        assert_int_equal(warnings.count, cases[i].warning != NULL);
        if (cases[i].error != NULL) {
            assert_string_equal(errors.items[0].text, cases[i].error);
        }
        if (cases[i].warning != NULL) {
            assert_string_equal(warnings.items[0].text, cases[i].warning);
        }
    }
}

/* A chain whose second certificate is cut off. */
static void test_tls_check_refuses_a_broken_chain(void **s)
{
    AUTO(str) char *chain = read_text("chain.crt");
    AUTO(faults) struct faults errors;
    AUTO(faults) struct faults warnings;

    char *second = strstr(strstr(chain, "-----BEGIN") + 1, "-----BEGIN");
    memcpy(second + 40, "????", 4);
    struct tls_parts parts = {
        .cert = {.path = "cert", .what = "it", .pem = chain, .len = strlen(chain)}};
    faults_init(&errors, "f");
    faults_init(&warnings, "f");
    tls_check(&parts, 1577923200, NULL, &errors, &warnings);
    assert_int_equal(errors.count, 1);
    assert_string_equal(errors.items[0].text, "it has a broken certificate behind its first");
}

/* --- what an instance is made from --- */

static void test_object_instance_hash_follows_settings_and_certificates(void **s)
{
    struct pool_object a, b;
    char hash_a[17], hash_b[17];

    pool_object_init(&a);
    pool_object_init(&b);
    a.openvpn.tls.ca_file = xstrdup(POOL_TEST_TLS "/ca.crt");
    b.openvpn.tls.ca_file = xstrdup(POOL_TEST_TLS "/../tls/ca.crt");
    b.replicas = 7;
    b.drain.timeout_s = 7;
    pool_object_instance_hash(&a, hash_a);
    pool_object_instance_hash(&b, hash_b);
    assert_string_equal(hash_a, hash_b); /* the same content elsewhere is the same */
    assert_int_equal(strlen(hash_a), 16);

    b.openvpn.hand_window_s++;
    pool_object_instance_hash(&b, hash_b);
    assert_string_not_equal(hash_a, hash_b);
    b.openvpn.hand_window_s--;

    free(b.openvpn.tls.ca_file);
    b.openvpn.tls.ca_file = xstrdup(POOL_TEST_TLS "/server.crt");
    pool_object_instance_hash(&b, hash_b);
    assert_string_not_equal(hash_a, hash_b);
    pool_object_clear(&a);
    pool_object_clear(&b);
}

static void test_object_capacity(void **s)
{
    static const struct {
        const char *base;
        uint8_t prefix;
        uint16_t base_port, sidecar_base_port;
        uint32_t anywhere, local;
    } cases[] = {
        {"100.64.0.0/10", 20, 10000, 21000, 1024, 1024},
        {"100.64.0.0/10", 29, 10000, 21000, 1024, 1024},
        {"10.0.0.0/24", 26, 10000, 21000, 4, 4},
        {"10.0.0.0/24", 20, 10000, 21000, 0, 0},
        {"100.64.0.0/10", 20, 65000, 21000, 1024, 535},
        {"100.64.0.0/10", 20, 10000, 10500, 1024, 500},
        {"100.64.0.0/10", 20, 8000, 21000, 1024, 89}, /* 8090 is the state service's */
        {"100.64.0.0/10", 20, 10000, 3100, 1024, 27}, /* 3128 */
        {"100.64.0.0/10", 20, 10000, 10000, 1024, 0},
        {"100.64.0.0/10", 20, 20995, 21000, 1024, 5}, /* 21001 is a sidecar's */
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct pool_object p;
        pool_object_init(&p);
        assert_int_equal(subnet_parse(cases[i].base, &p.network.base, NULL), 0);
        p.network.instance_prefix_len = cases[i].prefix;
        p.local.base_port = cases[i].base_port;
        p.local.sidecar_base_port = cases[i].sidecar_base_port;
        assert_int_equal(pool_object_capacity(&p, false), cases[i].anywhere);
        assert_int_equal(pool_object_capacity(&p, true), cases[i].local);
        pool_object_clear(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_object_local_certificates),
        cmocka_unit_test(test_object_local_proxy_tls),
        cmocka_unit_test(test_object_local_ports),
        cmocka_unit_test(test_object_local_room_for_a_roll),
        cmocka_unit_test(test_object_local_all_at_once),
        cmocka_unit_test(test_object_local_rates),
        cmocka_unit_test(test_object_local_interfaces),
        cmocka_unit_test(test_object_local_warns_of_a_network_that_is_here_already),
        cmocka_unit_test(test_tls_check_dates),
        cmocka_unit_test(test_tls_check_refuses_a_broken_chain),
        cmocka_unit_test(test_object_instance_hash_follows_settings_and_certificates),
        cmocka_unit_test(test_object_capacity),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
