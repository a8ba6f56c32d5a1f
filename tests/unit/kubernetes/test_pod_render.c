#include "controller/kubernetes/pod_render.h"
#include "tests/unit/cmocka_all.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct pod_owner owner = {.ns = "vpn", .pool_uid = "p1"};

static void parse(const char *kubernetes, const char *rest, struct pool_object *ret)
{
    struct pool_errors errors;
    const char *tls = strstr(rest, "\"openvpn\"") != NULL
                          ? ""
                          : "\"openvpn\":{\"tls\":{\"secretName\":\"fleet-tls\"}},";
    AUTO(str)
    char *text = xasprintf("{\"apiVersion\":\"vpn.openbalena.io/v1alpha1\",\"kind\":\"VPNPool\","
                           "\"metadata\":{\"name\":\"fleet\"},\"spec\":{%s\"kubernetes\":"
                           "{\"image\":\"vpn:1\"%s}%s}}",
                           tls, kubernetes, rest);

    pool_errors_init(&errors);
    if (pool_object_parse("test", text, strlen(text), ret, &errors) < 0) {
        fail_msg("%s", buf_str(&errors.text));
    }
    pool_errors_clear(&errors);
}

static cJSON *render(const char *kubernetes, const char *rest, uint32_t index,
                     struct pod_template *template)
{
    struct pool_object pool;
    struct err err = {.text = ""};
    cJSON *pod = NULL;

    parse(kubernetes, rest, &pool);
    if (pod_render(&pool, &owner, index, &pod, template, &err) < 0) {
        fail_msg("%s", err.text);
    }
    pool_object_clear(&pool);
    return pod;
}

/* "spec.containers.0.image" */
static const cJSON *at(const cJSON *o, const char *path)
{
    AUTO(str) char *copy = xstrdup(path);
    char *rest = copy, *word;

    while (o != NULL && (word = strsep(&rest, "|")) != NULL) {
        o = cJSON_IsArray(o) ? cJSON_GetArrayItem(o, atoi(word))
                             : cJSON_GetObjectItemCaseSensitive(o, word);
    }
    return o;
}

static void assert_json(const cJSON *pod, const char *path, const char *wanted)
{
    const cJSON *value = at(pod, path);
    AUTO(str) char *text = value != NULL ? cJSON_PrintUnformatted(value) : xstrdup("absent");

    if (strcmp(text, wanted) != 0) {
        fail_msg("%s is %s, not %s", path, text, wanted);
    }
}

static bool has_word(const cJSON *list, const char *word, const char *next)
{
    const cJSON *item;

    cJSON_ArrayForEach(item, list)
    {
        if (strcmp(cJSON_GetStringValue(item), word) == 0 &&
            (next == NULL || strcmp(cJSON_GetStringValue(item->next), next) == 0)) {
            return true;
        }
    }
    return false;
}

#define SIDECAR "spec|initContainers|0|"
#define OPENVPN "spec|containers|0|"

static void test_pod_is_the_pools(void **state)
{
    cJSON *pod = render("", "", 3, NULL);

    (void)state;
    assert_json(pod, "metadata|name", "\"fleet-3\"");
    assert_json(pod, "metadata|namespace", "\"vpn\"");
    assert_json(pod, "metadata|labels",
                "{\"app.kubernetes.io/name\":\"openbalena-vpn\",\"app.kubernetes.io/component\":"
                "\"instance\",\"vpn.openbalena.io/pool\":\"fleet\",\"vpn.openbalena.io/index\":"
                "\"3\"}");
    assert_json(pod, "metadata|ownerReferences",
                "[{\"apiVersion\":\"vpn.openbalena.io/v1alpha1\",\"kind\":\"VPNPool\",\"name\":"
                "\"fleet\",\"uid\":\"p1\",\"controller\":true,\"blockOwnerDeletion\":true}]");
    assert_json(pod, "spec|readinessGates", "[{\"conditionType\":\"vpn.openbalena.io/balanced\"}]");
    cJSON_Delete(pod);
}

/* What Pod Security "restricted" asks for, but for OpenVPN's user, NET_ADMIN and /dev/net/tun. */
static void test_pod_may_as_little_as_it_can(void **state)
{
    cJSON *pod = render("", "", 1, NULL);

    (void)state;
    assert_json(pod, "spec|automountServiceAccountToken", "false");
    assert_json(pod, "spec|enableServiceLinks", "false");
    assert_json(pod, "spec|hostNetwork", "absent");
    assert_json(pod, "spec|securityContext",
                "{\"fsGroup\":65532,\"seccompProfile\":{\"type\":\"RuntimeDefault\"}}");
    assert_json(pod, SIDECAR "securityContext",
                "{\"runAsUser\":65532,\"runAsGroup\":65532,\"runAsNonRoot\":true,"
                "\"allowPrivilegeEscalation\":false,\"readOnlyRootFilesystem\":true,"
                "\"capabilities\":{\"drop\":[\"ALL\"]}}");
    assert_json(pod, OPENVPN "securityContext",
                "{\"runAsUser\":0,\"runAsGroup\":0,\"runAsNonRoot\":false,"
                "\"allowPrivilegeEscalation\":false,\"readOnlyRootFilesystem\":true,"
                "\"capabilities\":{\"drop\":[\"ALL\"],\"add\":[\"NET_ADMIN\"]}}");
    assert_json(pod, SIDECAR "volumeMounts", "[{\"name\":\"run\",\"mountPath\":\"/run/openvpn\"}]");
    assert_json(pod, "spec|volumes|2|hostPath",
                "{\"path\":\"/dev/net/tun\",\"type\":\"CharDevice\"}");
    cJSON_Delete(pod);
}

static void test_pod_runs_openvpn_with_what_can_be_read(void **state)
{
    cJSON *pod = render("", ",\"throttle\":{\"down\":\"8mbit\",\"up\":\"8mbit\"}", 2, NULL);
    const cJSON *args = at(pod, OPENVPN "args");
    const char *rules = cJSON_GetStringValue(at(pod, OPENVPN "env|0|value"));
    const char *limited = cJSON_GetStringValue(at(pod, OPENVPN "env|1|value"));

    (void)state;
    assert_json(pod, OPENVPN "command", "[\"vpn-openvpn\"]");
    assert_string_equal(cJSON_GetStringValue(cJSON_GetArrayItem(args, 0)), "--mode");
    assert_true(has_word(args, "--dev", "tun2"));
    assert_true(has_word(args, "--port", "1194"));
    assert_true(has_word(args, "--management", "/run/openvpn/management.sock"));
    assert_true(has_word(args, "--key", "/etc/openvpn/tls/tls.key"));
    assert_true(has_word(args, "--status", "/run/openvpn/server-2.status"));
    assert_false(has_word(args, "--user", NULL));
    assert_non_null(strstr(rules, "table inet openvpn-fleet"));
    assert_non_null(strstr(rules, "\"tun2\""));
    assert_null(strstr(rules, "limit rate"));
    assert_json(pod, OPENVPN "env|1|name", "\"VPN_NFT_LIMITED_RULES\"");
    assert_non_null(strstr(limited, "table inet openvpn-fleet"));
    assert_non_null(strstr(limited, "limit rate over 1000000 bytes/second"));
    cJSON_Delete(pod);
}

static void test_pod_runs_a_sidecar_that_knows_its_life(void **state)
{
    cJSON *pod = render(",\"state\":\"vpn-state:8090\"", "", 2, NULL);
    const cJSON *args = at(pod, SIDECAR "args");

    (void)state;
    assert_json(pod, SIDECAR "restartPolicy", "\"Always\"");
    assert_true(has_word(args, "--epoch", "$(POD_UID)"));
    assert_true(has_word(args, "--subnet", "100.64.16.0/20"));
    assert_true(has_word(args, "--control", "unix:/run/openvpn/control.sock"));
    assert_true(has_word(args, "--control", ":8080"));
    assert_true(has_word(args, "--register-address", "$(POD_IP)"));
    assert_true(has_word(args, "--state", "vpn-state:8090"));
    assert_json(pod, SIDECAR "env|0|valueFrom|fieldRef|fieldPath", "\"metadata.uid\"");
    assert_json(pod, SIDECAR "env|2|valueFrom|secretKeyRef",
                "{\"name\":\"openbalena-vpn\",\"key\":\"VPN_SERVICE_API_KEY\"}");
    assert_json(pod, SIDECAR "envFrom", "[{\"configMapRef\":{\"name\":\"openbalena-vpn\"}}]");
    cJSON_Delete(pod);
}

static void test_pod_has_time_to_drain_and_to_report(void **state)
{
    cJSON *pod = render("", ",\"drain\":{\"timeoutSeconds\":45}", 1, NULL);

    (void)state;
    assert_json(pod, "spec|terminationGracePeriodSeconds", "75");
    assert_json(pod, OPENVPN "lifecycle|preStop|exec|command",
                "[\"vpn-sidecar\",\"drain\",\"--control\",\"unix:/run/openvpn/control.sock\"]");
    cJSON_Delete(pod);
}

static void test_pod_takes_what_the_object_asks_for(void **state)
{
    cJSON *pod = render(",\"sidecarImage\":\"vpn:2\",\"imagePullSecrets\":[\"regcred\"],"
                        "\"podLabels\":{\"team\":\"net\"},"
                        "\"podAnnotations\":{\"a\":\"b\"},\"nodeSelector\":{\"vpn\":\"yes\"},"
                        "\"tolerations\":[{\"operator\":\"Exists\"}],"
                        "\"resources\":{\"openvpn\":{\"limits\":{\"memory\":\"1Gi\"}}},"
                        "\"priorityClassName\":\"high\",\"serviceAccountName\":\"pods\"",
                        "", 1, NULL);

    (void)state;
    assert_json(pod, SIDECAR "image", "\"vpn:2\"");
    assert_json(pod, OPENVPN "image", "\"vpn:1\"");
    assert_json(pod, "spec|imagePullSecrets", "[{\"name\":\"regcred\"}]");
    assert_json(pod, "metadata|labels|team", "\"net\"");
    assert_json(pod, "metadata|labels|vpn.openbalena.io/pool", "\"fleet\"");
    assert_json(pod, "metadata|annotations|a", "\"b\"");
    assert_json(pod, "spec|nodeSelector", "{\"vpn\":\"yes\"}");
    assert_json(pod, "spec|tolerations", "[{\"operator\":\"Exists\"}]");
    assert_json(pod, OPENVPN "resources", "{\"limits\":{\"memory\":\"1Gi\"}}");
    assert_json(pod, "spec|priorityClassName", "\"high\"");
    assert_json(pod, "spec|serviceAccountName", "\"pods\"");
    cJSON_Delete(pod);
}

static void test_pod_outside_of_the_network_is_refused(void **state)
{
    struct pool_object pool;
    cJSON *pod = NULL;
    struct err err;

    (void)state;
    parse("", ",\"network\":{\"baseSubnet\":\"10.8.0.0/24\",\"instancePrefixLength\":26}", &pool);
    assert_int_equal(pod_render(&pool, &owner, 5, &pod, NULL, &err), -ERANGE);
    assert_null(pod);
    pool_object_clear(&pool);
}

/* --- what is rolled --- */

static void test_template_tells_what_differs(void **state)
{
    static const struct {
        const char *name, *kubernetes, *rest, *difference; /* "": the same template */
    } cases[] = {
        {"nothing", "", "", ""},
        {"replicas", "", ",\"replicas\":7", ""},
        {"the sidecar's image: patched", ",\"sidecarImage\":\"vpn:2\"", "", ""},
        {"rollout", "", ",\"rollout\":{\"maxSurge\":3}", ""},
        {"the image", ",\"imagePullPolicy\":\"Always\"", "", "the image"},
        {"keepalive", "",
         ",\"openvpn\":{\"keepalive\":{\"intervalSeconds\":5},\"tls\":{"
         "\"secretName\":\"fleet-tls\"}}",
         "what OpenVPN runs with"},
        {"throttle", "", ",\"throttle\":{\"down\":\"1mbit\",\"up\":\"1mbit\"}",
         "what OpenVPN runs with"},
        {"auth", "", ",\"auth\":{\"cacheSeconds\":5}", "what the sidecar runs with"},
        {"drain", "", ",\"drain\":{\"timeoutSeconds\":5}", "what the sidecar runs with"},
        {"resources", ",\"resources\":{\"sidecar\":{\"limits\":{\"memory\":\"64Mi\"}}}", "",
         "resources"},
        {"node selector", ",\"nodeSelector\":{\"a\":\"b\"}", "", "where it may run"},
        {"labels", ",\"podLabels\":{\"a\":\"b\"}", "", "labels and annotations"},
        {"other certificates", "", ",\"openvpn\":{\"tls\":{\"secretName\":\"other\"}}", "volumes"},
        {"runtime class and labels", ",\"runtimeClassName\":\"kata\",\"podLabels\":{\"a\":\"b\"}",
         "", "where it may run, labels and annotations"},
    };
    struct pod_template before, now;

    (void)state;
    cJSON_Delete(render("", "", 1, &before));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cJSON_Delete(render(cases[i].kubernetes, cases[i].rest, 1, &now));
        bool same = strcmp(before.hash, now.hash) == 0;
        AUTO(str)
        char *difference = same ? xstrdup("") : pod_template_difference(before.parts, now.parts);
        if (strcmp(difference, cases[i].difference) != 0) {
            fail_msg("%s: '%s', not '%s'", cases[i].name, difference, cases[i].difference);
        }
    }
}

static void test_template_is_in_the_pod(void **state)
{
    struct pod_template template;
    cJSON *pod = render("", "", 1, &template);

    (void)state;
    assert_string_equal(
        cJSON_GetStringValue(at(pod, "metadata|annotations|vpn.openbalena.io/template")),
        template.hash);
    assert_int_equal(strlen(template.hash), 16);
    struct pod_view *v = NULL;
    cJSON_AddStringToObject(cJSON_GetObjectItem(pod, "metadata"), "uid", "u1");
    v = pod_view_new(pod);
    assert_string_equal(v->template_hash, template.hash);
    assert_string_equal(v->parts, template.parts);
    assert_string_equal(v->sidecar_image, "vpn:1");
    pod_view_free(v);
    cJSON_Delete(pod);
}

static void test_template_difference_takes_anything(void **state)
{
    static const char *const cases[] = {"", ",,,", "image", "image=", "image=1,=,openvpn"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(str) char *text = pod_template_difference(cases[i], "image=1");
        assert_non_null(strstr(text, "OpenVPN"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pod_is_the_pools),
        cmocka_unit_test(test_pod_may_as_little_as_it_can),
        cmocka_unit_test(test_pod_runs_openvpn_with_what_can_be_read),
        cmocka_unit_test(test_pod_runs_a_sidecar_that_knows_its_life),
        cmocka_unit_test(test_pod_has_time_to_drain_and_to_report),
        cmocka_unit_test(test_pod_takes_what_the_object_asks_for),
        cmocka_unit_test(test_pod_outside_of_the_network_is_refused),
        cmocka_unit_test(test_template_tells_what_differs),
        cmocka_unit_test(test_template_is_in_the_pod),
        cmocka_unit_test(test_template_difference_takes_anything),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
