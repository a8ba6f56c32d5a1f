/* What the driver reads of Pods, of a pool's status and of a state service's answer. Whatever is in
 * them: no crash, and a status that was read is written and read again as the same. */
#include "controller/kubernetes/pod_render.h"
#include "controller/kubernetes/pod_view.h"
#include "controller/kubernetes/pods_observe.h"
#include "controller/kubernetes/pool_view.h"
#include "controller/kubernetes/state_view.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_instance(void *arg, const char *epoch, const struct instance_report *report)
{
    assert(epoch != NULL);
}

static void try_pod(const cJSON *object)
{
    struct pod_view *v = pod_view_new(object);

    if (v != NULL) {
        assert(v->index <= PLAN_INDEX_MAX);
        pod_classify(v, "fleet", "p1");
        pod_view_has_begun(v);
        free(pod_template_difference(v->parts, "image=1,openvpn=2"));
    }
    pod_view_free(v);
}

static void try_status(const cJSON *status)
{
    struct pool_status first, second;
    size_t ignored = 0;

    pool_status_read(status, &first, &ignored);
    AUTO(json) cJSON *written = pool_status_make(&first, "fleet", NULL);
    pool_status_read(written, &second, &ignored);
    AUTO(str) char *a = pool_status_gist(&first);
    AUTO(str) char *b = pool_status_gist(&second);
    assert(ignored == 0 && strcmp(a, b) == 0);
    pool_status_clear(&first);
    pool_status_clear(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(json) cJSON *object = NULL;
    bool ready = false;

    state_instances_parse((const char *)data, size, &ready, on_instance, NULL, NULL);
    if (json_parse((const char *)data, size, &object, NULL) < 0) {
        return 0;
    }
    try_pod(object);
    try_status(object);
    try_status(cJSON_GetObjectItemCaseSensitive(object, "status"));
    pool_view_free(pool_view_new(object));
    return 0;
}
