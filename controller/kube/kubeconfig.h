/* kubeconfig: kubeconfig files as trees, several as if they were one. Pure. Private to kube/. */
#pragma once

#include "common/yaml_tree.h"
#include "controller/kube/kube_config.h"

#define KUBECONFIG_FILES_MAX 16

struct kubeconfig_file {
    char *path;
    struct yaml_node *root; /* NULL: an empty file */
};

struct kubeconfig { /* zeroed: no file yet */
    struct kubeconfig_file files[KUBECONFIG_FILES_MAX];
    size_t count;
};

/* -EINVAL: it is no YAML, or no map. -E2BIG: too many files. */
int kubeconfig_add(struct kubeconfig *k, const char *path, const char *text, size_t len,
                   struct err *err);
void kubeconfig_clear(struct kubeconfig *k);
/* context: NULL: current-context. -ENOENT: no such context. -EINVAL. */
int kubeconfig_resolve(const struct kubeconfig *k, const char *context, struct kube_config **ret,
                       struct err *err);
