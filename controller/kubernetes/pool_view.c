#include "controller/kubernetes/pool_view.h"

#include <string.h>

struct pool_view *pool_view_new(cJSON *object)
{
    const cJSON *metadata = cJSON_GetObjectItemCaseSensitive(object, "metadata");
    const char *uid = "", *name = "";

    if (json_str(metadata, "uid", &uid, NULL) < 0 || json_str(metadata, "name", &name, NULL) < 0) {
        return NULL;
    }
    struct pool_view *v = xcalloc(1, sizeof(*v));
    v->uid = xstrdup(uid);
    json_int(metadata, "generation", 0, INT64_C(1) << 52, &v->generation, NULL);
    v->deleting = cJSON_GetObjectItemCaseSensitive(metadata, "deletionTimestamp") != NULL;
    v->object = cJSON_CreateObject();
    cJSON_AddStringToObject(v->object, "apiVersion", "vpn.openbalena.io/v1alpha1");
    cJSON_AddStringToObject(v->object, "kind", "VPNPool");
    cJSON_AddStringToObject(cJSON_AddObjectToObject(v->object, "metadata"), "name", name);
    cJSON *spec = cJSON_DetachItemFromObjectCaseSensitive(object, "spec");
    cJSON_AddItemToObject(v->object, "spec", spec != NULL ? spec : cJSON_CreateObject());
    return v;
}

void pool_view_free(struct pool_view *v)
{
    if (v != NULL) {
        free(v->uid);
        cJSON_Delete(v->object);
        free(v);
    }
}
