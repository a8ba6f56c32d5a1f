#include "controller/kube/kubeconfig.h"

#include "controller/kube/kubeconfig_fields.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

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

/* --- finding an entry by its name in all files --- */

static bool is_named(const struct yaml_node *item, const char *name)
{
    const struct yaml_node *node = kubeconfig_member(item, "name");

    return node != NULL && node->kind == YAML_SCALAR && strcmp(node->text, name) == 0;
}

static bool find_in(const struct kubeconfig_file *file, const char *list, const char *name,
                    const char *what, struct kubeconfig_entry *ret)
{
    const struct yaml_node *items = kubeconfig_member(file->root, list);
    unsigned i = 0;

    if (items == NULL || items->kind != YAML_LIST) {
        return false;
    }
    for (const struct yaml_node *item = items->first; item != NULL; item = item->next, i++) {
        if (is_named(item, name)) {
            const struct yaml_node *map = kubeconfig_member(item, what);
            *ret = (struct kubeconfig_entry){
                .file = file, .map = map != NULL ? map : item, .name = name};
            snprintf(ret->path, sizeof(ret->path), "%s[%u].%s", list, i, what);
            return true;
        }
    }
    return false;
}

static bool find(const struct kubeconfig *k, const char *list, const char *name, const char *what,
                 struct kubeconfig_entry *ret)
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

static int read_server(const struct kubeconfig_entry *e, struct kube_config *c, struct err *err)
{
    static const char *const schemes[] = {"https://", "http://", NULL};
    int r = kubeconfig_text(e, "server", &c->server, err);

    if (r < 0) {
        return r;
    }
    if (c->server == NULL) {
        return kubeconfig_wrong(e, NULL, "server", "is missing", err);
    }
    if (!is_plain_url(c->server, schemes)) {
        return kubeconfig_wrong(e, kubeconfig_member(e->map, "server"), "server",
                                "is not an http or https URL", err);
    }
    for (size_t len = strlen(c->server); c->server[len - 1] == '/'; len--) {
        c->server[len - 1] = '\0';
    }
    return 0;
}

static int read_proxy(const struct kubeconfig_entry *e, struct kube_config *c, struct err *err)
{
    static const char *const schemes[] = {"http://", "https://", "socks5://", NULL};
    int r = kubeconfig_text(e, "proxy-url", &c->proxy_url, err);

    if (r < 0 || c->proxy_url == NULL || is_plain_url(c->proxy_url, schemes)) {
        return r;
    }
    return kubeconfig_wrong(e, kubeconfig_member(e->map, "proxy-url"), "proxy-url",
                            "is not an http, https or socks5 URL", err);
}

static int read_cluster(const struct kubeconfig_entry *e, struct kube_config *c, struct err *err)
{
    int r = read_server(e, c, err);

    if (r < 0 || (r = kubeconfig_material(e, "certificate-authority", &c->ca, err)) < 0 ||
        (r = kubeconfig_bool(e, "insecure-skip-tls-verify", &c->insecure, err)) < 0 ||
        (r = kubeconfig_text(e, "tls-server-name", &c->tls_server_name, err)) < 0 ||
        (r = read_proxy(e, c, err)) < 0) {
        return r;
    }
    if (c->insecure && (c->ca.file != NULL || c->ca.data != NULL)) {
        return kubeconfig_wrong(e, kubeconfig_member(e->map, "insecure-skip-tls-verify"),
                                "insecure-skip-tls-verify",
                                "and a certificate-authority exclude each other", err);
    }
    return 0;
}

/* --- the whole --- */

static int current_context(const struct kubeconfig *k, const char **ret, struct err *err)
{
    for (size_t i = 0; i < k->count; i++) {
        const struct yaml_node *node = kubeconfig_member(k->files[i].root, "current-context");
        if (node != NULL && node->kind == YAML_SCALAR && node->len > 0) {
            *ret = node->text;
            return 0;
        }
    }
    return err_text(err, -ENOENT, "%s: current-context: is not set",
                    k->count > 0 ? k->files[0].path : "kubeconfig");
}

static int find_named(const struct kubeconfig *k, const struct kubeconfig_entry *context,
                      const char *what, const char *list, struct kubeconfig_entry *ret, char **name,
                      struct err *err)
{
    int r = kubeconfig_text(context, what, name, err);

    if (r < 0 || *name == NULL) {
        return r;
    }
    if (!find(k, list, *name, what, ret)) {
        AUTO(str) char *text = xasprintf("there is no '%s' in %s", *name, list);
        return kubeconfig_wrong(context, kubeconfig_member(context->map, what), what, text, err);
    }
    return 0;
}

static int resolve_cluster(const struct kubeconfig *k, const struct kubeconfig_entry *context,
                           struct kube_config *c, struct err *err)
{
    AUTO(str) char *name = NULL;
    struct kubeconfig_entry cluster = {0};
    int r = find_named(k, context, "cluster", "clusters", &cluster, &name, err);

    if (r < 0) {
        return r;
    }
    return name != NULL ? read_cluster(&cluster, c, err)
                        : kubeconfig_wrong(context, NULL, "cluster", "is missing", err);
}

static int resolve_user(const struct kubeconfig *k, const struct kubeconfig_entry *context,
                        struct kube_config *c, struct err *err)
{
    AUTO(str) char *name = NULL;
    struct kubeconfig_entry user = {0};
    int r = find_named(k, context, "user", "users", &user, &name, err);

    return r < 0 || name == NULL ? r : kubeconfig_read_user(&user, c, err);
}

static int resolve(const struct kubeconfig *k, const struct kubeconfig_entry *context,
                   struct kube_config *c, struct err *err)
{
    int r = kubeconfig_text(context, "namespace", &c->ns, err);

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
    struct kubeconfig_entry entry;
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
