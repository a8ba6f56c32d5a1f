/* object_rules: from a tree to an object: the table of fields, then what the fields mean to each
 * other. The same rules are the CRD's CEL expressions. Private to the object and the variables. */
#pragma once

#include "controller/pool/schema.h"

extern const struct field object_fields[]; /* of the whole object; ended by a NULL name */

/* 0, or -EINVAL when there are faults, *ret untouched. Takes root over as ret->origin. warnings not
 * NULL: looks at this machine as well (object_look()). */
int object_read(struct faults *faults, struct faults *warnings, struct yaml_node *root,
                struct pool_object *ret);

/* What only this machine can tell of p, which may be read in part: what hangs on a field that has a
 * fault already is not said again. */
void object_look(const struct pool_object *p, struct faults *errors, struct faults *warnings);

/* p: as far as it could be read; a field with a fault of its own is not looked at again. */
void object_rules_check(struct faults *faults, const struct yaml_node *root,
                        const struct pool_object *p);

/* A fault of the field at path, wherever root says that it stands (root may be NULL). */
#define object_fault(faults, root, path, ...)                                                \
    do {                                                                                     \
        const struct yaml_node *at_ = yaml_tree_locate(root, path);                          \
        faults_add(faults, at_ != NULL ? at_->line : 0, at_ != NULL ? at_->column : 0, path, \
                   __VA_ARGS__);                                                             \
    } while (0)
