#include "controller/kube/kube_config.h"

#include "common/secret.h"

#include <string.h>

static void material_clear(struct kube_material *m)
{
    if (m->data != NULL) {
        secret_wipe(m->data, strlen(m->data));
    }
    free(m->file);
    free(m->data);
}

static void list_free(char **list)
{
    for (char **at = list; at != NULL && *at != NULL; at++) {
        secret_wipe(*at, strlen(*at)); /* a plugin's environment may hold a password */
        free(*at);
    }
    free(list);
}

static void exec_free(struct kube_exec *exec)
{
    if (exec != NULL) {
        free(exec->command);
        list_free(exec->args);
        list_free(exec->env);
        free(exec->api_version);
        free(exec->install_hint);
        free(exec);
    }
}

void kube_config_free(struct kube_config *config)
{
    if (config == NULL) {
        return;
    }
    free(config->server);
    free(config->ns);
    free(config->tls_server_name);
    free(config->proxy_url);
    material_clear(&config->ca);
    material_clear(&config->cert);
    material_clear(&config->key);
    material_clear(&config->token);
    exec_free(config->exec);
    free(config->origin);
    free(config);
}

/* --- copies --- */

static char *copy_text(const char *text)
{
    return text != NULL ? xstrdup(text) : NULL;
}

static struct kube_material copy_material(const struct kube_material *m)
{
    return (struct kube_material){.file = copy_text(m->file), .data = copy_text(m->data)};
}

static char **copy_list(char **list)
{
    size_t count = 0;

    while (list != NULL && list[count] != NULL) {
        count++;
    }
    char **copy = xcalloc(count + 1, sizeof(*copy));
    for (size_t i = 0; i < count; i++) {
        copy[i] = xstrdup(list[i]);
    }
    return copy;
}

static struct kube_exec *copy_exec(const struct kube_exec *exec)
{
    if (exec == NULL) {
        return NULL;
    }
    struct kube_exec *copy = xcalloc(1, sizeof(*copy));
    *copy = (struct kube_exec){
        .command = copy_text(exec->command),
        .args = copy_list(exec->args),
        .env = copy_list(exec->env),
        .api_version = copy_text(exec->api_version),
        .install_hint = copy_text(exec->install_hint),
        .provides_cluster_info = exec->provides_cluster_info,
    };
    return copy;
}

struct kube_config *kube_config_copy(const struct kube_config *config)
{
    struct kube_config *copy = xcalloc(1, sizeof(*copy));

    *copy = (struct kube_config){
        .server = copy_text(config->server),
        .ns = copy_text(config->ns),
        .tls_server_name = copy_text(config->tls_server_name),
        .proxy_url = copy_text(config->proxy_url),
        .insecure = config->insecure,
        .ca = copy_material(&config->ca),
        .cert = copy_material(&config->cert),
        .key = copy_material(&config->key),
        .token = copy_material(&config->token),
        .exec = copy_exec(config->exec),
        .origin = copy_text(config->origin),
    };
    return copy;
}
