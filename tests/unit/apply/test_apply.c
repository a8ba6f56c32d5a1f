/* What `vpn-controller apply` sends for a file, given what the cluster has. */
#include "tests/unit/cmocka_all.h"

#include "controller/apply/apply.h"

#include <string.h>

#define HEAD \
    "apiVersion: vpn.openbalena.io/v1alpha1\nkind: VPNPool\nmetadata: {name: fleet}\nspec:\n"

static char *applied(const char *file, const char *live_text, struct apply_keep keep)
{
    struct pool_object pool;
    struct pool_errors errors;
    AUTO(json) cJSON *live = NULL;
    AUTO(json) cJSON *object = NULL;

    pool_errors_init(&errors);
    if (pool_object_parse("f", file, strlen(file), &pool, &errors) < 0) {
        fail_msg("%s", buf_str(&errors.text));
    }
    if (live_text != NULL) {
        assert_int_equal(json_parse(live_text, strlen(live_text), &live, NULL), 0);
    }
    assert_int_equal(apply_object(&pool, "vpn", live, keep, &object, NULL), 0);
    AUTO(str) char *printed = cJSON_PrintUnformatted(object);
    pool_object_clear(&pool);
    pool_errors_clear(&errors);
    return xstrdup(printed);
}

static void check(const char *file, const char *live, struct apply_keep keep, const char *spec)
{
    AUTO(str) char *got = applied(file, live, keep);
    AUTO(str)
    char *wanted = xasprintf("{\"apiVersion\":\"vpn.openbalena.io/v1alpha1\",\"kind\":\"VPNPool\","
                             "\"spec\":%s,\"metadata\":{\"name\":\"fleet\",\"namespace\":\"vpn\"}}",
                             spec);

    assert_string_equal(got, wanted);
}

#define LIVE "{\"spec\":{\"replicas\":5,\"kubernetes\":{\"image\":\"old\"}}}"

static void test_apply_sends_the_file(void **s)
{
    check(HEAD "  replicas: 2\n  openvpn: {dataCiphers: [A], tls: {secretName: '1'}}\n", NULL,
          (struct apply_keep){0},
          "{\"replicas\":2,\"openvpn\":{\"dataCiphers\":[\"A\"],\"tls\":{\"secretName\":\"1\"}}}");
}

static void test_apply_keeps_the_scale_only_if_told_to(void **s)
{
    check(HEAD "  replicas: 2\n", LIVE, (struct apply_keep){0}, "{\"replicas\":2}");
    check(HEAD "  replicas: 2\n", LIVE, (struct apply_keep){.scale = true}, "{\"replicas\":5}");
    check(HEAD "  replicas: 2\n", NULL, (struct apply_keep){.scale = true}, "{\"replicas\":2}");
}

static void test_apply_keeps_the_scale_if_the_file_has_none(void **s)
{
    check(HEAD "  drain: {timeoutSeconds: 9}\n", LIVE, (struct apply_keep){0},
          "{\"drain\":{\"timeoutSeconds\":9},\"replicas\":5}");
    check(HEAD "  drain: {timeoutSeconds: 9}\n", NULL, (struct apply_keep){0},
          "{\"drain\":{\"timeoutSeconds\":9}}");
}

static void test_apply_keeps_the_image_only_if_told_to(void **s)
{
    check(HEAD "  replicas: 2\n  kubernetes: {image: new, sidecarImage: new}\n", LIVE,
          (struct apply_keep){.image = true},
          "{\"replicas\":2,\"kubernetes\":{\"sidecarImage\":\"new\",\"image\":\"old\"}}");
    check(HEAD "  replicas: 2\n  kubernetes: {image: new}\n", LIVE, (struct apply_keep){0},
          "{\"replicas\":2,\"kubernetes\":{\"image\":\"new\"}}");
    check(HEAD "  replicas: 2\n  kubernetes: {image: new}\n", "{\"spec\":{}}",
          (struct apply_keep){.image = true},
          "{\"replicas\":2,\"kubernetes\":{\"image\":\"new\"}}");
    check(HEAD "  replicas: 2\n", LIVE, (struct apply_keep){.image = true}, "{\"replicas\":2}");
}

/* A file made by `kubectl get -o yaml` names another namespace, has a version and a status. */
static void test_apply_leaves_the_servers_fields_out(void **s)
{
    AUTO(str)
    char *got = applied("apiVersion: vpn.openbalena.io/v1alpha1\nkind: VPNPool\n"
                        "metadata: {name: fleet, namespace: other, uid: u, resourceVersion: '1',\n"
                        "  managedFields: [{a: b}], labels: {c: d}, annotations: {e: f}}\n"
                        "spec: {}\nstatus: {ready: 1}\n",
                        NULL, (struct apply_keep){0});

    assert_string_equal(got,
                        "{\"apiVersion\":\"vpn.openbalena.io/v1alpha1\",\"kind\":\"VPNPool\","
                        "\"spec\":{},\"metadata\":{\"name\":\"fleet\",\"labels\":{\"c\":\"d\"},"
                        "\"annotations\":{\"e\":\"f\"},\"namespace\":\"vpn\"}}");
}

static void test_apply_says_what_it_did(void **s)
{
    static const struct {
        const char *before, *after, *result;
    } cases[] = {
        {NULL, "{}", "created"},
        {"{\"metadata\":{\"generation\":1}}", "{\"metadata\":{\"generation\":1}}", "unchanged"},
        {"{\"metadata\":{\"generation\":1}}", "{\"metadata\":{\"generation\":2}}", "configured"},
        {"{\"metadata\":{\"generation\":1}}",
         "{\"metadata\":{\"generation\":1,\"labels\":{\"a\":\"b\"}}}", "configured"},
        {"{\"metadata\":{\"generation\":1,\"labels\":{\"a\":\"b\"}}}",
         "{\"metadata\":{\"generation\":1}}", "configured"},
        {"{\"metadata\":{\"generation\":1,\"annotations\":{\"a\":\"b\"}}}",
         "{\"metadata\":{\"generation\":1,\"annotations\":{\"a\":\"c\"}}}", "configured"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(json) cJSON *before = cases[i].before != NULL ? cJSON_Parse(cases[i].before) : NULL;
        AUTO(json) cJSON *after = cJSON_Parse(cases[i].after);
        assert_string_equal(apply_result(before, after), cases[i].result);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_apply_sends_the_file),
        cmocka_unit_test(test_apply_keeps_the_scale_only_if_told_to),
        cmocka_unit_test(test_apply_keeps_the_scale_if_the_file_has_none),
        cmocka_unit_test(test_apply_keeps_the_image_only_if_told_to),
        cmocka_unit_test(test_apply_leaves_the_servers_fields_out),
        cmocka_unit_test(test_apply_says_what_it_did),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
