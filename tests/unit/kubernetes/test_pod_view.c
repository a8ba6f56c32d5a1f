#include "controller/kubernetes/pod_view.h"
#include "tests/unit/cmocka_all.h"

#include <string.h>

#define METADATA                                                                                \
    "\"metadata\":{\"name\":\"fleet-7\",\"uid\":\"u7\",\"labels\":{\"vpn.openbalena.io/pool\":" \
    "\"fleet\",\"vpn.openbalena.io/index\":\"7\"},\"ownerReferences\":[{\"apiVersion\":"        \
    "\"vpn.openbalena.io/v1alpha1\",\"kind\":\"VPNPool\",\"name\":\"fleet\",\"uid\":\"p1\","    \
    "\"controller\":true}]}"
#define RUNNING "{\"running\":{\"startedAt\":\"2026-11-23T22:26:37Z\"}}"
#define CRASHED                                                                                   \
    "{\"waiting\":{\"reason\":\"CrashLoopBackOff\",\"message\":\"back-off 10s\"}},\"lastState\":" \
    "{\"terminated\":{\"exitCode\":1}}"
#define CONTAINERS(sidecar, openvpn)                                                         \
    "\"initContainerStatuses\":[{\"name\":\"sidecar\",\"restartCount\":1,\"state\":" sidecar \
    "}],\"containerStatuses\":[{\"name\":\"openvpn\",\"restartCount\":3,\"state\":" openvpn "}]"

static struct pod_view *view(const char *text)
{
    cJSON *pod = cJSON_Parse(text);

    assert_non_null(pod);
    struct pod_view *v = pod_view_new(pod);
    cJSON_Delete(pod);
    return v;
}

static void test_pod_view_knows_whose_it_is(void **state)
{
    struct pod_view *v = view("{" METADATA "}");

    (void)state;
    assert_string_equal(v->name, "fleet-7");
    assert_string_equal(v->uid, "u7");
    assert_string_equal(v->pool, "fleet");
    assert_int_equal(v->index, 7);
    assert_string_equal(v->owner_uid, "p1");
    assert_string_equal(v->owner_name, "fleet");
    assert_true(v->owner_is_pool);
    assert_int_equal(v->phase, POD_PENDING);
    assert_false(v->deleting);
    pod_view_free(v);
}

/* What kept it from starting, and whether it has begun. */
static void test_pod_view_knows_how_far_it_is(void **state)
{
    static const struct {
        const char *name, *status;
        const char *reason;
        enum container_state sidecar, openvpn;
        bool pulling, begun, ready, terminal;
    } cases[] = {
        {"just made", "", "", CONTAINER_NEW, CONTAINER_NEW, false, false, false, false},
        {"no node",
         "\"conditions\":[{\"type\":\"PodScheduled\",\"status\":\"False\",\"reason\":"
         "\"Unschedulable\",\"message\":\"0/2 nodes\"}]",
         "Unschedulable", CONTAINER_NEW, CONTAINER_NEW, false, false, false, false},
        {"being made",
         CONTAINERS("{\"waiting\":{\"reason\":\"PodInitializing\"}}",
                    "{\"waiting\":{\"reason\":\"PodInitializing\"}}"),
         "", CONTAINER_NEW, CONTAINER_NEW, true, false, false, false},
        {"no image",
         CONTAINERS("{\"waiting\":{\"reason\":\"ErrImagePull\",\"message\":\"not found\"}}",
                    "{\"waiting\":{\"reason\":\"PodInitializing\"}}"),
         "ErrImagePull", CONTAINER_NEW, CONTAINER_NEW, true, false, false, false},
        {"the sidecar is there first",
         CONTAINERS(RUNNING, "{\"waiting\":{\"reason\":\"PodInitializing\"}}"), "",
         CONTAINER_RUNNING, CONTAINER_NEW, true, false, false, false},
        {"runs", "\"phase\":\"Running\"," CONTAINERS(RUNNING, RUNNING), "", CONTAINER_RUNNING,
         CONTAINER_RUNNING, false, true, false, false},
        {"is ready",
         "\"phase\":\"Running\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"},{\"type\":"
         "\"ContainersReady\",\"status\":\"True\"}]," CONTAINERS(RUNNING, RUNNING),
         "", CONTAINER_RUNNING, CONTAINER_RUNNING, false, true, true, false},
        {"crashes", "\"phase\":\"Running\"," CONTAINERS(RUNNING, CRASHED), "CrashLoopBackOff",
         CONTAINER_RUNNING, CONTAINER_ENDED, false, true, false, false},
        {"its sidecar crashes",
         CONTAINERS(CRASHED, "{\"waiting\":{\"reason\":\"PodInitializing\"}}"), "CrashLoopBackOff",
         CONTAINER_ENDED, CONTAINER_NEW, true, true, false, false},
        {"evicted", "\"phase\":\"Failed\",\"reason\":\"Evicted\",\"message\":\"low on memory\"",
         "Evicted", CONTAINER_NEW, CONTAINER_NEW, false, false, false, true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(str) char *text = xasprintf("{" METADATA ",\"status\":{%s}}", cases[i].status);
        struct pod_view *v = view(text);
        if (strcmp(v->reason, cases[i].reason) != 0 || v->sidecar != cases[i].sidecar ||
            v->openvpn != cases[i].openvpn || v->pulling != cases[i].pulling ||
            pod_view_has_begun(v) != cases[i].begun || v->ready != cases[i].ready ||
            pod_view_is_terminal(v) != cases[i].terminal) {
            fail_msg("%s: reason '%s', sidecar %d, openvpn %d, pulling %d, begun %d", cases[i].name,
                     v->reason, v->sidecar, v->openvpn, v->pulling, pod_view_has_begun(v));
        }
        pod_view_free(v);
    }
}

static void test_pod_view_knows_why_it_goes(void **state)
{
    struct pod_view *v = view(
        "{\"metadata\":{\"name\":\"fleet-7\",\"uid\":\"u7\",\"deletionTimestamp\":"
        "\"2026-11-23T22:26:37Z\",\"annotations\":{\"vpn.openbalena.io/delete-first\":\"true\","
        "\"vpn.openbalena.io/template\":\"0123456789abcdef\"}},\"spec\":{\"nodeName\":\"n1\","
        "\"initContainers\":[{\"name\":\"sidecar\",\"image\":\"vpn:2\"}]},\"status\":{\"podIP\":"
        "\"10.0.0.9\",\"conditions\":[{\"type\":\"DisruptionTarget\",\"status\":\"True\","
        "\"reason\":\"DeletionByTaintManager\"},{\"type\":\"vpn.openbalena.io/balanced\","
        "\"status\":\"True\"}]}}");

    (void)state;
    assert_true(v->deleting);
    assert_int_equal(v->deletion_ms, 1795472797000);
    assert_true(v->tainted);
    assert_true(v->gate);
    assert_true(v->delete_first);
    assert_string_equal(v->template_hash, "0123456789abcdef");
    assert_string_equal(v->node, "n1");
    assert_string_equal(v->ip, "10.0.0.9");
    assert_string_equal(v->sidecar_image, "vpn:2");
    assert_string_equal(v->owner_uid, "");
    assert_false(v->owner_is_pool);
    pod_view_free(v);
}

/* Of the wrong type is as good as absent. */
static void test_pod_view_takes_anything(void **state)
{
    static const char *const cases[] = {
        "{\"metadata\":{\"name\":\"a\",\"uid\":\"b\",\"labels\":[],\"annotations\":3,"
        "\"ownerReferences\":{}},\"spec\":[],\"status\":\"x\"}",
        "{\"metadata\":{\"name\":\"a\",\"uid\":\"b\",\"deletionTimestamp\":\"soon\",\"labels\":"
        "{\"vpn.openbalena.io/index\":\"07\"}},\"status\":{\"conditions\":[1,null,{\"type\":4}],"
        "\"containerStatuses\":[{}],\"initContainerStatuses\":7,\"phase\":9}}",
        "{\"metadata\":{\"name\":\"a\",\"uid\":\"b\",\"labels\":{\"vpn.openbalena.io/index\":"
        "\"99999999999999999999\"}}}",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct pod_view *v = view(cases[i]);
        assert_non_null(v);
        assert_int_equal(v->index, 0);
        pod_view_free(v);
    }
    assert_null(view("{}"));
    assert_null(view("[]"));
    assert_null(view("{\"metadata\":{\"name\":\"a\"}}"));
    assert_null(view("{\"metadata\":{\"name\":1,\"uid\":2}}"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pod_view_knows_whose_it_is),
        cmocka_unit_test(test_pod_view_knows_how_far_it_is),
        cmocka_unit_test(test_pod_view_knows_why_it_goes),
        cmocka_unit_test(test_pod_view_takes_anything),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
