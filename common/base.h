/* base: what every file here leans on: scope-bound clean-up, allocation that can not fail, moves.
 * AUTO(fd) int fd = ...;  AUTO(str) char *s = ...;  both released at the end of the scope. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#define AUTO(kind) __attribute__((cleanup(auto_##kind)))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* Hands a pointer on and forgets it here, so that AUTO(str) does not free it. */
#define MOVE(p)                     \
    __extension__({                 \
        __typeof__(p) moved_ = (p); \
        (p) = NULL;                 \
        moved_;                     \
    })

/* The struct that holds member at ptr. */
#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* Out of memory ends the program: nothing sensible can go on without. */
void *xmalloc(size_t size);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t len);
char *xasprintf(const char *fmt, ...) PRINTF_LIKE(1, 2);

static inline void auto_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
    }
}

static inline void auto_str(char **s)
{
    free(*s);
}
