/* kube_config: where a cluster's API server is and who we are to it: from a kubeconfig file or from
 * the service account of the Pod that we run in. Plain data; how credentials live on (files read
 * anew, tokens that expire, plugins) is kube_credentials.h's.
 *
 * Errors name the file, the line and the field: "/root/.kube/config:12: users[0].user.exec.command:
 * is missing". Nothing is ignored that would change who we are: impersonation (as...),
 * auth-provider and username/password are refused by name. Fields that are not known are left
 * alone, as kubectl does. Source: the kubeconfig (v1) reference. Fuzz: tests/fuzz/fuzz_kubeconfig.c
 *
 * Differs from kubectl: HTTPS_PROXY and NO_PROXY are not read, only proxy-url is. */
#pragma once

#include "common/err.h"

#define KUBE_CONFIG_MAX (1 << 20)     /* bytes of a kubeconfig file */
#define KUBE_CREDENTIAL_MAX (1 << 18) /* bytes of a token, a certificate or a key */

/* Something secret or certified that is either here or in a file that may change at any time. */
struct kube_material {
    char *file; /* wins over data; or NULL */
    char *data; /* as it is used: PEM, a token; NUL-terminated; or NULL */
};

struct kube_exec { /* users[].user.exec: a program that prints an ExecCredential */
    char *command; /* with a slash: a path (relative ones are relative to the file); else in PATH */
    char **args;   /* NULL-terminated, without the command itself */
    char **env;    /* "NAME=value", NULL-terminated: beside our own environment */
    char *api_version;          /* client.authentication.k8s.io/v1 or /v1beta1 */
    char *install_hint;         /* for the error when the command is not found; or NULL */
    bool provides_cluster_info; /* spec.cluster goes into KUBERNETES_EXEC_INFO */
};

struct kube_config {
    char *server;          /* "https://[2001:db8::1]:6443", no slash at its end */
    char *ns;              /* the context's or service account's namespace, else "default" */
    char *tls_server_name; /* the name in the server's certificate, if not the server's; or NULL */
    char *proxy_url;       /* http, https or socks5; or NULL */
    bool insecure;         /* insecure-skip-tls-verify */
    struct kube_material ca;   /* only these are trusted; neither: the system's store */
    struct kube_material cert; /* of the client, with key; neither: none */
    struct kube_material key;
    struct kube_material token; /* a file is read anew at least each minute and after a 401 */
    struct kube_exec *exec;     /* asked when there is no token; or NULL */
    char *origin; /* "/root/.kube/config, context dev" or "service account": for logs */
};

/* What a program should call, with its options' values (NULL: not given). The first that applies:
 * path; the files that KUBECONFIG names (':' between them, those that do not exist are left out,
 * the first one that says something wins); the service account, if KUBERNETES_SERVICE_HOST is set;
 * ~/.kube/config. -ENOENT: none of them, or no such context. -EINVAL: what they say is wrong. */
int kube_config_load(const char *path, const char *context, struct kube_config **ret,
                     struct err *err);

/* The service account in dir ("/var/run/secrets/kubernetes.io/serviceaccount") and the server in
 * KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT. -ENOENT: we are in no Pod. */
int kube_config_in_cluster(const char *dir, struct kube_config **ret, struct err *err);

/* One file's text. file: its path, for errors and for relative paths in it. Reads no file. */
int kube_config_parse(const char *text, size_t len, const char *file, const char *context,
                      struct kube_config **ret, struct err *err);

struct kube_config *kube_config_copy(const struct kube_config *config);
void kube_config_free(struct kube_config *config); /* wipes what is secret; NULL is fine */

static inline void auto_kube_config(struct kube_config **config)
{
    kube_config_free(*config);
}
