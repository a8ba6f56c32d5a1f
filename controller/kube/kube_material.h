/* kube_material: what a kube_material says now, from its file or its data. Private to kube/. */
#pragma once

#include "controller/kube/kube_config.h"

/* *ret: the text, NULL if there is none at all; the caller's. what: "token", for the error. */
int kube_material_read(const struct kube_material *m, const char *what, char **ret,
                       struct err *err);
/* A regular file's text, at most max bytes, without NUL bytes in it. -ENOENT, -EINVAL, -EMSGSIZE...
 */
int kube_file_read(const char *path, size_t max, char **ret, struct err *err);
/* The same, and white space at both ends is left out: for tokens and names. */
int kube_word_read(const char *path, char **ret, struct err *err);
void kube_secret_free(char *text); /* overwrites it first; NULL is fine */

static inline void auto_secret(char **text)
{
    kube_secret_free(*text);
}
