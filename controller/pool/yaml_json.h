/* yaml_json: between a pool's tree and JSON: text of the fields that Kubernetes knows better than
 * we do, and a tree of what the API server sent. Private to the object. */
#pragma once

#include "common/yaml_tree.h"

#include <cjson/cJSON.h>

#define YAML_JSON_MAX ((size_t)65536) /* bytes of one field */

/* The value of node as JSON without blanks, owned by the caller. A plain true, false, null or JSON
 * number is one, every other scalar is a text. NULL: it would be longer than YAML_JSON_MAX. */
char *yaml_json_write(const struct yaml_node *node);

/* The tree of a JSON value, without places; owned by the caller. NULL: more than YAML_NODES_MAX
 * values, or deeper than YAML_DEPTH_MAX. */
struct yaml_node *yaml_json_read(const cJSON *value);

/* Is a scalar a text, rather than a number, a truth value or nothing? */
bool yaml_json_is_text(const struct yaml_node *node);
