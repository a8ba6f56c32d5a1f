/* The control API over a real unix socket, asked by our own HTTP client. */
#include "sidecar-proxy/session/control.h"

#include "common/http_client.h"
#include "common/secret.h"
#include "tests/unit/session/fakes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define UUID_A "0123456789abcdef0123456789abcdef"

struct fixture {
    struct loop *loop;
    struct sessions sessions;
    struct control *control;
    struct http_client *client;
    char folder[32];
    char *control_path, *nss_path;
    uint16_t port; /* of the control API's other listener */
    struct control_status status;
    struct control_drain drained;
    int drains;
    int answer; /* status of the last request, 0: none yet */
    char body[4096];
};

static struct control_status on_status(void *arg)
{
    return ((struct fixture *)arg)->status;
}

static void on_drain(void *arg, const struct control_drain *d)
{
    struct fixture *f = arg;

    f->drained = *d;
    f->drains++;
}

static int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    struct session_claim c = {
        .id = {1, 7}, .uuid = UUID_A, .address = 0x64400003, .since_ms = 1764000000000};

    snprintf(f->folder, sizeof(f->folder), "/tmp/test-control-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    f->control_path = xasprintf("%s/c.sock", f->folder);
    f->nss_path = xasprintf("%s/n.sock", f->folder);
    f->port = fake_free_port();
    AUTO(str) char *listen = xasprintf("unix:%s,127.0.0.1:%u", f->control_path, f->port);
    AUTO(str) char *nss = xasprintf("unix:%s", f->nss_path);
    assert_int_equal(loop_new(&f->loop, NULL), 0);
    assert_int_equal(http_client_new(f->loop, &(struct http_client_options){0}, &f->client, NULL),
                     0);
    sessions_init(&f->sessions, 4);
    sessions_up(&f->sessions, &c);
    const struct control_options options = {
        .loop = f->loop,
        .listen = listen,
        .nss = nss,
        .keys = {"service key", "the one before"},
        .sessions = &f->sessions,
        .drain_default = {.rate_per_minute = 500, .timeout_s = 120},
        .status = on_status,
        .drain = on_drain,
        .arg = f,
    };
    f->status = (struct control_status){.pool = "fleet",
                                        .index = 1,
                                        .epoch = "e\"1",
                                        .service_id = 12,
                                        .link = "live",
                                        .phase = "ready",
                                        .sessions = 1,
                                        .openvpn_pid = 4711,
                                        .api_sane = true};
    assert_int_equal(control_open(&options, &f->control, NULL), 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    control_close(f->control);
    http_client_close(f->client);
    sessions_clear(&f->sessions);
    loop_free(f->loop);
    unlink(f->control_path);
    unlink(f->nss_path);
    rmdir(f->folder);
    free(f->control_path);
    free(f->nss_path);
    free(f);
    return 0;
}

static void on_done(void *arg, int result, const struct http_response *res, const struct err *err)
{
    struct fixture *f = arg;

    assert_int_equal(result, 0);
    f->answer = res->status;
    snprintf(f->body, sizeof(f->body), "%s", res->body);
}

static bool is_answered(void *arg)
{
    return ((struct fixture *)arg)->answer != 0;
}

/* socket NULL: over TCP. */
static int request_as(struct fixture *f, const char *bearer, const char *socket, const char *method,
                      const char *path, const char *body)
{
    AUTO(str) char *url = xasprintf("http://127.0.0.1:%u%s", f->port, path);
    struct http_request r = {
        .method = method,
        .url = url,
        .bearer = bearer,
        .unix_socket = socket,
        .body = body,
        .body_len = body != NULL ? strlen(body) : 0,
        .timeout_ms = 5000,
        .on_done = on_done,
        .arg = f,
    };

    f->answer = 0;
    assert_int_equal(http_client_send(f->client, &r, NULL, NULL), 0);
    fake_run_until(f->loop, is_answered, f);
    return f->answer;
}

static int request(struct fixture *f, const char *socket, const char *method, const char *path,
                   const char *body)
{
    return request_as(f, NULL, socket, method, path, body);
}

static int get(struct fixture *f, const char *path)
{
    return request(f, f->control_path, "GET", path, NULL);
}

static void test_control_status_is_the_contracts(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(get(f, "/v1/status"), 200);
    assert_string_equal(f->body,
                        "{\"pool\":\"fleet\",\"index\":1,\"epoch\":\"e\\\"1\",\"serviceId\":12,"
                        "\"link\":\"live\",\"phase\":\"ready\",\"sessions\":1,\"openvpnPid\":4711,"
                        "\"apiSane\":true,\"unreported\":0}\n");
    f->status.service_id = 0;
    assert_int_equal(get(f, "/v1/status"), 200);
    assert_non_null(strstr(f->body, "\"serviceId\":null"));
    f->status.api_sane = false;
    f->status.api_why = "it answered 503";
    assert_int_equal(get(f, "/v1/status"), 200);
    assert_non_null(strstr(f->body, "\"apiSane\":false,\"apiWhy\":\"it answered 503\","));
}

static void test_control_finds_devices(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(get(f, "/v1/devices/" UUID_A), 200);
    assert_string_equal(f->body, "{\"uuid\":\"" UUID_A "\",\"address\":\"100.64.0.3\","
                                 "\"session\":\"1.7\",\"since\":1764000000000}\n");
    assert_int_equal(get(f, "/v1/devices/fedcba9876543210fedcba9876543210"), 404);
    assert_int_equal(get(f, "/v1/devices/.."), 404);
}

static void test_control_nss_socket_tells_addresses_only(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(request(f, f->nss_path, "GET", "/v1/address/" UUID_A, NULL), 200);
    assert_string_equal(f->body, "100.64.0.3\n");
    assert_int_equal(request(f, f->nss_path, "GET", "/v1/address/x", NULL), 404);
    assert_int_equal(request(f, f->nss_path, "GET", "/v1/status", NULL), 404);
    assert_int_equal(request(f, f->nss_path, "POST", "/v1/drain", "{}"), 404);
    assert_int_equal(f->drains, 0);
}

static void test_control_drain_takes_figures_or_defaults(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(request(f, f->control_path, "POST", "/v1/drain", NULL), 202);
    assert_int_equal(f->drained.rate_per_minute, 500);
    assert_int_equal(f->drained.timeout_s, 120);
    assert_string_equal(f->body, "{\"ratePerMinute\":500,\"timeoutSeconds\":120}\n");
    assert_int_equal(request(f, f->control_path, "POST", "/v1/drain",
                             "{\"ratePerMinute\":60,\"timeoutSeconds\":0}"),
                     202);
    assert_int_equal(f->drained.rate_per_minute, 60);
    assert_int_equal(f->drained.timeout_s, 0);
}

static void test_control_over_tcp_shows_all_and_changes_nothing_without_the_token(void **state)
{
    struct fixture *f = *state;
    static const char *const good[] = {"service key", "the one before"};
    char token[SECRET_TOKEN_MAX + 1];

    assert_int_equal(request(f, NULL, "GET", "/v1/status", NULL), 200);
    assert_int_equal(request(f, NULL, "GET", "/readyz", NULL), 200);
    assert_int_equal(request(f, NULL, "GET", "/v1/devices/" UUID_A, NULL), 200);
    assert_int_equal(request(f, NULL, "POST", "/v1/drain", "{}"), 401);
    secret_token(&(struct service_keys){.key = "another key"}, SECRET_CONTROL, token);
    assert_int_equal(request_as(f, token, NULL, "POST", "/v1/drain", "{}"), 401);
    assert_int_equal(f->drains, 0);
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        secret_token(&(struct service_keys){.key = good[i]}, SECRET_CONTROL, token);
        assert_int_equal(request_as(f, token, NULL, "POST", "/v1/drain", "{}"), 202);
        assert_int_equal(f->drains, i + 1);
    }
}

static void test_control_socket_is_for_its_group_too(void **state)
{
    struct fixture *f = *state;
    struct stat st;

    assert_int_equal(stat(f->control_path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
    assert_int_equal(stat(f->nss_path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0666);
}

static void test_control_drain_refuses_rubbish(void **state)
{
    static const char *const bad[] = {"x",
                                      "[]",
                                      "{\"ratePerMinute\":0}",
                                      "{\"ratePerMinute\":\"1\"}",
                                      "{\"timeoutSeconds\":-1}",
                                      "{\"timeoutSeconds\":1e9}"};
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(request(f, f->control_path, "POST", "/v1/drain", bad[i]), 400);
    }
    assert_int_equal(f->drains, 0);
}

static void test_control_ready_says_why_not(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(get(f, "/healthz"), 200);
    assert_int_equal(get(f, "/readyz"), 200);
    f->status.not_ready = "draining";
    assert_int_equal(get(f, "/readyz"), 503);
    assert_string_equal(f->body, "not ready: draining\n");
    assert_int_equal(get(f, "/metrics"), 200);
}

int main(void)
{
#define WITH_CONTROL(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_CONTROL(test_control_status_is_the_contracts),
        WITH_CONTROL(test_control_finds_devices),
        WITH_CONTROL(test_control_nss_socket_tells_addresses_only),
        WITH_CONTROL(test_control_drain_takes_figures_or_defaults),
        WITH_CONTROL(test_control_over_tcp_shows_all_and_changes_nothing_without_the_token),
        WITH_CONTROL(test_control_socket_is_for_its_group_too),
        WITH_CONTROL(test_control_drain_refuses_rubbish),
        WITH_CONTROL(test_control_ready_says_why_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
