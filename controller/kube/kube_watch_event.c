#include "controller/kube/kube_watch_event.h"

#include <errno.h>
#include <string.h>

/* Absent or null is "", and leaves err as it is. */
static int read_text(const cJSON *object, const char *key, const char **ret, struct err *err)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, key);

    *ret = "";
    return value == NULL || cJSON_IsNull(value) ? 0 : json_str(object, key, ret, err);
}

int kube_object_read(const cJSON *object, const char **name, const char **uid,
                     const char **resource_version, struct err *err)
{
    const cJSON *metadata;
    int r = json_object(object, "metadata", &metadata, err);

    if (r < 0 || (r = read_text(metadata, "name", name, err)) < 0 ||
        (r = read_text(metadata, "uid", uid, err)) < 0 ||
        (r = read_text(metadata, "resourceVersion", resource_version, err)) < 0) {
        return r == -ENOENT ? err_text(err, -EPROTO, "object has no metadata") : r;
    }
    return 0;
}

static int type_of(const char *text, enum kube_watch_type *ret, struct err *err)
{
    static const char *const names[] = {
        [KUBE_WATCH_ADDED] = "ADDED",     [KUBE_WATCH_MODIFIED] = "MODIFIED",
        [KUBE_WATCH_DELETED] = "DELETED", [KUBE_WATCH_BOOKMARK] = "BOOKMARK",
        [KUBE_WATCH_ERROR] = "ERROR",
    };

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(text, names[i]) == 0) {
            *ret = (enum kube_watch_type)i;
            return 0;
        }
    }
    return err_text(err, -EPROTO, "unknown type of event");
}

static bool is_initial_end(const cJSON *object)
{
    const cJSON *metadata = cJSON_GetObjectItemCaseSensitive(object, "metadata");
    const cJSON *annotations = cJSON_GetObjectItemCaseSensitive(metadata, "annotations");
    const cJSON *end = cJSON_GetObjectItemCaseSensitive(annotations, "k8s.io/initial-events-end");

    return cJSON_IsString(end) && strcmp(end->valuestring, "true") == 0;
}

static int read_error(struct kube_watch_event *e, struct err *err)
{
    int64_t code = 0;
    int r = json_int(e->object, "code", 0, 999, &code, NULL);

    e->code = r == 0 ? (int)code : 0;
    r = read_text(e->object, "reason", &e->reason, err);
    return r < 0 ? r : read_text(e->object, "message", &e->message, err);
}

static int read_object(struct kube_watch_event *e, struct err *err)
{
    int r = kube_object_read(e->object, &e->name, &e->uid, &e->resource_version, err);

    if (r < 0) {
        return r;
    }
    if (e->resource_version[0] == '\0') {
        return err_text(err, -EPROTO, "object has no resourceVersion");
    }
    if (e->type == KUBE_WATCH_BOOKMARK) {
        e->initial_end = is_initial_end(e->object);
        return 0;
    }
    return e->name[0] != '\0' ? 0 : err_text(err, -EPROTO, "object has no name");
}

static int read_event(struct kube_watch_event *e, struct err *err)
{
    const char *type;
    const cJSON *object;
    int r = json_str(e->line, "type", &type, err);

    if (r < 0 || (r = type_of(type, &e->type, err)) < 0 ||
        (r = json_object(e->line, "object", &object, err)) < 0) {
        return r == -ENOENT ? err_text(err, -EPROTO, "event lacks its type or object") : r;
    }
    e->object = cJSON_GetObjectItemCaseSensitive(e->line, "object"); /* the same, not const */
    return e->type == KUBE_WATCH_ERROR ? read_error(e, err) : read_object(e, err);
}

int kube_watch_event_parse(const char *line, size_t len, struct kube_watch_event *ret,
                           struct err *err)
{
    struct kube_watch_event e = {
        .name = "", .uid = "", .resource_version = "", .reason = "", .message = ""};
    int r = json_parse(line, len, &e.line, err);

    if (r < 0) {
        return r;
    }
    r = read_event(&e, err);
    if (r < 0) {
        cJSON_Delete(e.line);
        return r;
    }
    *ret = e;
    return 0;
}

void kube_watch_event_clear(struct kube_watch_event *e)
{
    cJSON_Delete(e->line);
    *e = (struct kube_watch_event){0};
}
