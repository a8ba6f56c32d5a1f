/* Pool files: what is wrong with bad ones, to the letter, and what good ones mean. */
#include "tests/unit/cmocka_all.h"

#include "common/base.h"
#include "controller/pool/object.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SPEC                                   \
    "apiVersion: vpn.openbalena.io/v1alpha1\n" \
    "kind: VPNPool\n"                          \
    "metadata: {name: fleet}\n"                \
    "spec:\n"
/* The case's own lines begin with line 5. */

struct bad_file {
    const char *text;
    const char *errors; /* without "f:" in front of each line */
};

static const struct bad_file not_yaml[] = {
    {"", "1:1: the file holds no object"},
    {"# a comment only\n", "1:1: the file holds no object"},
    {"---\n---\n", "2:1: a second document: one object a file"},
    {"null\n", "1:1: is empty, not a map of fields"},
    {"hello\n", "1:1: 'hello' is not a map of fields"},
    {"- a\n- b\n", "1:1: is a list, not a map of fields"},
    {"kind: [VPNPool\n", "2:1: kind: not YAML: did not find expected ',' or ']'"},
    {"a: 'x\n", "2:1: a: not YAML: found unexpected end of stream"},
    {"a:\n\tb: c\n", "2:1: a: a tab: YAML is indented with blanks"},
    {"a: b\n  c: d\n", "2:4: not YAML: mapping values are not allowed in this context"},
    {"a: \xff\n", "1:4: byte 0xff is not UTF-8"},
    {"a: \xc3\n", "1:4: byte 0xc3 is not UTF-8"},
    {"a: \xc0\x80\n", "1:4: byte 0xc0 is not UTF-8"},
    {"a: \xed\xa0\x80\n", "1:4: byte 0xed is not UTF-8"},
    {"\xff\xfe{\n", "1:1: byte 0xff is not UTF-8"},
    {"ab: c\x01\n", "1:6: a control character (0x01)"},
    {"a: \xc3\xa4\x7f\n", "1:5: a control character (0x7f)"},
    {"a: \"x\\0y\"\n",
     "1:1: a: unknown field\n1:1: apiVersion: is missing\n1:1: kind: is missing\n"
     "1:1: metadata: is missing\n1:1: spec: is missing\n1:4: a: a NUL character in a value"},
    {"? [a, b]\n: c\n", "1:3: a name must be a plain word"},
    {"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]\n",
     "1:33: nested deeper than 32"},
};

static const struct bad_file heads[] = {
    {"kind: VPNPool\nmetadata: {name: fleet}\nspec: {}\n", "1:1: apiVersion: is missing"},
    {"apiVersion: v1\nkind: VPNPool\nmetadata: {name: fleet}\nspec: {}\n",
     "1:13: apiVersion: 'v1' is not vpn.openbalena.io/v1alpha1"},
    {"apiVersion: vpn.openbalena.io/v1alpha1\nkind: Pool\nmetadata: {name: fleet}\nspec: {}\n",
     "2:7: kind: 'Pool' is not VPNPool"},
    {"apiVersion: vpn.openbalena.io/v1alpha1\nkind: VPNPool\nspec: {}\n",
     "1:1: metadata: is missing"},
    {"apiVersion: vpn.openbalena.io/v1alpha1\nkind: VPNPool\nmetadata: {}\nspec: {}\n",
     "3:11: metadata.name: is missing"},
    {"apiVersion: vpn.openbalena.io/v1alpha1\nkind: VPNPool\nmetadata: {name: Fleet}\nspec: {}\n",
     "3:18: metadata.name: 'Fleet' is not made of lower-case letters, digits and inner dashes"},
    {"apiVersion: vpn.openbalena.io/v1alpha1\nkind: VPNPool\nmetadata: {name: a-}\nspec: {}\n",
     "3:18: metadata.name: 'a-' is not made of lower-case letters, digits and inner dashes"},
    {"apiVersion: vpn.openbalena.io/v1alpha1\nkind: VPNPool\nmetadata: {name: "
     "a12345678901234567890123456789012345678901234567890123}\nspec: {}\n",
     "3:18: metadata.name: has 54 characters, not 1 to 52"},
    {"apiVersion: vpn.openbalena.io/v1alpha1\nkind: VPNPool\nmetadata: {name: fleet}\n",
     "1:1: spec: is missing"},
    {"apiVersion: vpn.openbalena.io/v1alpha1\nkind: VPNPool\nmetadata: {name: fleet}\nspec:\n",
     "4:6: spec: is empty, not a map of fields"},
    {SPEC "  replicas: 1\nspecs: {}\n", "6:1: specs: unknown field, did you mean 'spec'?"},
    {SPEC "  replicas: 1\nkind: VPNPool\n", "6:1: kind: is given twice, first in line 2"},
};

static const struct bad_file shapes[] = {
    {SPEC "  replica: 2\n", "5:3: spec.replica: unknown field, did you mean 'replicas'?"},
    {SPEC "  frobnicate: 2\n", "5:3: spec.frobnicate: unknown field"},
    {SPEC "  network:\n    gatway: 100.64.0.1\n",
     "6:5: spec.network.gatway: unknown field, did you mean 'gateway'?"},
    {SPEC "  openvpn: {tls: {cafile: x}}\n",
     "5:19: spec.openvpn.tls.cafile: unknown field, did you mean 'caFile'?"},
    {SPEC "  replicas: two\n", "5:13: spec.replicas: 'two' is not a whole number"},
    {SPEC "  replicas: \"2\"\n", "5:13: spec.replicas: \"2\" is a text, not a whole number"},
    {SPEC "  replicas: 2.5\n", "5:13: spec.replicas: '2.5' is not a whole number"},
    {SPEC "  replicas: 010\n", "5:13: spec.replicas: '010' is not a whole number"},
    {SPEC "  replicas:\n", "5:12: spec.replicas: is empty, not a whole number"},
    {SPEC "  replicas: [2]\n", "5:13: spec.replicas: is a list, not a whole number"},
    {SPEC "  replicas: {a: 2}\n", "5:13: spec.replicas: is a map, not a whole number"},
    {SPEC "  replicas: -1\n", "5:13: spec.replicas: -1 is not in 0 to 1024"},
    {SPEC "  replicas: 99999999999999999999999\n",
     "5:13: spec.replicas: 99999999999999999999999 is not in 0 to 1024"},
    {SPEC "  replicas: 2\n  replicas: 3\n", "6:3: spec.replicas: is given twice, first in line 5"},
    {SPEC "  network: 100.64.0.0/10\n",
     "5:12: spec.network: '100.64.0.0/10' is not a map of fields"},
    {SPEC "  haproxy: {proxyProtocol: yes}\n",
     "5:28: spec.haproxy.proxyProtocol: 'yes' is not true or false"},
    {SPEC "  haproxy: {proxyProtocol: \"true\"}\n",
     "5:28: spec.haproxy.proxyProtocol: \"true\" is a text, not true or false"},
    {SPEC "  openvpn: {protocol: sctp}\n",
     "5:23: spec.openvpn.protocol: 'sctp' is not one of tcp, tcp4, tcp6, udp, udp4, udp6"},
    {SPEC "  openvpn: {dataCiphers: AES-128-GCM}\n",
     "5:26: spec.openvpn.dataCiphers: 'AES-128-GCM' is not a list of names"},
    {SPEC "  openvpn: {dataCiphers: []}\n",
     "5:26: spec.openvpn.dataCiphers: is a list, not a list of names"},
    {SPEC "  openvpn: {dataCiphers: [AES-128-GCM, \"a:b\"]}\n",
     "5:40: spec.openvpn.dataCiphers: \"a:b\" is a text, not a name"},
    {SPEC "  openvpn: {opensslProviders: [legacy, [default]]}\n",
     "5:40: spec.openvpn.opensslProviders: is a list, not a name"},
    {SPEC "  openvpn: {tls: {caFile: [x]}}\n",
     "5:27: spec.openvpn.tls.caFile: is a list, not a text"},
    {SPEC "  openvpn: {tls: {caFile: \"a\\tb\"}}\n",
     "5:27: spec.openvpn.tls.caFile: has control characters"},
    {SPEC "  openvpn: &o {handWindowSeconds: 60}\n  auth: *o\n",
     "6:9: spec.auth: aliases (*name) are not accepted"},
    {SPEC "  replicas: !!str 2\n", "5:13: spec.replicas: tags (!name) are not accepted"},
    {SPEC "  connectProxy: {tls: {certFile: a.crt}}\n",
     "5:23: spec.connectProxy.tls: needs both, certFile and keyFile"},
    {SPEC "  connectProxy: {tls: {keyFile: a.key}}\n",
     "5:23: spec.connectProxy.tls: needs both, certFile and keyFile"},
    {SPEC "  connectProxy: {proxyProtocol: 2}\n",
     "5:33: spec.connectProxy.proxyProtocol: '2' is not true or false"},
    {SPEC "  connectProxy: {listen: localhost}\n",
     "5:26: spec.connectProxy.listen: 'localhost' is not an IPv4 or IPv6 address"},
    {SPEC "  throttle: {down: 10mbps, up: 1mbit}\n",
     "5:20: spec.throttle.down: '10mbps' is not a rate such as 500kbit, 10mbit or 1gbit"},
};

static const struct bad_file ranges[] = {
    {SPEC "  network: {instancePrefixLength: 15}\n",
     "5:35: spec.network.instancePrefixLength: 15 is not in 16 to 29"},
    {SPEC "  network: {instancePrefixLength: 30}\n",
     "5:35: spec.network.instancePrefixLength: 30 is not in 16 to 29"},
    {SPEC "  openvpn: {handWindowSeconds: 19}\n",
     "5:32: spec.openvpn.handWindowSeconds: 19 is not in 20 to 600"},
    {SPEC "  openvpn: {handWindowSeconds: 601}\n",
     "5:32: spec.openvpn.handWindowSeconds: 601 is not in 20 to 600"},
    {SPEC "  haproxy: {port: 0}\n", "5:19: spec.haproxy.port: 0 is not in 1 to 65535"},
    {SPEC "  state: {port: 65536}\n", "5:17: spec.state.port: 65536 is not in 1 to 65535"},
    {SPEC "  drain: {ratePerMinute: 0}\n", "5:26: spec.drain.ratePerMinute: 0 is not in 1 to "
                                           "1000000"},
    {SPEC "  throttle: {down: 0mbit, up: 1mbit}\n",
     "5:20: spec.throttle.down: '0mbit' is not a rate such as 500kbit, 10mbit or 1gbit"},
    {SPEC "  local: {registerInterface: abcdefghijklmnop}\n",
     "5:30: spec.local.registerInterface: has 16 characters, not 1 to 15"},
};

static const struct bad_file rules[] = {
    {SPEC "  network: {baseSubnet: 100.64.0.0}\n",
     "5:25: spec.network.baseSubnet: '100.64.0.0' is not an IPv4 subnet such as 100.64.0.0/10"},
    {SPEC "  network: {baseSubnet: 100.64.0.1/10}\n",
     "5:25: spec.network.baseSubnet: '100.64.0.1/10' has host bits set, its network is "
     "100.64.0.0/10"},
    {SPEC "  network: {baseSubnet: 'fd00::/64'}\n",
     "5:25: spec.network.baseSubnet: 'fd00::/64' is not an IPv4 subnet such as 100.64.0.0/10"},
    {SPEC "  network: {baseSubnet: 127.0.0.0/16}\n",
     "5:25: spec.network.baseSubnet: 127.0.0.0/16 overlaps the loopback network 127.0.0.0/8"},
    {SPEC "  network: {baseSubnet: 169.0.0.0/8}\n",
     "5:25: spec.network.baseSubnet: 169.0.0.0/8 overlaps the link-local network 169.254.0.0/16"},
    {SPEC "  network: {baseSubnet: 224.0.0.0/8}\n",
     "5:25: spec.network.baseSubnet: 224.0.0.0/8 overlaps the multicast and reserved addresses "
     "from 224.0.0.0"},
    {SPEC "  network: {baseSubnet: 10.0.0.0/24}\n",
     "5:12: spec.network.instancePrefixLength: an instance's /20 does not fit into the base subnet "
     "10.0.0.0/24"},
    {SPEC "  network: {baseSubnet: 10.0.0.0/24, instancePrefixLength: 23}\n",
     "5:60: spec.network.instancePrefixLength: an instance's /23 does not fit into the base subnet "
     "10.0.0.0/24"},
    {SPEC "  replicas: 3\n  network: {baseSubnet: 10.0.0.0/23, instancePrefixLength: 24}\n",
     "5:13: spec.replicas: 3 instances of /24 do not fit into 10.0.0.0/23: 2 do"},
    {SPEC "  network: {gateway: 10.0.0.1}\n",
     "5:22: spec.network.gateway: 10.0.0.1 is not in the base subnet 100.64.0.0/10"},
    {SPEC "  network: {gateway: 100.64.0.2}\n",
     "5:22: spec.network.gateway: 100.64.0.2 is in use in its block 100.64.0.0/20; the one that is "
     "free there is 100.64.0.1"},
    {SPEC "  network: {gateway: 100.64.31.255}\n",
     "5:22: spec.network.gateway: 100.64.31.255 is in use in its block 100.64.16.0/20; the one "
     "that is free there is 100.64.16.1"},
    {SPEC "  network: {gateway: 100.64.0.256}\n",
     "5:22: spec.network.gateway: '100.64.0.256' is not an IPv4 address"},
    {SPEC "  replicas: 2\n  openvpn: {protocol: udp4}\n",
     "6:23: spec.openvpn.protocol: udp cannot be balanced: it takes 1 replica, not 2"},
    {SPEC "  openvpn: {explicitExitNotify: 1}\n",
     "5:33: spec.openvpn.explicitExitNotify: has a meaning with udp only"},
    {SPEC "  openvpn: {protocol: udp}\n  haproxy: {proxyProtocol: true}\n",
     "6:28: spec.haproxy.proxyProtocol: has a meaning with tcp only"},
    {SPEC "  openvpn: {keepalive: {intervalSeconds: 40}}\n",
     "5:24: spec.openvpn.keepalive.timeoutSeconds: 60 is less than twice intervalSeconds (40): one "
     "lost ping would end a link"},
    {SPEC "  openvpn: {tls: {secretName: s, caFile: c}}\n",
     "5:18: spec.openvpn.tls: secretName (Kubernetes) and files (one machine) exclude each other"},
    {SPEC "  openvpn: {tls: {secretName: 's/../t'}}\n",
     "5:31: spec.openvpn.tls.secretName: \"s/../t\" is a text, not a name of lower-case letters, "
     "digits, '-' and '.'"},
    {SPEC "  throttle: {down: 1mbit}\n",
     "5:13: spec.throttle: has down without up: give both or neither"},
    {SPEC "  throttle: {up: 1mbit}\n",
     "5:13: spec.throttle: has up without down: give both or neither"},
    {SPEC "  rollout: {maxSurge: 0}\n", "5:12: spec.rollout: maxSurge and maxUnavailable are both "
                                        "0: nothing could ever be replaced"},
    {SPEC "  haproxy: {cpuMap: \"1; drop\"}\n",
     "5:21: spec.haproxy.cpuMap: '1; drop' is not a cpu-map of haproxy's"},
};

static const struct bad_file kubernetes[] = {
    {SPEC "  kubernetes: {imag: a}\n",
     "5:16: spec.kubernetes.imag: unknown field, did you mean 'image'?"},
    {SPEC "  kubernetes: {image: \"\"}\n",
     "5:23: spec.kubernetes.image: has 0 characters, not 1 to 512"},
    {SPEC "  kubernetes: {image: a b}\n", "5:23: spec.kubernetes.image: 'a b' is not an image"},
    {SPEC "  kubernetes: {sidecarImage: 'a b'}\n",
     "5:30: spec.kubernetes.sidecarImage: 'a b' is not an image"},
    {SPEC "  kubernetes: {imagePullPolicy: Often}\n",
     "5:33: spec.kubernetes.imagePullPolicy: 'Often' is not one of Always, IfNotPresent, Never"},
    {SPEC "  kubernetes: {imagePullSecrets: [{name: a}]}\n",
     "5:35: spec.kubernetes.imagePullSecrets: is a map, not a name of lower-case letters, digits, "
     "'-' and '.'"},
    {SPEC "  kubernetes: {imagePullSecrets: a}\n",
     "5:34: spec.kubernetes.imagePullSecrets: 'a' is not a list of names"},
    {SPEC "  kubernetes: {apiSecretName: Keys}\n",
     "5:31: spec.kubernetes.apiSecretName: 'Keys' is not a name of lower-case letters, digits, '-' "
     "and '.'"},
    {SPEC "  kubernetes: {apiConfigMapName: a..b}\n",
     "5:34: spec.kubernetes.apiConfigMapName: 'a..b' is not a name of lower-case letters, digits, "
     "'-' and '.'"},
    {SPEC "  kubernetes: {serviceAccountName: 12}\n",
     "5:36: spec.kubernetes.serviceAccountName: '12' is not a name of lower-case letters, digits, "
     "'-' and '.'"},
    {SPEC "  kubernetes: {state: vpn-state}\n",
     "5:23: spec.kubernetes.state: 'vpn-state' is not host:port"},
    {SPEC "  kubernetes: {state: 'vpn-state:65536'}\n",
     "5:23: spec.kubernetes.state: \"vpn-state:65536\" is a text, not host:port"},
    {SPEC "  kubernetes: {balancers: '[10.0.0.1]:1'}\n",
     "5:27: spec.kubernetes.balancers: \"[10.0.0.1]:1\" is a text, not host:port"},
    {SPEC "  kubernetes: {registerAddress: vpn.example.com}\n",
     "5:33: spec.kubernetes.registerAddress: 'vpn.example.com' is not an IPv4 or IPv6 address"},
    {SPEC "  kubernetes: {podLabels: [a]}\n",
     "5:27: spec.kubernetes.podLabels: is a list, not a map of texts"},
    {SPEC "  kubernetes: {podLabels: {a: 1, b: true}}\n",
     "5:31: spec.kubernetes.podLabels.a: '1' is not a text\n"
     "5:37: spec.kubernetes.podLabels.b: 'true' is not a text"},
    {SPEC "  kubernetes: {podLabels: {-a: b}}\n",
     "5:28: spec.kubernetes.podLabels.-a: the key is not of letters, digits, '-', '_' and '.', "
     "with or without a domain"},
    {SPEC "  kubernetes: {nodeSelector: {A/b: c}}\n",
     "5:31: spec.kubernetes.nodeSelector.A/b: the key is not of letters, digits, '-', '_' and '.', "
     "with or without a domain"},
    {SPEC "  kubernetes: {nodeSelector: {a: b c}}\n",
     "5:34: spec.kubernetes.nodeSelector.a: 'b c' is not a label of at most 63 letters, digits, "
     "'-', '_' and '.'"},
    {SPEC "  kubernetes: {podLabels: {vpn.openbalena.io/index: a, app.kubernetes.io/name: b}}\n",
     "5:28: spec.kubernetes.podLabels: 'vpn.openbalena.io/index' is set by us\n"
     "5:56: spec.kubernetes.podLabels: 'app.kubernetes.io/name' is set by us"},
    {SPEC "  kubernetes: {podAnnotations: {vpn.openbalena.io/template: a}}\n",
     "5:33: spec.kubernetes.podAnnotations: 'vpn.openbalena.io/template' is set by us"},
    {SPEC "  kubernetes: {tolerations: {key: a}}\n",
     "5:29: spec.kubernetes.tolerations: is a map, not a list of maps"},
    {SPEC "  kubernetes: {tolerations: [a]}\n",
     "5:30: spec.kubernetes.tolerations: 'a' is not a map"},
    {SPEC "  kubernetes: {affinity: []}\n", "5:26: spec.kubernetes.affinity: is a list, not a map"},
    {SPEC "  kubernetes: {resources: {openvpn: 1}}\n",
     "5:37: spec.kubernetes.resources.openvpn: '1' is not a map"},
    {SPEC "  kubernetes: {affinity: {a: *b}}\n",
     "5:30: spec.kubernetes.affinity.a: aliases (*name) are not accepted"},
};

static const struct bad_file several[] = {
    /* all at once, in the order of the lines, whatever was found first */
    {"apiVersion: vpn.openbalena.io/v1alpha1\n"
     "kind: VPNPol\n"
     "metadata: {}\n"
     "spec:\n"
     "  replica: 2\n"
     "  replicas: 2\n"
     "  replicas: 3\n"
     "  network: {baseSubnet: 10.0.0.1/8, gateway: 11.0.0.1}\n"
     "  throttle: {down: 10mbit}\n"
     "  drain: {timeoutSeconds: \"12\", ratePerMinute: 0}\n",
     "2:7: kind: 'VPNPol' is not VPNPool\n"
     "3:11: metadata.name: is missing\n"
     "5:3: spec.replica: unknown field, did you mean 'replicas'?\n"
     "7:3: spec.replicas: is given twice, first in line 6\n"
     "8:25: spec.network.baseSubnet: '10.0.0.1/8' has host bits set, its network is 10.0.0.0/8\n"
     "9:13: spec.throttle: has down without up: give both or neither\n"
     "10:27: spec.drain.timeoutSeconds: \"12\" is a text, not a whole number\n"
     "10:48: spec.drain.ratePerMinute: 0 is not in 1 to 1000000"},
    /* a field that could not be read brings no errors about what it would mean */
    {SPEC "  replicas: 5000\n  network: {baseSubnet: 10.0.0.0/20}\n",
     "5:13: spec.replicas: 5000 is not in 0 to 1024"},
    {SPEC "  throttle: {down: x, up: 1mbit}\n",
     "5:20: spec.throttle.down: 'x' is not a rate such as 500kbit, 10mbit or 1gbit"},
    /* columns count characters */
    {SPEC "  \xc3\xa4\xc3\xb6: {a: 1}\n  openvpn: {tls: {caFile: \xc3\xa4, foo: 1}}\n",
     "5:3: spec.\xc3\xa4\xc3\xb6: unknown field\n6:30: spec.openvpn.tls.foo: unknown field"},
};

/* Each line of errors with "f:" before it. */
static char *expected_text(const char *errors)
{
    AUTO(str) char *copy = xstrdup(errors);
    struct buf text;

    buf_init(&text, 65536);
    for (char *rest = copy, *line; (line = strsep(&rest, "\n")) != NULL;) {
        buf_printf(&text, "f:%s\n", line);
    }
    return buf_take(&text);
}

static void run(const struct bad_file *files, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct pool_errors errors;
        struct pool_object pool;
        pool_errors_init(&errors);
        AUTO(str) char *wanted = expected_text(files[i].errors);
        int r = pool_object_parse("f", files[i].text, strlen(files[i].text), &pool, &errors);
        if (r != -EINVAL || strcmp(buf_str(&errors.text), wanted) != 0) {
            fail_msg("%s\n--- wanted:\n%s--- got (%d):\n%s", files[i].text, wanted, r,
                     buf_str(&errors.text));
        }
        pool_errors_clear(&errors);
    }
}

#define TABLE(table)                                  \
    static void test_object_refuses_##table(void **s) \
    {                                                 \
        run(table, ARRAY_LEN(table));                 \
    }

TABLE(not_yaml)
TABLE(heads)
TABLE(shapes)
TABLE(ranges)
TABLE(rules)
TABLE(kubernetes)
TABLE(several)

/* --- limits --- */

static void test_object_refuses_a_nul_byte(void **s)
{
    static const char text[] = "a: b\0c\n";
    struct pool_errors errors;
    struct pool_object pool;

    pool_errors_init(&errors);
    assert_int_equal(pool_object_parse("f", text, sizeof(text) - 1, &pool, &errors), -EINVAL);
    assert_string_equal(buf_str(&errors.text), "f:1:5: a control character (0x00)\n");
    pool_errors_clear(&errors);
}

static void test_object_refuses_more_than_a_mebibyte(void **s)
{
    size_t len = POOL_FILE_MAX + 1;
    AUTO(str) char *text = xmalloc(len + 1);
    struct pool_errors errors;
    struct pool_object pool;

    memset(text, '#', len);
    text[len] = '\0';
    pool_errors_init(&errors);
    assert_int_equal(pool_object_parse("f", text, len, &pool, &errors), -EINVAL);
    assert_string_equal(buf_str(&errors.text), "f:1:1: is larger than 1048576 bytes\n");
    pool_errors_clear(&errors);
}

/* Nine lists of nine aliases each: 10^9 values if they were followed. */
static void test_object_does_not_follow_aliases(void **s)
{
    struct pool_errors errors;
    struct pool_object pool;
    AUTO(buf) struct buf text;

    buf_init(&text, 65536);
    buf_append_str(&text, "l0: &l0 [x,x,x,x,x,x,x,x,x]\n");
    for (int i = 1; i < 10; i++) {
        buf_printf(&text, "l%d: &l%d [", i, i);
        for (int k = 0; k < 9; k++) {
            buf_printf(&text, "%s*l%d", k > 0 ? "," : "", i - 1);
        }
        buf_append_str(&text, "]\n");
    }
    pool_errors_init(&errors);
    assert_int_equal(pool_object_parse("f", text.data, text.len, &pool, &errors), -EINVAL);
    assert_non_null(strstr(buf_str(&errors.text), "f:2:10: l1: aliases (*name) are not accepted"));
    assert_true(errors.count > POOL_ERRORS_MAX);
    assert_non_null(strstr(buf_str(&errors.text), "f: 31 more\n"));
    pool_errors_clear(&errors);
}

static void test_object_refuses_too_many_values(void **s)
{
    struct pool_errors errors;
    struct pool_object pool;
    AUTO(buf) struct buf text;

    buf_init(&text, (size_t)1 << 20);
    buf_append_str(&text, "[");
    for (int i = 0; i < 6000; i++) {
        buf_append_str(&text, "1,");
    }
    pool_errors_init(&errors);
    assert_int_equal(pool_object_parse("f", text.data, text.len, &pool, &errors), -EINVAL);
    assert_string_equal(buf_str(&errors.text), "f:1:10000: more than 5000 values\n");
    pool_errors_clear(&errors);
}

/* --- good ones --- */

static void parse_good(const char *text, struct pool_object *ret)
{
    struct pool_errors errors;

    pool_errors_init(&errors);
    if (pool_object_parse("/etc/vpn/pool.yaml", text, strlen(text), ret, &errors) < 0) {
        fail_msg("%s", buf_str(&errors.text));
    }
    assert_int_equal(errors.count, 0);
    pool_errors_clear(&errors);
}

static void test_object_defaults(void **s)
{
    struct pool_object p;

    parse_good(SPEC "  openvpn: {}\n", &p);
    assert_string_equal(p.name, "fleet");
    assert_int_equal(p.replicas, 1);
    assert_string_equal(subnet_format(p.network.base).text, "100.64.0.0/10");
    assert_int_equal(p.network.instance_prefix_len, 20);
    assert_int_equal(p.network.gateway, 0);
    assert_int_equal(p.openvpn.protocol, POOL_TCP);
    assert_string_equal(p.openvpn.data_ciphers, "AES-128-GCM:AES-192-GCM:AES-256-GCM:"
                                                "AES-128-CBC:AES-192-CBC:AES-256-CBC");
    assert_null(p.openvpn.openssl_providers);
    assert_int_equal(p.openvpn.keepalive_interval_s, 10);
    assert_int_equal(p.openvpn.keepalive_timeout_s, 60);
    assert_int_equal(p.openvpn.hand_window_s, 60);
    assert_int_equal(p.openvpn.status_interval_s, 10);
    assert_int_equal(p.openvpn.bytecount_s, 60);
    assert_int_equal(p.auth.cache_s, 60);
    assert_int_equal(p.auth.grace_s, 3600);
    assert_int_equal(p.auth.max_in_flight, 32);
    assert_int_equal(p.drain.rate_per_minute, 500);
    assert_int_equal(p.drain.timeout_s, 120);
    assert_int_equal(p.rollout.max_surge, 1);
    assert_int_equal(p.rollout.max_unavailable, 0);
    assert_int_equal(p.haproxy.port, 443);
    assert_int_equal(p.haproxy.max_connections, 10000);
    assert_int_equal(p.haproxy.idle_timeout_s, 60);
    assert_int_equal(p.haproxy.threads, 2);
    assert_false(p.haproxy.proxy_protocol);
    assert_string_equal(p.connect_proxy.listen, "0.0.0.0");
    assert_int_equal(p.connect_proxy.port, 3128);
    assert_int_equal(p.connect_proxy.metrics_port, 8091);
    assert_int_equal(p.connect_proxy.workers, 0);
    assert_int_equal(p.connect_proxy.forward_port, 3128);
    assert_int_equal(p.state_port, 8090);
    assert_int_equal(p.local.base_port, 10000);
    assert_int_equal(p.local.sidecar_base_port, 21000);
    assert_null(p.local.register_interface);
    assert_int_equal(p.local.http_port, 0);
    assert_null(p.kubernetes.image);
    assert_null(p.kubernetes.sidecar_image);
    assert_string_equal(pool_pull_policy_name(p.kubernetes.image_pull_policy), "IfNotPresent");
    assert_null(p.kubernetes.image_pull_secrets);
    assert_string_equal(p.kubernetes.api_secret_name, "openbalena-vpn");
    assert_string_equal(p.kubernetes.api_config_map_name, "openbalena-vpn");
    assert_string_equal(p.kubernetes.state, "vpn-state:8090");
    assert_null(p.kubernetes.balancers);
    assert_null(p.kubernetes.register_address);
    assert_string_equal(p.kubernetes.service_account_name, "default");
    assert_null(p.kubernetes.pod_labels);
    assert_null(p.kubernetes.tolerations);
    assert_null(p.kubernetes.topology_spread_constraints);
    assert_null(p.kubernetes.openvpn_resources);
    assert_null(p.kubernetes.priority_class_name);
    pool_object_clear(&p);
}

static void test_object_reads_every_field(void **s)
{
    struct pool_object p;

    parse_good(SPEC
               "  replicas: 2\n"
               "  network: {baseSubnet: 10.0.0.0/8, instancePrefixLength: 24, gateway: "
               "10.9.0.1}\n"
               "  openvpn:\n"
               "    protocol: tcp4\n"
               "    tls: {caFile: ca.crt, certFile: /abs/s.crt, keyFile: k/s.key, dhFile: dh}\n"
               "    dataCiphers: [AES-256-GCM, CHACHA20-POLY1305]\n"
               "    opensslProviders:\n"
               "    - legacy\n"
               "    - default\n"
               "    keepalive: {intervalSeconds: 5, timeoutSeconds: 30}\n"
               "    handWindowSeconds: 45\n"
               "    statusIntervalSeconds: 20\n"
               "    bytecountSeconds: 0\n"
               "  auth: {cacheSeconds: 1, graceSeconds: 2, maxInFlight: 3}\n"
               "  drain: {ratePerMinute: 60, timeoutSeconds: 30}\n"
               "  throttle: {down: 10mbit, up: 500kbit}\n"
               "  rollout: {maxSurge: 0, maxUnavailable: 1}\n"
               "  haproxy: {port: 8443, maxConnections: 5, idleTimeoutSeconds: 90, threads: 4,\n"
               "    proxyProtocol: true, cpuMap: \"auto:1/1-4 0-3\"}\n"
               "  connectProxy: {listen: '::1', port: 1, metricsPort: 2, workers: 3, "
               "forwardPort: 4,\n"
               "    tls: {certFile: p.crt, keyFile: /abs/p.key}, proxyProtocol: true}\n"
               "  state: {port: 9}\n"
               "  local: {basePort: 30000, sidecarBasePort: 40000, registerInterface: eth0,\n"
               "    httpPort: 80}\n",
               &p);
    assert_int_equal(p.replicas, 2);
    assert_string_equal(subnet_format(p.network.base).text, "10.0.0.0/8");
    assert_int_equal(p.network.instance_prefix_len, 24);
    assert_string_equal(address_format(p.network.gateway).text, "10.9.0.1");
    assert_int_equal(p.openvpn.protocol, POOL_TCP4);
    assert_string_equal(p.openvpn.tls.ca_file, "/etc/vpn/ca.crt");
    assert_string_equal(p.openvpn.tls.cert_file, "/abs/s.crt");
    assert_string_equal(p.openvpn.tls.key_file, "/etc/vpn/k/s.key");
    assert_string_equal(p.openvpn.tls.dh_file, "/etc/vpn/dh");
    assert_string_equal(p.openvpn.data_ciphers, "AES-256-GCM:CHACHA20-POLY1305");
    assert_string_equal(p.openvpn.openssl_providers, "legacy:default");
    assert_string_equal(p.connect_proxy.cert_file, "/etc/vpn/p.crt");
    assert_string_equal(p.connect_proxy.key_file, "/abs/p.key");
    assert_true(p.connect_proxy.proxy_protocol);
    assert_int_equal(p.openvpn.keepalive_timeout_s, 30);
    assert_int_equal(p.openvpn.bytecount_s, 0);
    assert_int_equal(p.auth.max_in_flight, 3);
    assert_true(p.throttle.down == 10000000);
    assert_true(p.throttle.up == 500000);
    assert_int_equal(p.rollout.max_surge, 0);
    assert_int_equal(p.haproxy.idle_timeout_s, 90);
    assert_true(p.haproxy.proxy_protocol);
    assert_string_equal(p.haproxy.cpu_map, "auto:1/1-4 0-3");
    assert_string_equal(p.connect_proxy.listen, "::1");
    assert_int_equal(p.connect_proxy.forward_port, 4);
    assert_int_equal(p.state_port, 9);
    assert_int_equal(p.local.sidecar_base_port, 40000);
    assert_string_equal(p.local.register_interface, "eth0");
    assert_int_equal(p.local.http_port, 80);
    pool_object_clear(&p);
}

static void test_object_reads_every_field_of_kubernetes(void **s)
{
    struct pool_object p;

    parse_good(SPEC
               "  openvpn: {tls: {secretName: vpn.tls, dhFile: dh.pem}}\n"
               "  kubernetes:\n"
               "    image: registry.example.com:5000/vpn@sha256:00\n"
               "    sidecarImage: vpn:2\n"
               "    imagePullPolicy: Always\n"
               "    imagePullSecrets: [one, \"2\"]\n"
               "    apiSecretName: keys\n"
               "    apiConfigMapName: api.example\n"
               "    state: '[2001:db8::1]:1'\n"
               "    balancers: vpn-balancer.vpn.svc:8082\n"
               "    registerAddress: 192.0.2.1\n"
               "    serviceAccountName: nobody\n"
               "    podLabels: {team: a, example.com/x_y: '', \"2\": \"1\"}\n"
               "    podAnnotations: {a: \"b \\\"c\\\"\", app.kubernetes.io/name: x}\n"
               "    nodeSelector: {}\n"
               "    tolerations:\n"
               "    - {key: a, tolerationSeconds: 30, operator: Exists}\n"
               "    - key: \"1\"\n"
               "      value: yes\n"
               "    affinity: {nodeAffinity: {weight: 1.5e3, x: [null, true, ~, 010, -1, '']}}\n"
               "    topologySpreadConstraints: []\n"
               "    resources:\n"
               "      openvpn: {limits: {cpu: 1, memory: 256Mi}}\n"
               "      sidecar: {requests: {cpu: \"100m\"}}\n"
               "    priorityClassName: system-node-critical\n"
               "    runtimeClassName: kata\n",
               &p);
    assert_string_equal(p.openvpn.tls.secret_name, "vpn.tls");
    assert_string_equal(p.kubernetes.image, "registry.example.com:5000/vpn@sha256:00");
    assert_string_equal(p.kubernetes.sidecar_image, "vpn:2");
    assert_string_equal(pool_pull_policy_name(p.kubernetes.image_pull_policy), "Always");
    assert_string_equal(p.kubernetes.image_pull_secrets, "[\"one\",\"2\"]");
    assert_string_equal(p.kubernetes.api_secret_name, "keys");
    assert_string_equal(p.kubernetes.api_config_map_name, "api.example");
    assert_string_equal(p.kubernetes.state, "[2001:db8::1]:1");
    assert_string_equal(p.kubernetes.balancers, "vpn-balancer.vpn.svc:8082");
    assert_string_equal(p.kubernetes.register_address, "192.0.2.1");
    assert_string_equal(p.kubernetes.service_account_name, "nobody");
    assert_string_equal(p.kubernetes.pod_labels,
                        "{\"team\":\"a\",\"example.com/x_y\":\"\",\"2\":\"1\"}");
    assert_string_equal(p.kubernetes.pod_annotations,
                        "{\"a\":\"b \\\"c\\\"\",\"app.kubernetes.io/name\":\"x\"}");
    assert_string_equal(p.kubernetes.node_selector, "{}");
    assert_string_equal(p.kubernetes.tolerations,
                        "[{\"key\":\"a\",\"tolerationSeconds\":30,\"operator\":\"Exists\"},"
                        "{\"key\":\"1\",\"value\":\"yes\"}]");
    assert_string_equal(p.kubernetes.affinity,
                        "{\"nodeAffinity\":{\"weight\":1.5e3,\"x\":[null,true,"
                        "null,\"010\",-1,\"\"]}}");
    assert_string_equal(p.kubernetes.topology_spread_constraints, "[]");
    assert_string_equal(p.kubernetes.openvpn_resources,
                        "{\"limits\":{\"cpu\":1,\"memory\":\"256Mi\"}}");
    assert_string_equal(p.kubernetes.sidecar_resources, "{\"requests\":{\"cpu\":\"100m\"}}");
    assert_string_equal(p.kubernetes.priority_class_name, "system-node-critical");
    assert_string_equal(p.kubernetes.runtime_class_name, "kata");
    pool_object_clear(&p);
}

static void test_object_says_what_a_cluster_needs(void **s)
{
    struct pool_errors errors;
    struct pool_object p;

    pool_errors_init(&errors);
    parse_good(SPEC "  openvpn: {tls: {caFile: a}}\n", &p);
    assert_int_equal(pool_object_check_kubernetes("f", &p, &errors), -EINVAL);
    assert_string_equal(buf_str(&errors.text),
                        "f:5:3: spec.kubernetes.image: is missing: a cluster needs an image\n"
                        "f:5:18: spec.openvpn.tls.secretName: is missing: a cluster needs a Secret "
                        "with ca.crt, tls.crt and tls.key\n");
    pool_object_clear(&p);
    pool_errors_clear(&errors);

    pool_errors_init(&errors);
    parse_good(SPEC "  openvpn: {tls: {secretName: a}}\n  kubernetes: {image: b}\n", &p);
    assert_int_equal(pool_object_check_kubernetes("f", &p, &errors), 0);
    assert_int_equal(errors.count, 0);
    pool_object_clear(&p);
    pool_errors_clear(&errors);
}

/* What the API server says of an object: JSON, with fields of its own. */
static void test_object_takes_json(void **s)
{
    struct pool_object p;

    parse_good("{\"apiVersion\":\"vpn.openbalena.io/v1alpha1\",\"kind\":\"VPNPool\","
               "\"metadata\":{\"name\":\"fleet\",\"namespace\":\"vpn\",\"uid\":\"6a\","
               "\"labels\":{\"a\":\"\\u003cb\\u003e\"},\"managedFields\":[{\"x\":{\"f:y\":{}}}],"
               "\"generation\":3,\"resourceVersion\":\"41\"},"
               "\"spec\":{\"replicas\":3,\"openvpn\":{\"tls\":{\"secretName\":\"tls\"}}},"
               "\"status\":{\"whatever\":[1,2.5,null,true]}}",
               &p);
    assert_int_equal(p.replicas, 3);
    assert_string_equal(p.openvpn.tls.secret_name, "tls");
    pool_object_clear(&p);
}

/* As the API server has it: no places, and a status that is longer than any pool file. */
static void test_object_takes_a_parsed_tree(void **s)
{
    static const char text[] =
        "{\"apiVersion\":\"vpn.openbalena.io/v1alpha1\",\"kind\":\"VPNPool\","
        "\"metadata\":{\"name\":\"fleet\",\"what\":1},\"spec\":{\"replicas\":3,"
        "\"openvpn\":{\"dataCiphers\":[\"A\",\"B\"]},\"kubernetes\":{\"resources\":{"
        "\"openvpn\":{\"limits\":{\"cpu\":1.5,\"memory\":\"1\"}}}}}}";
    struct pool_errors errors;
    struct pool_object p;
    AUTO(json) cJSON *object = NULL;

    assert_int_equal(json_parse(text, strlen(text), &object, NULL), 0);
    cJSON *status = cJSON_AddArrayToObject(object, "status");
    for (int i = 0; i < 6000; i++) {
        cJSON_AddItemToArray(status, cJSON_CreateNumber(i));
    }
    pool_errors_init(&errors);
    assert_int_equal(pool_object_from_json("vpn/fleet", object, &p, &errors), 0);
    assert_int_equal(p.replicas, 3);
    assert_string_equal(p.name, "fleet");
    assert_string_equal(p.openvpn.data_ciphers, "A:B");
    assert_string_equal(p.kubernetes.openvpn_resources,
                        "{\"limits\":{\"cpu\":1.5,\"memory\":\"1\"}}");
    pool_object_clear(&p);

    cJSON *spec = cJSON_GetObjectItem(object, "spec");
    cJSON_ReplaceItemInObject(spec, "replicas", cJSON_CreateString("3"));
    cJSON_AddItemToObject(spec, "wrong", cJSON_CreateNull());
    assert_int_equal(pool_object_from_json("vpn/fleet", object, &p, &errors), -EINVAL);
    assert_string_equal(buf_str(&errors.text),
                        "vpn/fleet: spec.replicas: \"3\" is a text, not a whole number\n"
                        "vpn/fleet: spec.wrong: unknown field\n");
    pool_errors_clear(&errors);
}

static void test_object_refuses_a_tree_without_end(void **s)
{
    struct pool_errors errors;
    struct pool_object p;
    AUTO(json) cJSON *object = cJSON_CreateObject();
    cJSON *at = cJSON_AddObjectToObject(object, "spec");

    for (int i = 0; i < 32; i++) {
        at = cJSON_AddObjectToObject(at, "a");
    }
    pool_errors_init(&errors);
    assert_int_equal(pool_object_from_json("p", object, &p, &errors), -EINVAL);
    assert_string_equal(buf_str(&errors.text),
                        "p: has more than 5000 values, or deeper ones than 32\n");
    assert_int_equal(pool_object_from_json("p", NULL, &p, &errors), -EINVAL);
    pool_errors_clear(&errors);
}

static void test_object_takes_what_people_write(void **s)
{
    static const char *const texts[] = {
        "\xef\xbb\xbf" SPEC "  replicas: 0\n",              /* a byte order mark */
        "# about\n---\n" SPEC "  replicas: 1 # one\n...\n", /* markers, comments */
        "%YAML 1.1\n---\n" SPEC "  replicas: 1\n",          /* a directive */
        SPEC "  network: {gateway: 100.64.16.1}\n",         /* another block's */
        SPEC "  replicas: 1024\n",                          /* all that fit */
        SPEC "  openvpn: {protocol: udp, explicitExitNotify: 1}\n",
        SPEC "  openvpn: &unused {handWindowSeconds: 20}\n", /* an anchor that nobody uses */
        "{apiVersion: vpn.openbalena.io/v1alpha1,\r\n kind: VPNPool, metadata: {name: a},spec: {}}",
    };

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct pool_object p;
        parse_good(texts[i], &p);
        pool_object_clear(&p);
    }
}

/* --- files --- */

static void test_object_load_says_why_a_file_cannot_be_read(void **s)
{
    struct pool_errors errors;
    struct pool_object pool;

    pool_errors_init(&errors);
    assert_int_equal(pool_object_load("/no/such/file", &pool, &errors), -EINVAL);
    assert_int_equal(pool_object_load("/", &pool, &errors), -EINVAL);
    assert_int_equal(pool_object_load("/dev/zero", &pool, &errors), -EINVAL);
    assert_string_equal(buf_str(&errors.text),
                        "/no/such/file: cannot be read: No such file or directory\n"
                        "/: cannot be read: Is a directory\n"
                        "/dev/zero: cannot be read: Invalid argument\n");
    assert_int_equal(errors.count, 3);
    pool_errors_clear(&errors);
}

/* --- differences --- */

static void test_object_diff(void **s)
{
    static const struct {
        const char *change, *fields;
        unsigned cost;
    } cases[] = {
        {"  replicas: 1\n", "", 0},
        {"  replicas: 2\n", "spec.replicas", POOL_CHANGED_REPLICAS},
        {"  auth: {cacheSeconds: 5}\n", "spec.auth.cacheSeconds", POOL_CHANGED_LIVE},
        {"  drain: {ratePerMinute: 5}\n", "spec.drain.ratePerMinute", POOL_CHANGED_LIVE},
        {"  rollout: {maxSurge: 2}\n", "spec.rollout.maxSurge", POOL_CHANGED_LIVE},
        {"  throttle: {up: 1mbit, down: 1mbit}\n", "spec.throttle.down, spec.throttle.up",
         POOL_CHANGED_LIVE},
        {"  openvpn: {bytecountSeconds: 5}\n", "spec.openvpn.bytecountSeconds", POOL_CHANGED_LIVE},
        {"  openvpn: {handWindowSeconds: 50}\n", "spec.openvpn.handWindowSeconds",
         POOL_CHANGED_INSTANCE},
        {"  openvpn: {dataCiphers: [AES-128-GCM]}\n", "spec.openvpn.dataCiphers",
         POOL_CHANGED_INSTANCE},
        {"  openvpn: {tls: {caFile: x}}\n", "spec.openvpn.tls.caFile", POOL_CHANGED_INSTANCE},
        {"  openvpn: {protocol: tcp6}\n", "spec.openvpn.protocol", POOL_CHANGED_INSTANCE},
        /* haproxy's idle time follows the links' */
        {"  openvpn: {keepalive: {timeoutSeconds: 90}}\n",
         "spec.openvpn.keepalive.timeoutSeconds, spec.haproxy.idleTimeoutSeconds",
         POOL_CHANGED_INSTANCE | POOL_CHANGED_HAPROXY},
        {"  network: {gateway: 100.64.0.1}\n", "spec.network.gateway", POOL_CHANGED_INSTANCE},
        {"  network: {baseSubnet: 10.0.0.0/8}\n", "spec.network.baseSubnet", POOL_CHANGED_FIXED},
        {"  network: {instancePrefixLength: 21}\n", "spec.network.instancePrefixLength",
         POOL_CHANGED_FIXED},
        {"  haproxy: {port: 444, proxyProtocol: true}\n",
         "spec.haproxy.port, spec.haproxy.proxyProtocol", POOL_CHANGED_HAPROXY},
        {"  connectProxy: {workers: 2}\n", "spec.connectProxy.workers", POOL_CHANGED_SERVICES},
        {"  connectProxy: {proxyProtocol: true}\n", "spec.connectProxy.proxyProtocol",
         POOL_CHANGED_SERVICES},
        {"  state: {port: 8}\n", "spec.state.port", POOL_CHANGED_SERVICES},
        {"  local: {basePort: 9}\n", "spec.local.basePort", POOL_CHANGED_FIXED},
        {"  kubernetes: {image: a}\n", "spec.kubernetes.image", POOL_CHANGED_INSTANCE},
        {"  kubernetes: {sidecarImage: a}\n", "spec.kubernetes.sidecarImage", POOL_CHANGED_LIVE},
        {"  kubernetes: {state: 'a:1', balancers: 'b:2'}\n",
         "spec.kubernetes.state, spec.kubernetes.balancers", POOL_CHANGED_LIVE},
        {"  kubernetes: {tolerations: [{key: a}], podLabels: {a: b}, nodeSelector: {}}\n",
         "spec.kubernetes.podLabels, spec.kubernetes.nodeSelector, spec.kubernetes.tolerations",
         POOL_CHANGED_INSTANCE},
        {"  kubernetes: {resources: {sidecar: {}}, imagePullSecrets: [a]}\n",
         "spec.kubernetes.imagePullSecrets, spec.kubernetes.resources.sidecar",
         POOL_CHANGED_INSTANCE},
    };
    struct pool_object a;

    parse_good(SPEC "  replicas: 1\n", &a);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(str) char *text = xasprintf("%s%s", SPEC, cases[i].change);
        AUTO(str) char *fields = NULL;
        struct pool_object b;
        parse_good(text, &b);
        unsigned cost = pool_object_diff_fields(&a, &b, &fields);
        assert_string_equal(fields, cases[i].fields);
        assert_int_equal(cost, cases[i].cost);
        assert_int_equal(pool_object_diff(&b, &a), cases[i].cost);
        pool_object_clear(&b);
    }
    pool_object_clear(&a);
}

static void test_object_change_while_it_runs(void **s)
{
    static const struct {
        const char *spec, *errors;
    } cases[] = {
        {"  replicas: 2\n  haproxy: {port: 444}\n  openvpn: {protocol: tcp6}\n", ""},
        {"  network: {baseSubnet: 10.0.0.0/8}\n  openvpn: {protocol: udp}\n",
         "p.yaml:5:25: spec.network.baseSubnet: cannot change while the pool runs: stop it first\n"
         "p.yaml:6:23: spec.openvpn.protocol: cannot change while the pool runs: stop it first\n"},
        {"  local: {basePort: 11000}\n",
         "p.yaml:5:21: spec.local.basePort: cannot change while the pool runs: stop it first\n"},
    };
    struct pool_object from, to;

    (void)s;
    parse_good(SPEC "  replicas: 1\n", &from);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(str) char *text = xasprintf("%s%s", SPEC, cases[i].spec);
        struct pool_errors errors;
        parse_good(text, &to);
        pool_errors_init(&errors);
        assert_int_equal(pool_object_check_change("p.yaml", &from, &to, &errors),
                         cases[i].errors[0] != '\0' ? -EINVAL : 0);
        assert_string_equal(buf_str(&errors.text), cases[i].errors);
        pool_errors_clear(&errors);
        pool_object_clear(&to);
    }
    pool_object_clear(&from);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_object_refuses_not_yaml),
        cmocka_unit_test(test_object_refuses_heads),
        cmocka_unit_test(test_object_refuses_shapes),
        cmocka_unit_test(test_object_refuses_ranges),
        cmocka_unit_test(test_object_refuses_rules),
        cmocka_unit_test(test_object_refuses_kubernetes),
        cmocka_unit_test(test_object_refuses_several),
        cmocka_unit_test(test_object_refuses_a_nul_byte),
        cmocka_unit_test(test_object_refuses_more_than_a_mebibyte),
        cmocka_unit_test(test_object_does_not_follow_aliases),
        cmocka_unit_test(test_object_refuses_too_many_values),
        cmocka_unit_test(test_object_defaults),
        cmocka_unit_test(test_object_reads_every_field),
        cmocka_unit_test(test_object_reads_every_field_of_kubernetes),
        cmocka_unit_test(test_object_says_what_a_cluster_needs),
        cmocka_unit_test(test_object_takes_json),
        cmocka_unit_test(test_object_takes_a_parsed_tree),
        cmocka_unit_test(test_object_refuses_a_tree_without_end),
        cmocka_unit_test(test_object_takes_what_people_write),
        cmocka_unit_test(test_object_load_says_why_a_file_cannot_be_read),
        cmocka_unit_test(test_object_diff),
        cmocka_unit_test(test_object_change_while_it_runs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
