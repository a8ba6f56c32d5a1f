#include "controller/kube/kube_material.h"
#include "controller/kube/kubeconfig.h"

#include <errno.h>
#include <string.h>

#define SERVICE_ACCOUNT_DIR "/var/run/secrets/kubernetes.io/serviceaccount"

int kube_config_parse(const char *text, size_t len, const char *file, const char *context,
                      struct kube_config **ret, struct err *err)
{
    struct kubeconfig k = {0};
    int r = kubeconfig_add(&k, file, text, len, err);

    if (r == 0) {
        r = kubeconfig_resolve(&k, context, ret, err);
    }
    kubeconfig_clear(&k);
    return r;
}

static int add_file(struct kubeconfig *k, const char *path, struct err *err)
{
    AUTO(secret) char *text = NULL;
    int r = kube_file_read(path, KUBE_CONFIG_MAX, &text, err);

    return r < 0 ? r : kubeconfig_add(k, path, text, strlen(text), err);
}

static int load_file(const char *path, const char *context, struct kube_config **ret,
                     struct err *err)
{
    struct kubeconfig k = {0};
    int r = add_file(&k, path, err);

    if (r == 0) {
        r = kubeconfig_resolve(&k, context, ret, err);
    }
    kubeconfig_clear(&k);
    return r;
}

static int add_list(struct kubeconfig *k, const char *list, struct err *err)
{
    AUTO(str) char *paths = xstrdup(list);
    char *rest = NULL;

    for (char *path = strtok_r(paths, ":", &rest); path != NULL;
         path = strtok_r(NULL, ":", &rest)) {
        int r = add_file(k, path, err);
        if (r < 0 && r != -ENOENT) {
            return r;
        }
    }
    return k->count > 0 ? 0 : err_text(err, -ENOENT, "no file of KUBECONFIG='%s' exists", list);
}

static int load_list(const char *list, const char *context, struct kube_config **ret,
                     struct err *err)
{
    struct kubeconfig k = {0};
    int r = add_list(&k, list, err);

    if (r == 0) {
        r = kubeconfig_resolve(&k, context, ret, err);
    }
    kubeconfig_clear(&k);
    return r;
}

/* --- the service account --- */

static char *service_url(void)
{
    const char *host = getenv("KUBERNETES_SERVICE_HOST");
    const char *port = getenv("KUBERNETES_SERVICE_PORT");

    if (host == NULL || host[0] == '\0' || port == NULL || port[0] == '\0') {
        return NULL;
    }
    bool bare_v6 = strchr(host, ':') != NULL && host[0] != '[';
    return xasprintf("https://%s%s%s:%s", bare_v6 ? "[" : "", host, bare_v6 ? "]" : "", port);
}

static char *namespace_of(const char *dir)
{
    AUTO(str) char *path = xasprintf("%s/namespace", dir);
    char *ns = NULL;

    if (kube_word_read(path, &ns, NULL) == 0 && ns[0] != '\0') {
        return ns;
    }
    free(ns);
    return xstrdup("default");
}

int kube_config_in_cluster(const char *dir, struct kube_config **ret, struct err *err)
{
    AUTO(str) char *server = service_url();
    AUTO(str) char *token = xasprintf("%s/token", dir);

    if (server == NULL) {
        return err_text(err, -ENOENT, "KUBERNETES_SERVICE_HOST and _PORT are not set");
    }
    if (access(token, R_OK) < 0) {
        return err_set(err, -errno, "service account's token '%s'", token);
    }
    struct kube_config *c = xcalloc(1, sizeof(*c));
    c->server = MOVE(server);
    c->ns = namespace_of(dir);
    c->token.file = MOVE(token);
    c->ca.file = xasprintf("%s/ca.crt", dir);
    c->origin = xstrdup("service account");
    *ret = c;
    return 0;
}

int kube_config_load(const char *path, const char *context, struct kube_config **ret,
                     struct err *err)
{
    const char *list = getenv("KUBECONFIG");
    const char *home = getenv("HOME");

    if (path != NULL) {
        return load_file(path, context, ret, err);
    }
    if (list != NULL && list[0] != '\0') {
        return load_list(list, context, ret, err);
    }
    if (getenv("KUBERNETES_SERVICE_HOST") != NULL && context == NULL) {
        return kube_config_in_cluster(SERVICE_ACCOUNT_DIR, ret, err);
    }
    if (home == NULL) {
        return err_text(err, -ENOENT, "neither KUBECONFIG nor HOME is set");
    }
    AUTO(str) char *own = xasprintf("%s/.kube/config", home);
    return load_file(own, context, ret, err);
}
