/* kubeconfig files, the service account, and which of them is used. */
#include "controller/kube/kube_config.h"
#include "tests/unit/common_net/net_test.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define CONTEXT            \
    "current-context: c\n" \
    "contexts:\n"          \
    "- name: c\n"          \
    "  context: {cluster: k, user: u, namespace: vpn}\n"
#define CLUSTER    \
    "clusters:\n"  \
    "- name: k\n"  \
    "  cluster:\n" \
    "    server: https://10.0.0.1:6443/\n"

static struct kube_config *parse(const char *text)
{
    struct kube_config *config = NULL;
    struct err err;

    if (kube_config_parse(text, strlen(text), "/etc/k/config", NULL, &config, &err) < 0) {
        fail_msg("%s", err.text);
    }
    return config;
}

static void test_reads_all_of_a_cluster_and_user(void **state)
{
    (void)state;
    struct kube_config *c =
        parse("apiVersion: v1\nkind: Config\npreferences: {}\nunknown: 1\n" CONTEXT CLUSTER
              "    certificate-authority: pki/ca.crt\n"
              "    tls-server-name: kube.example\n"
              "    proxy-url: socks5://10.0.0.9:1080\n"
              "    disable-compression: true\n"
              "users:\n"
              "- name: other\n"
              "  user: {token: no}\n"
              "- name: u\n"
              "  user:\n"
              "    client-certificate-data: Y2VydA==\n"
              "    client-key: /abs/key\n"
              "    token: 'tok'\n"
              "    tokenFile: tok.txt\n");
    assert_string_equal(c->server, "https://10.0.0.1:6443");
    assert_string_equal(c->ns, "vpn");
    assert_string_equal(c->ca.file, "/etc/k/pki/ca.crt");
    assert_string_equal(c->tls_server_name, "kube.example");
    assert_string_equal(c->proxy_url, "socks5://10.0.0.9:1080");
    assert_string_equal(c->cert.data, "cert");
    assert_string_equal(c->key.file, "/abs/key");
    assert_string_equal(c->token.data, "tok");
    assert_string_equal(c->token.file, "/etc/k/tok.txt");
    assert_false(c->insecure);
    kube_config_free(c);
}

static void test_reads_an_exec_plugin(void **state)
{
    (void)state;
    struct kube_config *c =
        parse(CONTEXT CLUSTER "users:\n"
                              "- name: u\n"
                              "  user:\n"
                              "    exec:\n"
                              "      apiVersion: client.authentication.k8s.io/v1beta1\n"
                              "      command: ./bin/login\n"
                              "      args: ['--name', 'a b', \"c'd\"]\n"
                              "      env: [{name: A, value: '1 2'}, {name: B}]\n"
                              "      provideClusterInfo: true\n"
                              "      interactiveMode: IfAvailable\n"
                              "      installHint: get it\n");
    assert_string_equal(c->exec->command, "/etc/k/./bin/login");
    assert_string_equal(c->exec->args[1], "a b");
    assert_string_equal(c->exec->args[2], "c'd");
    assert_null(c->exec->args[3]);
    assert_string_equal(c->exec->env[0], "A=1 2");
    assert_string_equal(c->exec->env[1], "B=");
    assert_true(c->exec->provides_cluster_info);
    struct kube_config *copy = kube_config_copy(c);
    kube_config_free(c);
    assert_string_equal(copy->exec->args[1], "a b");
    kube_config_free(copy);
}

static void test_reads_json_and_ipv6(void **state)
{
    (void)state;
    struct kube_config *c =
        parse("{\"current-context\":\"c\",\"contexts\":[{\"name\":\"c\",\"context\":"
              "{\"cluster\":\"k\"}}],\"clusters\":[{\"name\":\"k\",\"cluster\":{\"server\":"
              "\"https://[2001:db8::1]:6443\",\"insecure-skip-tls-verify\":true}}]}");
    assert_string_equal(c->server, "https://[2001:db8::1]:6443");
    assert_string_equal(c->ns, "default");
    assert_true(c->insecure);
    kube_config_free(c);
}

static void test_errors_name_file_line_and_field(void **state)
{
    (void)state;
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"", "current-context: is not set"},
        {"- a\n", "/etc/k/config:1: is not a kubeconfig"},
        {"a: [\n", "/etc/k/config:2: "},
        {"current-context: x\n", "there is no context 'x'"},
        {CONTEXT, "/etc/k/config:4: contexts[0].context.cluster: there is no 'k' in clusters"},
        {CONTEXT CLUSTER, "/etc/k/config:4: contexts[0].context.user: there is no 'u' in users"},
        {CONTEXT "clusters:\n- name: k\n  cluster: {}\n", "clusters[0].cluster.server: is missing"},
        {CONTEXT "clusters:\n- name: k\n  cluster: {server: ftp://x}\n",
         "/etc/k/config:7: clusters[0].cluster.server: is not an http or https URL"},
        {CONTEXT CLUSTER "    certificate-authority-data: '***'\n",
         "/etc/k/config:9: clusters[0].cluster.certificate-authority-data: is not base64"},
        {CONTEXT CLUSTER "    insecure-skip-tls-verify: perhaps\n",
         "insecure-skip-tls-verify: is neither true nor false"},
        {CONTEXT CLUSTER "    insecure-skip-tls-verify: true\n    certificate-authority: x\n",
         "exclude each other"},
        {CONTEXT CLUSTER "    proxy-url: x\n", "proxy-url: is not an http, https or socks5 URL"},
        {CONTEXT CLUSTER "users:\n- name: u\n  user: {as: root}\n",
         "/etc/k/config:11: users[0].user.as: is not supported"},
        {CONTEXT CLUSTER "users:\n- name: u\n  user: {auth-provider: {name: gcp}}\n",
         "users[0].user.auth-provider: is not supported"},
        {CONTEXT CLUSTER "users:\n- name: u\n  user: {client-key: x}\n",
         "users[0].user.client-certificate: is missing"},
        {CONTEXT CLUSTER "users:\n- name: u\n  user: {token: [1]}\n", "token: is not a text"},
        {CONTEXT CLUSTER "users:\n- name: u\n  user:\n    exec:\n      command: x\n",
         "users[0].user.exec.apiVersion: is not"},
        {CONTEXT CLUSTER "users:\n- name: u\n  user:\n    exec:\n      apiVersion: "
                         "client.authentication.k8s.io/v1\n",
         "/etc/k/config:13: users[0].user.exec.command: is missing"},
        {CONTEXT CLUSTER "users:\n- name: u\n  user:\n    exec:\n      command: x\n      "
                         "apiVersion: client.authentication.k8s.io/v1\n      interactiveMode: "
                         "Always\n",
         "interactiveMode: Always: nobody is at a terminal here"},
        {CONTEXT CLUSTER "users:\n- name: u\n  user:\n    exec:\n      command: x\n      args: y\n",
         "users[0].user.exec.args: is not a list"},
        {CONTEXT CLUSTER "users:\n- name: u\n  user: {token: a, token: b}\n", "/etc/k/config:11: "},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct kube_config *config = NULL;
        struct err err;
        int r = kube_config_parse(cases[i].text, strlen(cases[i].text), "/etc/k/config", NULL,
                                  &config, &err);
        assert_true(r == -EINVAL || r == -ENOENT);
        assert_null(config);
        if (strstr(err.text, cases[i].error) == NULL) {
            fail_msg("case %zu: '%s' lacks '%s'", i, err.text, cases[i].error);
        }
    }
}

static void write_text(const char *path, const char *text)
{
    AUTO(fd) int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);

    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static void test_the_first_file_that_says_something_wins(void **state)
{
    (void)state;
    AUTO(str) char *first = xstrdup(temp_path("first"));
    AUTO(str) char *second = xstrdup(temp_path("second"));
    AUTO(str) char *list = xasprintf("/nonexistent:%s:%s", first, second);
    struct kube_config *c = NULL;
    write_text(first, CONTEXT "users: [{name: u, user: {token: one}}]\n");
    write_text(second, "current-context: d\n" CLUSTER "users: [{name: u, user: {token: two}}]\n"
                       "contexts: [{name: d, context: {cluster: k, user: u}}]\n");
    setenv("KUBECONFIG", list, 1);
    assert_int_equal(kube_config_load(NULL, NULL, &c, NULL), 0);
    assert_string_equal(c->token.data, "one");
    assert_string_equal(c->ns, "vpn");
    kube_config_free(c);
    assert_int_equal(kube_config_load(NULL, "d", &c, NULL), 0);
    assert_string_equal(c->ns, "default");
    kube_config_free(c);
    assert_int_equal(kube_config_load(second, NULL, &c, NULL), 0);
    assert_string_equal(c->token.data, "two");
    kube_config_free(c);
    assert_int_equal(kube_config_load("/nonexistent", NULL, &c, NULL), -ENOENT);
    setenv("KUBECONFIG", "/nonexistent", 1);
    assert_int_equal(kube_config_load(NULL, NULL, &c, NULL), -ENOENT);
    unsetenv("KUBECONFIG");
}

static void test_the_service_account(void **state)
{
    (void)state;
    struct kube_config *c = NULL;
    AUTO(str) char *dir = xstrndup(temp_path(""), strlen(temp_path("")) - 1);
    unsetenv("KUBERNETES_SERVICE_HOST");
    assert_int_equal(kube_config_in_cluster(dir, &c, NULL), -ENOENT);
    setenv("KUBERNETES_SERVICE_HOST", "fd00::1", 1);
    setenv("KUBERNETES_SERVICE_PORT", "443", 1);
    assert_int_equal(kube_config_in_cluster(dir, &c, NULL), -ENOENT); /* no token */
    write_text(temp_path("token"), "t");
    write_text(temp_path("namespace"), "vpn\n");
    assert_int_equal(kube_config_in_cluster(dir, &c, NULL), 0);
    assert_string_equal(c->server, "https://[fd00::1]:443");
    assert_string_equal(c->ns, "vpn");
    assert_non_null(strstr(c->ca.file, "/ca.crt"));
    kube_config_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_all_of_a_cluster_and_user),
        cmocka_unit_test(test_reads_an_exec_plugin),
        cmocka_unit_test(test_reads_json_and_ipv6),
        cmocka_unit_test(test_errors_name_file_line_and_field),
        net_test(test_the_first_file_that_says_something_wins),
        net_test(test_the_service_account),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
