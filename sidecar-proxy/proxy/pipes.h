/* pipes: a relay thread's pool of pipes to splice through. Made when first needed, at most
 * PIPES_MAX, and only of a size that pays: a user's pipe pages are limited over all its processes,
 * and over that limit the kernel hands out small ones without a word. None to be had is no error:
 * the relay copies instead. Source: pipe(7), fcntl(2) F_SETPIPE_SZ. */
#pragma once

#include "common/base.h"

#define PIPES_MAX 32
#define PIPE_WANTED (256 * 1024) /* bytes */
#define PIPE_SMALLEST (64 * 1024)

struct pipe {
    int in;  /* written to */
    int out; /* read from */
    size_t size;
};

struct pipes {
    struct pipe all[PIPES_MAX];
    struct pipe *free[PIPES_MAX];
    size_t made;
    size_t free_count;
    int64_t refused_until_us; /* after a failure it is not tried again for a while */
};

void pipes_init(struct pipes *p);
void pipes_clear(struct pipes *p);
struct pipe *pipes_take(struct pipes *p, int64_t now_us); /* NULL: copy */
/* empty false: bytes of an ended tunnel are left in it, so it is closed and forgotten. */
void pipes_give(struct pipes *p, struct pipe *pipe, bool empty);
