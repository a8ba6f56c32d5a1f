#include "common/log.h"

#include "common/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define LOG_LINE_MAX 8192
#define NUM_MARK '\1' /* first byte of what NUM() makes */

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static const char *log_program = "";
static const char *mark_key; /* NULL: none */
static const char *mark_value;
static enum log_format log_form = LOG_HUMAN;
static enum log_level log_initial = LOG_INFO;
static _Atomic int log_current = LOG_INFO;

void log_init(const char *program, enum log_format format, enum log_level level)
{
    log_program = program;
    log_form = format;
    log_initial = level;
    atomic_store(&log_current, (int)level);
}

void log_mark(const char *key, const char *value)
{
    mark_key = key;
    mark_value = value;
}

int log_level_parse(const char *text, enum log_level *ret)
{
    for (size_t i = 0; i < ARRAY_LEN(level_names); i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *ret = (enum log_level)i;
            return 0;
        }
    }
    return -EINVAL;
}

int log_format_parse(const char *text, enum log_format *ret)
{
    if (strcmp(text, "human") == 0) {
        *ret = LOG_HUMAN;
        return 0;
    }
    if (strcmp(text, "json") == 0) {
        *ret = LOG_JSON;
        return 0;
    }
    return -EINVAL;
}

/* Who said so: the variable, or else the option. */
static const char *setter(const char *variable, const char *option, const char *value)
{
    const char *of_variable = getenv(variable);

    return of_variable != NULL && strcmp(of_variable, value) == 0 ? variable : option;
}

int log_open(const char *program, const char *format, const char *level, struct err *err)
{
    enum log_format f = LOG_HUMAN;
    enum log_level l = LOG_INFO;

    if (log_format_parse(format, &f) < 0) {
        return err_text(err, -EINVAL, "%s: '%.32s' is not human or json",
                        setter("LOG_FORMAT", "--log-format", format), format);
    }
    if (log_level_parse(level, &l) < 0) {
        return err_text(err, -EINVAL, "%s: '%.32s' is none of debug, info, warn, error",
                        setter("LOG_LEVEL", "--log-level", level), level);
    }
    log_init(program, f, l);
    return 0;
}

void log_open_early(const char *program)
{
    const char *format = getenv("LOG_FORMAT");

    log_init(program, format != NULL && strcmp(format, "json") == 0 ? LOG_JSON : LOG_HUMAN,
             LOG_INFO);
}

void log_set_level(enum log_level level)
{
    atomic_store(&log_current, (int)level);
}

enum log_level log_get_level(void)
{
    return (enum log_level)atomic_load_explicit(&log_current, memory_order_relaxed);
}

void log_toggle_debug(void)
{
    bool on = log_get_level() != LOG_DEBUG;
    enum log_level to = on ? LOG_DEBUG : (log_initial == LOG_DEBUG ? LOG_INFO : log_initial);

    log_set_level(LOG_INFO);
    log_info("log level changed", "level", level_names[to], NULL);
    log_set_level(to);
}

/* Control bytes, quotes and backslashes escaped as JSON does; other bytes as they are. */
static void append_escaped(struct buf *b, const char *s)
{
    for (; *s != '\0'; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\') {
            buf_printf(b, "\\%c", c);
        } else if (c == '\n') {
            buf_append_str(b, "\\n");
        } else if (c < 0x20 || c == 0x7f) {
            buf_printf(b, "\\u%04x", c);
        } else {
            buf_append(b, s, 1);
        }
    }
}

static bool is_plain(const char *s)
{
    if (*s == '\0') {
        return false;
    }
    for (; *s != '\0'; s++) {
        unsigned char c = (unsigned char)*s;
        if (c <= ' ' || c == '"' || c == '\\' || c == '=' || c == 0x7f) {
            return false;
        }
    }
    return true;
}

/* What NUM() made, without its mark; NULL: anything else, whatever it begins with. */
static const char *number_of(const char *value)
{
    if (value[0] != NUM_MARK) {
        return NULL;
    }
    const char *digits = value[1] == '-' ? value + 2 : value + 1;
    bool all = *digits != '\0' && digits[strspn(digits, "0123456789")] == '\0';
    return all ? value + 1 : NULL;
}

static void append_field(struct buf *b, const char *key, const char *value)
{
    const char *number = number_of(value);

    if (number != NULL) {
        buf_printf(b, log_form == LOG_JSON ? ",\"%s\":%s" : " %s=%s", key, number);
    } else if (log_form == LOG_JSON) {
        buf_printf(b, ",\"%s\":\"", key);
        append_escaped(b, value);
        buf_append_str(b, "\"");
    } else if (is_plain(value)) {
        buf_printf(b, " %s=%s", key, value);
    } else {
        buf_printf(b, " %s=\"", key);
        append_escaped(b, value);
        buf_append_str(b, "\"");
    }
}

static void append_head(struct buf *b, const char *program, enum log_level level,
                        const char *message)
{
    struct timespec now;
    struct tm tm;
    char stamp[32];

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
    int ms = (int)(now.tv_nsec / 1000000);
    if (log_form == LOG_JSON) {
        buf_printf(b, "{\"ts\":\"%s.%03dZ\",\"level\":\"%s\",\"program\":\"%s\",\"msg\":\"", stamp,
                   ms, level_names[level], program);
        append_escaped(b, message);
        buf_append_str(b, "\"");
    } else {
        buf_printf(b, "%s.%03dZ %-5s %s: ", stamp, ms, level_names[level], program);
        append_escaped(b, message);
    }
}

static void write_line(const char *program, enum log_level level, const char *message,
                       va_list fields)
{
    AUTO(buf) struct buf b;

    buf_init(&b, LOG_LINE_MAX);
    append_head(&b, program, level, message);
    for (const char *key; (key = va_arg(fields, const char *)) != NULL;) {
        const char *value = va_arg(fields, const char *);
        if (value != NULL) {
            append_field(&b, key, value);
        }
    }
    if (mark_key != NULL && program == log_program) {
        append_field(&b, mark_key, mark_value);
    }
    buf_append_str(&b, log_form == LOG_JSON ? "}\n" : "\n");
    ssize_t ignored = write(STDERR_FILENO, buf_str(&b), b.len);
    (void)ignored; /* nowhere to say that saying failed */
}

void log_line(enum log_level level, const char *message, ...)
{
    va_list fields;

    if (level < log_get_level()) {
        return;
    }
    va_start(fields, message);
    write_line(log_program, level, message, fields);
    va_end(fields);
}

void log_line_of(const char *program, enum log_level level, const char *message, ...)
{
    va_list fields;

    if (level < log_get_level()) {
        return;
    }
    va_start(fields, message);
    write_line(program, level, message, fields);
    va_end(fields);
}

struct num_text num_text(long long n)
{
    struct num_text t;

    snprintf(t.text, sizeof(t.text), "%c%lld", NUM_MARK, n);
    return t;
}
