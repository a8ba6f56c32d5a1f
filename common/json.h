/* json: reading cJSON trees that came from outside: a wrong type is an error that names the field,
 * never a crash. Writing is cJSON's own (cJSON_PrintUnformatted). */
#pragma once

#include "common/err.h"

#include <cjson/cJSON.h>

static inline void auto_json(cJSON **j)
{
    cJSON_Delete(*j);
}

/* Parses exactly one value, nothing but blanks behind. Depth is limited by cJSON (1000).
 * Owned by the caller (AUTO(json)). -EPROTO: with the offset of the fault. */
int json_parse(const char *text, size_t len, cJSON **ret, struct err *err);

/* Of object's member key. -ENOENT: absent or null. -EPROTO: another type or out of range. */
int json_str(const cJSON *object, const char *key, const char **ret,
             struct err *err); /* borrowed */
int json_int(const cJSON *object, const char *key, int64_t min, int64_t max, int64_t *ret,
             struct err *err);
int json_bool(const cJSON *object, const char *key, bool *ret, struct err *err);
int json_object(const cJSON *object, const char *key, const cJSON **ret, struct err *err);
int json_array(const cJSON *object, const char *key, const cJSON **ret, struct err *err);

/* s as a JSON string with its quotes. Caller frees. */
char *json_quote(const char *s);
