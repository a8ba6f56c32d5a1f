#include "controller/kube/kubeconfig_fields.h"

#include <string.h>

/* Each changes who we are to the server: to go on without would be somebody else. */
static int refuse_unsupported(const struct kubeconfig_entry *e, struct err *err)
{
    static const char *const keys[] = {"as",       "as-uid",   "as-groups",    "as-user-extra",
                                       "username", "password", "auth-provider"};

    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        const struct yaml_node *node = kubeconfig_member(e->map, keys[i]);
        if (node != NULL && (node->kind != YAML_SCALAR || node->len > 0)) {
            return kubeconfig_wrong(e, node, keys[i], "is not supported", err);
        }
    }
    return 0;
}

static size_t count_items(const struct yaml_node *list)
{
    size_t count = 0;

    for (const struct yaml_node *item = list != NULL ? list->first : NULL; item != NULL;
         item = item->next) {
        count++;
    }
    return count;
}

static int read_args(const struct kubeconfig_entry *e, struct kube_exec *exec, struct err *err)
{
    const struct yaml_node *list = kubeconfig_member(e->map, "args");
    size_t i = 0;

    exec->args = xcalloc(count_items(list) + 1, sizeof(*exec->args));
    if (list != NULL && list->kind != YAML_LIST) {
        return kubeconfig_wrong(e, list, "args", "is not a list", err);
    }
    for (const struct yaml_node *item = list != NULL ? list->first : NULL; item != NULL;
         item = item->next) {
        if (item->kind != YAML_SCALAR) {
            return kubeconfig_wrong(e, item, "args", "has an entry that is not a text", err);
        }
        exec->args[i++] = xstrdup(item->text);
    }
    return 0;
}

static int read_variable(const struct kubeconfig_entry *e, const struct yaml_node *item, char **ret,
                         struct err *err)
{
    const struct yaml_node *name = kubeconfig_member(item, "name");
    const struct yaml_node *value = item->kind == YAML_MAP ? yaml_tree_get(item, "value") : NULL;

    if (name == NULL || name->kind != YAML_SCALAR || name->len == 0 ||
        strchr(name->text, '=') != NULL) {
        return kubeconfig_wrong(e, item, "env", "has an entry without a usable name", err);
    }
    if (value != NULL && value->kind != YAML_SCALAR) {
        return kubeconfig_wrong(e, value, "env", "has a value that is not a text", err);
    }
    *ret = xasprintf("%s=%s", name->text, value != NULL ? value->text : "");
    return 0;
}

static int read_env(const struct kubeconfig_entry *e, struct kube_exec *exec, struct err *err)
{
    const struct yaml_node *list = kubeconfig_member(e->map, "env");
    size_t i = 0;

    exec->env = xcalloc(count_items(list) + 1, sizeof(*exec->env));
    if (list != NULL && list->kind != YAML_LIST) {
        return kubeconfig_wrong(e, list, "env", "is not a list", err);
    }
    for (const struct yaml_node *item = list != NULL ? list->first : NULL; item != NULL;
         item = item->next) {
        int r = read_variable(e, item, &exec->env[i++], err);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

/* A name without a slash is looked up in PATH; all else is a path, relative to the file. */
static int read_command(const struct kubeconfig_entry *e, struct kube_exec *exec, struct err *err)
{
    int r = kubeconfig_text(e, "command", &exec->command, err);

    if (r < 0) {
        return r;
    }
    if (exec->command == NULL) {
        return kubeconfig_wrong(e, NULL, "command", "is missing", err);
    }
    if (strchr(exec->command, '/') != NULL) {
        free(MOVE(exec->command));
        return kubeconfig_path(e, "command", &exec->command, err);
    }
    return 0;
}

static int read_exec_version(const struct kubeconfig_entry *e, struct kube_exec *exec,
                             struct err *err)
{
    int r = kubeconfig_text(e, "apiVersion", &exec->api_version, err);

    if (r < 0) {
        return r;
    }
    const char *version = exec->api_version != NULL ? exec->api_version : "";
    if (strcmp(version, "client.authentication.k8s.io/v1") != 0 &&
        strcmp(version, "client.authentication.k8s.io/v1beta1") != 0) {
        return kubeconfig_wrong(e, kubeconfig_member(e->map, "apiVersion"), "apiVersion",
                                "is not client.authentication.k8s.io/v1 or /v1beta1", err);
    }
    return 0;
}

static int check_interactive(const struct kubeconfig_entry *e, struct err *err)
{
    AUTO(str) char *mode = NULL;
    int r = kubeconfig_text(e, "interactiveMode", &mode, err);

    if (r == 0 && mode != NULL && strcmp(mode, "Always") == 0) {
        return kubeconfig_wrong(e, kubeconfig_member(e->map, "interactiveMode"), "interactiveMode",
                                "Always: nobody is at a terminal here", err);
    }
    return r;
}

static int read_exec(const struct kubeconfig_entry *user, struct kube_config *c, struct err *err)
{
    const struct yaml_node *node = kubeconfig_member(user->map, "exec");

    if (node == NULL) {
        return 0;
    }
    if (node->kind != YAML_MAP) {
        return kubeconfig_wrong(user, node, "exec", "is not a map", err);
    }
    struct kubeconfig_entry e = *user;
    e.map = node;
    strncat(e.path, ".exec", sizeof(e.path) - strlen(e.path) - 1);
    struct kube_exec *exec = c->exec = xcalloc(1, sizeof(*exec));
    int r = read_command(&e, exec, err);
    if (r < 0 || (r = read_args(&e, exec, err)) < 0 || (r = read_env(&e, exec, err)) < 0 ||
        (r = read_exec_version(&e, exec, err)) < 0 || (r = check_interactive(&e, err)) < 0 ||
        (r = kubeconfig_text(&e, "installHint", &exec->install_hint, err)) < 0) {
        return r;
    }
    return kubeconfig_bool(&e, "provideClusterInfo", &exec->provides_cluster_info, err);
}

int kubeconfig_read_user(const struct kubeconfig_entry *e, struct kube_config *c, struct err *err)
{
    int r = refuse_unsupported(e, err);

    if (r < 0 || (r = kubeconfig_material(e, "client-certificate", &c->cert, err)) < 0 ||
        (r = kubeconfig_material(e, "client-key", &c->key, err)) < 0 ||
        (r = kubeconfig_text(e, "token", &c->token.data, err)) < 0 ||
        (r = kubeconfig_path(e, "tokenFile", &c->token.file, err)) < 0 ||
        (r = read_exec(e, c, err)) < 0) {
        return r;
    }
    bool cert = c->cert.file != NULL || c->cert.data != NULL;
    bool key = c->key.file != NULL || c->key.data != NULL;
    if (cert != key) {
        return kubeconfig_wrong(e, NULL, cert ? "client-key" : "client-certificate", "is missing",
                                err);
    }
    return 0;
}
