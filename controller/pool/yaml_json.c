#include "controller/pool/yaml_json.h"

#include "common/buf.h"
#include "common/json.h"

#include <string.h>

#define DIGITS "0123456789"

/* As JSON has it: no leading zero, no sign but '-', digits around a point. */
static bool is_number(const char *s)
{
    s += *s == '-';
    size_t whole = strspn(s, DIGITS);
    if (whole == 0 || (whole > 1 && s[0] == '0')) {
        return false;
    }
    s += whole;
    if (*s == '.') {
        size_t part = strspn(s + 1, DIGITS);
        if (part == 0) {
            return false;
        }
        s += 1 + part;
    }
    if (*s == 'e' || *s == 'E') {
        s += 1 + (s[1] == '+' || s[1] == '-');
        size_t power = strspn(s, DIGITS);
        if (power == 0) {
            return false;
        }
        s += power;
    }
    return *s == '\0';
}

bool yaml_json_is_text(const struct yaml_node *node)
{
    return node->kind == YAML_SCALAR &&
           (node->quoted || (!yaml_tree_is_null(node) && strcmp(node->text, "true") != 0 &&
                             strcmp(node->text, "false") != 0 && !is_number(node->text)));
}

static int write_node(struct buf *out, const struct yaml_node *node);

static int write_scalar(struct buf *out, const struct yaml_node *node)
{
    if (yaml_json_is_text(node)) {
        AUTO(str) char *quoted = json_quote(node->text);
        return buf_append_str(out, quoted);
    }
    return buf_append_str(out, yaml_tree_is_null(node) ? "null" : node->text);
}

static int write_children(struct buf *out, const struct yaml_node *node)
{
    int r = buf_append_str(out, node->kind == YAML_MAP ? "{" : "[");

    for (const struct yaml_node *child = node->first; child != NULL && r == 0;
         child = child->next) {
        if (child != node->first) {
            r = buf_append_str(out, ",");
        }
        if (r == 0 && node->kind == YAML_MAP) {
            AUTO(str) char *key = json_quote(child->key);
            r = buf_printf(out, "%s:", key);
        }
        if (r == 0) {
            r = write_node(out, child);
        }
    }
    return r == 0 ? buf_append_str(out, node->kind == YAML_MAP ? "}" : "]") : r;
}

static int write_node(struct buf *out, const struct yaml_node *node)
{
    return node->kind == YAML_SCALAR ? write_scalar(out, node) : write_children(out, node);
}

char *yaml_json_write(const struct yaml_node *node)
{
    AUTO(buf) struct buf out;

    buf_init(&out, YAML_JSON_MAX);
    return write_node(&out, node) == 0 ? buf_take(&out) : NULL;
}

/* --- from JSON --- */

static struct yaml_node *add_value(struct yaml_node *parent, const cJSON *value)
{
    if (cJSON_IsObject(value)) {
        return yaml_tree_add(parent, YAML_MAP, value->string);
    }
    if (cJSON_IsArray(value)) {
        return yaml_tree_add(parent, YAML_LIST, value->string);
    }
    AUTO(str) char *printed = cJSON_IsString(value) ? NULL : cJSON_PrintUnformatted(value);
    struct yaml_node *node =
        yaml_tree_add_text(parent, value->string, printed != NULL ? printed : value->valuestring);
    node->quoted = cJSON_IsString(value);
    return node;
}

static bool read_value(struct yaml_node *parent, const cJSON *value, size_t *nodes, int depth)
{
    if (++*nodes > YAML_NODES_MAX || depth > YAML_DEPTH_MAX) {
        return false;
    }
    struct yaml_node *node = add_value(parent, value);
    const cJSON *child = NULL;
    cJSON_ArrayForEach(child, value)
    {
        if (!read_value(node, child, nodes, depth + 1)) {
            return false;
        }
    }
    return true;
}

struct yaml_node *yaml_json_read(const cJSON *value)
{
    struct yaml_node *list =
        yaml_tree_add(NULL, YAML_LIST, NULL); /* holds the root while it grows */
    size_t nodes = 0;
    bool whole = read_value(list, value, &nodes, 1);
    struct yaml_node *root = list->first;

    if (whole) {
        list->first = NULL;
    }
    yaml_tree_free(list);
    return whole ? root : NULL;
}
