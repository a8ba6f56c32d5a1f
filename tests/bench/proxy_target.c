/* What stands behind the proxies in the benchmark, one thread: a device, and the two services that
 * a proxy asks. Prints its ports and serves until its standard input ends.
 *     echo    sends back what it gets
 *     source  reads 16 hex digits, sends that many bytes, closes
 *     api     canAccess: yes to everything
 *     state   every device is at the proxy given as argument */
#include "common/base.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum kind { KIND_ECHO, KIND_SOURCE, KIND_API, KIND_STATE, KINDS };

struct conn { /* also a listener's */
    int fd;
    enum kind kind;
    bool listens;
    uint64_t left; /* of a source */
};

static int loop_fd;
static char block[256 * 1024];
static char api_answer[512];
static char state_answer[1024];

static void watch(int fd, enum kind kind, bool listens)
{
    struct conn *c = xcalloc(1, sizeof(*c));
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};

    *c = (struct conn){.fd = fd, .kind = kind, .listens = listens};
    epoll_ctl(loop_fd, EPOLL_CTL_ADD, fd, &ev);
}

static unsigned listen_for(enum kind kind)
{
    const int one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* inherited */
    if (bind(fd, (struct sockaddr *)&address, len) < 0 || listen(fd, 4096) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) < 0) {
        perror("listen");
        exit(1);
    }
    watch(fd, kind, true);
    return ntohs(address.sin_port);
}

static void end(struct conn *c)
{
    close(c->fd);
    free(c);
}

static void pour(struct conn *c)
{
    while (c->left > 0) {
        ssize_t n =
            send(c->fd, block, c->left < sizeof(block) ? c->left : sizeof(block), MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            struct epoll_event ev = {.events = EPOLLOUT, .data.ptr = c};
            epoll_ctl(loop_fd, EPOLL_CTL_MOD, c->fd, &ev);
            return;
        }
        if (n < 0) {
            break;
        }
        c->left -= (uint64_t)n;
    }
    end(c);
}

/* Requests come whole and one at a time here; a POST's body in the same or the next read. */
static void answer(struct conn *c, const char *bytes, size_t len)
{
    const char *text = c->kind == KIND_API ? api_answer : state_answer;
    bool asks = len > 4 && (memcmp(bytes, "GET ", 4) == 0 || memcmp(bytes, "POST", 4) == 0);

    if (asks && send(c->fd, text, strlen(text), MSG_NOSIGNAL) < 0) {
        end(c);
    }
}

static void serve(struct conn *c)
{
    static char in[64 * 1024];

    if (c->kind == KIND_SOURCE && c->left > 0) {
        pour(c);
        return;
    }
    ssize_t n = recv(c->fd, in, sizeof(in) - 1, 0);
    if (n <= 0) {
        end(c);
    } else if (c->kind == KIND_ECHO) {
        if (send(c->fd, in, (size_t)n, MSG_NOSIGNAL) < 0) {
            end(c);
        }
    } else if (c->kind == KIND_SOURCE) {
        in[n] = '\0';
        c->left = strtoull(in, NULL, 16);
        pour(c);
    } else {
        answer(c, in, (size_t)n);
    }
}

static void on_event(struct conn *c)
{
    if (!c->listens) {
        serve(c);
        return;
    }
    for (int fd; (fd = accept4(c->fd, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
        watch(fd, c->kind, false);
    }
}

static void render(char *out, size_t size, const char *body)
{
    snprintf(out, size,
             "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
             strlen(body), body);
}

int main(int argc, char **argv)
{
    struct rlimit files;
    char body[512];

    if (argc != 2) {
        fprintf(stderr, "usage: %s ADDRESS:PORT of the sidecar's proxy\n", argv[0]);
        return 2;
    }
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    render(api_answer, sizeof(api_answer), "{\"d\":[{\"id\":1}]}");
    snprintf(body, sizeof(body), "{\"instance\":{\"proxy\":\"%s\"}}", argv[1]);
    render(state_answer, sizeof(state_answer), body);
    loop_fd = epoll_create1(0);
    unsigned ports[KINDS];
    for (int i = 0; i < KINDS; i++) {
        ports[i] = listen_for((enum kind)i);
    }
    printf("%u %u %u %u\n", ports[KIND_ECHO], ports[KIND_SOURCE], ports[KIND_API],
           ports[KIND_STATE]);
    fflush(stdout);
    struct epoll_event input = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(loop_fd, EPOLL_CTL_ADD, STDIN_FILENO, &input);
    for (;;) {
        struct epoll_event events[256];
        int n = epoll_wait(loop_fd, events, 256, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == NULL) {
                return 0;
            }
            on_event(events[i].data.ptr);
        }
    }
}
