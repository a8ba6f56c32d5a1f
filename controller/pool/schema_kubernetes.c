/* The fields that end up in a Pod. Their syntax is the API server's, so that a pool which passes
 * here makes Pods which pass there. */
#include "controller/pool/schema_priv.h"
#include "controller/pool/yaml_json.h"

#include <string.h>

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define DIGITS "0123456789"
#define LETTERS LOWER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define NAME_MAX_LEN 253
#define LABEL_MAX_LEN 63
#define ITEMS_MAX 64

/* len bytes of inner, the first and the last of edge; 1..max of them. */
static bool is_made_of(const char *s, size_t len, size_t max, const char *edge, const char *inner)
{
    return len >= 1 && len <= max && strspn(s, inner) >= len && strchr(edge, s[0]) != NULL &&
           strchr(edge, s[len - 1]) != NULL;
}

/* RFC 1123 subdomain: labels with a dot between. */
static bool is_name(const char *s, size_t len)
{
    if (len > NAME_MAX_LEN) {
        return false;
    }
    for (size_t at = 0, part; at <= len; at += part + 1) {
        part = strcspn(s + at, ".");
        part = part < len - at ? part : len - at;
        if (!is_made_of(s + at, part, NAME_MAX_LEN, LOWER DIGITS, LOWER DIGITS "-")) {
            return false;
        }
    }
    return true;
}

static bool is_label_value(const char *s)
{
    return s[0] == '\0' ||
           is_made_of(s, strlen(s), LABEL_MAX_LEN, LETTERS DIGITS, LETTERS DIGITS "-_.");
}

/* "name" or "domain.of/name". */
static bool is_label_key(const char *s)
{
    const char *slash = strchr(s, '/');
    const char *name = slash != NULL ? slash + 1 : s;

    return name[0] != '\0' && is_label_value(name) &&
           (slash == NULL || is_name(s, (size_t)(slash - s)));
}

static bool is_port(const char *s)
{
    size_t len = strlen(s);

    return len >= 1 && len <= 5 && strspn(s, DIGITS) == len && s[0] != '0' &&
           strtoul(s, NULL, 10) <= UINT16_MAX;
}

/* "name:port", "192.0.2.1:port", "[2001:db8::1]:port". */
static bool is_host_port(const char *s)
{
    const char *colon = strrchr(s, ':');
    size_t len = colon != NULL ? (size_t)(colon - s) : 0;

    if (len == 0 || !is_port(colon + 1)) {
        return false;
    }
    if (s[0] == '[' && s[len - 1] == ']') {
        AUTO(str) char *address = xstrndup(s + 1, len - 2);
        return strchr(address, ':') != NULL && schema_is_address(address);
    }
    return is_name(s, len);
}

static void read_name(struct faults *faults, const struct yaml_node *node, const char *path,
                      char **at)
{
    if (!yaml_json_is_text(node) || !is_name(node->text, node->len)) {
        schema_value_error(faults, node, path, "a name of lower-case letters, digits, '-' and '.'");
        return;
    }
    schema_replace(at, xstrdup(node->text));
}

static void read_host_port(struct faults *faults, const struct yaml_node *node, const char *path,
                           char **at)
{
    if (node->kind != YAML_SCALAR || !is_host_port(node->text)) {
        schema_value_error(faults, node, path, "host:port");
        return;
    }
    schema_replace(at, xstrdup(node->text));
}

static void keep(struct faults *faults, const struct yaml_node *node, const char *path, char **at)
{
    char *json = yaml_json_write(node);

    if (json == NULL) {
        say(faults, node, path, "has more than %zu bytes", YAML_JSON_MAX);
        return;
    }
    schema_replace(at, json);
}

static bool is_short(struct faults *faults, const struct yaml_node *node, const char *path)
{
    size_t count = 0;

    for (const struct yaml_node *child = node->first; child != NULL; child = child->next) {
        count++;
    }
    if (count > ITEMS_MAX) {
        say(faults, node, path, "has %zu entries, not 0 to %d", count, ITEMS_MAX);
    }
    return count <= ITEMS_MAX;
}

static void read_names(struct faults *faults, const struct yaml_node *node, const char *path,
                       char **at)
{
    if (node->kind != YAML_LIST) {
        schema_value_error(faults, node, path, "a list of names");
        return;
    }
    for (const struct yaml_node *item = node->first; item != NULL; item = item->next) {
        if (!yaml_json_is_text(item) || !is_name(item->text, item->len)) {
            schema_value_error(faults, item, path,
                               "a name of lower-case letters, digits, '-' and '.'");
            return;
        }
    }
    if (is_short(faults, node, path)) {
        keep(faults, node, path, at);
    }
}

static bool check_text(struct faults *faults, const struct yaml_node *node, const char *path,
                       bool label)
{
    char inner[FAULT_PATH_MAX];

    yaml_path_join(inner, path, node->key);
    if (!is_label_key(node->key)) {
        faults_add(faults, node->key_line, node->key_column, inner,
                   "the key is not of letters, digits, '-', '_' and '.', with or without a domain");
    } else if (!yaml_json_is_text(node)) {
        schema_value_error(faults, node, inner, "a text");
    } else if (label && !is_label_value(node->text)) {
        schema_value_error(faults, node, inner,
                           "a label of at most 63 letters, digits, '-', '_' and '.'");
    } else {
        return true;
    }
    return false;
}

static void read_texts(struct faults *faults, const struct yaml_node *node, const char *path,
                       bool labels, char **at)
{
    bool good = true;

    if (node->kind != YAML_MAP) {
        schema_value_error(faults, node, path, "a map of texts");
        return;
    }
    for (const struct yaml_node *child = node->first; child != NULL; child = child->next) {
        good = check_text(faults, child, path, labels) && good;
    }
    if (good && is_short(faults, node, path)) {
        keep(faults, node, path, at);
    }
}

static void read_json_map(struct faults *faults, const struct yaml_node *node, const char *path,
                          char **at)
{
    if (node->kind != YAML_MAP) {
        schema_value_error(faults, node, path, "a map");
        return;
    }
    keep(faults, node, path, at);
}

static void read_json_list(struct faults *faults, const struct yaml_node *node, const char *path,
                           char **at)
{
    if (node->kind != YAML_LIST) {
        schema_value_error(faults, node, path, "a list of maps");
        return;
    }
    for (const struct yaml_node *item = node->first; item != NULL; item = item->next) {
        if (item->kind != YAML_MAP) {
            schema_value_error(faults, item, path, "a map");
            return;
        }
    }
    if (is_short(faults, node, path)) {
        keep(faults, node, path, at);
    }
}

void schema_kubernetes_read(struct faults *faults, const struct yaml_node *node, const char *path,
                            const struct field *f, char **at)
{
    switch (f->kind) {
    case FIELD_NAME:
        read_name(faults, node, path, at);
        break;
    case FIELD_HOST_PORT:
        read_host_port(faults, node, path, at);
        break;
    case FIELD_NAMES:
        read_names(faults, node, path, at);
        break;
    case FIELD_LABELS:
        read_texts(faults, node, path, true, at);
        break;
    case FIELD_ANNOTATIONS:
        read_texts(faults, node, path, false, at);
        break;
    case FIELD_JSON_MAP:
        read_json_map(faults, node, path, at);
        break;
    case FIELD_JSON_LIST:
        read_json_list(faults, node, path, at);
        break;
    default: /* schema.c's own */
        break;
    }
}
