/* faults: all that is wrong with one pool, collected while it is read, written out in the order of
 * its lines: "file:line:column: field: text". Private to the object and the variables. */
#pragma once

#include "common/yaml_tree.h"
#include "controller/pool/object.h"

#define FAULT_PATH_MAX YAML_PATH_MAX

struct fault {
    int line, column; /* 1-based; 0: it has no place */
    size_t order;     /* of discovery, among equal places */
    char path[FAULT_PATH_MAX];
    char *text; /* owned */
};

struct faults {
    const char *file; /* borrowed */
    /* What people call a field, where that is not its path: the variable that sets it. Or NULL. */
    const char *(*name_of)(const char *path);
    struct fault items[POOL_ERRORS_MAX];
    size_t count; /* may pass POOL_ERRORS_MAX: the rest is only counted */
};

void faults_init(struct faults *f, const char *file);
void faults_clear(struct faults *f);

/* path: "spec.network.gateway", or "". */
void faults_add(struct faults *f, int line, int column, const char *path, const char *fmt, ...)
    PRINTF_LIKE(5, 6);
/* Is something wrong with the field itself? Then what it means to others is not looked at. */
bool faults_at(const struct faults *f, const char *path);

/* Appends them to ret, sorted by place. */
void faults_write(struct faults *f, struct pool_errors *ret);

static inline void auto_faults(struct faults *f)
{
    faults_clear(f);
}
