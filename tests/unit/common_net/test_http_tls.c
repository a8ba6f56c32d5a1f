#include "tests/unit/common_net/net_test.h"

#include "common/http_ca.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

/* Which certificates the client trusts, against openssl's own test server. */
static struct {
    pid_t pid;
    char url[64];
    char *cert_path;
    char *pem;
    char *key_pem;
} server;

static void run(const char *command)
{
    if (system(command) != 0) {
        fail_msg("failed: %s", command);
    }
}

static char *read_text(const char *path)
{
    char text[8192];
    AUTO(fd) int fd = open(path, O_RDONLY);
    ssize_t len = read(fd, text, sizeof(text) - 1);

    assert_true(len > 0);
    text[len] = '\0';
    return xstrdup(text);
}

static void make_certificate(void)
{
    server.cert_path = xstrdup(temp_path("cert.pem"));
    AUTO(str)
    char *command = xasprintf(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
        "-subj /CN=test -addext subjectAltName=IP:127.0.0.1,DNS:kube.example -keyout '%s.key' "
        "-out '%s' 2>/dev/null",
        server.cert_path, server.cert_path);
    run(command);
    server.pem = read_text(server.cert_path);
    AUTO(str) char *key_path = xasprintf("%s.key", server.cert_path);
    server.key_pem = read_text(key_path);
}

/* more: one more option with its value, or NULL. */
static void start_server(const char *address, const char *more, const char *value)
{
    AUTO(str) char *key_path = xasprintf("%s.key", server.cert_path);

    server.pid = fork();
    assert_true(server.pid >= 0);
    if (server.pid == 0) {
        int nowhere = open("/dev/null", O_RDWR);
        dup2(nowhere, 0);
        dup2(nowhere, 1);
        dup2(nowhere, 2);
        execlp("openssl", "openssl", "s_server", "-accept", address, "-www", "-cert",
               server.cert_path, "-key", key_path, more, value, (char *)NULL);
        _exit(127);
    }
}

static int begin(void **state, const char *more, const char *value)
{
    char address[32];

    net_setup(state);
    make_certificate();
    unused_address(address);
    snprintf(server.url, sizeof(server.url), "https://%s/", address);
    start_server(address, more, value);
    return 0;
}

static int setup(void **state)
{
    return begin(state, NULL, NULL);
}

/* A server that wants to know who we are. */
static int setup_asking(void **state)
{
    return begin(state, "-Verify", "2");
}

static int teardown(void **state)
{
    kill(server.pid, SIGKILL);
    waitpid(server.pid, NULL, 0);
    free(server.cert_path);
    free(server.pem);
    free(server.key_pem);
    return net_teardown(state);
}

#define tls_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* Asks until the server listens. */
static void ask_with(const struct http_client_options *options, struct result *r)
{
    struct http_client *client;

    assert_int_equal(http_client_new(loop, options, &client, NULL), 0);
    do {
        struct http_request request = request_for(r, "GET", server.url, NULL);
        send_request(client, &request);
        RUN_UNTIL(r->done);
    } while (r->code == -ECONNREFUSED);
    http_client_close(client);
}

static void ask(const char *ca_pem, const char *ca_file, struct result *r)
{
    struct http_client_options options = {.ca_pem = ca_pem, .ca_file = ca_file};

    ask_with(&options, r);
}

static void test_client_refuses_a_server_that_nobody_vouches_for(void **state)
{
    (void)state;
    struct result r;
    ask(NULL, NULL, &r);
    assert_int_equal(r.code, -EIO);
    assert_non_null(strstr(r.error, "certificate"));
}

static void test_client_trusts_an_extra_certificate(void **state)
{
    (void)state;
    struct result r;
    ask(server.pem, NULL, &r);
    assert_int_equal(r.code, 0);
    assert_int_equal(r.status, 200);
}

static void test_client_trusts_a_file_of_certificates(void **state)
{
    (void)state;
    struct result r;
    ask(NULL, server.cert_path, &r);
    assert_int_equal(r.code, 0);
    assert_int_equal(r.status, 200);
}

static void test_client_checks_the_name_of_a_trusted_server(void **state)
{
    (void)state;
    struct result r;
    ask(server.pem, NULL, &r);
    char *port = strrchr(server.url, ':');
    AUTO(str) char *other = xasprintf("https://localhost%s", port);
    struct http_client_options options = {.ca_pem = server.pem};
    struct http_client *client;
    assert_int_equal(http_client_new(loop, &options, &client, NULL), 0);
    struct http_request request = request_for(&r, "GET", other, NULL);
    send_request(client, &request);
    RUN_UNTIL(r.done);
    assert_int_equal(r.code, -EIO);
    assert_non_null(strstr(r.error, "localhost"));
    assert_non_null(strstr(r.error, "SSL"));
    http_client_close(client);
}

static void test_client_trusts_only_what_it_is_told(void **state)
{
    (void)state;
    struct result r;
    ask_with(&(struct http_client_options){.ca_only_pem = server.pem}, &r);
    assert_int_equal(r.status, 200);
}

static void test_client_knows_the_server_by_another_name(void **state)
{
    (void)state;
    struct result r;
    ask_with(&(struct http_client_options){.ca_only_pem = server.pem, .tls_name = "kube.example"},
             &r);
    assert_int_equal(r.status, 200);
    ask_with(&(struct http_client_options){.ca_only_pem = server.pem, .tls_name = "other.example"},
             &r);
    assert_int_equal(r.code, -EIO);
}

static void test_client_that_checks_nothing_gets_through(void **state)
{
    (void)state;
    struct result r;
    ask_with(&(struct http_client_options){.insecure = true}, &r);
    assert_int_equal(r.status, 200);
}

static void test_client_shows_its_certificate(void **state)
{
    (void)state;
    struct result r;
    ask_with(&(struct http_client_options){.insecure = true}, &r);
    assert_int_not_equal(r.code, 0);
    ask_with(&(struct http_client_options){.insecure = true,
                                           .cert_pem = server.pem,
                                           .key_pem = server.key_pem},
             &r);
    assert_int_equal(r.status, 200);
}

static void test_client_refuses_a_pair_that_is_none(void **state)
{
    (void)state;
    const struct http_client_options cases[] = {
        {.cert_pem = server.pem},
        {.cert_pem = "nonsense", .key_pem = server.key_pem},
        {.cert_pem = server.pem, .key_pem = "nonsense"},
        {.ca_only_pem = "nonsense"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_client *client;
        assert_int_equal(http_client_new(loop, &cases[i], &client, NULL), -EINVAL);
    }
}

static void test_client_goes_through_its_proxy(void **state)
{
    (void)state;
    static const struct {
        const char *url, *line;
    } cases[] = {
        {"http://server.invalid/x", "GET http://server.invalid/x HTTP/1.1\r\n"},
        {"https://server.invalid:6443/x", "CONNECT server.invalid:6443 HTTP/1.1\r\n"},
    };
    char address[32];
    int listener = raw_listen(address);
    AUTO(str) char *proxy = xasprintf("http://%s", address);
    struct http_client_options options = {.proxy_url = proxy};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_client *client;
        struct result r;
        struct raw peer;
        assert_int_equal(http_client_new(loop, &options, &client, NULL), 0);
        struct http_request request = request_for(&r, "GET", cases[i].url, NULL);
        send_request(client, &request);
        RUN_UNTIL(raw_accept(listener, &peer));
        RUN_UNTIL(raw_has(&peer, "\r\n\r\n"));
        assert_true(raw_has(&peer, cases[i].line));
        raw_close(&peer);
        RUN_UNTIL(r.done);
        http_client_close(client);
    }
    close(listener);
}

static void test_bundle_is_the_systems_and_the_extra_ones(void **state)
{
    (void)state;
    AUTO(str) char *system_path = xstrdup(temp_path("system.pem"));
    int system_fd = open(system_path, O_CREAT | O_WRONLY, 0600);
    assert_int_equal(write(system_fd, "system", 6), 6);
    close(system_fd);
    const char *const paths[] = {system_path, "/nonexistent/system.pem"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        int fd = -1;
        assert_int_equal(http_ca_bundle(paths[i], server.pem, &fd, NULL), 0);
        AUTO(str) char *path = xasprintf("/proc/self/fd/%d", fd);
        AUTO(str) char *bundle = read_text(path);
        AUTO(str) char *expected = xasprintf("%s\n%s", i == 0 ? "system" : "", server.pem);
        assert_string_equal(bundle, expected);
        close(fd);
    }
}

static void test_client_refuses_an_extra_certificate_that_is_none(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "", "nonsense", "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n"};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_client_options options = {.ca_pem = cases[i]};
        struct http_client *client;
        struct err err;
        assert_int_equal(http_client_new(loop, &options, &client, &err), -EINVAL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        tls_test(test_client_refuses_a_server_that_nobody_vouches_for),
        tls_test(test_client_trusts_an_extra_certificate),
        tls_test(test_client_trusts_a_file_of_certificates),
        tls_test(test_client_checks_the_name_of_a_trusted_server),
        tls_test(test_client_trusts_only_what_it_is_told),
        tls_test(test_client_knows_the_server_by_another_name),
        tls_test(test_client_that_checks_nothing_gets_through),
        cmocka_unit_test_setup_teardown(test_client_shows_its_certificate, setup_asking, teardown),
        tls_test(test_client_refuses_a_pair_that_is_none),
        net_test(test_client_goes_through_its_proxy),
        tls_test(test_bundle_is_the_systems_and_the_extra_ones),
        net_test(test_client_refuses_an_extra_certificate_that_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
