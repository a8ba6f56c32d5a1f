/* Prints the table of fields that object.c reads by, one JSON object a line, with the defaults of a
 * new pool. test_crd_schema.py holds the CRD against it. */
#include "common/json.h"
#include "controller/pool/object_rules.h"

#include <stdio.h>
#include <string.h>

static const char *const kinds[] = {
    [FIELD_OBJECT] = "object",      [FIELD_IGNORED] = "ignored",
    [FIELD_STR] = "text",           [FIELD_PATH] = "path",
    [FIELD_LITERAL] = "literal",    [FIELD_U8] = "number",
    [FIELD_U16] = "number",         [FIELD_U32] = "number",
    [FIELD_BOOL] = "bool",          [FIELD_RATE] = "rate",
    [FIELD_SUBNET] = "subnet",      [FIELD_ADDRESS] = "ipv4",
    [FIELD_HOST] = "address",       [FIELD_ENUM] = "enum",
    [FIELD_WORDS] = "words",        [FIELD_NAME] = "name",
    [FIELD_HOST_PORT] = "hostport", [FIELD_NAMES] = "names",
    [FIELD_LABELS] = "labels",      [FIELD_ANNOTATIONS] = "annotations",
    [FIELD_JSON_MAP] = "map",       [FIELD_JSON_LIST] = "list",
};

static cJSON *text_or_null(const char *text)
{
    return text != NULL ? cJSON_CreateString(text) : cJSON_CreateNull();
}

static cJSON *default_of(const struct field *f, const char *pool)
{
    const void *at = pool + f->offset;

    switch (f->kind) {
    case FIELD_U8:
        return cJSON_CreateNumber(*(const uint8_t *)at);
    case FIELD_U16:
        return cJSON_CreateNumber(*(const uint16_t *)at);
    case FIELD_U32:
        return cJSON_CreateNumber(*(const uint32_t *)at);
    case FIELD_BOOL:
        return cJSON_CreateBool(*(const bool *)at);
    case FIELD_ENUM:
        return cJSON_CreateString(f->names[*(const int *)at]);
    case FIELD_SUBNET:
        return cJSON_CreateString(subnet_format(*(const struct subnet *)at).text);
    case FIELD_ADDRESS: /* 0: unset */
    case FIELD_RATE:
    case FIELD_OBJECT:
    case FIELD_IGNORED:
    case FIELD_LITERAL:
        return cJSON_CreateNull();
    default:
        return text_or_null(*(char *const *)at);
    }
}

static void print_field(const struct field *f, const char *path, const struct pool_object *pool)
{
    AUTO(json) cJSON *line = cJSON_CreateObject();

    cJSON_AddStringToObject(line, "path", path);
    cJSON_AddStringToObject(line, "kind", kinds[f->kind]);
    cJSON_AddBoolToObject(line, "required", f->required);
    cJSON_AddNumberToObject(line, "min", (double)f->min);
    cJSON_AddNumberToObject(line, "max", (double)f->max);
    cJSON_AddItemToObject(line, "default", default_of(f, (const char *)pool));
    cJSON *names = cJSON_AddArrayToObject(line, "names");
    for (size_t i = 0; f->names != NULL && f->names[i] != NULL; i++) {
        cJSON_AddItemToArray(names, cJSON_CreateString(f->names[i]));
    }
    AUTO(str) char *text = cJSON_PrintUnformatted(line);
    puts(text);
}

static void print_fields(const struct field *fields, const char *path,
                         const struct pool_object *pool)
{
    for (const struct field *f = fields; f->name != NULL; f++) {
        char inner[FAULT_PATH_MAX];
        yaml_path_join(inner, path, f->name);
        print_field(f, inner, pool);
        if (f->kind == FIELD_OBJECT) {
            print_fields(f->fields, inner, pool);
        }
    }
}

int main(void)
{
    struct pool_object pool;

    pool_object_init(&pool);
    print_fields(object_fields, "", &pool);
    pool_object_clear(&pool);
    return 0;
}
