/* err: why something gave no answer, as text for a person and an errno for the caller.
 * A value on the caller's stack; NULL where no text is wanted. Written on failure only.
 *     return err_set(err, -errno, "open token '%s'", path);      "open token '/x': No such file"
 *     return err_wrap(err, "list pods");                         "list pods: open token ..." */
#pragma once

#include "common/base.h"

#define ERR_TEXT_MAX 512

struct err {
    int code;                /* negative errno, 0: nothing set */
    char text[ERR_TEXT_MAX]; /* NUL-terminated; a longer text is cut */
};

/* Sets text and code (a negative errno) and returns code. strerror() of the code is appended. */
int err_set(struct err *err, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* The same without strerror(): for errors whose text says it all (bad input). */
int err_text(struct err *err, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Puts "what: " before the text and returns the code that is set (-EIO with a NULL err). */
int err_wrap(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);
