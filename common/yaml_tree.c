#include "common/yaml_tree.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

struct reader {
    yaml_parser_t parser;
    const char *text;
    size_t len;
    yaml_fault_fn on_fault;
    void *arg;
    size_t nodes;
    int depth;
    char path[YAML_PATH_MAX]; /* of the entry that is being read */
};

static int say(struct reader *r, int line, int column, const char *fmt, ...) PRINTF_LIKE(4, 5);

static int say(struct reader *r, int line, int column, const char *fmt, ...)
{
    char text[256];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    r->on_fault(r->arg, line, column, r->path, text);
    return -EINVAL;
}

#define SAY_AT(r, mark, ...) say(r, (int)(mark).line + 1, (int)(mark).column + 1, __VA_ARGS__)

/* --- bytes --- */

/* Bytes of the UTF-8 sequence at s[0..len): 1..4; 0: none that is allowed (RFC 3629). */
static size_t utf8_sequence(const unsigned char *s, size_t len)
{
    static const struct {
        unsigned char first, last, mask;
        uint32_t least;
    } kinds[] = {{0x00, 0x7f, 0x7f, 0},
                 {0xc2, 0xdf, 0x1f, 0x80},
                 {0xe0, 0xef, 0x0f, 0x800},
                 {0xf0, 0xf4, 0x07, 0x10000}};

    for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
        if (s[0] < kinds[k].first || s[0] > kinds[k].last || k + 1 > len) {
            continue;
        }
        uint32_t code = s[0] & kinds[k].mask;
        for (size_t i = 1; i <= k; i++) {
            if ((s[i] & 0xc0) != 0x80) {
                return 0;
            }
            code = code << 6 | (s[i] & 0x3f);
        }
        bool surrogate = code >= 0xd800 && code <= 0xdfff;
        return code >= kinds[k].least && code <= 0x10ffff && !surrogate ? k + 1 : 0;
    }
    return 0;
}

/* Before libyaml sees it, which would name an offset only, and would take UTF-16. */
static int check_bytes(struct reader *r)
{
    const unsigned char *s = (const unsigned char *)r->text;
    int line = 1, column = 1;

    for (size_t i = 0, n; i < r->len; i += n) {
        n = utf8_sequence(s + i, r->len - i);
        if (n == 0) {
            return say(r, line, column, "byte 0x%02x is not UTF-8", s[i]);
        }
        if ((s[i] < ' ' && strchr("\t\n\r", s[i]) == NULL) || s[i] == '\0' || s[i] == 0x7f) {
            return say(r, line, column, "a control character (0x%02x)", s[i]);
        }
        line += s[i] == '\n';
        column = s[i] == '\n' ? 1 : column + 1;
    }
    return 0;
}

/* --- events --- */

static int fail_reader(struct reader *r)
{
    int line = 1, column = 1;

    for (size_t i = 0; i < r->parser.problem_offset && i < r->len; i++) {
        line += r->text[i] == '\n';
        column = r->text[i] == '\n' ? 1 : column + ((r->text[i] & 0xc0) != 0x80);
    }
    return say(r, line, column, "not YAML: %s", r->parser.problem);
}

static int fail_syntax(struct reader *r)
{
    const yaml_parser_t *p = &r->parser;
    size_t at = p->problem_mark.index;

    if (p->error == YAML_READER_ERROR) {
        return fail_reader(r);
    }
    if (at < r->len && r->text[at] == '\t') { /* both count characters: exact for ASCII */
        return SAY_AT(r, p->problem_mark, "a tab: YAML is indented with blanks");
    }
    return SAY_AT(r, p->problem_mark, "not YAML: %s",
                  p->problem != NULL ? p->problem : "no reason known");
}

static int next_event(struct reader *r, yaml_event_t *event)
{
    return yaml_parser_parse(&r->parser, event) != 0 ? 0 : fail_syntax(r);
}

static int node_new(struct reader *r, const yaml_event_t *event, enum yaml_kind kind,
                    struct yaml_node **ret)
{
    if (++r->nodes > YAML_NODES_MAX) {
        return SAY_AT(r, event->start_mark, "more than %d values", YAML_NODES_MAX);
    }
    *ret = xcalloc(1, sizeof(**ret));
    (*ret)->kind = kind;
    (*ret)->line = (int)event->start_mark.line + 1;
    (*ret)->column = (int)event->start_mark.column + 1;
    return 0;
}

static void append(struct yaml_node *parent, struct yaml_node *child)
{
    if (parent->last != NULL) {
        parent->last->next = child;
    } else {
        parent->first = child;
    }
    parent->last = child;
}

/* A tag would change what a value is; nobody needs one here. "!" alone marks a text. */
static void refuse_tag(struct reader *r, const yaml_event_t *event, const yaml_char_t *tag,
                       struct yaml_node *node)
{
    if (tag != NULL && strcmp((const char *)tag, "!") != 0) {
        node->faulty = true;
        SAY_AT(r, event->start_mark, "tags (!name) are not accepted");
    }
}

static int read_scalar(struct reader *r, const yaml_event_t *event, struct yaml_node **ret)
{
    const char *value = (const char *)event->data.scalar.value;
    size_t len = event->data.scalar.length;
    int result = node_new(r, event, YAML_SCALAR, ret);

    if (result < 0) {
        return result;
    }
    (*ret)->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    (*ret)->text = xstrndup(value, len);
    (*ret)->len = strlen((*ret)->text);
    if ((*ret)->len != len) { /* "\0" in double quotes */
        (*ret)->faulty = true;
        SAY_AT(r, event->start_mark, "a NUL character in a value");
    }
    refuse_tag(r, event, event->data.scalar.tag, *ret);
    return 0;
}

static int read_alias(struct reader *r, const yaml_event_t *event, struct yaml_node **ret)
{
    int result = node_new(r, event, YAML_SCALAR, ret);

    if (result < 0) {
        return result;
    }
    (*ret)->text = xstrdup("");
    (*ret)->faulty = true;
    SAY_AT(r, event->start_mark, "aliases (*name) are not accepted");
    return 0;
}

static int read_value(struct reader *r, const yaml_event_t *event, struct yaml_node **ret);

static int read_list(struct reader *r, struct yaml_node *list)
{
    for (;;) {
        yaml_event_t event;
        struct yaml_node *item = NULL;
        int result = next_event(r, &event);
        if (result < 0) {
            return result;
        }
        bool end = event.type == YAML_SEQUENCE_END_EVENT;
        if (!end) {
            result = read_value(r, &event, &item);
        }
        yaml_event_delete(&event);
        if (end || result < 0) {
            return result;
        }
        append(list, item);
    }
}

void yaml_path_join(char out[YAML_PATH_MAX], const char *path, const char *key)
{
    size_t len =
        (size_t)snprintf(out, YAML_PATH_MAX, "%s%s%.64s", path, path[0] != '\0' ? "." : "", key);

    for (size_t i = 0; i < len && i < YAML_PATH_MAX; i++) {
        if ((unsigned char)out[i] < ' ' || out[i] == 0x7f) {
            out[i] = '?';
        }
    }
    out[len < YAML_PATH_MAX ? len : YAML_PATH_MAX - 1] = '\0';
}

static int read_next(struct reader *r, struct yaml_node **ret)
{
    yaml_event_t event;
    int result = next_event(r, &event);

    if (result == 0) {
        result = read_value(r, &event, ret);
        yaml_event_delete(&event);
    }
    return result;
}

/* The value behind a key that has been read. The first of two twins counts. */
static int read_entry(struct reader *r, struct yaml_node *map, const yaml_event_t *key)
{
    struct yaml_node *value = NULL;
    char outer[YAML_PATH_MAX];
    AUTO(str)
    char *name = xstrndup((const char *)key->data.scalar.value, key->data.scalar.length);
    const struct yaml_node *twin = yaml_tree_get(map, name);

    if (strlen(name) != key->data.scalar.length) {
        return SAY_AT(r, key->start_mark, "a NUL character in a name");
    }
    memcpy(outer, r->path, sizeof(outer));
    yaml_path_join(r->path, outer, name);
    if (twin != NULL) {
        SAY_AT(r, key->start_mark, "is given twice, first in line %d", twin->key_line);
    }
    int result = read_next(r, &value);
    if (result < 0) {
        return result;
    }
    memcpy(r->path, outer, sizeof(outer));
    value->key = MOVE(name);
    value->key_line = (int)key->start_mark.line + 1;
    value->key_column = (int)key->start_mark.column + 1;
    if (twin != NULL) {
        yaml_tree_free(value);
    } else {
        append(map, value);
    }
    return 0;
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
            result = SAY_AT(r, key.start_mark, "a name must be a plain word");
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
        return SAY_AT(r, event->start_mark, "nested deeper than %d", YAML_DEPTH_MAX);
    }
    refuse_tag(r, event,
               node->kind == YAML_MAP ? event->data.mapping_start.tag
                                      : event->data.sequence_start.tag,
               node);
    int result = node->kind == YAML_MAP ? read_map(r, node) : read_list(r, node);
    r->depth--;
    return result;
}

static int read_value(struct reader *r, const yaml_event_t *event, struct yaml_node **ret)
{
    struct yaml_node *node = NULL;
    int result = 0;

    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return read_scalar(r, event, ret);
    case YAML_ALIAS_EVENT:
        return read_alias(r, event, ret);
    case YAML_MAPPING_START_EVENT:
        result = node_new(r, event, YAML_MAP, &node);
        break;
    case YAML_SEQUENCE_START_EVENT:
        result = node_new(r, event, YAML_LIST, &node);
        break;
    default:
        return SAY_AT(r, event->start_mark, "a value is missing");
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

static bool carries_value(yaml_event_type_t type)
{
    return type == YAML_SCALAR_EVENT || type == YAML_ALIAS_EVENT ||
           type == YAML_MAPPING_START_EVENT || type == YAML_SEQUENCE_START_EVENT;
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
            result = SAY_AT(r, event.start_mark, "a second document: one object a file");
        } else if (type == YAML_DOCUMENT_START_EVENT) {
            seen = true;
        } else if (carries_value(type)) {
            result = read_value(r, &event, ret);
        }
        yaml_event_delete(&event);
        if (result < 0 || type == YAML_STREAM_END_EVENT) {
            return result;
        }
    }
}

int yaml_tree_parse(const char *text, size_t len, struct yaml_node **ret, yaml_fault_fn on_fault,
                    void *arg)
{
    bool marked = len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0; /* by some editors */
    struct reader r = {.text = text + (marked ? 3 : 0),
                       .len = len - (marked ? 3 : 0),
                       .on_fault = on_fault,
                       .arg = arg};
    AUTO(yaml) struct yaml_node *root = NULL;
    int result = check_bytes(&r);

    if (result < 0) {
        return result;
    }
    if (yaml_parser_initialize(&r.parser) == 0) {
        abort(); /* out of memory */
    }
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)r.text, r.len);
    result = read_stream(&r, &root);
    yaml_parser_delete(&r.parser);
    if (result == 0) {
        *ret = MOVE(root);
    }
    return result;
}

/* --- the tree --- */

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

const struct yaml_node *yaml_tree_locate(const struct yaml_node *root, const char *path)
{
    const struct yaml_node *at = root;

    while (*path != '\0') {
        size_t len = strcspn(path, ".");
        AUTO(str) char *key = xstrndup(path, len);
        const struct yaml_node *inner = yaml_tree_get(at, key);
        if (inner == NULL) {
            break;
        }
        at = inner;
        path += len + (path[len] == '.');
    }
    return at;
}

bool yaml_tree_is_null(const struct yaml_node *node)
{
    return node->kind == YAML_SCALAR && !node->quoted &&
           (node->text[0] == '\0' || strcmp(node->text, "~") == 0 ||
            strcmp(node->text, "null") == 0);
}

struct yaml_node *yaml_tree_add(struct yaml_node *parent, enum yaml_kind kind, const char *key)
{
    struct yaml_node *node = xcalloc(1, sizeof(*node));

    node->kind = kind;
    node->key = key != NULL ? xstrdup(key) : NULL;
    if (parent != NULL) {
        append(parent, node);
    }
    return node;
}

struct yaml_node *yaml_tree_map(void)
{
    return yaml_tree_add(NULL, YAML_MAP, NULL);
}

struct yaml_node *yaml_tree_add_map(struct yaml_node *map, const char *key)
{
    return yaml_tree_add(map, YAML_MAP, key);
}

struct yaml_node *yaml_tree_add_list(struct yaml_node *map, const char *key)
{
    return yaml_tree_add(map, YAML_LIST, key);
}

struct yaml_node *yaml_tree_add_text(struct yaml_node *parent, const char *key, const char *text)
{
    struct yaml_node *node = yaml_tree_add(parent, YAML_SCALAR, key);

    node->text = xstrdup(text);
    node->len = strlen(text);
    return node;
}
