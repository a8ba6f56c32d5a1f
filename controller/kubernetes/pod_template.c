#include "controller/kubernetes/pod_template.h"

#include "common/buf.h"
#include "common/hashmap.h"

#include <stdio.h>
#include <string.h>

/* Which fields of the Pod a part is made of. The last one is all of it. */
static const struct {
    const char *name, *words;
    const char *fields[8]; /* "S." of the sidecar, "O." of openvpn, "M." of metadata, else spec */
} parts[] = {
    {"image", "the image", {"O.image", "O.imagePullPolicy", "imagePullSecrets"}},
    {"openvpn", "what OpenVPN runs with", {"O.args", "O.env"}},
    {"sidecar", "what the sidecar runs with", {"S.args", "S.env", "S.envFrom"}},
    {"resources", "resources", {"O.resources", "S.resources"}},
    {"scheduling",
     "where it may run",
     {"nodeSelector", "tolerations", "affinity", "topologySpreadConstraints", "priorityClassName",
      "runtimeClassName", "serviceAccountName"}},
    {"metadata", "labels and annotations", {"M.labels", "M.annotations"}},
    {"volumes", "volumes", {"volumes"}},
};

static uint64_t hash_of(const cJSON *const *items, size_t count)
{
    static const uint8_t key[16] = {0};
    uint64_t h = 0;

    for (size_t i = 0; i < count; i++) {
        AUTO(str) char *text = items[i] != NULL ? cJSON_PrintUnformatted(items[i]) : xstrdup("");
        h = h * 31 + siphash13(key, text, strlen(text));
    }
    return h;
}

static const cJSON *field_of(const cJSON *pod, const char *name)
{
    const cJSON *spec = cJSON_GetObjectItemCaseSensitive(pod, "spec");
    const cJSON *from = spec;

    if (strncmp(name, "M.", 2) == 0) {
        from = cJSON_GetObjectItemCaseSensitive(pod, "metadata");
    } else if (strncmp(name, "S.", 2) == 0) {
        from = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(spec, "initContainers"), 0);
    } else if (strncmp(name, "O.", 2) == 0) {
        from = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(spec, "containers"), 0);
    }
    return cJSON_GetObjectItemCaseSensitive(from, name[1] == '.' ? name + 2 : name);
}

static void hash_parts(const cJSON *pod, struct pod_template *ret)
{
    size_t len = 0;

    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        const cJSON *items[ARRAY_LEN(parts[0].fields)];
        size_t count = 0;
        while (count < ARRAY_LEN(parts[0].fields) && parts[i].fields[count] != NULL) {
            items[count] = field_of(pod, parts[i].fields[count]);
            count++;
        }
        len += (size_t)snprintf(ret->parts + len, sizeof(ret->parts) - len, "%s%s=%08x",
                                i > 0 ? "," : "", parts[i].name,
                                (unsigned)(hash_of(items, count) & UINT32_MAX));
    }
}

void pod_template_make(cJSON *pod, struct pod_template *ret)
{
    cJSON *sidecar =
        cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(
                               cJSON_GetObjectItemCaseSensitive(pod, "spec"), "initContainers"),
                           0);
    cJSON *image = cJSON_DetachItemFromObjectCaseSensitive(sidecar, "image");
    const cJSON *all[] = {cJSON_GetObjectItemCaseSensitive(pod, "spec"), field_of(pod, "M.labels"),
                          field_of(pod, "M.annotations")};

    hash_parts(pod, ret);
    snprintf(ret->hash, sizeof(ret->hash), "%016llx",
             (unsigned long long)hash_of(all, ARRAY_LEN(all)));
    cJSON_AddItemToObject(sidecar, "image", image);
}

/* The hash of part name in text, or NULL. */
static const char *part_in(const char *text, const char *name, size_t *len)
{
    size_t name_len = strlen(name);

    for (const char *p = text; p != NULL && *p != '\0'; p = strchr(p, ',')) {
        p += *p == ',';
        if (strncmp(p, name, name_len) == 0 && p[name_len] == '=') {
            *len = strcspn(p + name_len + 1, ",");
            return p + name_len + 1;
        }
    }
    return NULL;
}

char *pod_template_difference(const char *before, const char *now)
{
    struct buf text;

    buf_init(&text, 512);
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        size_t a_len = 0, b_len = 0;
        const char *a = part_in(before, parts[i].name, &a_len);
        const char *b = part_in(now, parts[i].name, &b_len);
        if (a == NULL || b == NULL || a_len != b_len || memcmp(a, b, a_len) != 0) {
            buf_printf(&text, "%s%s", text.len > 0 ? ", " : "", parts[i].words);
        }
    }
    if (text.len == 0) {
        buf_append_str(&text, "other fields of the Pod");
    }
    return buf_take(&text);
}
