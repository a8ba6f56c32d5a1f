/* Requests: what each answer means, which are tried again, with which credentials, on which
 * connections. */
#include "tests/unit/kube/fake_api.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

static struct kube_client *client;
static struct kube_config *config;

static struct got {
    int done;
    enum kube_outcome outcome;
    int status, result, retry_after_s;
    char reason[64];
    char text[256];
    char name[64]; /* of the object */
} got;

static int setup(void **state)
{
    net_setup(state);
    fake_api_open();
    got = (struct got){0};
    config = fake_config("first");
    return 0;
}

static int teardown(void **state)
{
    kube_client_close(client);
    client = NULL;
    kube_config_free(config);
    fake_api_close();
    return net_teardown(state);
}

static void open_client(const struct kube_client_options *more)
{
    struct kube_client_options options = *more;
    struct err err;

    options.config = config;
    if (kube_client_new(loop, &options, &client, &err) < 0) {
        fail_msg("%s", err.text);
    }
}

static void on_done(void *arg, struct kube_answer *answer)
{
    struct got *g = arg;
    const char *name = "";

    g->done++;
    g->outcome = answer->outcome;
    g->status = answer->status;
    g->result = answer->result;
    g->retry_after_s = answer->retry_after_s;
    snprintf(g->reason, sizeof(g->reason), "%s", answer->reason);
    snprintf(g->text, sizeof(g->text), "%s", answer->text);
    if (answer->object != NULL) {
        (void)json_str(answer->object, "name", &name, NULL);
    }
    snprintf(g->name, sizeof(g->name), "%s", name);
}

static struct kube_request request_of(const char *method, const char *body)
{
    return (struct kube_request){
        .method = method, .path = "/api/v1/x", .body = body, .on_done = on_done, .arg = &got};
}

static struct kube_call *send_request_of(const struct kube_request *request)
{
    struct kube_call *call = NULL;

    assert_int_equal(kube_client_send(client, request, &call, NULL), 0);
    assert_int_equal(got.done, 0); /* never before the call has returned */
    return call;
}

static void send_simple(const char *method, const char *body)
{
    struct kube_request request = request_of(method, body);

    got = (struct got){0};
    send_request_of(&request);
}

#define client_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* --- answers --- */

static void test_each_answer_has_its_outcome(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *body;
        enum kube_outcome outcome;
        const char *reason;
    } cases[] = {
        {200, "{\"name\":\"a\"}", KUBE_OK, ""},
        {201, "{}", KUBE_OK, ""},
        {400, "{\"reason\":\"BadRequest\"}", KUBE_INVALID, "BadRequest"},
        {403, "{\"reason\":\"Forbidden\",\"message\":\"no\"}", KUBE_DENIED, "Forbidden"},
        {404, "{\"reason\":\"NotFound\"}", KUBE_NOT_FOUND, "NotFound"},
        {404, "404 page not found", KUBE_NOT_FOUND, ""},
        {409, "{\"reason\":\"AlreadyExists\"}", KUBE_EXISTS, "AlreadyExists"},
        {409, "{\"reason\":\"Conflict\"}", KUBE_CONFLICT, "Conflict"},
        {410, "{\"reason\":\"Expired\"}", KUBE_EXPIRED, "Expired"},
        {422, "{\"reason\":\"Invalid\"}", KUBE_INVALID, "Invalid"},
        {429, "{\"reason\":\"TooManyRequests\"}", KUBE_BUSY, "TooManyRequests"},
        {500, "", KUBE_BUSY, ""},
        {503, "[1,2", KUBE_BUSY, ""},
        {200, "{\"half\":", KUBE_UNREACHABLE, ""},
    };

    open_client(&(struct kube_client_options){0});
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        send_simple("GET", NULL);
        TAKE_REQUEST();
        fake_answer(cases[i].status, "", cases[i].body);
        RUN_UNTIL(got.done);
        assert_int_equal(got.outcome, cases[i].outcome);
        assert_string_equal(got.reason, cases[i].reason);
        assert_int_equal(got.text[0] == '\0', got.outcome == KUBE_OK);
    }
}

static void test_a_refusal_reads_well(void **state)
{
    (void)state;
    open_client(&(struct kube_client_options){0});
    send_simple("POST", "{}");
    TAKE_REQUEST();
    fake_answer(403, "", "{\"reason\":\"Forbidden\",\"message\":\"pods is\\nforbidden\"}");
    RUN_UNTIL(got.done);
    assert_string_equal(got.text, "POST /api/v1/x: 403 Forbidden: pods is forbidden");
}

static void test_half_sent_json_is_no_answer(void **state)
{
    (void)state;
    open_client(&(struct kube_client_options){0});
    send_simple("PUT", "{}");
    TAKE_REQUEST();
    fake_answer_cut(200, "{\"name\":");
    RUN_UNTIL(got.done);
    assert_int_equal(got.outcome, KUBE_UNREACHABLE);
    assert_int_equal(got.status, 0);
    assert_null(strstr(got.text, api.address)); /* "PUT /api/v1/x: why", no URL */
}

static void test_the_request_says_who_and_what(void **state)
{
    (void)state;
    open_client(&(struct kube_client_options){.user_agent = "test/1"});
    struct kube_request request = request_of("PATCH", "{\"a\":1}");
    request.content_type = KUBE_MERGE_PATCH;
    request.query = "dryRun=All";
    send_request_of(&request);
    TAKE_REQUEST();
    assert_string_equal(api.request.target, "/api/v1/x?dryRun=All");
    assert_non_null(strstr(api.request.head, "Authorization: Bearer first\r\n"));
    assert_non_null(strstr(api.request.head, "User-Agent: test/1\r\n"));
    assert_non_null(strstr(api.request.head, "Content-Type: application/merge-patch+json\r\n"));
    assert_string_equal(api.request.body, "{\"a\":1}");
    fake_answer(200, "", "{\"name\":\"n\"}");
    RUN_UNTIL(got.done);
    assert_string_equal(got.name, "n");
}

static void test_apply_names_its_manager(void **state)
{
    (void)state;
    open_client(&(struct kube_client_options){0});
    AUTO(json) cJSON *object = cJSON_Parse("{\"kind\":\"Lease\"}");
    assert_int_equal(kube_apply(client, &kube_leases, "vpn", "a b", "status", "me", true, object,
                                on_done, &got, NULL, NULL),
                     0);
    TAKE_REQUEST();
    assert_string_equal(api.request.method, "PATCH");
    assert_string_equal(api.request.target, "/apis/coordination.k8s.io/v1/namespaces/vpn/leases/"
                                            "a%20b/status?fieldManager=me&force=true");
    assert_non_null(strstr(api.request.head, "Content-Type: application/apply-patch+yaml\r\n"));
    fake_answer(200, "", "{}");
    RUN_UNTIL(got.done);
}

static void test_a_bad_path_is_refused(void **state)
{
    (void)state;
    static const char *const paths[] = {"", "api", "/a b", "/a\r\nX: y"};
    open_client(&(struct kube_client_options){0});
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        struct kube_request request = request_of("GET", NULL);
        request.path = paths[i];
        assert_int_equal(kube_client_send(client, &request, NULL, NULL), -EINVAL);
    }
}

/* --- trying again --- */

static void test_busy_is_tried_again_when_told_and_safe(void **state)
{
    (void)state;
    static const struct {
        const char *method, *content_type;
        int status;
        const char *headers;
        bool again;
    } cases[] = {
        {"GET", NULL, 429, "Retry-After: 1\r\n", true},
        {"DELETE", NULL, 503, "Retry-After: 1\r\n", true},
        {"PATCH", KUBE_APPLY_PATCH, 429, "Retry-After: 0\r\n", true},
        {"PATCH", KUBE_JSON_PATCH, 429, "Retry-After: 1\r\n", false},
        {"POST", NULL, 429, "Retry-After: 1\r\n", false},
        {"GET", NULL, 500, "", false},
        {"GET", NULL, 429, "Retry-After: 3600\r\n", false},
        {"GET", NULL, 404, "Retry-After: 1\r\n", false},
    };

    open_client(&(struct kube_client_options){0});
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct kube_request request = request_of(cases[i].method, "{}");
        request.content_type = cases[i].content_type;
        got = (struct got){0};
        send_request_of(&request);
        TAKE_REQUEST();
        int64_t refused_ms = clock_monotonic_ms();
        fake_answer(cases[i].status, cases[i].headers, "{}");
        if (cases[i].again) {
            TAKE_REQUEST();
            assert_true(clock_monotonic_ms() - refused_ms >= 1000);
            fake_answer(200, "", "{}");
        }
        RUN_UNTIL(got.done);
        assert_int_equal(got.outcome == KUBE_OK, cases[i].again);
    }
}

static void test_many_refusals_come_back_one_by_one(void **state)
{
    (void)state;
    enum { CALLS = 20 };
    open_client(&(struct kube_client_options){0});
    struct kube_request request = request_of("GET", NULL);
    for (int i = 0; i < CALLS; i++) {
        kube_client_send(client, &request, NULL, NULL);
    }
    int64_t refused_ms = clock_monotonic_ms();
    for (int i = 0; i < CALLS; i++) {
        TAKE_REQUEST();
        fake_answer(429, "Retry-After: 1\r\n", "{}");
    }
    for (int i = 0; i < CALLS; i++) {
        TAKE_REQUEST();
        fake_answer(200, "", "{}");
    }
    RUN_UNTIL(got.done == CALLS);
    assert_true(clock_monotonic_ms() - refused_ms >= 2000); /* 1 s, and 10 of them wait for 0.1 s */
}

static void test_once_is_once(void **state)
{
    (void)state;
    open_client(&(struct kube_client_options){0});
    struct kube_request request = request_of("GET", NULL);
    request.once = true;
    send_request_of(&request);
    TAKE_REQUEST();
    fake_answer(429, "", "{\"details\":{\"retryAfterSeconds\":7}}");
    RUN_UNTIL(got.done);
    assert_int_equal(got.outcome, KUBE_BUSY);
    assert_int_equal(got.retry_after_s, 7);
}

static void test_the_bucket_holds_back_all_but_urgent_ones(void **state)
{
    (void)state;
    open_client(&(struct kube_client_options){.requests_per_s = 5, .burst = 1});
    struct kube_request request = request_of("GET", NULL);
    int64_t began = clock_monotonic_ms();
    send_request_of(&request);
    send_request_of(&request); /* 200 ms later */
    request.urgent = true;
    request.path = "/urgent";
    send_request_of(&request);
    for (int i = 0; i < 2; i++) {
        TAKE_REQUEST();
        fake_answer(200, "", "{}");
    }
    RUN_UNTIL(got.done == 2);
    TAKE_REQUEST();
    assert_string_equal(api.request.target, "/api/v1/x");
    assert_true(clock_monotonic_ms() - began >= 200);
    fake_answer(200, "", "{}");
    RUN_UNTIL(got.done == 3);
}

/* --- credentials --- */

static void write_file(const char *path, const char *text)
{
    AUTO(fd) int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);

    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static void use_token_file(const char *text)
{
    free(MOVE(config->token.data));
    config->token.file = xstrdup(temp_path("token"));
    write_file(config->token.file, text);
}

static void test_a_refused_token_is_read_anew_once(void **state)
{
    (void)state;
    use_token_file("old\n");
    open_client(&(struct kube_client_options){0});
    send_simple("POST", "{}");
    TAKE_REQUEST();
    assert_non_null(strstr(api.request.head, "Bearer old\r\n"));
    write_file(config->token.file, "new\n");
    fake_answer(401, "", "");
    TAKE_REQUEST();
    assert_non_null(strstr(api.request.head, "Bearer new\r\n"));
    fake_answer(401, "", "Unauthorized");
    RUN_UNTIL(got.done);
    assert_int_equal(got.outcome, KUBE_DENIED);
    assert_int_equal(got.status, 401);
}

static void test_a_token_file_is_read_anew_in_time(void **state)
{
    (void)state;
    use_token_file("old");
    open_client(&(struct kube_client_options){.reread_ms = 1});
    write_file(config->token.file, "new");
    int64_t then = clock_monotonic_ms();
    RUN_UNTIL(clock_monotonic_ms() > then + 1);
    send_simple("GET", NULL);
    TAKE_REQUEST();
    assert_non_null(strstr(api.request.head, "Bearer new\r\n"));
    fake_answer(200, "", "{}");
    RUN_UNTIL(got.done);
    /* and what can not be read any more stays as it was */
    unlink(config->token.file);
    send_simple("GET", NULL);
    TAKE_REQUEST();
    assert_non_null(strstr(api.request.head, "Bearer new\r\n"));
    fake_answer(200, "", "{}");
    RUN_UNTIL(got.done);
}

static void test_no_token_at_the_start_is_an_error(void **state)
{
    (void)state;
    struct err err;
    use_token_file("");
    struct kube_client_options options = {.config = config};
    assert_int_equal(kube_client_new(loop, &options, &client, &err), -EINVAL);
    assert_non_null(strstr(err.text, "is empty"));
    unlink(config->token.file);
    assert_int_equal(kube_client_new(loop, &options, &client, &err), -ENOENT);
}

/* A plugin that counts its runs in a file and prints what is in another. */
static void use_plugin(const char *body)
{
    AUTO(str) char *script = xstrdup(temp_path("plugin"));
    AUTO(str) char *answer = xstrdup(temp_path("answer"));
    AUTO(str) char *runs = xstrdup(temp_path("runs"));
    AUTO(str)
    char *text = xasprintf("#!/bin/sh\necho \"$1|$EXTRA|$KUBERNETES_EXEC_INFO\" >> %s\ncat %s\n",
                           runs, answer);

    write_file(script, text);
    assert_int_equal(chmod(script, 0700), 0);
    write_file(answer, body);
    free(MOVE(config->token.data));
    config->exec = xcalloc(1, sizeof(*config->exec));
    config->exec->command = MOVE(script);
    config->exec->args = xcalloc(2, sizeof(char *));
    config->exec->args[0] = xstrdup("an argument; with 'all' \"of it\"");
    config->exec->env = xcalloc(2, sizeof(char *));
    config->exec->env[0] = xstrdup("EXTRA=more of it");
    config->exec->api_version = xstrdup("client.authentication.k8s.io/v1");
    config->exec->provides_cluster_info = true;
}

#define CREDENTIAL(status)                                                             \
    "{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\"," \
    "\"status\":{" status "}}"

static void test_a_plugin_is_asked_and_its_answer_kept(void **state)
{
    (void)state;
    use_plugin(CREDENTIAL("\"token\":\"from-plugin\""));
    open_client(&(struct kube_client_options){0});
    for (int i = 0; i < 2; i++) {
        send_simple("GET", NULL);
        TAKE_REQUEST();
        assert_non_null(strstr(api.request.head, "Bearer from-plugin\r\n"));
        fake_answer(200, "", "{}");
        RUN_UNTIL(got.done);
    }
    FILE *f = fopen(temp_path("runs"), "r");
    char line[1024], second[8];
    assert_non_null(fgets(line, sizeof(line), f));
    assert_null(fgets(second, sizeof(second), f)); /* one run only */
    fclose(f);
    assert_non_null(strstr(line, "an argument; with 'all' \"of it\"|more of it|{\"kind\":"));
    assert_non_null(strstr(line, api.address));
}

static void test_an_expired_answer_is_asked_for_again(void **state)
{
    (void)state;
    use_plugin(CREDENTIAL("\"token\":\"a\",\"expirationTimestamp\":\"2020-01-01T00:00:00Z\""));
    open_client(&(struct kube_client_options){0});
    send_simple("GET", NULL);
    RUN_UNTIL(got.done); /* good for nothing: and the plugin is not run in a circle */
    assert_int_equal(got.outcome, KUBE_UNREACHABLE);
    assert_non_null(strstr(got.text, "refused or expired"));
}

static void test_a_plugin_that_fails_says_so(void **state)
{
    (void)state;
    static const char *const answers[] = {"", "{}", "nonsense", CREDENTIAL(""),
                                          CREDENTIAL("\"clientCertificateData\":\"x\"")};
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        use_plugin(answers[i]);
        open_client(&(struct kube_client_options){0});
        send_simple("GET", NULL);
        RUN_UNTIL(got.done);
        assert_int_equal(got.outcome, KUBE_UNREACHABLE);
        assert_non_null(strstr(got.text, "plugin"));
        kube_client_close(client);
        client = NULL;
        kube_config_free(config);
        config = fake_config("t");
    }
}

static void test_a_plugin_that_is_not_there_says_how_to_get_it(void **state)
{
    (void)state;
    use_plugin("");
    free(config->exec->command);
    config->exec->command = xstrdup("no-such-plugin-anywhere");
    config->exec->install_hint = xstrdup("ask your admin");
    open_client(&(struct kube_client_options){0});
    send_simple("GET", NULL);
    RUN_UNTIL(got.done);
    assert_non_null(strstr(got.text, "ask your admin"));
}

static void test_a_client_is_closed_while_a_plugin_runs(void **state)
{
    (void)state;
    use_plugin("");
    write_file(config->exec->command, "#!/bin/sh\nsleep 1000 & wait\n");
    open_client(&(struct kube_client_options){0});
    send_simple("GET", NULL);
    int64_t then = clock_monotonic_ms();
    RUN_UNTIL(clock_monotonic_ms() > then + 20);
    kube_client_close(client);
    client = NULL;
    assert_int_equal(got.done, 0);
}

static char *make_pair(const char *name)
{
    AUTO(str) char *base = xstrdup(temp_path(name));
    AUTO(str)
    char *command = xasprintf("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 "
                              "-nodes -days 2 -subj /CN=%s -keyout %s.key -out %s.crt 2>/dev/null",
                              name, base, base);

    assert_int_equal(system(command), 0);
    return xstrdup(base);
}

static void copy_to(const char *from, const char *ending, const char *to)
{
    AUTO(str) char *command = xasprintf("cp %s%s %s", from, ending, to);

    assert_int_equal(system(command), 0);
}

static struct raw *ask_over(void)
{
    send_simple("GET", NULL);
    TAKE_REQUEST();
    struct raw *connection = api.request.connection;
    fake_answer(200, "", "{}");
    RUN_UNTIL(got.done);
    assert_int_equal(got.outcome, KUBE_OK);
    return connection;
}

/* Two files are never replaced at once: between them there is no pair, and the old one goes on. */
static void test_a_pair_is_replaced_when_both_halves_are(void **state)
{
    (void)state;
    AUTO(str) char *one = make_pair("one");
    AUTO(str) char *two = make_pair("two");
    config->cert.file = xstrdup(temp_path("cert"));
    config->key.file = xstrdup(temp_path("key"));
    copy_to(one, ".crt", config->cert.file);
    copy_to(one, ".key", config->key.file);
    open_client(&(struct kube_client_options){.reread_ms = 1});
    struct raw *first = ask_over();
    copy_to(two, ".crt", config->cert.file);
    assert_ptr_equal(ask_over(), first);
    assert_ptr_equal(ask_over(), first);
    copy_to(two, ".key", config->key.file);
    assert_ptr_not_equal(ask_over(), first);
}

/* --- connections --- */

static void test_a_server_that_falls_silent_gets_a_new_connection(void **state)
{
    (void)state;
    open_client(&(struct kube_client_options){0});
    send_simple("GET", NULL);
    TAKE_REQUEST();
    fake_answer(200, "", "{}");
    RUN_UNTIL(got.done);
    struct raw *first = api.request.connection;
    struct kube_request request = request_of("GET", NULL);
    request.timeout_ms = 50;
    got = (struct got){0};
    send_request_of(&request);
    TAKE_REQUEST();
    assert_ptr_equal(api.request.connection, first);
    RUN_UNTIL(got.done); /* no answer */
    assert_int_equal(got.result, -ETIMEDOUT);
    send_simple("GET", NULL);
    TAKE_REQUEST();
    assert_ptr_not_equal(api.request.connection, first);
    fake_answer(200, "", "{}");
    RUN_UNTIL(got.done);
    assert_int_equal(got.outcome, KUBE_OK);
}

static void on_back(void *arg)
{
    ++*(int *)arg;
}

static void test_listeners_hear_that_the_server_is_back(void **state)
{
    (void)state;
    int back = 0;
    struct kube_listener listener = {.fn = on_back, .arg = &back};
    open_client(&(struct kube_client_options){0});
    kube_client_listen(client, &listener);
    for (int i = 0; i < 2; i++) {
        send_simple("GET", NULL);
        TAKE_REQUEST();
        fake_drop();
        /* a kept connection that dies is tried once more */
        RUN_UNTIL(got.done || fake_api_poll());
        if (!got.done) {
            fake_drop();
        }
        RUN_UNTIL(got.done);
        assert_int_equal(got.outcome, KUBE_UNREACHABLE);
        send_simple("GET", NULL);
        TAKE_REQUEST();
        fake_answer(500, "", "");
        RUN_UNTIL(got.done);
        RUN_UNTIL(back == i + 1); /* any answer is one */
    }
    kube_client_unlisten(client, &listener);
}

static struct buf streamed;

static bool on_piece(void *arg, const char *bytes, size_t len)
{
    (void)arg;
    buf_append(&streamed, bytes, len);
    return strchr(buf_str(&streamed), '!') == NULL;
}

static void test_a_stream_comes_in_pieces(void **state)
{
    (void)state;
    buf_init(&streamed, 4096);
    open_client(&(struct kube_client_options){0});
    struct kube_request request = request_of("GET", NULL);
    request.on_body = on_piece;
    send_request_of(&request);
    TAKE_REQUEST();
    fake_stream();
    fake_chunk("one", 3);
    RUN_UNTIL(streamed.len == 3);
    fake_chunk("two", 3);
    fake_stream_end();
    RUN_UNTIL(got.done);
    assert_int_equal(got.outcome, KUBE_OK);
    assert_string_equal(buf_str(&streamed), "onetwo");
    /* a refusal is none of its pieces */
    got = (struct got){0};
    send_request_of(&request);
    TAKE_REQUEST();
    fake_answer(410, "", "{\"reason\":\"Gone\"}");
    RUN_UNTIL(got.done);
    assert_string_equal(got.reason, "Gone");
    assert_string_equal(buf_str(&streamed), "onetwo");
    /* and its reader may end it */
    got = (struct got){0};
    send_request_of(&request);
    TAKE_REQUEST();
    fake_stream();
    fake_chunk("stop!", 5);
    RUN_UNTIL(got.done);
    assert_int_equal(got.result, -ECANCELED);
    buf_clear(&streamed);
}

static void test_calls_may_be_cancelled_at_any_time(void **state)
{
    (void)state;
    open_client(&(struct kube_client_options){0});
    struct kube_request request = request_of("GET", NULL);
    kube_call_cancel(send_request_of(&request)); /* before it is sent */
    struct kube_call *call = send_request_of(&request);
    TAKE_REQUEST();
    kube_call_cancel(call); /* on the wire */
    call = send_request_of(&request);
    TAKE_REQUEST();
    fake_answer(429, "Retry-After: 50\r\n", "{}");
    int64_t then = clock_monotonic_ms();
    RUN_UNTIL(clock_monotonic_ms() > then + 20);
    kube_call_cancel(call); /* waiting to be tried again */
    send_request_of(&request);
    TAKE_REQUEST();
    kube_client_close(client); /* and with the client */
    client = NULL;
    assert_int_equal(got.done, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        client_test(test_each_answer_has_its_outcome),
        client_test(test_a_refusal_reads_well),
        client_test(test_half_sent_json_is_no_answer),
        client_test(test_the_request_says_who_and_what),
        client_test(test_apply_names_its_manager),
        client_test(test_a_bad_path_is_refused),
        client_test(test_busy_is_tried_again_when_told_and_safe),
        client_test(test_many_refusals_come_back_one_by_one),
        client_test(test_once_is_once),
        client_test(test_the_bucket_holds_back_all_but_urgent_ones),
        client_test(test_a_refused_token_is_read_anew_once),
        client_test(test_a_token_file_is_read_anew_in_time),
        client_test(test_no_token_at_the_start_is_an_error),
        client_test(test_a_plugin_is_asked_and_its_answer_kept),
        client_test(test_an_expired_answer_is_asked_for_again),
        client_test(test_a_plugin_that_fails_says_so),
        client_test(test_a_plugin_that_is_not_there_says_how_to_get_it),
        client_test(test_a_client_is_closed_while_a_plugin_runs),
        client_test(test_a_pair_is_replaced_when_both_halves_are),
        client_test(test_a_server_that_falls_silent_gets_a_new_connection),
        client_test(test_listeners_hear_that_the_server_is_back),
        client_test(test_a_stream_comes_in_pieces),
        client_test(test_calls_may_be_cancelled_at_any_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
