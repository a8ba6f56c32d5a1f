/* yaml_tree: one YAML (or JSON) document as a tree that knows where each value stands, for messages
 * that point at it. Bounded: no aliases, depth and count limited. On libyaml. */
#pragma once

#include "common/err.h"

enum yaml_kind { YAML_SCALAR, YAML_MAP, YAML_LIST };

struct yaml_node {
    enum yaml_kind kind;
    int line, column; /* of the value, 1-based */
    char *key;        /* of a map's entry, else NULL */
    int key_line, key_column;
    char *text;                     /* of a scalar; no NUL inside */
    size_t len;                     /* bytes of text */
    bool quoted;                    /* 'x' or "x": a string, whatever it looks like */
    struct yaml_node *first, *last; /* of a map or list */
    struct yaml_node *next;
};

struct yaml_fault {
    int line, column;
    char text[256];
};

#define YAML_DEPTH_MAX 32
#define YAML_NODES_MAX 20000

/* *ret is owned by the caller; NULL for an empty document. -EINVAL: *fault says what and where. */
int yaml_tree_parse(const char *text, size_t len, struct yaml_node **ret, struct yaml_fault *fault);
void yaml_tree_free(struct yaml_node *node);
struct yaml_node *yaml_tree_get(const struct yaml_node *map, const char *key); /* or NULL */
/* null, ~ or nothing, not quoted. */
bool yaml_tree_is_null(const struct yaml_node *node);
