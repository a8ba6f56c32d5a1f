#include "controller/pool/local_output.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define LINE_MAX_BYTES 2000 /* a longer one is told in pieces */
#define READS_MAX 16        /* in one go: others want to live too */

struct local_output {
    const char *program;
    uint32_t index;
    int fd;
    struct loop_io *io;
    char line[LINE_MAX_BYTES + 1];
    size_t len;
    char complaint[ERR_TEXT_MAX], told[ERR_TEXT_MAX];
};

/* --- one line --- */

static bool begins(const char *line, const char *with)
{
    return strncmp(line, with, strlen(with)) == 0;
}

/* OpenVPN's "2026-01-31 12:00:00 ": our line has a time of its own. */
static const char *skip_time(const char *line)
{
    static const char shape[] = "dddd-dd-dd dd:dd:dd ";
    size_t i = 0;

    while (shape[i] != '\0' &&
           (shape[i] == 'd' ? isdigit((unsigned char)line[i]) != 0 : line[i] == shape[i])) {
        i++;
    }
    return shape[i] == '\0' ? line + i : line;
}

/* haproxy's "[ALERT]    (4711) : config : ". */
static const char *skip_haproxy_head(const char *line)
{
    const char *text = strstr(line, ") : ");

    return text != NULL ? text + 4 : line;
}

enum log_level local_output_classify(const char *line, const char **ret_text)
{
    static const char *const errors[] = {"ERROR", "Options error", "Cannot ", "fatal error",
                                         "TCP/UDP: Socket bind failed"};

    if (begins(line, "[NOTICE]") || begins(line, "[WARNING]") || begins(line, "[ALERT]")) {
        *ret_text = skip_haproxy_head(line);
        bool ordered = strstr(*ret_text, " is going DOWN for maintenance") != NULL; /* by us */
        return line[1] == 'A' ? LOG_ERROR : line[1] == 'W' && !ordered ? LOG_WARN : LOG_INFO;
    }
    *ret_text = skip_time(line);
    if (strstr(*ret_text, " peer info: ") != NULL) { /* a dozen for each device */
        return LOG_DEBUG;
    }
    for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
        if (strstr(*ret_text, errors[i]) != NULL) {
            return LOG_ERROR;
        }
    }
    return strstr(*ret_text, "WARNING") != NULL ? LOG_WARN : LOG_INFO;
}

/* What follows from an error is no reason for it; nor is what haproxy was told by us (CLI). */
static bool is_a_reason(const char *text)
{
    return !begins(text, "CLI : ") && strstr(text, "Exiting due to fatal error") == NULL &&
           strstr(text, "Use --help for more information") == NULL &&
           strstr(text, "Fatal errors found in configuration") == NULL;
}

static void tell_line(struct local_output *o)
{
    const char *text = NULL;

    o->line[o->len] = '\0';
    o->len = 0;
    enum log_level level = local_output_classify(o->line, &text);
    if (text[0] == '\0') {
        return;
    }
    if (level == LOG_ERROR && is_a_reason(text)) {
        snprintf(o->complaint, sizeof(o->complaint), "%s", text);
    }
    log_line_of(o->program, level, text, "index", o->index > 0 ? NUM(o->index) : NULL, NULL);
}

static void take(struct local_output *o, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] == '\n' || o->len == LINE_MAX_BYTES) {
            tell_line(o);
        }
        if (bytes[i] != '\n') {
            /* Who knows what it is encoded in; JSON must be UTF-8. */
            bool ascii = bytes[i] != '\0' && (unsigned char)bytes[i] < 0x80;
            o->line[o->len++] = ascii ? bytes[i] : '?';
        }
    }
}

/* --- the pipe --- */

static void read_some(struct local_output *o)
{
    char bytes[4096];

    for (int i = 0; i < READS_MAX; i++) {
        ssize_t n = read(o->fd, bytes, sizeof(bytes));
        if (n <= 0) {
            return;
        }
        take(o, bytes, (size_t)n);
    }
}

static void on_readable(void *arg, int events, int error)
{
    read_some(arg);
}

/* Anything else in its place is not ours to write into. */
static int make_pipe(const char *path, struct err *err)
{
    struct stat st;

    if (lstat(path, &st) == 0 && (!S_ISFIFO(st.st_mode) || st.st_uid != geteuid())) {
        (void)unlink(path);
    }
    if (mkfifo(path, 0600) != 0 && errno != EEXIST) {
        return err_set(err, -errno, "make pipe '%s'", path);
    }
    return 0;
}

int local_output_open(struct loop *loop, const char *path, const char *program, uint32_t index,
                      struct local_output **ret, struct err *err)
{
    int r = make_pipe(path, err);

    if (r < 0) {
        return r;
    }
    struct local_output *o = xcalloc(1, sizeof(*o));
    o->program = program;
    o->index = index;
    o->fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
    if (o->fd < 0) {
        r = err_set(err, -errno, "open '%s'", path);
    } else {
        r = loop_io_new(loop, o->fd, on_readable, o, &o->io, err);
    }
    if (r < 0) {
        local_output_close(o);
        return r;
    }
    loop_io_set(o->io, LOOP_READ);
    *ret = o;
    return 0;
}

void local_output_close(struct local_output *o)
{
    if (o != NULL) {
        loop_io_close(o->io);
        if (o->fd >= 0) {
            close(o->fd);
        }
        free(o);
    }
}

int local_output_fd(const struct local_output *o)
{
    return o->fd;
}

const char *local_output_complaint(struct local_output *o)
{
    read_some(o);
    memcpy(o->told, o->complaint, sizeof(o->told));
    o->complaint[0] = '\0';
    return o->told;
}
