/* yaml_json: a part of a pool file as JSON text, for the fields that Kubernetes knows better than
 * we do: they are checked for their shape and handed on. Private to the object. */
#pragma once

#include "controller/pool/yaml_tree.h"

#define YAML_JSON_MAX ((size_t)65536) /* bytes of one field */

/* The value of node as JSON without blanks, owned by the caller. A plain true, false, null or JSON
 * number is one, every other scalar is a text. NULL: it would be longer than YAML_JSON_MAX. */
char *yaml_json_write(const struct yaml_node *node);

/* Is a scalar a text, rather than a number, a truth value or nothing? */
bool yaml_json_is_text(const struct yaml_node *node);
