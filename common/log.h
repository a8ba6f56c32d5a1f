/* log: lines to standard error, for people ("human") or machines (one JSON object a line).
 * Fields are key, value pairs of strings, ended by NULL:
 *     log_info("device connected", "uuid", uuid, "instance", index_text, NULL);
 * Only main and the owner of a life (link, watch, tunnel, reporter) log; all below return errors.
 * Never give a key, a password or a token to it. Thread-safe: a line is one write(2). */
#pragma once

#include "common/err.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_HUMAN, LOG_JSON };

/* program: first word of human lines, "program" in JSON; borrowed for ever. Before it is called:
 * human lines at LOG_INFO without a name. */
void log_init(const char *program, enum log_format format, enum log_level level);
/* The same from settings, as texts. -EINVAL: one is none of those that there are; the text names
 * what set it: LOG_FORMAT, LOG_LEVEL, or an option of ours by that name. */
int log_open(const char *program, const char *format, const char *level, struct err *err);
/* Until there are settings: what is wrong with them is a line of JSON where LOG_FORMAT says so. */
void log_open_early(const char *program);
/* A last field of each line of ours from now on, which tells us from our like in one stream:
 * "instance", "fleet-1". Borrowed for ever; NULL: none. Before threads are started. */
void log_mark(const char *key, const char *value);
/* "debug", "info", "warn", "error" / "human", "json"; -EINVAL for others. */
int log_level_parse(const char *text, enum log_level *ret);
int log_format_parse(const char *text, enum log_format *ret);

void log_set_level(enum log_level level);
enum log_level log_get_level(void);
/* SIGUSR2: between debug and the level given to log_init(). Says which in a line. */
void log_toggle_debug(void);

/* ... : const char *key, const char *value, ..., NULL. A NULL value is left out. */
void log_line(enum log_level level, const char *message, ...) __attribute__((sentinel));

/* The same in the name of another program, whose output we pass on. */
void log_line_of(const char *program, enum log_level level, const char *message, ...)
    __attribute__((sentinel));

#define log_debug(...)                        \
    do {                                      \
        if (log_get_level() <= LOG_DEBUG) {   \
            log_line(LOG_DEBUG, __VA_ARGS__); \
        }                                     \
    } while (0)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)

/* A number for a field: log_info("..", "sessions", NUM(n), NULL). For log lines only: the text
 * begins with a mark, by which JSON has it as a number. Lives until the end of the enclosing full
 * block. */
struct num_text {
    char text[24];
};
struct num_text num_text(long long n);
#define NUM(n) (num_text((long long)(n)).text)
