/* kube_exec: asks a credential plugin: a program that prints an ExecCredential. Its standard error
 * is ours, its input is /dev/null. One that takes longer than 30 s, or prints more than 1 MiB, is
 * killed with its children. Private to kube/.
 * Source: client.authentication.k8s.io/v1. */
#pragma once

#include "common/loop.h"
#include "controller/kube/kube_config.h"

struct kube_exec_run;

struct kube_exec_result {     /* owned by who gets it: kube_exec_result_clear() */
    char *token;              /* or NULL */
    char *cert_pem, *key_pem; /* both or neither */
    int64_t expires_ms;       /* Unix time; 0: not said */
};
void kube_exec_result_clear(struct kube_exec_result *r);

/* Once, through the loop, last. 0: *got may be moved away from. -ETIMEDOUT, -EIO (it failed),
 * -EPROTO (what it printed is no ExecCredential)... */
typedef void (*kube_exec_fn)(void *arg, int result, struct kube_exec_result *got,
                             const struct err *err);

/* -ENOENT: no such command (the install hint is in the text). */
int kube_exec_start(struct loop *loop, const struct kube_config *config, kube_exec_fn on_done,
                    void *arg, struct kube_exec_run **ret, struct err *err);
void kube_exec_cancel(struct kube_exec_run *run); /* kills it; NULL is fine */

/* --- kube_exec_credential.c --- */
/* "KUBERNETES_EXEC_INFO=...": what it is told. Caller frees. */
char *kube_exec_info(const struct kube_config *config);
/* What was printed. Pure. */
int kube_exec_parse(const char *text, size_t len, const char *api_version,
                    struct kube_exec_result *ret, struct err *err);
