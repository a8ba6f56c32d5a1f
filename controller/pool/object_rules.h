/* object_rules: what the fields of a pool mean to each other. The same rules are the CRD's CEL
 * expressions. Private to the object. */
#pragma once

#include "controller/pool/schema.h"

/* root: for positions; p: as far as it could be read. */
void object_rules_check(struct schema_reader *r, const struct yaml_node *root,
                        const struct pool_object *p);
