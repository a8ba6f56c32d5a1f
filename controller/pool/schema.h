/* schema: reads a tree into a struct by a table, and says everything that is wrong with it. Knows
 * shapes and ranges; what fields mean to each other is object_rules.c's. Private to the object. */
#pragma once

#include "common/yaml_tree.h"
#include "controller/pool/faults.h"

enum field_kind {
    FIELD_OBJECT,  /* fields */
    FIELD_IGNORED, /* others' business: labels, status */
    FIELD_STR,     /* char *: min..max bytes */
    FIELD_PATH,    /* char *: relative to the file's folder */
    FIELD_LITERAL, /* must be the text of want; nothing is stored */
    FIELD_U8,      /* numbers: min..max */
    FIELD_U16,
    FIELD_U32,
    FIELD_BOOL,
    FIELD_RATE,        /* uint64_t bit/s: "10mbit" */
    FIELD_SUBNET,      /* struct subnet */
    FIELD_ADDRESS,     /* uint32_t IPv4, host byte order */
    FIELD_HOST,        /* char *: numeric IPv4 or IPv6 address */
    FIELD_ENUM,        /* int: index into names */
    FIELD_WORDS,       /* char *: a list of words, joined by ':' */
    FIELD_NAME,        /* char *: of an object in Kubernetes (RFC 1123 subdomain) */
    FIELD_HOST_PORT,   /* char *: "name:port" or "address:port" */
    FIELD_NAMES,       /* char *: a list of FIELD_NAMEs, as JSON */
    FIELD_LABELS,      /* char *: a map of texts that are labels, as JSON */
    FIELD_ANNOTATIONS, /* char *: a map of texts, as JSON */
    FIELD_JSON_MAP,    /* char *: a map of what may be, as JSON */
    FIELD_JSON_LIST,   /* char *: a list of such maps, as JSON */
};

struct field {
    const char *name;
    enum field_kind kind;
    size_t offset;
    int64_t min, max;
    bool required;
    const char *want;           /* FIELD_LITERAL */
    const char *const *names;   /* FIELD_ENUM: NULL-terminated */
    const struct field *fields; /* FIELD_OBJECT: ended by a NULL name */
};

/* Reads map by fields into *target. path: of map, "" or "spec.network". */
void schema_read(struct faults *faults, const struct yaml_node *map, const char *path,
                 const struct field *fields, void *target);

/* "10mbit" -> 10000000 bit/s. False: not such a thing, or 0. */
bool rate_parse(const char *text, uint64_t *ret);
