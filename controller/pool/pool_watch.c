#include "controller/pool/pool_watch.h"

#include <errno.h>
#include <libgen.h>
#include <sys/inotify.h>

struct pool_watch {
    int fd;
    struct loop_io *io;
    struct loop_timer *timer;
    loop_fn fn;
    void *arg;
};

static void on_events(void *arg, int events, int error)
{
    struct pool_watch *w = arg;
    _Alignas(struct inotify_event) char bytes[4096];

    while (read(w->fd, bytes, sizeof(bytes)) > 0) {
        /* which file it was does not matter */
    }
    loop_timer_start(w->timer, POOL_WATCH_QUIET_MS, 0);
}

static void on_quiet(void *arg)
{
    struct pool_watch *w = arg;

    w->fn(w->arg);
}

int pool_watch_open(struct loop *loop, const char *file, loop_fn fn, void *arg,
                    struct pool_watch **ret, struct err *err)
{
    AUTO(str) char *copy = xstrdup(file);
    const char *folder = dirname(copy);
    struct pool_watch *w = xcalloc(1, sizeof(*w));

    w->fn = fn;
    w->arg = arg;
    w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (w->fd < 0 || inotify_add_watch(w->fd, folder,
                                       IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_DELETE) < 0) {
        int r = err_set(err, -errno, "watch '%s'", folder);
        pool_watch_close(w);
        return r;
    }
    int r = loop_io_new(loop, w->fd, on_events, w, &w->io, err);
    if (r < 0) {
        pool_watch_close(w);
        return r;
    }
    loop_io_set(w->io, LOOP_READ);
    w->timer = loop_timer_new(loop, on_quiet, w);
    *ret = w;
    return 0;
}

void pool_watch_close(struct pool_watch *w)
{
    if (w != NULL) {
        loop_io_close(w->io);
        loop_timer_close(w->timer);
        if (w->fd >= 0) {
            close(w->fd);
        }
        free(w);
    }
}
