#include "controller/pool/faults.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void faults_init(struct faults *f, const char *file)
{
    f->file = file;
    f->name_of = NULL;
    f->count = 0;
}

static size_t kept(const struct faults *f)
{
    return f->count < POOL_ERRORS_MAX ? f->count : POOL_ERRORS_MAX;
}

void faults_clear(struct faults *f)
{
    for (size_t i = 0; i < kept(f); i++) {
        free(f->items[i].text);
    }
    f->count = 0;
}

void faults_add(struct faults *f, int line, int column, const char *path, const char *fmt, ...)
{
    char text[ERR_TEXT_MAX];
    va_list args;

    if (f->count++ >= POOL_ERRORS_MAX) {
        return;
    }
    struct fault *item = &f->items[f->count - 1];
    *item = (struct fault){.line = line, .column = column, .order = f->count};
    snprintf(item->path, sizeof(item->path), "%s", path);
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    for (char *c = text; *c != '\0'; c++) { /* what a person wrote is shown, not obeyed */
        *c = (unsigned char)*c < ' ' || *c == 0x7f ? '?' : *c;
    }
    item->text = xstrdup(text);
}

bool faults_at(const struct faults *f, const char *path)
{
    for (size_t i = 0; i < kept(f); i++) {
        if (strcmp(f->items[i].path, path) == 0) {
            return true;
        }
    }
    return false;
}

static int by_place(const void *left, const void *right)
{
    const struct fault *a = left, *b = right;

    if (a->line != b->line) {
        return a->line < b->line ? -1 : 1;
    }
    if (a->column != b->column) {
        return a->column < b->column ? -1 : 1;
    }
    return a->order < b->order ? -1 : a->order > b->order;
}

static void write_one(const struct faults *f, const struct fault *item, struct pool_errors *ret)
{
    const char *name = f->name_of != NULL ? f->name_of(item->path) : item->path;

    buf_append_str(&ret->text, f->file);
    if (item->line > 0) {
        buf_printf(&ret->text, ":%d:%d", item->line, item->column);
    }
    buf_printf(&ret->text, ": %s%s%s\n", name, name[0] != '\0' ? ": " : "", item->text);
}

void faults_write(struct faults *f, struct pool_errors *ret)
{
    qsort(f->items, kept(f), sizeof(f->items[0]), by_place);
    for (size_t i = 0; i < kept(f); i++) {
        write_one(f, &f->items[i], ret);
    }
    if (f->count > POOL_ERRORS_MAX) {
        buf_printf(&ret->text, "%s: %zu more\n", f->file, f->count - POOL_ERRORS_MAX);
    }
    ret->count += f->count;
}
