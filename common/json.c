#include "common/json.h"

#include <errno.h>
#include <math.h>
#include <string.h>

int json_parse(const char *text, size_t len, cJSON **ret, struct err *err)
{
    const char *end = text;

    if (memchr(text, '\0', len) != NULL) {
        return err_text(err, -EPROTO, "JSON holds a NUL byte");
    }
    cJSON *value = cJSON_ParseWithLengthOpts(text, len, &end, false);
    if (value == NULL) {
        return err_text(err, -EPROTO, "no JSON: fault at byte %td", end != NULL ? end - text : 0);
    }
    while (end < text + len && strchr(" \t\r\n", *end) != NULL) {
        end++;
    }
    if (end != text + len) {
        cJSON_Delete(value);
        return err_text(err, -EPROTO, "no JSON: more text at byte %td", end - text);
    }
    *ret = value;
    return 0;
}

/* NULL, with *r set, when key is absent, null or not what is() accepts. */
static const cJSON *member(const cJSON *object, const char *key, cJSON_bool (*is)(const cJSON *),
                           const char *what, int *r, struct err *err)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, key);

    if (value == NULL || cJSON_IsNull(value)) {
        *r = err_text(err, -ENOENT, "'%s' is missing", key);
        return NULL;
    }
    if (!is(value)) {
        *r = err_text(err, -EPROTO, "'%s' is not %s", key, what);
        return NULL;
    }
    *r = 0;
    return value;
}

int json_str(const cJSON *object, const char *key, const char **ret, struct err *err)
{
    int r = 0;
    const cJSON *value = member(object, key, cJSON_IsString, "a string", &r, err);

    if (value != NULL) {
        *ret = value->valuestring;
    }
    return r;
}

int json_int(const cJSON *object, const char *key, int64_t min, int64_t max, int64_t *ret,
             struct err *err)
{
    int r = 0;
    const cJSON *value = member(object, key, cJSON_IsNumber, "a number", &r, err);

    if (value == NULL) {
        return r;
    }
    double d = value->valuedouble; /* exact up to 2^53: enough for ids, ms and bytes */
    if (!isfinite(d) || d != floor(d) || fabs(d) > 9007199254740992.0 || d < (double)min ||
        d > (double)max) {
        return err_text(err, -EPROTO, "'%s' is not a whole number of %lld to %lld", key,
                        (long long)min, (long long)max);
    }
    *ret = (int64_t)d;
    return 0;
}

int json_bool(const cJSON *object, const char *key, bool *ret, struct err *err)
{
    int r = 0;
    const cJSON *value = member(object, key, cJSON_IsBool, "true or false", &r, err);

    if (value != NULL) {
        *ret = cJSON_IsTrue(value);
    }
    return r;
}

int json_object(const cJSON *object, const char *key, const cJSON **ret, struct err *err)
{
    int r = 0;
    const cJSON *value = member(object, key, cJSON_IsObject, "an object", &r, err);

    if (value != NULL) {
        *ret = value;
    }
    return r;
}

int json_array(const cJSON *object, const char *key, const cJSON **ret, struct err *err)
{
    int r = 0;
    const cJSON *value = member(object, key, cJSON_IsArray, "a list", &r, err);

    if (value != NULL) {
        *ret = value;
    }
    return r;
}

char *json_quote(const char *s)
{
    AUTO(json) cJSON *value = cJSON_CreateString(s);
    AUTO(str) char *printed = value != NULL ? cJSON_PrintUnformatted(value) : NULL;

    if (printed == NULL) {
        abort();
    }
    return xstrdup(printed);
}
