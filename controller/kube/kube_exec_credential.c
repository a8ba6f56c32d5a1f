#include "controller/kube/kube_exec.h"

#include "common/json.h"
#include "controller/kube/kube_material.h"
#include "controller/kube/kube_time.h"

#include <errno.h>
#include <string.h>

void kube_exec_result_clear(struct kube_exec_result *r)
{
    kube_secret_free(r->token);
    kube_secret_free(r->cert_pem);
    kube_secret_free(r->key_pem);
    *r = (struct kube_exec_result){0};
}

/* --- what it prints --- */

static int take_text(const cJSON *status, const char *key, char **ret, struct err *err)
{
    const char *text = NULL;
    int r = json_str(status, key, &text, err);

    if (r == 0) {
        *ret = text[0] != '\0' ? xstrdup(text) : NULL;
    }
    return r == -ENOENT ? 0 : r;
}

static int take_expiry(const cJSON *status, int64_t *ret, struct err *err)
{
    const char *text = NULL;
    int r = json_str(status, "expirationTimestamp", &text, err);

    if (r == 0 && kube_time_parse(text, ret) < 0) {
        return err_text(err, -EPROTO, "expirationTimestamp is no time");
    }
    return r == -ENOENT ? 0 : r;
}

static int take_status(const cJSON *status, struct kube_exec_result *ret, struct err *err)
{
    int r = take_text(status, "token", &ret->token, err);

    if (r < 0 || (r = take_text(status, "clientCertificateData", &ret->cert_pem, err)) < 0 ||
        (r = take_text(status, "clientKeyData", &ret->key_pem, err)) < 0 ||
        (r = take_expiry(status, &ret->expires_ms, err)) < 0) {
        return r;
    }
    if ((ret->cert_pem == NULL) != (ret->key_pem == NULL)) {
        return err_text(err, -EPROTO, "certificate without key, or key without certificate");
    }
    if (ret->token == NULL && ret->cert_pem == NULL) {
        return err_text(err, -EPROTO, "neither a token nor a certificate");
    }
    return 0;
}

int kube_exec_parse(const char *text, size_t len, const char *api_version,
                    struct kube_exec_result *ret, struct err *err)
{
    AUTO(json) cJSON *object = NULL;
    const cJSON *status;
    const char *kind = "", *version = "";
    int r = json_parse(text, len, &object, err);

    if (r < 0) {
        return r;
    }
    (void)json_str(object, "kind", &kind, NULL);
    (void)json_str(object, "apiVersion", &version, NULL);
    if (strcmp(kind, "ExecCredential") != 0 || strcmp(version, api_version) != 0) {
        return err_text(err, -EPROTO, "it is no ExecCredential of %s", api_version);
    }
    if (json_object(object, "status", &status, err) < 0) {
        return err_text(err, -EPROTO, "it has no status");
    }
    struct kube_exec_result got = {0};
    r = take_status(status, &got, err);
    if (r < 0) {
        kube_exec_result_clear(&got);
        return r;
    }
    *ret = got;
    return 0;
}

/* --- what a plugin is told --- */

static void add_text(cJSON *object, const char *key, const char *text)
{
    if (text != NULL) {
        cJSON_AddStringToObject(object, key, text);
    }
}

static char *to_base64(const char *text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t len = strlen(text);
    char *out = xmalloc((len + 2) / 3 * 4 + 1);
    char *to = out;

    for (size_t i = 0; i < len; i += 3) {
        unsigned b[3] = {0};
        for (size_t j = 0; j < 3 && i + j < len; j++) {
            b[j] = (unsigned char)text[i + j];
        }
        *to++ = digits[b[0] >> 2];
        *to++ = digits[(b[0] & 3) << 4 | b[1] >> 4];
        *to++ = i + 1 < len ? digits[(b[1] & 15) << 2 | b[2] >> 6] : '=';
        *to++ = i + 2 < len ? digits[b[2] & 63] : '=';
    }
    *to = '\0';
    return out;
}

static void add_cluster(cJSON *spec, const struct kube_config *config)
{
    cJSON *cluster = cJSON_AddObjectToObject(spec, "cluster");
    AUTO(str) char *ca = NULL;

    add_text(cluster, "server", config->server);
    add_text(cluster, "tls-server-name", config->tls_server_name);
    add_text(cluster, "proxy-url", config->proxy_url);
    if (config->insecure) {
        cJSON_AddTrueToObject(cluster, "insecure-skip-tls-verify");
    }
    if (kube_material_read(&config->ca, "CA", &ca, NULL) == 0 && ca != NULL) {
        AUTO(str) char *encoded = to_base64(ca);
        add_text(cluster, "certificate-authority-data", encoded);
    }
}

char *kube_exec_info(const struct kube_config *config)
{
    AUTO(json) cJSON *info = cJSON_CreateObject();

    cJSON_AddStringToObject(info, "kind", "ExecCredential");
    cJSON_AddStringToObject(info, "apiVersion", config->exec->api_version);
    cJSON *spec = cJSON_AddObjectToObject(info, "spec");
    cJSON_AddFalseToObject(spec, "interactive");
    if (config->exec->provides_cluster_info) {
        add_cluster(spec, config);
    }
    char *text = cJSON_PrintUnformatted(info);
    char *line = xasprintf("KUBERNETES_EXEC_INFO=%s", text);
    cJSON_free(text);
    return line;
}
