/* yaml_tree: one YAML (or JSON) document as a tree that knows where each value stands, for messages
 * that point at it. On libyaml. Bounded: depth and count are limited, an alias is never followed,
 * so a small text cannot become a large tree. */
#pragma once

#include "common/err.h"

enum yaml_kind { YAML_SCALAR, YAML_MAP, YAML_LIST };

struct yaml_node {
    enum yaml_kind kind;
    int line, column; /* of the value, 1-based; the column counts characters. 0: made by hand */
    char *key;        /* of a map's entry, else NULL */
    int key_line, key_column;
    char *text;                     /* of a scalar; no NUL inside */
    size_t len;                     /* bytes of text */
    bool quoted;                    /* 'x' or "x": a string, whatever it looks like */
    bool faulty;                    /* something was said about it already (an alias, a tag) */
    struct yaml_node *first, *last; /* of a map or list */
    struct yaml_node *next;
};

#define YAML_DEPTH_MAX 32
#define YAML_NODES_MAX 5000
#define YAML_PATH_MAX 192

/* Called for each thing that is wrong, in the order of the text. path: of the entry that is being
 * read, "spec.network.gateway", cut when long, "" at the root. */
typedef void (*yaml_fault_fn)(void *arg, int line, int column, const char *path, const char *text);

/* *ret is owned by the caller; NULL for an empty document. 0: *ret is the whole tree, although
 * something may have been said about parts of it (a key given twice, an alias). -EINVAL: it is no
 * YAML at all from the place last said. */
int yaml_tree_parse(const char *text, size_t len, struct yaml_node **ret, yaml_fault_fn on_fault,
                    void *arg);
void yaml_tree_free(struct yaml_node *node);                                   /* NULL is fine */
struct yaml_node *yaml_tree_get(const struct yaml_node *map, const char *key); /* or NULL */
/* The node at a dotted path, or the nearest one above it that exists. NULL for a NULL root. */
const struct yaml_node *yaml_tree_locate(const struct yaml_node *root, const char *path);
/* "spec" and "network" -> "spec.network"; what a person wrote is made printable and short. */
void yaml_path_join(char out[YAML_PATH_MAX], const char *path, const char *key);
/* null, ~ or nothing, not quoted. */
bool yaml_tree_is_null(const struct yaml_node *node);

/* By hand: a map without place, and a scalar in it. text is copied. */
struct yaml_node *yaml_tree_map(void);
struct yaml_node *yaml_tree_add_map(struct yaml_node *map, const char *key);
struct yaml_node *yaml_tree_add_list(struct yaml_node *map, const char *key);
struct yaml_node *yaml_tree_add_text(struct yaml_node *parent, const char *key, const char *text);
struct yaml_node *yaml_tree_add(struct yaml_node *parent, enum yaml_kind kind, const char *key);

static inline void auto_yaml(struct yaml_node **node)
{
    yaml_tree_free(*node);
}
