/* Burials of one machine: {state-dir}/{pool}.json, which outlives a reboot. */
#include "common/json.h"
#include "common/log.h"
#include "controller/pool/burials.h"
#include "controller/pool/local_state.h"

#include <errno.h>
#include <string.h>

#define FILE_MAX ((size_t)1 << 20)

static int save(void *arg, const struct burial *items, size_t count, struct err *err)
{
    const char *path = arg;
    AUTO(json) cJSON *root = cJSON_CreateObject();

    cJSON_AddNumberToObject(root, "version", 1);
    cJSON *list = cJSON_AddArrayToObject(root, "serviceInstances");
    for (size_t i = 0; i < count; i++) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddItemToArray(list, o);
        cJSON_AddNumberToObject(o, "serviceId", (double)items[i].service_id);
        cJSON_AddNumberToObject(o, "index", items[i].index);
        cJSON_AddStringToObject(o, "epoch", items[i].epoch);
        cJSON_AddBoolToObject(o, "gone", items[i].gone);
    }
    AUTO(str) char *text = cJSON_PrintUnformatted(root);
    if (text == NULL) {
        abort(); /* out of memory */
    }
    return file_replace(path, text, 0600, err);
}

static int load_item(const cJSON *o, struct burial *ret, struct err *err)
{
    const char *epoch = "";
    int64_t index = 0;
    int r;

    if ((r = json_int(o, "serviceId", 1, (int64_t)1 << 52, &ret->service_id, err)) < 0 ||
        (r = json_int(o, "index", 1, UINT32_MAX, &index, err)) < 0 ||
        (r = json_str(o, "epoch", &epoch, err)) < 0 ||
        (r = json_bool(o, "gone", &ret->gone, err)) < 0) {
        return r;
    }
    if (strlen(epoch) > BURIAL_EPOCH_MAX) {
        return err_text(err, -EPROTO, "an epoch is too long");
    }
    ret->index = (uint32_t)index;
    strcpy(ret->epoch, epoch);
    return 0;
}

/* All or nothing: *items is owned by the caller. */
static int load(const char *path, struct burial **items, size_t *count, struct err *err)
{
    AUTO(str) char *text = NULL;
    AUTO(json) cJSON *root = NULL;
    const cJSON *list = NULL, *item;
    size_t len = 0;
    int r = file_read(path, FILE_MAX, &text, &len, err);

    if (r == -ENOENT) {
        return 0;
    }
    if (r < 0 || (r = json_parse(text, len, &root, err)) < 0 ||
        (r = json_array(root, "serviceInstances", &list, err)) < 0) {
        return r;
    }
    *items = xcalloc((size_t)cJSON_GetArraySize(list) + 1, sizeof(**items));
    cJSON_ArrayForEach(item, list)
    {
        if (*count == BURIALS_MAX) {
            return err_text(err, -EPROTO, "too many entries");
        }
        if ((r = load_item(item, &(*items)[*count], err)) < 0) {
            return r;
        }
        (*count)++;
    }
    return 0;
}

int burials_open(struct loop *loop, const char *path, struct balena_api *api, loop_fn on_change,
                 void *arg, struct burials **ret, struct err *err)
{
    struct burials_store store = {.save = save, .close = free};
    struct burial *items = NULL;
    size_t count = 0;
    int r = load(path, &items, &count, err);

    if (r == -EPROTO || r == -EMSGSIZE) {
        log_error("the list of service instances is set aside as .bad; devices of earlier ones may "
                  "stay listed",
                  "file", path, "why", err->text, NULL);
        file_set_aside(path);
        count = 0;
        r = 0;
    }
    if (r == 0) {
        store.arg = xstrdup(path);
        *ret = burials_new(loop, &store, api, on_change, arg);
        for (size_t i = 0; i < count; i++) {
            burials_restore(*ret, &items[i]);
        }
    }
    free(items);
    return r < 0 ? err_wrap(err, "'%s'", path) : 0;
}
