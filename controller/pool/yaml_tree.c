#include "controller/pool/yaml_tree.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

struct reader {
    yaml_parser_t parser;
    struct yaml_fault *fault;
    size_t nodes;
    int depth;
};

static int fail(struct yaml_fault *fault, const yaml_mark_t *at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static int fail(struct yaml_fault *fault, const yaml_mark_t *at, const char *fmt, ...)
{
    va_list args;

    fault->line = (int)at->line + 1;
    fault->column = (int)at->column + 1;
    va_start(args, fmt);
    vsnprintf(fault->text, sizeof(fault->text), fmt, args);
    va_end(args);
    return -EINVAL;
}

/* libyaml's own words; a byte that is no UTF-8 has an offset only. */
static int fail_syntax(struct reader *r)
{
    const yaml_parser_t *p = &r->parser;

    if (p->error == YAML_READER_ERROR) {
        return fail(r->fault, &p->mark, "%s (byte %zu of the file)", p->problem, p->problem_offset);
    }
    return fail(r->fault, &p->problem_mark, "%s", p->problem != NULL ? p->problem : "no YAML");
}

static int next_event(struct reader *r, yaml_event_t *event)
{
    return yaml_parser_parse(&r->parser, event) != 0 ? 0 : fail_syntax(r);
}

static int node_new(struct reader *r, const yaml_event_t *event, enum yaml_kind kind,
                    struct yaml_node **ret)
{
    if (++r->nodes > YAML_NODES_MAX) {
        return fail(r->fault, &event->start_mark, "more than %d values", YAML_NODES_MAX);
    }
    *ret = xcalloc(1, sizeof(**ret));
    **ret = (struct yaml_node){.kind = kind,
                               .line = (int)event->start_mark.line + 1,
                               .column = (int)event->start_mark.column + 1};
    return 0;
}

static int read_value(struct reader *r, yaml_event_t *event, struct yaml_node **ret);

static void append(struct yaml_node *parent, struct yaml_node *child)
{
    if (parent->last != NULL) {
        parent->last->next = child;
    } else {
        parent->first = child;
    }
    parent->last = child;
}

static int read_scalar(struct reader *r, const yaml_event_t *event, struct yaml_node **ret)
{
    const char *value = (const char *)event->data.scalar.value;
    size_t len = event->data.scalar.length;

    if (memchr(value, '\0', len) != NULL) {
        return fail(r->fault, &event->start_mark, "a NUL byte in a value");
    }
    int result = node_new(r, event, YAML_SCALAR, ret);
    if (result == 0) {
        (*ret)->text = xstrndup(value, len);
        (*ret)->len = len;
        (*ret)->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    }
    return result;
}

static int read_list(struct reader *r, struct yaml_node *list)
{
    for (;;) {
        yaml_event_t event;
        int result = next_event(r, &event);
        if (result < 0) {
            return result;
        }
        if (event.type == YAML_SEQUENCE_END_EVENT) {
            yaml_event_delete(&event);
            return 0;
        }
        struct yaml_node *item = NULL;
        result = read_value(r, &event, &item);
        yaml_event_delete(&event);
        if (result < 0) {
            return result;
        }
        append(list, item);
    }
}

/* The value behind a key that has been read. */
static int read_entry(struct reader *r, struct yaml_node *map, const yaml_event_t *key)
{
    const char *name = (const char *)key->data.scalar.value;
    yaml_event_t event;

    if (strlen(name) != key->data.scalar.length) {
        return fail(r->fault, &key->start_mark, "a NUL byte in a key");
    }
    const struct yaml_node *twin = yaml_tree_get(map, name);
    if (twin != NULL) {
        return fail(r->fault, &key->start_mark, "'%.64s' is given twice, first in line %d", name,
                    twin->key_line);
    }
    int result = next_event(r, &event);
    if (result < 0) {
        return result;
    }
    struct yaml_node *value = NULL;
    result = read_value(r, &event, &value);
    yaml_event_delete(&event);
    if (result == 0) {
        value->key = xstrdup(name);
        value->key_line = (int)key->start_mark.line + 1;
        value->key_column = (int)key->start_mark.column + 1;
        append(map, value);
    }
    return result;
}

static int read_map(struct reader *r, struct yaml_node *map)
{
    for (;;) {
        yaml_event_t key;
        int result = next_event(r, &key);
        if (result < 0) {
            return result;
        }
        bool end = key.type == YAML_MAPPING_END_EVENT;
        if (!end && key.type != YAML_SCALAR_EVENT) {
            result = fail(r->fault, &key.start_mark, "a key must be a word");
        } else if (!end) {
            result = read_entry(r, map, &key);
        }
        yaml_event_delete(&key);
        if (end || result < 0) {
            return result;
        }
    }
}

static int read_children(struct reader *r, const yaml_event_t *event, struct yaml_node *node)
{
    if (++r->depth > YAML_DEPTH_MAX) {
        return fail(r->fault, &event->start_mark, "nested deeper than %d", YAML_DEPTH_MAX);
    }
    int result = node->kind == YAML_MAP ? read_map(r, node) : read_list(r, node);
    r->depth--;
    return result;
}

static int read_value(struct reader *r, yaml_event_t *event, struct yaml_node **ret)
{
    struct yaml_node *node = NULL;
    int result = 0;

    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return read_scalar(r, event, ret);
    case YAML_ALIAS_EVENT:
        return fail(r->fault, &event->start_mark, "aliases (*name) are not accepted");
    case YAML_MAPPING_START_EVENT:
    case YAML_SEQUENCE_START_EVENT:
        result = node_new(r, event, event->type == YAML_MAPPING_START_EVENT ? YAML_MAP : YAML_LIST,
                          &node);
        break;
    default:
        return fail(r->fault, &event->start_mark, "a value is missing");
    }
    if (result == 0) {
        result = read_children(r, event, node);
    }
    if (result < 0) {
        yaml_tree_free(node);
        return result;
    }
    *ret = node;
    return 0;
}

/* Stream start, one document or none, stream end. */
static int read_stream(struct reader *r, struct yaml_node **ret)
{
    bool seen = false;

    for (;;) {
        yaml_event_t event;
        int result = next_event(r, &event);
        if (result < 0) {
            return result;
        }
        yaml_event_type_t type = event.type;
        if (type == YAML_DOCUMENT_START_EVENT && seen) {
            result = fail(r->fault, &event.start_mark, "a second document: one object a file");
        } else if (type == YAML_DOCUMENT_START_EVENT) {
            seen = true;
        } else if (type != YAML_STREAM_START_EVENT && type != YAML_DOCUMENT_END_EVENT &&
                   type != YAML_STREAM_END_EVENT) {
            result = read_value(r, &event, ret);
        }
        yaml_event_delete(&event);
        if (result < 0 || type == YAML_STREAM_END_EVENT) {
            return result;
        }
    }
}

int yaml_tree_parse(const char *text, size_t len, struct yaml_node **ret, struct yaml_fault *fault)
{
    struct reader r = {.fault = fault};
    struct yaml_node *root = NULL;

    if (yaml_parser_initialize(&r.parser) == 0) {
        abort(); /* out of memory */
    }
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, len);
    int result = read_stream(&r, &root);
    yaml_parser_delete(&r.parser);
    if (result < 0) {
        yaml_tree_free(root);
        return result;
    }
    *ret = root;
    return 0;
}

void yaml_tree_free(struct yaml_node *node)
{
    if (node == NULL) {
        return;
    }
    for (struct yaml_node *child = node->first; child != NULL;) {
        struct yaml_node *next = child->next;
        yaml_tree_free(child);
        child = next;
    }
    free(node->key);
    free(node->text);
    free(node);
}

struct yaml_node *yaml_tree_get(const struct yaml_node *map, const char *key)
{
    if (map == NULL || map->kind != YAML_MAP) {
        return NULL;
    }
    for (struct yaml_node *child = map->first; child != NULL; child = child->next) {
        if (strcmp(child->key, key) == 0) {
            return child;
        }
    }
    return NULL;
}

bool yaml_tree_is_null(const struct yaml_node *node)
{
    return node->kind == YAML_SCALAR && !node->quoted &&
           (node->text[0] == '\0' || strcmp(node->text, "~") == 0 ||
            strcmp(node->text, "null") == 0);
}
