#include "common/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static size_t format(struct err *err, const char *fmt, va_list args)
    __attribute__((format(printf, 2, 0)));

static size_t format(struct err *err, const char *fmt, va_list args)
{
    int len = vsnprintf(err->text, sizeof(err->text), fmt, args);

    if (len < 0) {
        err->text[0] = '\0';
        return 0;
    }
    return (size_t)len < sizeof(err->text) ? (size_t)len : sizeof(err->text) - 1;
}

int err_set(struct err *err, int code, const char *fmt, ...)
{
    if (err != NULL) {
        va_list args;
        va_start(args, fmt);
        size_t len = format(err, fmt, args);
        va_end(args);
        snprintf(err->text + len, sizeof(err->text) - len, ": %s", strerror(-code));
        err->code = code;
    }
    return code;
}

int err_text(struct err *err, int code, const char *fmt, ...)
{
    if (err != NULL) {
        va_list args;
        va_start(args, fmt);
        format(err, fmt, args);
        va_end(args);
        err->code = code;
    }
    return code;
}

int err_wrap(struct err *err, const char *fmt, ...)
{
    if (err == NULL) {
        return -EIO;
    }
    char inner[ERR_TEXT_MAX];
    memcpy(inner, err->text, sizeof(inner));
    va_list args;
    va_start(args, fmt);
    size_t len = format(err, fmt, args);
    va_end(args);
    size_t room = sizeof(err->text) - 1 - len;
    size_t colon = room < 2 ? room : 2;
    memcpy(err->text + len, ": ", colon);
    size_t part = strnlen(inner, room - colon);
    memcpy(err->text + len + colon, inner, part);
    err->text[len + colon + part] = '\0';
    return err->code != 0 ? err->code : -EIO;
}
