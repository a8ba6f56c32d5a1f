/* What schema.c and schema_kubernetes.c share. */
#pragma once

#include "controller/pool/schema.h"

#define say(faults, node, path, ...) \
    faults_add(faults, (node)->line, (node)->column, path, __VA_ARGS__)

/* "'x' is not <wanted>", in the words that fit what stands there instead. */
void schema_value_error(struct faults *faults, const struct yaml_node *node, const char *path,
                        const char *wanted);
void schema_replace(char **at, char *text); /* takes text over, frees what was there */
bool schema_is_address(const char *text);   /* numeric, IPv4 or IPv6 */

/* The kinds of fields from FIELD_NAME on: names, labels and what is handed on as JSON. */
void schema_kubernetes_read(struct faults *faults, const struct yaml_node *node, const char *path,
                            const struct field *f, char **at);
