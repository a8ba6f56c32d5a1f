/* What is made of the API's answers. The API is a server in the same loop that answers as it is
 * told and remembers what it was asked. */
#include "common/balena_api.h"
#include "common/http_server.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define UUID "0123456789abcdef0123456789abcdef"
#define PROBE "/v7/device(@id)"

struct fake { /* the API */
    int probe_status;
    int status; /* of everything else */
    const char *body;
    int asked, probed;
    char path[512], query[512], authorization[128], body_seen[4096];
};

struct world {
    struct loop *loop;
    struct http_server *server;
    struct balena_api *api;
    struct fake fake;
    struct loop_timer *limit;
    int answers;
    enum api_answer answer;
    int64_t id;
    char address[64];
    size_t uuid_count;
};

static void on_request(void *arg, struct http_exchange *x, const struct http_server_request *r)
{
    struct fake *f = arg;
    bool probe = strcmp(r->path, PROBE) == 0 && strstr(r->query, "@id=0") != NULL;

    if (probe) {
        f->probed++;
        http_reply(x, f->probe_status, "application/json", "{\"d\":[]}", 8, NULL);
        return;
    }
    f->asked++;
    snprintf(f->path, sizeof(f->path), "%s %s", r->method, r->path);
    snprintf(f->query, sizeof(f->query), "%s", r->query);
    snprintf(f->authorization, sizeof(f->authorization), "%s", r->authorization);
    snprintf(f->body_seen, sizeof(f->body_seen), "%s", r->body);
    http_reply(x, f->status, "application/json", f->body, strlen(f->body), NULL);
}

static void on_limit(void *arg)
{
    fail_msg("nothing happened for 20 s");
}

static int setup(void **state)
{
    static const char *const methods[] = {"GET", "POST", "PATCH"};
    static struct http_route routes[3];
    struct world *w = xcalloc(1, sizeof(*w));

    assert_int_equal(loop_new(&w->loop, NULL), 0);
    assert_int_equal(http_server_new(w->loop, &w->server, NULL), 0);
    for (size_t i = 0; i < 3; i++) {
        routes[i] = (struct http_route){.method = methods[i],
                                        .path = "/*",
                                        .handler = on_request,
                                        .max_body_bytes = 1 << 20,
                                        .arg = &w->fake};
    }
    struct http_listen_options listen = {
        .address = "127.0.0.1:18473", .routes = routes, .route_count = 3};
    struct err err = {0};
    if (http_server_listen(w->server, &listen, &err) < 0) {
        fail_msg("%s", err.text);
    }
    struct balena_api_options options = {.base_url = "http://127.0.0.1:18473",
                                         .service_key = "service"};
    assert_int_equal(balena_api_new(w->loop, &options, &w->api, NULL), 0);
    w->limit = loop_timer_new(w->loop, on_limit, NULL);
    loop_timer_start(w->limit, 20000, 0);
    w->fake = (struct fake){.probe_status = 200, .status = 200, .body = ""};
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;

    balena_api_close(w->api);
    http_server_close(w->server);
    loop_timer_close(w->limit);
    loop_free(w->loop);
    free(w);
    return 0;
}

static void on_done(void *arg, const struct api_result *r)
{
    struct world *w = arg;

    w->answers++;
    w->answer = r->answer;
    w->id = r->id;
    w->uuid_count = r->uuid_count;
    snprintf(w->address, sizeof(w->address), "%s", r->address != NULL ? r->address : "");
    if (r->answer == API_UNKNOWN) {
        assert_non_null(r->why);
    }
    loop_stop(w->loop);
}

static enum api_answer wait_answer(struct world *w)
{
    w->answers = 0;
    loop_run(w->loop);
    assert_int_equal(w->answers, 1);
    return w->answer;
}

/* Sets what the API says and runs until the call that follows has its answer. */
static void says(struct world *w, int status, const char *body, int probe_status)
{
    w->fake = (struct fake){.status = status, .body = body, .probe_status = probe_status};
}

static void test_device_auth(void **state)
{
    struct world *w = *state;
    static const struct {
        int status, probe_status;
        enum api_answer answer;
        int probed;
    } rows[] = {
        {200, 401, API_YES, 0},     /* a yes needs no proof */
        {401, 200, API_NO, 1},      /* refused, and the API is sane */
        {401, 401, API_UNKNOWN, 1}, /* it refuses everybody */
        {401, 503, API_UNKNOWN, 1}, {500, 200, API_UNKNOWN, 0}, {429, 200, API_UNKNOWN, 0},
        {301, 200, API_UNKNOWN, 0}, {404, 200, API_UNKNOWN, 0}, {403, 200, API_UNKNOWN, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        says(w, rows[i].status, "", rows[i].probe_status);
        api_device_auth(w->api, UUID, "its-key", on_done, w);
        assert_int_equal(wait_answer(w), rows[i].answer);
        assert_int_equal(w->fake.probed, rows[i].probed);
        assert_string_equal(w->fake.path, "GET /services/vpn/auth/" UUID);
        assert_string_equal(w->fake.authorization, "Bearer its-key");
    }
}

static void test_a_key_that_is_no_header_value_is_refused_without_asking(void **state)
{
    struct world *w = *state;
    static const char *const keys[] = {"", "a b", "a\r\nX: y", "\x01", "k\xc3\xa9y", " k"};

    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        api_device_auth(w->api, UUID, keys[i], on_done, w);
        assert_int_equal(wait_answer(w), API_NO);
    }
    assert_int_equal(w->fake.asked, 0);
}

static void test_can_access(void **state)
{
    struct world *w = *state;
    static const struct {
        int status;
        const char *body;
        int probe_status;
        enum api_answer answer;
    } rows[] = {
        {200, "{\"d\":[{\"id\":7}]}", 200, API_YES},
        {200, "{\"d\":[]}", 200, API_NO},
        {200, "{\"d\":[{\"id\":7},{\"id\":8}]}", 200, API_UNKNOWN},
        {200, "{\"d\":[{\"id\":\"7\"}]}", 200, API_UNKNOWN},
        {200, "{\"d\":[{\"id\":-1}]}", 200, API_UNKNOWN},
        {200, "{\"d\":", 200, API_UNKNOWN},
        {200, "", 200, API_UNKNOWN},
        {200, "[]", 200, API_UNKNOWN},
        {401, "", 200, API_NO},
        {401, "", 401, API_UNKNOWN},
        {502, "", 200, API_UNKNOWN},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        says(w, rows[i].status, rows[i].body, rows[i].probe_status);
        api_can_access(w->api, UUID, 8080, "user", NULL, on_done, w);
        if (wait_answer(w) != rows[i].answer) {
            fail_msg("row %zu: %d", i, w->answer);
        }
    }
    assert_string_equal(w->fake.path, "POST /v7/device(uuid=@uuid)/canAccess");
    assert_string_equal(w->fake.query, "@uuid='" UUID "'");
    assert_string_equal(w->fake.body_seen,
                        "{\"action\":{\"or\":[\"tunnel-any\",\"tunnel-8080\"]}}");
    api_can_access(w->api, UUID, 22, NULL, NULL, on_done, w);
    wait_answer(w);
    assert_string_equal(w->fake.authorization, "");
}

static void test_reports(void **state)
{
    struct world *w = *state;
    const char *const uuids[] = {UUID, "fedcba9876543210fedcba9876543210"};

    says(w, 200, "", 200);
    api_report(w->api, true, 12, uuids, 2, on_done, w);
    assert_int_equal(wait_answer(w), API_YES);
    assert_string_equal(w->fake.path, "POST /services/vpn/client-connect");
    assert_string_equal(w->fake.authorization, "Bearer service");
    assert_string_equal(w->fake.body_seen,
                        "{\"serviceId\":12,\"uuids\":[\"" UUID
                        "\",\"fedcba9876543210fedcba9876543210\"],\"connected\":true}");
    assert_true(balena_api_sane(w->api));
    says(w, 409, "", 200);
    api_report(w->api, true, 12, uuids, 1, on_done, w);
    assert_int_equal(wait_answer(w), API_GONE);
    assert_true(balena_api_sane(w->api));
    api_report(w->api, false, 12, uuids, 1, on_done, w);
    assert_int_equal(wait_answer(w), API_UNKNOWN);
    says(w, 401, "", 200);
    api_report(w->api, true, 12, uuids, 1, on_done, w);
    assert_int_equal(wait_answer(w), API_UNKNOWN); /* our own key is never wrong: it is ill */
    assert_int_equal(w->fake.probed, 0);
    assert_false(balena_api_sane(w->api));
    assert_string_equal(balena_api_why(w->api), "it answered 401");
    says(w, 200, "", 200);
    api_report(w->api, true, 12, uuids, 1, on_done, w);
    assert_int_equal(wait_answer(w), API_YES);
    assert_string_equal(balena_api_why(w->api), "");
}

static void test_the_longest_batch_fits(void **state)
{
    struct world *w = *state;
    const char **uuids = xcalloc(API_BATCH_MAX, sizeof(*uuids));

    for (size_t i = 0; i < API_BATCH_MAX; i++) {
        uuids[i] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd";
    }
    says(w, 200, "", 200);
    api_report(w->api, true, INT64_C(9007199254740991), uuids, API_BATCH_MAX, on_done, w);
    assert_int_equal(wait_answer(w), API_YES);
    free(uuids);
}

static void test_other_questions(void **state)
{
    struct world *w = *state;

    says(w, 201, "{\"id\":31}", 200);
    api_register(w->api, "192.0.2.1", on_done, w);
    assert_int_equal(wait_answer(w), API_YES);
    assert_int_equal(w->id, 31);
    assert_string_equal(w->fake.body_seen, "{\"ip_address\":\"192.0.2.1\"}");
    says(w, 200, "{\"id\":31}", 200);
    api_register(w->api, NULL, on_done, w);
    assert_int_equal(wait_answer(w), API_UNKNOWN); /* only 201 made a row */
    says(w, 200, "", 200);
    api_heartbeat(w->api, 31, on_done, w);
    assert_int_equal(wait_answer(w), API_YES);
    assert_string_equal(w->fake.path, "PATCH /v7/service_instance(31)");
    says(w, 200, "{\"d\":[{\"uuid\":\"" UUID "\"},{\"uuid\":\"../x\"},{}]}", 200);
    api_list_devices(w->api, 31, on_done, w);
    assert_int_equal(wait_answer(w), API_YES);
    assert_int_equal(w->uuid_count, 1);
    says(w, 200, "{\"d\":[{\"id\":1,\"ip_address\":\"192.0.2.9\"}]}", 200);
    api_find_host(w->api, UUID, "user", NULL, on_done, w);
    assert_int_equal(wait_answer(w), API_YES);
    assert_string_equal(w->address, "192.0.2.9");
    says(w, 200, "{\"d\":[{\"id\":5}]}", 200);
    api_is_connected(w->api, 5, NULL, on_done, w);
    assert_int_equal(wait_answer(w), API_YES);
}

static void test_nobody_there_is_unknown(void **state)
{
    struct world *w = *state;

    http_server_close(w->server);
    assert_int_equal(http_server_new(w->loop, &w->server, NULL), 0);
    api_device_auth(w->api, UUID, "key", on_done, w);
    assert_int_equal(wait_answer(w), API_UNKNOWN);
}

static void on_never(void *arg, const struct api_result *r)
{
    fail_msg("a cancelled call was answered");
}

static void test_cancelled_in_every_phase(void **state)
{
    struct world *w = *state;

    says(w, 401, "", 200);
    api_call_cancel(api_device_auth(w->api, UUID, "key", on_never, w)); /* on the wire */
    api_call_cancel(api_device_auth(w->api, UUID, "", on_never, w));    /* answer is waiting */
    struct api_call *probed = api_verify_sane(w->api, on_never, w);
    struct api_call *unprobed = api_verify_sane(w->api, on_never, w);
    api_call_cancel(unprobed);
    api_call_cancel(probed);
    api_device_auth(w->api, UUID, "key", on_done, w);
    assert_int_equal(wait_answer(w), API_NO);
}

/* Those that ask while a probe is under way need one that began later, and share it. */
static void test_probes_are_shared_but_never_older_than_the_question(void **state)
{
    struct world *w = *state;
    int answers = 0;

    says(w, 200, "", 200);
    w->answers = 0;
    for (int i = 0; i < 10; i++) {
        api_verify_sane(w->api, on_done, w);
    }
    while (w->answers < 10) {
        loop_run(w->loop);
        answers++;
    }
    assert_true(answers <= 10);
    assert_int_equal(w->fake.probed, 2);
    assert_int_equal(w->answer, API_YES);
}

static void test_settings_from_the_environment(void **state)
{
    static const struct {
        const char *name, *value;
        const char *url; /* NULL: refused */
    } rows[] = {
        {"BALENA_API_HOST", "api.example.com", "https://api.example.com"},
        {"API_HOST", "api.example.com:8443", "https://api.example.com:8443"},
        {"BALENA_API_INTERNAL_HOST", "api", "http://api"},
        {"API_INTERNAL_HOST", "https://api/base/", "https://api/base"},
        {"API_HOST", "[::1]", "https://[::1]"},
        {"API_HOST", "http://[::1]:65535/base:1", "http://[::1]:65535/base:1"},
        {"BALENA_API_INTERNAL_HOST", "127.0.0.1:99999", NULL},
        {"API_HOST", "x:65536", NULL},
        {"API_HOST", "x:0", NULL},
        {"API_HOST", "x:", NULL},
        {"API_HOST", "x:80a", NULL},
        {"API_HOST", "https://[::1]:99999/base", NULL},
        {"API_HOST", "api/x", NULL},
        {"API_HOST", "a b", NULL},
        {"API_HOST", "user@api", NULL},
        {"API_HOST", "http://", NULL},
        {"API_HOST", "a?b", NULL},
        {"API_HOST", "a\nb", NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(str) char *url = NULL;
        struct err err = {0};
        setenv(rows[i].name, rows[i].value, 1);
        int r = balena_api_url_from_env(&url, &err);
        unsetenv(rows[i].name);
        if (rows[i].url == NULL) {
            assert_int_equal(r, -EINVAL);
            assert_non_null(strstr(err.text, rows[i].name));
        } else {
            assert_int_equal(r, 0);
            assert_string_equal(url, rows[i].url);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_device_auth, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_a_key_that_is_no_header_value_is_refused_without_asking, setup, teardown),
        cmocka_unit_test_setup_teardown(test_can_access, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reports, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_longest_batch_fits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_questions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nobody_there_is_unknown, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancelled_in_every_phase, setup, teardown),
        cmocka_unit_test_setup_teardown(test_probes_are_shared_but_never_older_than_the_question,
                                        setup, teardown),
        cmocka_unit_test(test_settings_from_the_environment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
