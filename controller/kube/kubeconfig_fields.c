#include "controller/kube/kubeconfig_fields.h"

#include "common/base64.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

int kubeconfig_wrong(const struct kubeconfig_entry *e, const struct yaml_node *node,
                     const char *field, const char *text, struct err *err)
{
    return err_text(err, -EINVAL, "%s:%d: %s.%s: %s", e->file->path,
                    node != NULL ? node->line : e->map->line, e->path, field, text);
}

const struct yaml_node *kubeconfig_member(const struct yaml_node *map, const char *key)
{
    const struct yaml_node *node =
        map != NULL && map->kind == YAML_MAP ? yaml_tree_get(map, key) : NULL;

    return node == NULL || yaml_tree_is_null(node) ? NULL : node;
}

int kubeconfig_text(const struct kubeconfig_entry *e, const char *key, char **ret, struct err *err)
{
    const struct yaml_node *node = kubeconfig_member(e->map, key);

    if (node == NULL) {
        return 0;
    }
    if (node->kind != YAML_SCALAR) {
        return kubeconfig_wrong(e, node, key, "is not a text", err);
    }
    for (size_t i = 0; i < node->len; i++) {
        unsigned char c = (unsigned char)node->text[i];
        if (c < ' ' && c != '\n' && c != '\t') {
            return kubeconfig_wrong(e, node, key, "has a control character", err);
        }
    }
    *ret = node->len > 0 ? xstrdup(node->text) : NULL;
    return 0;
}

int kubeconfig_bool(const struct kubeconfig_entry *e, const char *key, bool *ret, struct err *err)
{
    const struct yaml_node *node = kubeconfig_member(e->map, key);

    if (node == NULL) {
        return 0;
    }
    bool yes = node->kind == YAML_SCALAR && strcasecmp(node->text, "true") == 0;
    if (!yes && (node->kind != YAML_SCALAR || strcasecmp(node->text, "false") != 0)) {
        return kubeconfig_wrong(e, node, key, "is neither true nor false", err);
    }
    *ret = yes;
    return 0;
}

int kubeconfig_path(const struct kubeconfig_entry *e, const char *key, char **ret, struct err *err)
{
    AUTO(str) char *path = NULL;
    int r = kubeconfig_text(e, key, &path, err);

    if (r < 0 || path == NULL) {
        return r;
    }
    const char *slash = strrchr(e->file->path, '/');
    if (path[0] == '/' || slash == NULL) {
        *ret = MOVE(path);
    } else {
        *ret = xasprintf("%.*s/%s", (int)(slash - e->file->path), e->file->path, path);
    }
    return 0;
}

static int get_base64(const struct kubeconfig_entry *e, const char *key, char **ret,
                      struct err *err)
{
    AUTO(str) char *text = NULL;
    size_t len = 0;
    int r = kubeconfig_text(e, key, &text, err);

    if (r < 0 || text == NULL) {
        return r;
    }
    if (base64_decode(text, strlen(text), ret, &len, NULL) < 0) {
        return kubeconfig_wrong(e, kubeconfig_member(e->map, key), key, "is not base64", err);
    }
    if (strlen(*ret) != len) {
        free(MOVE(*ret));
        return kubeconfig_wrong(e, kubeconfig_member(e->map, key), key, "is no PEM text", err);
    }
    return 0;
}

int kubeconfig_material(const struct kubeconfig_entry *e, const char *key,
                        struct kube_material *ret, struct err *err)
{
    char data_key[64];

    snprintf(data_key, sizeof(data_key), "%s-data", key);
    int r = get_base64(e, data_key, &ret->data, err);
    return r < 0 || ret->data != NULL ? r : kubeconfig_path(e, key, &ret->file, err);
}
