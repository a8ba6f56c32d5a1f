/* The link's socket: the machine decides, this dials, reads, writes, hangs up and minds the clock.
 */
#include "sidecar-proxy/management/link.h"

#include "common/secret.h"
#include "sidecar-proxy/management/link_machine.h"
#include "sidecar-proxy/management/link_metrics.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define READ_BYTES 16384
#define READS_A_ROUND 16 /* then others on the loop have their turn */

struct link {
    struct loop *loop;
    struct link_machine machine;
    char *path;
    int fd;             /* -1: none */
    struct loop_io *io; /* of fd */
    struct loop_timer *timer;
    void (*on_closed)(void *arg);
    void *arg;
    bool closing;
};

static struct link_clock now(void)
{
    return (struct link_clock){clock_monotonic_ms(), clock_realtime_ms()};
}

static void hang_up(struct link *link)
{
    loop_io_close(link->io);
    link->io = NULL;
    if (link->fd >= 0) {
        close(link->fd);
    }
    link->fd = -1;
}

/* A broken connection shows when it is read, with the reason and what OpenVPN said last. */
static void flush(struct link *link)
{
    struct buf *output = link_machine_output(&link->machine);

    while (link->fd >= 0 && output->len > 0) {
        ssize_t sent = send(link->fd, output->data, output->len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0) {
            break;
        }
        buf_consume(output, (size_t)sent);
    }
    metric_set(&link_metric_output, (int64_t)output->len);
}

static void read_some(struct link *link)
{
    char bytes[READ_BYTES];
    ssize_t len = 0;

    for (int i = 0; i < READS_A_ROUND && link->fd >= 0; i++) {
        len = recv(link->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
        if (len <= 0) {
            break;
        }
        link_machine_input(&link->machine, now(), bytes, (size_t)len);
        secret_wipe(bytes, (size_t)len); /* passwords pass through here */
    }
    if (len == 0) {
        link_machine_lost(&link->machine, now(), "OpenVPN closed the connection");
    } else if (len < 0 && errno != EAGAIN && errno != EINTR) {
        link_machine_lost(&link->machine, now(), strerror(errno));
    }
}

static void settle(struct link *link);

static void on_io(void *arg, int events, int error)
{
    struct link *link = arg;

    if (error < 0) {
        link_machine_lost(&link->machine, now(), strerror(-error));
    } else if ((events & LOOP_READ) != 0) {
        read_some(link);
    }
    settle(link);
}

static int dial(struct link *link, struct err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    AUTO(fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    memcpy(address.sun_path, link->path, strlen(link->path) + 1); /* link_open() measured it */
    if (fd < 0) {
        return err_set(err, -errno, "socket");
    }
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        return err_set(err, -errno, "connect to '%s'", link->path);
    }
    int result = loop_io_new(link->loop, fd, on_io, link, &link->io, err);
    if (result < 0) {
        return result;
    }
    link->fd = fd;
    fd = -1;
    return 0;
}

/* Does what the machine's state asks for, until it asks for nothing more. */
static void follow_state(struct link *link)
{
    struct link_machine *m = &link->machine;
    struct err err = {.code = 0};

    if (m->state == LINK_CONNECTING && link->fd < 0) {
        if (dial(link, &err) < 0) {
            link_machine_lost(m, now(), err.text);
        } else {
            link_machine_connected(m, now());
        }
    }
    if (m->state == LINK_WAITING || m->state == LINK_CLOSED) {
        hang_up(link);
    }
}

static void arm(struct link *link)
{
    int64_t deadline = link_machine_deadline(&link->machine);
    int64_t wait = deadline - clock_monotonic_ms();

    if (deadline == INT64_MAX) {
        loop_timer_stop(link->timer);
    } else {
        loop_timer_start(link->timer, wait > 0 ? (uint64_t)wait : 0, 0);
    }
}

/* After anything that may have changed the machine; runs no callback but through follow_state(). */
static void attend(struct link *link)
{
    flush(link);
    if (link->io != NULL) {
        bool more = link_machine_output(&link->machine)->len > 0;
        loop_io_set(link->io, LOOP_READ | (more ? LOOP_WRITE : 0));
    }
    arm(link);
}

static void settle(struct link *link)
{
    if (!link->closing) {
        follow_state(link);
    }
    if (!link->closing) { /* a callback may have closed it */
        attend(link);
    }
}

static void on_timer(void *arg)
{
    struct link *link = arg;

    link_machine_tick(&link->machine, now());
    settle(link);
}

int link_open(struct loop *loop, const struct link_options *options, struct link **ret,
              struct err *err)
{
    if (strlen(options->path) >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
        return err_text(err, -ENAMETOOLONG, "management socket '%s': the path is too long",
                        options->path);
    }
    struct link *link = xcalloc(1, sizeof(*link));
    link->loop = loop;
    link->path = xstrdup(options->path);
    link->fd = -1;
    link->on_closed = options->callbacks->on_closed;
    link->arg = options->arg;
    link_metrics_register();
    link_machine_init(&link->machine, options, now());
    link->timer = loop_timer_new(loop, on_timer, link);
    loop_timer_start(link->timer, 0, 0);
    *ret = link;
    return 0;
}

static void finish(void *arg)
{
    struct link *link = arg;

    link->on_closed(link->arg);
    link_machine_clear(&link->machine);
    free(link->path);
    free(link);
}

/* What OpenVPN has not taken yet is given one last try: an answer may be among it. */
void link_close(struct link *link)
{
    if (link == NULL || link->closing) {
        return;
    }
    link->closing = true;
    flush(link);
    link_machine_stop(&link->machine);
    hang_up(link);
    loop_timer_close(link->timer);
    loop_post(link->loop, finish, link);
}

enum link_state link_state(const struct link *link)
{
    return link != NULL ? link->machine.state : LINK_WAITING;
}

int link_openvpn_pid(const struct link *link)
{
    return link != NULL ? link->machine.pid : 0;
}

/* An answer goes out at once: a few ms decide whether OpenVPN takes it up now or in a second. */
static bool sent(struct link *link, bool ok)
{
    if (!link->closing) {
        attend(link);
    }
    return ok;
}

bool link_allow(struct link *link, uint64_t cid, uint64_t kid)
{
    return link != NULL && sent(link, link_machine_allow(&link->machine, now(), cid, kid));
}

bool link_deny(struct link *link, uint64_t cid, uint64_t kid, const char *log_text,
               const char *client_text)
{
    return link != NULL &&
           sent(link, link_machine_deny(&link->machine, now(), cid, kid, log_text, client_text));
}

bool link_deny_temp(struct link *link, uint64_t cid, uint64_t kid, unsigned backoff_s,
                    const char *text)
{
    return link != NULL &&
           sent(link, link_machine_deny_temp(&link->machine, now(), cid, kid, backoff_s, text));
}

bool link_kill(struct link *link, uint64_t cid)
{
    return link != NULL && sent(link, link_machine_kill(&link->machine, now(), cid));
}

bool link_terminate(struct link *link)
{
    return link != NULL && sent(link, link_machine_terminate(&link->machine, now()));
}
