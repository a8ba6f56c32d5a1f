#include "controller/kube/kubeconfig.h"

#include "common/base64.h"
#include "common/http_client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* One entry of contexts, clusters or users: where it stands and what it holds. */
struct entry {
    const struct kubeconfig_file *file;
    const struct yaml_node *map; /* what stands under context:, cluster:, user: */
    const char *name;
    char path[64]; /* "clusters[1].cluster" */
};

/* --- what a file is --- */

struct first_fault {
    const char *path;
    struct err err;
};

static void on_fault(void *arg, int line, int column, const char *path, const char *text)
{
    struct first_fault *fault = arg;
    const char *colon = path[0] != '\0' ? ": " : "";

    (void)column;
    if (fault->err.code == 0) {
        err_text(&fault->err, -EINVAL, "%s:%d: %s%s%s", fault->path, line, path, colon, text);
    }
}

int kubeconfig_add(struct kubeconfig *k, const char *path, const char *text, size_t len,
                   struct err *err)
{
    struct first_fault fault = {.path = path};
    struct yaml_node *root = NULL;

    if (k->count == KUBECONFIG_FILES_MAX) {
        return err_text(err, -E2BIG, "more than %d kubeconfig files", KUBECONFIG_FILES_MAX);
    }
    int r = yaml_tree_parse(text, len, &root, on_fault, &fault);
    if (r < 0 || fault.err.code != 0) {
        if (r == 0) {
            yaml_tree_free(root);
        }
        return err_text(err, -EINVAL, "%s", fault.err.text);
    }
    if (root != NULL && root->kind != YAML_MAP && !yaml_tree_is_null(root)) {
        yaml_tree_free(root);
        return err_text(err, -EINVAL, "%s:1: is not a kubeconfig", path);
    }
    k->files[k->count++] = (struct kubeconfig_file){.path = xstrdup(path), .root = root};
    return 0;
}

void kubeconfig_clear(struct kubeconfig *k)
{
    for (size_t i = 0; i < k->count; i++) {
        free(k->files[i].path);
        yaml_tree_free(k->files[i].root);
    }
    k->count = 0;
}

/* --- reading fields: a wrong kind is an error that says where --- */

static int wrong(const struct entry *e, const struct yaml_node *node, const char *field,
                 const char *text, struct err *err)
{
    return err_text(err, -EINVAL, "%s:%d: %s.%s: %s", e->file->path,
                    node != NULL ? node->line : e->map->line, e->path, field, text);
}

static const struct yaml_node *member(const struct yaml_node *map, const char *key)
{
    const struct yaml_node *node =
        map != NULL && map->kind == YAML_MAP ? yaml_tree_get(map, key) : NULL;

    return node == NULL || yaml_tree_is_null(node) ? NULL : node;
}

/* *ret: NULL when it is not there or empty, which kubectl takes for the same. */
static int get_text(const struct entry *e, const char *key, char **ret, struct err *err)
{
    const struct yaml_node *node = member(e->map, key);

    if (node == NULL) {
        return 0;
    }
    if (node->kind != YAML_SCALAR) {
        return wrong(e, node, key, "is not a text", err);
    }
    for (size_t i = 0; i < node->len; i++) {
        unsigned char c = (unsigned char)node->text[i];
        if (c < ' ' && c != '\n' && c != '\t') {
            return wrong(e, node, key, "has a control character", err);
        }
    }
    *ret = node->len > 0 ? xstrdup(node->text) : NULL;
    return 0;
}

static int get_bool(const struct entry *e, const char *key, bool *ret, struct err *err)
{
    const struct yaml_node *node = member(e->map, key);

    if (node == NULL) {
        return 0;
    }
    bool yes = node->kind == YAML_SCALAR && strcasecmp(node->text, "true") == 0;
    if (!yes && (node->kind != YAML_SCALAR || strcasecmp(node->text, "false") != 0)) {
        return wrong(e, node, key, "is neither true nor false", err);
    }
    *ret = yes;
    return 0;
}

/* Relative paths are relative to the file that they stand in. */
static int get_path(const struct entry *e, const char *key, char **ret, struct err *err)
{
    AUTO(str) char *path = NULL;
    int r = get_text(e, key, &path, err);

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

static int get_base64(const struct entry *e, const char *key, char **ret, struct err *err)
{
    AUTO(str) char *text = NULL;
    size_t len = 0;
    int r = get_text(e, key, &text, err);

    if (r < 0 || text == NULL) {
        return r;
    }
    if (base64_decode(text, strlen(text), ret, &len, NULL) < 0) {
        return wrong(e, member(e->map, key), key, "is not base64", err);
    }
    if (strlen(*ret) != len) {
        free(MOVE(*ret));
        return wrong(e, member(e->map, key), key, "is no PEM text", err);
    }
    return 0;
}

/* "x" is a file, "x-data" what would be in it; the data wins, as in kubectl. */
static int get_material(const struct entry *e, const char *key, struct kube_material *ret,
                        struct err *err)
{
    char data_key[64];

    snprintf(data_key, sizeof(data_key), "%s-data", key);
    int r = get_base64(e, data_key, &ret->data, err);
    return r < 0 || ret->data != NULL ? r : get_path(e, key, &ret->file, err);
}

/* --- finding an entry by its name in all files --- */

static bool is_named(const struct yaml_node *item, const char *name)
{
    const struct yaml_node *node = member(item, "name");

    return node != NULL && node->kind == YAML_SCALAR && strcmp(node->text, name) == 0;
}

static bool find_in(const struct kubeconfig_file *file, const char *list, const char *name,
                    const char *what, struct entry *ret)
{
    const struct yaml_node *items = member(file->root, list);
    unsigned i = 0;

    if (items == NULL || items->kind != YAML_LIST) {
        return false;
    }
    for (const struct yaml_node *item = items->first; item != NULL; item = item->next, i++) {
        if (is_named(item, name)) {
            const struct yaml_node *map = member(item, what);
            *ret = (struct entry){.file = file, .map = map != NULL ? map : item, .name = name};
            snprintf(ret->path, sizeof(ret->path), "%s[%u].%s", list, i, what);
            return true;
        }
    }
    return false;
}

static bool find(const struct kubeconfig *k, const char *list, const char *name, const char *what,
                 struct entry *ret)
{
    for (size_t i = 0; i < k->count; i++) {
        if (find_in(&k->files[i], list, name, what, ret)) {
            return true;
        }
    }
    return false;
}

/* --- cluster --- */

static bool has_scheme(const char *url, const char *const *schemes)
{
    for (; *schemes != NULL; schemes++) {
        size_t len = strlen(*schemes);
        if (strncmp(url, *schemes, len) == 0 && url[len] != '\0') {
            return true;
        }
    }
    return false;
}

static bool is_plain_url(const char *url, const char *const *schemes)
{
    return has_scheme(url, schemes) && strpbrk(url, " \t\n?#") == NULL;
}

static int read_server(const struct entry *e, struct kube_config *c, struct err *err)
{
    static const char *const schemes[] = {"https://", "http://", NULL};
    int r = get_text(e, "server", &c->server, err);

    if (r < 0) {
        return r;
    }
    if (c->server == NULL) {
        return wrong(e, NULL, "server", "is missing", err);
    }
    if (!is_plain_url(c->server, schemes)) {
        return wrong(e, member(e->map, "server"), "server", "is not an http or https URL", err);
    }
    for (size_t len = strlen(c->server); c->server[len - 1] == '/'; len--) {
        c->server[len - 1] = '\0';
    }
    return 0;
}

static int read_proxy(const struct entry *e, struct kube_config *c, struct err *err)
{
    static const char *const schemes[] = {"http://", "https://", "socks5://", NULL};
    int r = get_text(e, "proxy-url", &c->proxy_url, err);

    if (r < 0 || c->proxy_url == NULL || is_plain_url(c->proxy_url, schemes)) {
        return r;
    }
    return wrong(e, member(e->map, "proxy-url"), "proxy-url", "is not an http, https or socks5 URL",
                 err);
}

static int read_cluster(const struct entry *e, struct kube_config *c, struct err *err)
{
    int r = read_server(e, c, err);

    if (r < 0 || (r = get_material(e, "certificate-authority", &c->ca, err)) < 0 ||
        (r = get_bool(e, "insecure-skip-tls-verify", &c->insecure, err)) < 0 ||
        (r = get_text(e, "tls-server-name", &c->tls_server_name, err)) < 0 ||
        (r = read_proxy(e, c, err)) < 0) {
        return r;
    }
    if (c->insecure && (c->ca.file != NULL || c->ca.data != NULL)) {
        return wrong(e, member(e->map, "insecure-skip-tls-verify"), "insecure-skip-tls-verify",
                     "and a certificate-authority exclude each other", err);
    }
    return 0;
}

/* --- user --- */

/* Each changes who we are to the server: to go on without would be somebody else. */
static int refuse_unsupported(const struct entry *e, struct err *err)
{
    static const char *const keys[] = {"as",       "as-uid",   "as-groups",    "as-user-extra",
                                       "username", "password", "auth-provider"};

    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        const struct yaml_node *node = member(e->map, keys[i]);
        if (node != NULL && (node->kind != YAML_SCALAR || node->len > 0)) {
            return wrong(e, node, keys[i], "is not supported", err);
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

static int read_args(const struct entry *e, struct kube_exec *exec, struct err *err)
{
    const struct yaml_node *list = member(e->map, "args");
    size_t i = 0;

    exec->args = xcalloc(count_items(list) + 1, sizeof(*exec->args));
    if (list != NULL && list->kind != YAML_LIST) {
        return wrong(e, list, "args", "is not a list", err);
    }
    for (const struct yaml_node *item = list != NULL ? list->first : NULL; item != NULL;
         item = item->next) {
        if (item->kind != YAML_SCALAR) {
            return wrong(e, item, "args", "has an entry that is not a text", err);
        }
        exec->args[i++] = xstrdup(item->text);
    }
    return 0;
}

static int read_variable(const struct entry *e, const struct yaml_node *item, char **ret,
                         struct err *err)
{
    const struct yaml_node *name = member(item, "name");
    const struct yaml_node *value = item->kind == YAML_MAP ? yaml_tree_get(item, "value") : NULL;

    if (name == NULL || name->kind != YAML_SCALAR || name->len == 0 ||
        strchr(name->text, '=') != NULL) {
        return wrong(e, item, "env", "has an entry without a usable name", err);
    }
    if (value != NULL && value->kind != YAML_SCALAR) {
        return wrong(e, value, "env", "has a value that is not a text", err);
    }
    *ret = xasprintf("%s=%s", name->text, value != NULL ? value->text : "");
    return 0;
}

static int read_env(const struct entry *e, struct kube_exec *exec, struct err *err)
{
    const struct yaml_node *list = member(e->map, "env");
    size_t i = 0;

    exec->env = xcalloc(count_items(list) + 1, sizeof(*exec->env));
    if (list != NULL && list->kind != YAML_LIST) {
        return wrong(e, list, "env", "is not a list", err);
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
static int read_command(const struct entry *e, struct kube_exec *exec, struct err *err)
{
    int r = get_text(e, "command", &exec->command, err);

    if (r < 0) {
        return r;
    }
    if (exec->command == NULL) {
        return wrong(e, NULL, "command", "is missing", err);
    }
    if (strchr(exec->command, '/') != NULL) {
        free(MOVE(exec->command));
        return get_path(e, "command", &exec->command, err);
    }
    return 0;
}

static int read_exec_version(const struct entry *e, struct kube_exec *exec, struct err *err)
{
    int r = get_text(e, "apiVersion", &exec->api_version, err);

    if (r < 0) {
        return r;
    }
    const char *version = exec->api_version != NULL ? exec->api_version : "";
    if (strcmp(version, "client.authentication.k8s.io/v1") != 0 &&
        strcmp(version, "client.authentication.k8s.io/v1beta1") != 0) {
        return wrong(e, member(e->map, "apiVersion"), "apiVersion",
                     "is not client.authentication.k8s.io/v1 or /v1beta1", err);
    }
    return 0;
}

static int check_interactive(const struct entry *e, struct err *err)
{
    AUTO(str) char *mode = NULL;
    int r = get_text(e, "interactiveMode", &mode, err);

    if (r == 0 && mode != NULL && strcmp(mode, "Always") == 0) {
        return wrong(e, member(e->map, "interactiveMode"), "interactiveMode",
                     "Always: nobody is at a terminal here", err);
    }
    return r;
}

static int read_exec(const struct entry *user, struct kube_config *c, struct err *err)
{
    const struct yaml_node *node = member(user->map, "exec");

    if (node == NULL) {
        return 0;
    }
    if (node->kind != YAML_MAP) {
        return wrong(user, node, "exec", "is not a map", err);
    }
    struct entry e = *user;
    e.map = node;
    strncat(e.path, ".exec", sizeof(e.path) - strlen(e.path) - 1);
    struct kube_exec *exec = c->exec = xcalloc(1, sizeof(*exec));
    int r = read_command(&e, exec, err);
    if (r < 0 || (r = read_args(&e, exec, err)) < 0 || (r = read_env(&e, exec, err)) < 0 ||
        (r = read_exec_version(&e, exec, err)) < 0 || (r = check_interactive(&e, err)) < 0 ||
        (r = get_text(&e, "installHint", &exec->install_hint, err)) < 0) {
        return r;
    }
    return get_bool(&e, "provideClusterInfo", &exec->provides_cluster_info, err);
}

static int read_user(const struct entry *e, struct kube_config *c, struct err *err)
{
    int r = refuse_unsupported(e, err);

    if (r < 0 || (r = get_material(e, "client-certificate", &c->cert, err)) < 0 ||
        (r = get_material(e, "client-key", &c->key, err)) < 0 ||
        (r = get_text(e, "token", &c->token.data, err)) < 0 ||
        (r = get_path(e, "tokenFile", &c->token.file, err)) < 0 || (r = read_exec(e, c, err)) < 0) {
        return r;
    }
    bool cert = c->cert.file != NULL || c->cert.data != NULL;
    bool key = c->key.file != NULL || c->key.data != NULL;
    if (cert != key) {
        return wrong(e, NULL, cert ? "client-key" : "client-certificate", "is missing", err);
    }
    return 0;
}

/* --- the whole --- */

static int current_context(const struct kubeconfig *k, const char **ret, struct err *err)
{
    for (size_t i = 0; i < k->count; i++) {
        const struct yaml_node *node = member(k->files[i].root, "current-context");
        if (node != NULL && node->kind == YAML_SCALAR && node->len > 0) {
            *ret = node->text;
            return 0;
        }
    }
    return err_text(err, -ENOENT, "%s: current-context: is not set",
                    k->count > 0 ? k->files[0].path : "kubeconfig");
}

static int find_named(const struct kubeconfig *k, const struct entry *context, const char *what,
                      const char *list, struct entry *ret, char **name, struct err *err)
{
    int r = get_text(context, what, name, err);

    if (r < 0 || *name == NULL) {
        return r;
    }
    if (!find(k, list, *name, what, ret)) {
        AUTO(str) char *text = xasprintf("there is no '%s' in %s", *name, list);
        return wrong(context, member(context->map, what), what, text, err);
    }
    return 0;
}

static int resolve_cluster(const struct kubeconfig *k, const struct entry *context,
                           struct kube_config *c, struct err *err)
{
    AUTO(str) char *name = NULL;
    struct entry cluster = {0};
    int r = find_named(k, context, "cluster", "clusters", &cluster, &name, err);

    if (r < 0) {
        return r;
    }
    return name != NULL ? read_cluster(&cluster, c, err)
                        : wrong(context, NULL, "cluster", "is missing", err);
}

static int resolve_user(const struct kubeconfig *k, const struct entry *context,
                        struct kube_config *c, struct err *err)
{
    AUTO(str) char *name = NULL;
    struct entry user = {0};
    int r = find_named(k, context, "user", "users", &user, &name, err);

    return r < 0 || name == NULL ? r : read_user(&user, c, err);
}

static int resolve(const struct kubeconfig *k, const struct entry *context, struct kube_config *c,
                   struct err *err)
{
    int r = get_text(context, "namespace", &c->ns, err);

    if (r < 0 || (r = resolve_cluster(k, context, c, err)) < 0 ||
        (r = resolve_user(k, context, c, err)) < 0) {
        return r;
    }
    if (c->ns == NULL) {
        c->ns = xstrdup("default");
    }
    c->origin = xasprintf("%s, context %s", context->file->path, context->name);
    return 0;
}

/* Names come from the file, and errors go to a terminal. */
static void make_printable(struct err *err)
{
    for (char *c = err != NULL ? err->text : NULL; c != NULL && *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f) {
            *c = '?';
        }
    }
}

static int resolve_context(const struct kubeconfig *k, const char *context,
                           struct kube_config **ret, struct err *err)
{
    struct entry entry;
    int r = context != NULL ? 0 : current_context(k, &context, err);

    if (r < 0) {
        return r;
    }
    if (!find(k, "contexts", context, "context", &entry)) {
        return err_text(err, -ENOENT, "%s: there is no context '%s'",
                        k->count > 0 ? k->files[0].path : "kubeconfig", context);
    }
    struct kube_config *c = xcalloc(1, sizeof(*c));
    r = resolve(k, &entry, c, err);
    if (r < 0) {
        kube_config_free(c);
        return r;
    }
    *ret = c;
    return 0;
}

int kubeconfig_resolve(const struct kubeconfig *k, const char *context, struct kube_config **ret,
                       struct err *err)
{
    int r = resolve_context(k, context, ret, err);

    if (r < 0) {
        make_printable(err);
    }
    return r;
}
