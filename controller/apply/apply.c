#include "controller/apply/apply.h"

#include "controller/pool/yaml_json.h"

#include <errno.h>
#include <string.h>

static cJSON *get(const cJSON *object, const char *key)
{
    return cJSON_GetObjectItemCaseSensitive(object, key);
}

/* What a person says of an object; the rest of a file that came out of a cluster is the server's.
 */
static void clean(cJSON *object, const char *ns)
{
    static const char *const said[] = {"name", "labels", "annotations"};
    cJSON *all = cJSON_DetachItemFromObjectCaseSensitive(object, "metadata");
    cJSON *metadata = cJSON_AddObjectToObject(object, "metadata");

    for (size_t i = 0; i < ARRAY_LEN(said); i++) {
        cJSON *value = cJSON_DetachItemFromObjectCaseSensitive(all, said[i]);
        if (value != NULL) {
            cJSON_AddItemToObject(metadata, said[i], value);
        }
    }
    cJSON_AddStringToObject(metadata, "namespace", ns);
    cJSON_Delete(all);
    cJSON_DeleteItemFromObjectCaseSensitive(object, "status");
}

/* Server-side apply takes away what was applied before and is not now: so what stays is said. */
static void keep_value(cJSON *spec, const cJSON *live_spec, const char *key)
{
    const cJSON *value = get(live_spec, key);

    if (spec != NULL && value != NULL) {
        cJSON_DeleteItemFromObjectCaseSensitive(spec, key);
        cJSON_AddItemToObject(spec, key, cJSON_Duplicate(value, true));
    }
}

int apply_object(const struct pool_object *pool, const char *ns, const cJSON *live,
                 struct apply_keep keep, cJSON **ret, struct err *err)
{
    AUTO(str) char *text = yaml_json_write(pool->origin);

    if (text == NULL) {
        return err_text(err, -EMSGSIZE, "the pool is longer than %zu bytes", YAML_JSON_MAX);
    }
    cJSON *object = NULL;
    int r = json_parse(text, strlen(text), &object, err);
    if (r < 0) {
        return r;
    }
    clean(object, ns);
    cJSON *spec = get(object, "spec");
    const cJSON *live_spec = get(live, "spec");
    if (keep.scale || get(spec, "replicas") == NULL) {
        keep_value(spec, live_spec, "replicas");
    }
    if (keep.image) {
        keep_value(get(spec, "kubernetes"), get(live_spec, "kubernetes"), "image");
    }
    *ret = object;
    return 0;
}

static bool same(const cJSON *a, const cJSON *b, const char *key)
{
    const cJSON *left = get(get(a, "metadata"), key), *right = get(get(b, "metadata"), key);

    return left == NULL ? right == NULL : right != NULL && cJSON_Compare(left, right, true);
}

const char *apply_result(const cJSON *before, const cJSON *after)
{
    if (before == NULL) {
        return "created";
    }
    return same(before, after, "generation") && same(before, after, "labels") &&
                   same(before, after, "annotations")
               ? "unchanged"
               : "configured";
}
