#include "sidecar-proxy/proxy/pipes.h"

#include <fcntl.h>

#define REFUSED_US 1000000

void pipes_init(struct pipes *p)
{
    *p = (struct pipes){.made = 0};
    for (size_t i = 0; i < PIPES_MAX; i++) {
        p->all[i] = (struct pipe){-1, -1, 0};
    }
}

static void close_pipe(struct pipe *pipe)
{
    close(pipe->in);
    close(pipe->out);
    *pipe = (struct pipe){-1, -1, 0};
}

void pipes_clear(struct pipes *p)
{
    for (size_t i = 0; i < PIPES_MAX; i++) {
        if (p->all[i].in >= 0) {
            close_pipe(&p->all[i]);
        }
    }
    p->made = p->free_count = 0;
}

static bool open_pipe(struct pipe *pipe)
{
    int fds[2];

    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0) {
        return false;
    }
    *pipe = (struct pipe){fds[1], fds[0], 0};
    fcntl(pipe->in, F_SETPIPE_SZ, PIPE_WANTED); /* EPERM over the user's limit: see what we have */
    int size = fcntl(pipe->in, F_GETPIPE_SZ);
    if (size < PIPE_SMALLEST) {
        close_pipe(pipe);
        return false;
    }
    pipe->size = (size_t)size;
    return true;
}

static struct pipe *make(struct pipes *p, int64_t now_us)
{
    if (p->made == PIPES_MAX || now_us < p->refused_until_us) {
        return NULL;
    }
    for (size_t i = 0; i < PIPES_MAX; i++) {
        if (p->all[i].in >= 0) {
            continue;
        }
        if (!open_pipe(&p->all[i])) {
            p->refused_until_us = now_us + REFUSED_US;
            return NULL;
        }
        p->made++;
        return &p->all[i];
    }
    return NULL;
}

struct pipe *pipes_take(struct pipes *p, int64_t now_us)
{
    return p->free_count > 0 ? p->free[--p->free_count] : make(p, now_us);
}

void pipes_give(struct pipes *p, struct pipe *pipe, bool empty)
{
    if (empty) {
        p->free[p->free_count++] = pipe;
        return;
    }
    close_pipe(pipe);
    p->made--;
}
