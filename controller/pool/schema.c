#include "controller/pool/schema_priv.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define WORD_MAX 64

void schema_value_error(struct faults *faults, const struct yaml_node *node, const char *path,
                        const char *wanted)
{
    if (node->kind != YAML_SCALAR) {
        say(faults, node, path, "is a %s, not %s", node->kind == YAML_MAP ? "map" : "list", wanted);
    } else if (yaml_tree_is_null(node)) {
        say(faults, node, path, "is empty, not %s", wanted);
    } else if (node->quoted) {
        say(faults, node, path, "\"%.64s\" is a text, not %s", node->text, wanted);
    } else {
        say(faults, node, path, "'%.64s' is not %s", node->text, wanted);
    }
}

/* Edits (insert, drop, change) between two names, for "did you mean". */
static size_t distance(const char *a, const char *b)
{
    size_t row[WORD_MAX + 1];
    size_t len = strnlen(b, WORD_MAX);

    for (size_t j = 0; j <= len; j++) {
        row[j] = j;
    }
    for (size_t i = 0; a[i] != '\0' && i < WORD_MAX; i++) {
        size_t corner = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < len; j++) {
            size_t change = corner + (a[i] != b[j]);
            corner = row[j + 1];
            size_t least = row[j] < row[j + 1] ? row[j] + 1 : row[j + 1] + 1;
            row[j + 1] = change < least ? change : least;
        }
    }
    return row[len];
}

static const char *nearest(const char *name, const struct field *fields)
{
    const char *best = NULL;
    size_t least = strlen(name) / 3 + 2; /* further off than that is no misspelling */

    for (const struct field *f = fields; f->name != NULL; f++) {
        size_t d = distance(name, f->name);
        if (d < least) {
            least = d;
            best = f->name;
        }
    }
    return best;
}

static const struct field *find(const struct field *fields, const char *name)
{
    for (const struct field *f = fields; f->name != NULL; f++) {
        if (strcmp(f->name, name) == 0) {
            return f;
        }
    }
    return NULL;
}

/* Decimal without leading zeros, which YAML 1.1 would read as octal. */
static bool is_number(const struct yaml_node *node)
{
    const char *digits = node->text + (node->text[0] == '-');
    size_t len = strlen(digits);

    return !node->quoted && len > 0 && strspn(digits, "0123456789") == len &&
           (digits[0] != '0' || len == 1);
}

static void read_number(struct faults *faults, const struct yaml_node *node, const char *path,
                        const struct field *f, void *at)
{
    if (node->kind != YAML_SCALAR || !is_number(node)) {
        schema_value_error(faults, node, path, "a whole number");
        return;
    }
    int64_t value = node->len <= 18 ? strtoll(node->text, NULL, 10) : INT64_MAX;
    if (value < f->min || value > f->max) {
        say(faults, node, path, "%.32s is not in %lld to %lld", node->text, (long long)f->min,
            (long long)f->max);
        return;
    }
    if (f->kind == FIELD_U8) {
        *(uint8_t *)at = (uint8_t)value;
    } else if (f->kind == FIELD_U16) {
        *(uint16_t *)at = (uint16_t)value;
    } else {
        *(uint32_t *)at = (uint32_t)value;
    }
}

static void read_bool(struct faults *faults, const struct yaml_node *node, const char *path,
                      bool *at)
{
    bool is_true = node->kind == YAML_SCALAR && !node->quoted && strcmp(node->text, "true") == 0;
    bool is_false = node->kind == YAML_SCALAR && !node->quoted && strcmp(node->text, "false") == 0;

    if (!is_true && !is_false) {
        schema_value_error(faults, node, path, "true or false");
        return;
    }
    *at = is_true;
}

static bool printable(const char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < ' ' || *text == 0x7f) {
            return false;
        }
    }
    return true;
}

void schema_replace(char **at, char *text)
{
    free(*at);
    *at = text;
}

static void read_str(struct faults *faults, const struct yaml_node *node, const char *path,
                     const struct field *f, char **at)
{
    if (node->kind != YAML_SCALAR || yaml_tree_is_null(node)) {
        schema_value_error(faults, node, path, "a text");
        return;
    }
    if ((int64_t)node->len < f->min || (int64_t)node->len > f->max) {
        say(faults, node, path, "has %zu characters, not %lld to %lld", node->len,
            (long long)f->min, (long long)f->max);
        return;
    }
    if (!printable(node->text)) {
        say(faults, node, path, "has control characters");
        return;
    }
    const char *slash = strrchr(faults->file, '/');
    if (f->kind == FIELD_PATH && node->text[0] != '/' && slash != NULL) {
        schema_replace(at,
                       xasprintf("%.*s/%s", (int)(slash - faults->file), faults->file, node->text));
    } else {
        schema_replace(at, xstrdup(node->text));
    }
}

bool rate_parse(const char *text, uint64_t *ret)
{
    static const struct {
        const char *unit;
        uint64_t factor;
    } units[] = {{"kbit", 1000}, {"mbit", 1000000}, {"gbit", 1000000000}};
    size_t digits = strspn(text, "0123456789");

    if (digits == 0 || digits > 9) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (strcmp(text + digits, units[i].unit) == 0) {
            *ret = strtoull(text, NULL, 10) * units[i].factor;
            return *ret > 0;
        }
    }
    return false;
}

static void read_address(struct faults *faults, const struct yaml_node *node, const char *path,
                         const struct field *f, void *at)
{
    struct err err = {0};
    int result = 0;

    if (node->kind != YAML_SCALAR || yaml_tree_is_null(node)) {
        schema_value_error(faults, node, path,
                           f->kind == FIELD_SUBNET ? "a subnet such as 100.64.0.0/10"
                                                   : "an IPv4 address");
        return;
    }
    if (f->kind == FIELD_SUBNET) {
        result = subnet_parse(node->text, at, &err);
    } else {
        result = address_parse(node->text, at, &err);
    }
    if (result < 0) {
        say(faults, node, path, "%s", err.text);
    }
}

bool schema_is_address(const char *text)
{
    unsigned char address[16];

    return inet_pton(AF_INET, text, address) == 1 || inet_pton(AF_INET6, text, address) == 1;
}

static void read_host(struct faults *faults, const struct yaml_node *node, const char *path,
                      char **at)
{
    if (node->kind != YAML_SCALAR || !schema_is_address(node->text)) {
        schema_value_error(faults, node, path, "an IPv4 or IPv6 address");
        return;
    }
    schema_replace(at, xstrdup(node->text));
}

static void read_enum(struct faults *faults, const struct yaml_node *node, const char *path,
                      const struct field *f, int *at)
{
    char wanted[128] = "one of ";

    for (int i = 0; f->names[i] != NULL; i++) {
        if (node->kind == YAML_SCALAR && strcmp(node->text, f->names[i]) == 0) {
            *at = i;
            return;
        }
        size_t len = strlen(wanted);
        snprintf(wanted + len, sizeof(wanted) - len, "%s%s", i > 0 ? ", " : "", f->names[i]);
    }
    schema_value_error(faults, node, path, wanted);
}

/* Letters, digits, - and _: what OpenVPN's lists are made of, and nothing that could be more. */
static bool is_word(const struct yaml_node *node)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    return node->kind == YAML_SCALAR && node->len > 0 && node->len <= WORD_MAX &&
           strspn(node->text, allowed) == node->len;
}

static void read_words(struct faults *faults, const struct yaml_node *node, const char *path,
                       char **at)
{
    AUTO(buf) struct buf joined;

    buf_init(&joined, 1024);
    if (node->kind != YAML_LIST || node->first == NULL) {
        schema_value_error(faults, node, path, "a list of names");
        return;
    }
    for (const struct yaml_node *item = node->first; item != NULL; item = item->next) {
        if (!is_word(item)) {
            schema_value_error(faults, item, path, "a name");
            return;
        }
        if (buf_printf(&joined, "%s%s", joined.len > 0 ? ":" : "", item->text) < 0) {
            say(faults, item, path, "the list is too long");
            return;
        }
    }
    schema_replace(at, buf_take(&joined));
}

static void read_field(struct faults *faults, const struct yaml_node *node, const char *path,
                       const struct field *f, char *target)
{
    void *at = target + f->offset;

    switch (f->kind) {
    case FIELD_OBJECT:
        schema_read(faults, node, path, f->fields, target);
        break;
    case FIELD_IGNORED:
        break;
    case FIELD_STR:
    case FIELD_PATH:
        read_str(faults, node, path, f, at);
        break;
    case FIELD_LITERAL:
        if (node->kind != YAML_SCALAR || strcmp(node->text, f->want) != 0) {
            schema_value_error(faults, node, path, f->want);
        }
        break;
    case FIELD_U8:
    case FIELD_U16:
    case FIELD_U32:
        read_number(faults, node, path, f, at);
        break;
    case FIELD_BOOL:
        read_bool(faults, node, path, at);
        break;
    case FIELD_RATE:
        if (node->kind != YAML_SCALAR || !rate_parse(node->text, at)) {
            schema_value_error(faults, node, path, "a rate such as 500kbit, 10mbit or 1gbit");
        }
        break;
    case FIELD_SUBNET:
    case FIELD_ADDRESS:
        read_address(faults, node, path, f, at);
        break;
    case FIELD_HOST:
        read_host(faults, node, path, at);
        break;
    case FIELD_ENUM:
        read_enum(faults, node, path, f, at);
        break;
    case FIELD_WORDS:
        read_words(faults, node, path, at);
        break;
    case FIELD_NAME:
    case FIELD_HOST_PORT:
    case FIELD_NAMES:
    case FIELD_LABELS:
    case FIELD_ANNOTATIONS:
    case FIELD_JSON_MAP:
    case FIELD_JSON_LIST:
        schema_kubernetes_read(faults, node, path, f, at);
        break;
    }
}

static void unknown_field(struct faults *faults, const struct yaml_node *node, const char *path,
                          const struct field *fields)
{
    const char *meant = nearest(node->key, fields);

    faults_add(faults, node->key_line, node->key_column, path, "unknown field%s%s%s",
               meant != NULL ? ", did you mean '" : "", meant != NULL ? meant : "",
               meant != NULL ? "'?" : "");
}

void schema_read(struct faults *faults, const struct yaml_node *map, const char *path,
                 const struct field *fields, void *target)
{
    char inner[FAULT_PATH_MAX];

    if (map->kind != YAML_MAP) {
        schema_value_error(faults, map, path, "a map of fields");
        return;
    }
    for (const struct yaml_node *node = map->first; node != NULL; node = node->next) {
        const struct field *f = find(fields, node->key);
        yaml_path_join(inner, path, node->key);
        if (f == NULL) {
            unknown_field(faults, node, inner, fields);
        } else if (!node->faulty) {
            read_field(faults, node, inner, f, target);
        }
    }
    for (const struct field *f = fields; f->name != NULL; f++) {
        if (f->required && yaml_tree_get(map, f->name) == NULL) {
            yaml_path_join(inner, path, f->name);
            say(faults, map, inner, "is missing");
        }
    }
}
