/* buf, err, uuid, base64, secret, json, config, metrics. */
#include "common/base64.h"
#include "common/buf.h"
#include "common/config.h"
#include "common/json.h"
#include "common/metrics.h"
#include "common/secret.h"
#include "common/uuid.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_buf_never_passes_its_maximum(void **state)
{
    struct buf b;

    buf_init(&b, 10);
    assert_string_equal(buf_str(&b), "");
    assert_int_equal(buf_append_str(&b, "12345"), 0);
    assert_int_equal(buf_printf(&b, "%d", 67890), 0);
    assert_int_equal(buf_append(&b, "x", 1), -EMSGSIZE);
    assert_int_equal(buf_printf(&b, "%s", "y"), -EMSGSIZE);
    assert_string_equal(buf_str(&b), "1234567890");
    buf_consume(&b, 4);
    assert_string_equal(buf_str(&b), "567890");
    assert_int_equal(buf_append_str(&b, "abcd"), 0);
    assert_int_equal(buf_reserve(&b, SIZE_MAX), -EMSGSIZE);
    char *text = buf_take(&b);
    assert_string_equal(text, "567890abcd");
    assert_int_equal(b.len, 0);
    free(text);
    buf_clear(&b);
}

static int fails_below(struct err *err)
{
    return err_set(err, -ENOENT, "open '%s'", "/x");
}

static void test_err_says_what_was_done(void **state)
{
    struct err err = {0};
    char longest[2 * ERR_TEXT_MAX];

    assert_int_equal(fails_below(&err), -ENOENT);
    assert_string_equal(err.text, "open '/x': No such file or directory");
    assert_int_equal(err_wrap(&err, "read %s", "token"), -ENOENT);
    assert_string_equal(err.text, "read token: open '/x': No such file or directory");
    assert_int_equal(err_text(NULL, -EINVAL, "nobody listens"), -EINVAL);
    memset(longest, 'a', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    assert_int_equal(err_text(&err, -EINVAL, "%s", longest), -EINVAL);
    assert_int_equal(strlen(err.text), ERR_TEXT_MAX - 1);
    assert_int_equal(err_wrap(&err, "more"), -EINVAL);
    assert_int_equal(strlen(err.text), ERR_TEXT_MAX - 1);
}

static void test_uuid(void **state)
{
    static const struct {
        const char *text;
        bool valid;
    } rows[] = {
        {"0123456789abcdef0123456789abcdef", true},
        {"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd", true},
        {"0123456789abcdef0123456789abcdeF", false},
        {"0123456789abcdef0123456789abcde", false},
        {"0123456789abcdef0123456789abcdef0", false},
        {"0123456789abcdef0123456789abcde/", false},
        {"../../../../../../../../../../..", false},
        {"%2e%2e%2e%2e%2e%2e%2e%2e%2e%2e%2", false},
        {"0123456789abcdef0123456789abcde\n", false},
        {"", false},
    };
    char folded[UUID_TEXT_MAX + 1] = "";

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (uuid_valid_str(rows[i].text) != rows[i].valid) {
            fail_msg("'%s'", rows[i].text);
        }
    }
    assert_false(uuid_valid_str(NULL));
    assert_true(uuid_fold("ABCDEF0123456789abcdef0123456789", 32, folded));
    assert_string_equal(folded, "abcdef0123456789abcdef0123456789");
    assert_false(uuid_fold("g", 1, folded));
}

static void test_base64(void **state)
{
    static const struct {
        const char *text;
        const char *bytes; /* NULL: refused */
    } rows[] = {
        {"", ""},
        {"Zg==", "f"},
        {"Zm8=", "fo"},
        {"Zm9v", "foo"},
        {"Zm9vYg", "foob"},
        {"Zm9v\r\nYmFy\n", "foobar"},
        {" Zm9vYmFy ", "foobar"},
        {"Z", NULL},
        {"Zm9v*", NULL},
        {"Zg==Zg==", NULL},
        {"Zg===", NULL},
        {"Zm9v-_", NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(str) char *bytes = NULL;
        size_t len = 0;
        int r = base64_decode(rows[i].text, strlen(rows[i].text), &bytes, &len, NULL);
        if ((r == 0) != (rows[i].bytes != NULL)) {
            fail_msg("'%s': %d", rows[i].text, r);
        }
        if (r == 0) {
            assert_int_equal(len, strlen(rows[i].bytes));
            assert_string_equal(bytes, rows[i].bytes);
        }
    }
}

/* RFC 4231, test case 2. */
static void test_secret_is_hmac_sha256(void **state)
{
    uint8_t out[SECRET_BYTES];
    struct secrets again;
    char hex[SECRET_HEX_LEN + 1], header[SECRET_HEX_LEN + 16];

    secret_derive("Jefe", "what do ya want for nothing?", out);
    secret_hex(out, hex);
    assert_string_equal(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    assert_true(secrets_from_hex(hex, &again));
    assert_int_equal(again.count, 1);
    assert_true(secret_equal(out, again.of[0]));
    snprintf(header, sizeof(header), "bearer %s", hex);
    assert_true(secret_bearer_is(header, &again));
    header[10] ^= 1;
    assert_false(secret_bearer_is(header, &again));
    assert_false(secret_bearer_is("Bearer ", &again));
    assert_false(secret_bearer_is("", &again));
    assert_false(secrets_from_hex("5B", &again));
}

static bool token_is_accepted(const char *token, const struct service_keys *by)
{
    AUTO(str) char *header = xasprintf("Bearer %s", token);
    struct secrets accepted;

    secrets_derive(by, "purpose", &accepted);
    return secret_bearer_is(header, &accepted);
}

static void test_secret_token_of_two_keys(void **state)
{
    const struct service_keys old = {.key = "old"}, both = {"new", "old"}, current = {.key = "new"};
    const struct service_keys other = {"a third", "a fourth"};
    char token[SECRET_TOKEN_MAX + 1];

    (void)state;
    secret_token(&both, "purpose", token);
    assert_int_equal(strlen(token), SECRET_TOKEN_MAX);
    assert_true(token_is_accepted(token, &old));
    assert_true(token_is_accepted(token, &both));
    assert_true(token_is_accepted(token, &current));
    assert_false(token_is_accepted(token, &other));
    secret_token(&old, "purpose", token);
    assert_true(token_is_accepted(token, &both));
    assert_false(token_is_accepted(token, &current));
    secret_token(&both, "another purpose", token);
    assert_false(token_is_accepted(token, &both));

    static const size_t places[] = {0, 63, 65, 128};
    for (size_t i = 0; i < ARRAY_LEN(places); i++) { /* neither half counts */
        secret_token(&both, "purpose", token);
        token[places[i]] = i % 2 == 0 ? '\0' : 'X';
        assert_false(token_is_accepted(token, &both));
    }
}

static void test_json_says_what_is_wrong(void **state)
{
    AUTO(json) cJSON *tree = NULL;
    static const char text[] =
        "{\"s\":\"x\",\"n\":7,\"f\":1.5,\"big\":1e300,\"nil\":null,\"a\":[]}";
    struct err err = {0};
    const char *s = NULL;
    int64_t n = 0;

    assert_int_equal(json_parse(text, strlen(text), &tree, &err), 0);
    assert_int_equal(json_str(tree, "s", &s, &err), 0);
    assert_string_equal(s, "x");
    assert_int_equal(json_int(tree, "n", 0, 10, &n, &err), 0);
    assert_int_equal(n, 7);
    assert_int_equal(json_int(tree, "n", 8, 10, &n, &err), -EPROTO);
    assert_string_equal(err.text, "'n' is not a whole number of 8 to 10");
    assert_int_equal(json_int(tree, "f", 0, 10, &n, &err), -EPROTO);
    assert_int_equal(json_int(tree, "big", 0, 10, &n, &err), -EPROTO);
    assert_int_equal(json_int(tree, "s", 0, 10, &n, &err), -EPROTO);
    assert_int_equal(json_str(tree, "nil", &s, &err), -ENOENT);
    assert_string_equal(err.text, "'nil' is missing");
    assert_int_equal(json_str(tree, "none", &s, &err), -ENOENT);
    assert_int_equal(json_str(NULL, "none", &s, &err), -ENOENT);
}

static void test_json_refuses_what_is_not_one_value(void **state)
{
    static const struct {
        const char *text;
        size_t len;
    } rows[] = {{"", 0}, {"{", 1}, {"{} x", 4}, {"{}{}", 4}, {"\"a\0b\"", 5}, {"nul", 3}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(json) cJSON *tree = NULL;
        assert_int_equal(json_parse(rows[i].text, rows[i].len, &tree, NULL), -EPROTO);
        assert_null(tree);
    }
    AUTO(json) cJSON *tree = NULL;
    assert_int_equal(json_parse(" {} \r\n", 6, &tree, NULL), 0);
}

struct settings {
    char *name;
    char *hosts;
    int64_t seconds;
    bool quick;
    char *key;
};

static int load(struct settings *s, struct err *err, int argc, const char **words)
{
    const struct config_option options[] = {
        {.name = "name", .env = "T_NAME", .target = &s->name, .required = true, .help = "a name"},
        {.name = "host", .kind = CONFIG_LIST, .target = &s->hosts, .help = "a host"},
        {.name = "seconds",
         .env = "T_SECONDS",
         .kind = CONFIG_INT,
         .target = &s->seconds,
         .fallback = "60",
         .min = 1,
         .max = 100,
         .help = "how long"},
        {.name = "quick", .env = "T_QUICK", .kind = CONFIG_BOOL, .target = &s->quick, .help = "q"},
        {.env = "T_KEY", .kind = CONFIG_KEY, .target = &s->key, .help = "a secret"},
    };

    return config_load("t", "a test", options, ARRAY_LEN(options), argc, (char **)(uintptr_t)words,
                       NULL, err);
}

static void test_config_takes_options_over_variables(void **state)
{
    struct settings s;
    struct err err = {0};
    const char *argv[] = {"t", "--seconds=5", "--host", "a", "--host", "b", "--quick"};

    setenv("T_NAME", "from the environment", 1);
    setenv("T_SECONDS", "7", 1);
    assert_int_equal(load(&s, &err, ARRAY_LEN(argv), argv), 0);
    assert_string_equal(s.name, "from the environment");
    assert_string_equal(s.hosts, "a,b");
    assert_int_equal(s.seconds, 5);
    assert_true(s.quick);
    assert_null(s.key);
    free(s.name);
    free(s.hosts);
    unsetenv("T_NAME");
    unsetenv("T_SECONDS");
}

static void test_config_names_what_is_wrong(void **state)
{
    static const struct {
        const char *env, *value;
        const char *arg;
        const char *text;
    } rows[] = {
        {NULL, NULL, "--nmae=x", "unknown option '--nmae=x' (--help lists them)"},
        {NULL, NULL, "--name", "option '--name' needs a value"},
        {NULL, NULL, "x", "unexpected argument 'x'"},
        {NULL, NULL, "--seconds=1s", "--seconds: '1s' is not a whole number"},
        {NULL, NULL, "--seconds=101", "--seconds: 101 is not in 1 to 100"},
        {"T_SECONDS", "0", "--name=x", "T_SECONDS: 0 is not in 1 to 100"},
        {"T_SECONDS", "99999999999999999999", "--name=x",
         "T_SECONDS: '99999999999999999999' is not a whole number"},
        {"T_QUICK", "maybe", "--name=x", "T_QUICK: 'maybe' is neither true nor false"},
        {NULL, NULL, "--quick=false", "--name (or T_NAME) is required: a name"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct settings s = {0};
        struct err err = {0};
        const char *argv[] = {"t", rows[i].arg};
        if (rows[i].env != NULL) {
            setenv(rows[i].env, rows[i].value, 1);
        }
        assert_int_equal(load(&s, &err, 2, argv), -EINVAL);
        assert_string_equal(err.text, rows[i].text);
        free(s.name);
        if (rows[i].env != NULL) {
            unsetenv(rows[i].env);
        }
    }
}

static void test_config_names_a_key_that_cannot_be_sent_and_does_not_tell_it(void **state)
{
    static const char *const bad[] = {"svc\n", "a\nb", "\rsvc", "a b", "s\x01vc", "sv\xc3\xa9"};
    const char *argv[] = {"t", "--name=x"};

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct settings s = {0};
        struct err err = {0};
        setenv("T_KEY", bad[i], 1);
        assert_int_equal(load(&s, &err, 2, argv), -EINVAL);
        assert_string_equal(err.text, "T_KEY: " CONFIG_KEY_WRONG);
        assert_null(s.key);
        free(s.name);
    }
    struct settings s = {0};
    setenv("T_KEY", "!\"~svc", 1);
    assert_int_equal(load(&s, NULL, 2, argv), 0);
    assert_string_equal(s.key, "!\"~svc");
    free(s.name);
    free(s.key);
    unsetenv("T_KEY");
}

static double seven(void *arg)
{
    return 7;
}

static void test_metrics_text(void **state)
{
    static struct metric b = {.name = "b_total", .help = "B.", .kind = METRIC_COUNTER};
    static struct metric a1 = {
        .name = "a", .labels = "x=\"1\"", .help = "A.", .kind = METRIC_GAUGE};
    static struct metric a2 = {
        .name = "a", .labels = "x=\"2\"", .help = "A.", .kind = METRIC_GAUGE, .read = seven};
    static struct metric h = {.name = "h_seconds",
                              .help = "H.",
                              .kind = METRIC_HISTOGRAM,
                              .buckets = {0.1, 1},
                              .bucket_count = 2};
    AUTO(buf) struct buf out;

    metrics_register(&h);
    metrics_register(&b);
    metrics_register(&a2);
    metrics_register(&a1);
    metric_inc(&b);
    metric_add(&b, 2);
    metric_set(&a1, -4);
    metric_observe(&h, 0.1); /* a bucket's bound belongs to it */
    metric_observe(&h, 0.5);
    metric_observe(&h, 5);
    buf_init(&out, 65536);
    assert_int_equal(metrics_render(&out), 0);
    assert_string_equal(buf_str(&out), "# HELP a A.\n# TYPE a gauge\na{x=\"1\"} -4\na{x=\"2\"} 7\n"
                                       "# HELP b_total B.\n# TYPE b_total counter\nb_total 3\n"
                                       "# HELP h_seconds H.\n# TYPE h_seconds histogram\n"
                                       "h_seconds_bucket{le=\"0.1\"} 1\n"
                                       "h_seconds_bucket{le=\"1\"} 2\n"
                                       "h_seconds_bucket{le=\"+Inf\"} 3\n"
                                       "h_seconds_sum 5.600000\nh_seconds_count 3\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buf_never_passes_its_maximum),
        cmocka_unit_test(test_err_says_what_was_done),
        cmocka_unit_test(test_uuid),
        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_secret_is_hmac_sha256),
        cmocka_unit_test(test_secret_token_of_two_keys),
        cmocka_unit_test(test_json_says_what_is_wrong),
        cmocka_unit_test(test_json_refuses_what_is_not_one_value),
        cmocka_unit_test(test_config_takes_options_over_variables),
        cmocka_unit_test(test_config_names_what_is_wrong),
        cmocka_unit_test(test_config_names_a_key_that_cannot_be_sent_and_does_not_tell_it),
        cmocka_unit_test(test_metrics_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
