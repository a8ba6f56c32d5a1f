#include "tests/replay/scenario.h"

#include "common/buf.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SCENARIO_BYTES_MAX 1048576
#define INCLUDE_DEPTH_MAX 4

static int hex(char c)
{
    const char digits[] = "0123456789abcdef";
    const char *at = c != '\0' ? strchr(digits, c) : NULL;

    return at != NULL ? (int)(at - digits) : -1;
}

/* A backslash that does not begin \xNN is one of the text's own. */
static void append_escaped(struct buf *out, const char *text)
{
    while (*text != '\0') {
        char byte = *text;
        if (text[0] == '\\' && text[1] == 'x' && hex(text[2]) >= 0 && hex(text[3]) >= 0) {
            byte = (char)(hex(text[2]) * 16 + hex(text[3]));
            text += 3;
        }
        buf_append(out, &byte, 1);
        text++;
    }
}

static struct step *add(struct scenario *s, enum step_kind kind)
{
    s->steps = xrealloc(s->steps, (s->count + 1) * sizeof(*s->steps));
    struct step *step = &s->steps[s->count++];
    *step = (struct step){.kind = kind};
    return step;
}

static int read_arrival(struct step *step, const char *text, char form)
{
    struct buf bytes;
    char *rest;
    long times = 1;

    buf_init(&bytes, SCENARIO_BYTES_MAX);
    if (form == '*') {
        times = strtol(text, &rest, 10);
        if (times <= 0 || *rest != ' ') {
            return -EINVAL;
        }
        text = rest + 1;
    }
    for (long i = 0; i < times; i++) {
        append_escaped(&bytes, text);
    }
    if (form == ' ') {
        buf_append_str(&bytes, "\r\n");
    }
    step->len = bytes.len;
    step->text = bytes.len > 0 ? buf_take(&bytes) : xstrdup("");
    return 0;
}

static int read_time(struct step *step, const char *text)
{
    char *unit;
    long n = strtol(text, &unit, 10);

    if (n < 0 || unit == text || (strcmp(unit, "s") != 0 && strcmp(unit, "ms") != 0)) {
        return -EINVAL;
    }
    step->ms = unit[0] == 's' ? n * 1000 : n;
    return 0;
}

static int read_file(const char *path, struct scenario *s, int depth, struct err *err);

static int include(const char *path, const char *name, struct scenario *s, int depth,
                   struct err *err)
{
    const char *slash = strrchr(path, '/');
    int folder_len = slash != NULL ? (int)(slash - path) + 1 : 0;
    AUTO(str) char *other = xasprintf("%.*s%s.inc", folder_len, path, name);

    if (depth == INCLUDE_DEPTH_MAX) {
        return err_text(err, -EINVAL, "'%s' is included too deeply", other);
    }
    return read_file(other, s, depth + 1, err);
}

static int read_step(struct scenario *s, const char *line)
{
    static const char kinds[] = {'>', '<', '!', '+', '='};
    const char *kind = line[0] != '\0' ? memchr(kinds, line[0], sizeof(kinds)) : NULL;

    if (line[0] == '#' || line[0] == '\0') {
        add(s, STEP_REMARK);
        return 0;
    }
    bool special = line[0] == '>' && (line[1] == '.' || line[1] == '*');
    if (kind == NULL || line[special ? 2 : 1] != ' ') {
        return -EINVAL;
    }
    struct step *step;
    switch (*kind) {
    case '>':
        step = add(s, STEP_ARRIVES);
        return read_arrival(step, line + (special ? 3 : 2), line[1]);
    case '+':
        step = add(s, STEP_PASSES);
        return read_time(step, line + 2);
    default:
        step = add(s, *kind == '<' ? STEP_SENT : *kind == '!' ? STEP_TOLD : STEP_ACT);
        step->text = xstrdup(line + 2);
        step->len = strlen(step->text);
        return 0;
    }
}

static int read_file(const char *path, struct scenario *s, int depth, struct err *err)
{
    FILE *f = fopen(path, "re");
    char *line = NULL;
    size_t size = 0;
    int number = 0;
    int result = 0;
    ssize_t len;

    if (f == NULL) {
        return err_set(err, -errno, "open '%s'", path);
    }
    while (result == 0 && (len = getline(&line, &size, f)) >= 0) {
        number++;
        line[strcspn(line, "\n")] = '\0';
        size_t at = s->count;
        if (line[0] == '@' && line[1] == ' ') {
            add(s, STEP_REMARK);
            result = include(path, line + 2, s, depth, err);
        } else if (read_step(s, line) < 0) {
            result = err_text(err, -EINVAL, "%s:%d: not a step: '%s'", path, number, line);
        }
        if (s->count > at) { /* the line's own step, before those it includes */
            s->steps[at].source = xstrdup(line);
            s->steps[at].place = xasprintf("%s:%d", path, number);
            s->steps[at].from_file = depth == 0;
        }
    }
    free(line);
    fclose(f);
    return result;
}

int scenario_read(const char *path, struct scenario *ret, struct err *err)
{
    *ret = (struct scenario){.count = 0};
    int result = read_file(path, ret, 0, err);
    if (result < 0) {
        scenario_clear(ret);
    }
    return result;
}

void scenario_clear(struct scenario *s)
{
    for (size_t i = 0; i < s->count; i++) {
        free(s->steps[i].text);
        free(s->steps[i].source);
        free(s->steps[i].place);
    }
    free(s->steps);
    *s = (struct scenario){.count = 0};
}
