/* kubeconfig_fields: one entry of a kubeconfig, read field by field. A wrong kind is an error that
 * says where: file, line, "users[0].user.exec.command". Private to kubeconfig*.c. */
#pragma once

#include "controller/kube/kubeconfig.h"

/* One of contexts, clusters or users: where it stands and what it holds. */
struct kubeconfig_entry {
    const struct kubeconfig_file *file;
    const struct yaml_node *map; /* what stands under context:, cluster:, user: */
    const char *name;
    char path[64]; /* "clusters[1].cluster" */
};

/* NULL: it is not there, or null. */
const struct yaml_node *kubeconfig_member(const struct yaml_node *map, const char *key);
/* Sets err and returns -EINVAL. node: what is wrong; NULL: what should be there is not. */
int kubeconfig_wrong(const struct kubeconfig_entry *e, const struct yaml_node *node,
                     const char *field, const char *text, struct err *err);

/* All: 0, also when it is not there (*ret untouched), or -EINVAL. */
int kubeconfig_text(const struct kubeconfig_entry *e, const char *key, char **ret,
                    struct err *err); /* empty is as if not there */
int kubeconfig_bool(const struct kubeconfig_entry *e, const char *key, bool *ret, struct err *err);
/* Relative paths are relative to the file that they stand in. */
int kubeconfig_path(const struct kubeconfig_entry *e, const char *key, char **ret, struct err *err);
/* "key" is a file, "key-data" what would be in it; the data wins, as in kubectl. */
int kubeconfig_material(const struct kubeconfig_entry *e, const char *key,
                        struct kube_material *ret, struct err *err);

/* --- kubeconfig_user.c --- */
int kubeconfig_read_user(const struct kubeconfig_entry *e, struct kube_config *c, struct err *err);
