#include "common/metrics_merge.h"

#include <ctype.h>
#include <string.h>

#define FAMILIES_MAX 1024
#define FAMILY_MAX ((size_t)1 << 20) /* bytes of its series */

struct family {
    char *name;   /* owned */
    char *header; /* HELP and TYPE, of the first text that had them; owned */
    struct buf series;
    struct family *next;
};

struct metrics_merge {
    struct family *first;
    struct family **last;
    size_t count;
};

static size_t name_len(const char *text)
{
    size_t len = 0;

    while (isalnum((unsigned char)text[len]) || text[len] == '_' || text[len] == ':') {
        len++;
    }
    return len;
}

static struct family *find(const struct metrics_merge *m, const char *name, size_t len)
{
    for (struct family *f = m->first; f != NULL; f = f->next) {
        if (strlen(f->name) == len && memcmp(f->name, name, len) == 0) {
            return f;
        }
    }
    return NULL;
}

/* NULL: there are too many. */
static struct family *family_of(struct metrics_merge *m, const char *name, size_t len)
{
    struct family *f = find(m, name, len);

    if (f == NULL && m->count < FAMILIES_MAX) {
        f = xcalloc(1, sizeof(*f));
        f->name = xstrndup(name, len);
        f->header = xstrdup("");
        buf_init(&f->series, FAMILY_MAX);
        *m->last = f;
        m->last = &f->next;
        m->count++;
    }
    return f;
}

/* "# HELP name text", "# TYPE name kind": *name is set, other comments have none. */
static size_t comment_name(const char *line, const char **name)
{
    if (strncmp(line, "# HELP ", 7) != 0 && strncmp(line, "# TYPE ", 7) != 0) {
        return 0;
    }
    *name = line + 7;
    return name_len(*name);
}

/* name{labels} value -> name{label,labels} value */
static void add_series(struct family *f, const char *line, size_t len, const char *label)
{
    size_t name = name_len(line);
    bool labelled = line[name] == '{';
    const char *rest = line + name + labelled;
    bool more = labelled && *rest != '}';

    buf_printf(&f->series, "%.*s{%s%s%s%.*s\n", (int)name, line, label, more ? "," : "",
               labelled ? "" : "}", (int)(len - name - labelled), rest);
}

/* Once of each kind. */
static void add_header(struct family *f, const char *line, size_t len)
{
    const char *kind = strncmp(line, "# HELP ", 7) == 0 ? "# HELP " : "# TYPE ";

    if (strstr(f->header, kind) == NULL) {
        char *more = xasprintf("%s%.*s\n", f->header, (int)len, line);
        free(f->header);
        f->header = more;
    }
}

/* Is a series of this name part of f? A histogram's have endings. */
static bool is_of(const struct family *f, const char *line)
{
    static const char *const endings[] = {"", "_bucket", "_sum", "_count"};
    size_t len = name_len(line);
    size_t own = f != NULL ? strlen(f->name) : 0;

    if (f == NULL || len < own || memcmp(line, f->name, own) != 0) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
        if (strlen(endings[i]) == len - own && memcmp(line + own, endings[i], len - own) == 0) {
            return true;
        }
    }
    return false;
}

struct metrics_merge *metrics_merge_new(void)
{
    struct metrics_merge *m = xcalloc(1, sizeof(*m));

    m->last = &m->first;
    return m;
}

void metrics_merge_free(struct metrics_merge *m)
{
    while (m != NULL && m->first != NULL) {
        struct family *f = m->first;
        m->first = f->next;
        free(f->name);
        free(f->header);
        buf_clear(&f->series);
        free(f);
    }
    free(m);
}

/* Headers count until the first series of their name. -> the family that the line begins or is of
 */
static struct family *add_line(struct metrics_merge *m, struct family *now, const char *line,
                               size_t len, const char *label)
{
    const char *name = line;
    bool comment = line[0] == '#';
    size_t name_bytes = comment ? comment_name(line, &name) : name_len(line);

    if (name_bytes == 0) {
        return now;
    }
    if (comment || !is_of(now, line)) {
        now = family_of(m, name, name_bytes);
    }
    if (now != NULL && comment && now->series.len == 0) {
        add_header(now, line, len);
    } else if (now != NULL && !comment) {
        add_series(now, line, len, label);
    }
    return now;
}

void metrics_merge_add(struct metrics_merge *m, const char *text, const char *label)
{
    struct family *now = NULL; /* whose series follow */

    for (const char *line = text; *line != '\0';) {
        size_t len = strcspn(line, "\n");
        now = add_line(m, now, line, len, label);
        line += len + (line[len] == '\n');
    }
}

int metrics_merge_render(const struct metrics_merge *m, struct buf *out)
{
    int r = 0;

    for (const struct family *f = m->first; r == 0 && f != NULL; f = f->next) {
        r = buf_append_str(out, f->header);
        if (r == 0) {
            r = buf_append(out, buf_str(&f->series), f->series.len);
        }
    }
    return r;
}
