/* Load for the proxy benchmark, one thread: opens tunnels (CONNECT to one of 64 devices, or a plain
 * connection to a relay) and prints one line of JSON about them.
 *     proxy_load MODE ADDRESS:PORT STYLE KEY:VALUE...
 * MODE   rate    count tunnels, conc at a time: one byte there and back, close
 *        open    count tunnels begun at rate a second, whatever the answers do
 *        bulk    conc tunnels, bytes each from the device
 *        msg     conc tunnels, count messages of 64 bytes there and back over all of them
 *        idle    count tunnels are held; a byte on each after a line on standard input
 *        slow    count connections that send a byte of a head each second and come again when they
 *                are closed, until standard input ends
 * STYLE  uuid (a {uuid}.balena of ours), numeric (CONNECT 127.0.0.1:port), relay (no CONNECT)
 * KEYS   count conc rate bytes port (of the device) */
#include "common/base.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#define UUIDS 64
#define SOURCES 20 /* 127.0.0.10 and up: more ports than one address has */
#define MESSAGE 64
#define IN_MAX (256 * 1024)

enum mode { MODE_RATE, MODE_OPEN, MODE_BULK, MODE_MSG, MODE_IDLE, MODE_SLOW };
enum style { STYLE_UUID, STYLE_NUMERIC, STYLE_RELAY };
enum step { STEP_CONNECTING, STEP_ANSWER, STEP_BYTES, STEP_HELD };

struct conn {
    int fd;
    enum step step;
    size_t in_head; /* bytes of "\r\n\r\n" seen */
    uint64_t received;
    int64_t begun_us;
};

static struct {
    enum mode mode;
    enum style style;
    struct sockaddr_in proxy;
    uint64_t count, conc, rate, bytes, port;
    int epoll;
    struct conn *conns;
    uint64_t started, finished, held, failed, messages;
    uint32_t *answer_us; /* CONNECT -> 200, or a relay's whole tunnel */
    uint64_t answers;
    uint64_t bulk_bytes;
} load;

static char in[IN_MAX];

static int64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void note_answer(const struct conn *c)
{
    if (load.answers < load.count) {
        load.answer_us[load.answers++] = (uint32_t)(now_us() - c->begun_us);
    }
}

static void begin(struct conn *c, uint64_t number)
{
    const int one = 1;
    struct sockaddr_in source = {.sin_family = AF_INET};
    struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};

    *c = (struct conn){.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)};
    if (c->fd < 0) {
        die("socket");
    }
    source.sin_addr.s_addr = htonl(0x7f00000a + (uint32_t)(number % SOURCES));
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (bind(c->fd, (struct sockaddr *)&source, sizeof(source)) < 0) {
        die("bind");
    }
    c->begun_us = now_us();
    if (connect(c->fd, (struct sockaddr *)&load.proxy, sizeof(load.proxy)) < 0 &&
        errno != EINPROGRESS) {
        die("connect");
    }
    epoll_ctl(load.epoll, EPOLL_CTL_ADD, c->fd, &ev);
    load.started++;
}

static void send_text(const struct conn *c, const char *text, size_t len)
{
    if (send(c->fd, text, len, MSG_NOSIGNAL) != (ssize_t)len) {
        load.failed++;
    }
}

static void send_head(struct conn *c)
{
    char head[512];
    uint64_t device = load.started % UUIDS;
    int len = load.style == STYLE_UUID
                  ? snprintf(head, sizeof(head),
                             "CONNECT %032lx.balena:%lu HTTP/1.1\r\nHost: %032lx.balena:%lu\r\n"
                             "Proxy-Authorization: Basic cm9vdDpiZW5jaA==\r\n\r\n",
                             device, load.port, device, load.port)
                  : snprintf(head, sizeof(head),
                             "CONNECT 127.0.0.1:%lu HTTP/1.1\r\nHost: 127.0.0.1:%lu\r\n\r\n",
                             load.port, load.port);

    send_text(c, head, (size_t)len);
}

static void send_first(struct conn *c)
{
    char text[MESSAGE + 1];

    c->step = STEP_BYTES;
    switch (load.mode) {
    case MODE_RATE:
    case MODE_OPEN:
        send_text(c, "x", 1);
        break;
    case MODE_BULK:
        snprintf(text, sizeof(text), "%016lx", load.bytes);
        send_text(c, text, 16);
        break;
    case MODE_MSG:
        memset(text, 'm', MESSAGE);
        send_text(c, text, MESSAGE);
        break;
    case MODE_IDLE:
        c->step = STEP_HELD;
        load.held++;
        break;
    case MODE_SLOW:
        break;
    }
}

static void finish(struct conn *c)
{
    if (load.style == STYLE_RELAY) {
        note_answer(c);
    }
    close(c->fd);
    c->fd = -1;
    load.finished++;
    bool more = load.mode == MODE_RATE && load.started < load.count;
    if (more) {
        begin(c, load.started);
    }
}

static void fail(struct conn *c)
{
    load.failed++;
    finish(c);
}

static void take_bytes(struct conn *c, size_t len)
{
    c->received += len;
    switch (load.mode) {
    case MODE_RATE:
    case MODE_OPEN:
    case MODE_IDLE:
        finish(c);
        break;
    case MODE_BULK:
        load.bulk_bytes += len;
        if (c->received >= load.bytes) {
            finish(c);
        }
        break;
    case MODE_MSG:
        if (c->received >= MESSAGE) {
            c->received = 0;
            if (++load.messages >= load.count) {
                finish(c);
            } else {
                send_first(c);
            }
        }
        break;
    case MODE_SLOW:
        break;
    }
}

/* The answer's head ends at the first blank line; what follows are the device's bytes. */
static void take_answer(struct conn *c, const char *bytes, size_t len)
{
    static const char end[] = "\r\n\r\n";

    if (c->in_head == 0 && len > 12 && memcmp(bytes + 8, " 200", 4) != 0) {
        fprintf(stderr, "%.*s\n", 60, bytes);
        fail(c);
        return;
    }
    for (size_t i = 0; i < len; i++) {
        c->in_head = bytes[i] == end[c->in_head] ? c->in_head + 1 : (size_t)(bytes[i] == '\r');
        if (c->in_head == 4) {
            note_answer(c);
            send_first(c);
            if (i + 1 < len) {
                take_bytes(c, len - i - 1);
            }
            return;
        }
    }
}

static void on_readable(struct conn *c)
{
    int fd = c->fd;
    ssize_t n = 1;

    while (n > 0 && c->fd == fd) {
        n = recv(fd, in, sizeof(in),
                 load.mode == MODE_BULK && c->step == STEP_BYTES ? MSG_TRUNC : 0);
        if (n > 0 && c->step == STEP_ANSWER) {
            take_answer(c, in, (size_t)n);
        } else if (n > 0) {
            take_bytes(c, (size_t)n);
        } else if (n == 0 || errno != EAGAIN) {
            fail(c);
        }
        if (n < (ssize_t)sizeof(in) && load.mode != MODE_BULK) {
            return;
        }
    }
}

/* Whatever the proxy says or does, it comes again. */
static void on_slow(struct conn *c, uint32_t events)
{
    if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0) {
        close(c->fd);
        load.finished++;
        begin(c, load.started);
    } else if (c->step == STEP_CONNECTING && (events & EPOLLOUT) != 0) {
        c->step = STEP_HELD;
        load.held++;
    }
}

static void on_event(struct conn *c, uint32_t events)
{
    if (c->fd < 0) {
        return;
    }
    if (load.mode == MODE_SLOW) {
        on_slow(c, events);
        return;
    }
    if (c->step == STEP_CONNECTING && (events & EPOLLOUT) != 0) {
        c->step = STEP_ANSWER;
        if (load.style == STYLE_RELAY) {
            send_first(c);
        } else {
            send_head(c);
        }
    }
    if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0) {
        on_readable(c);
    }
}

static void wait_some(int timeout_ms)
{
    struct epoll_event events[256];
    int n = epoll_wait(load.epoll, events, 256, timeout_ms);

    for (int i = 0; i < n; i++) {
        on_event(events[i].data.ptr, events[i].events);
    }
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static uint32_t percentile(double p)
{
    if (load.answers == 0) {
        return 0;
    }
    uint64_t at = (uint64_t)((double)load.answers * p / 100);
    return load.answer_us[at < load.answers ? at : load.answers - 1];
}

static void report(double seconds)
{
    qsort(load.answer_us, load.answers, sizeof(uint32_t), compare);
    printf("{\"seconds\": %.3f, \"finished\": %lu, \"failed\": %lu, \"messages\": %lu, "
           "\"bytes\": %lu, \"p50_us\": %u, \"p99_us\": %u, \"p999_us\": %u}\n",
           seconds, load.finished, load.failed, load.messages, load.bulk_bytes, percentile(50),
           percentile(99), percentile(99.9));
    fflush(stdout);
}

static void run_closed(uint64_t total)
{
    for (uint64_t i = 0; i < load.conc; i++) {
        begin(&load.conns[i], i);
    }
    while (load.finished < total) {
        wait_some(1000);
    }
}

static void run_open(void)
{
    int64_t begun = now_us();

    while (load.finished < load.count) {
        int64_t due = (now_us() - begun) * (int64_t)load.rate / 1000000;
        while (load.started < load.count && (int64_t)load.started <= due) {
            begin(&load.conns[load.started], load.started);
        }
        wait_some(1);
    }
}

static void run_idle(void)
{
    char line[16];

    for (uint64_t i = 0; i < load.count; i++) {
        begin(&load.conns[i], i);
        while (load.started - load.held - load.failed > 64) {
            wait_some(1000);
        }
    }
    while (load.held + load.failed < load.count) {
        wait_some(1000);
    }
    printf("held %lu\n", load.held);
    fflush(stdout);
    if (fgets(line, sizeof(line), stdin) == NULL) {
        exit(1);
    }
    for (uint64_t i = 0; i < load.count; i++) {
        load.conns[i].step = STEP_BYTES;
        send_text(&load.conns[i], "x", 1);
    }
    uint64_t until = load.finished + load.held;
    while (load.finished < until) {
        wait_some(1000);
    }
}

static void send_slowly(uint64_t at)
{
    struct conn *c = &load.conns[at];

    if (c->step == STEP_HELD) {
        send(c->fd, "C", 1, MSG_NOSIGNAL);
    }
}

static bool input_ended(void)
{
    struct pollfd in_fd = {.fd = STDIN_FILENO, .events = POLLIN};

    return poll(&in_fd, 1, 0) != 0;
}

/* A hundredth of them each 10 ms, so that the generator is no burst. */
static void run_slow(void)
{
    for (uint64_t i = 0; i < load.count; i++) {
        begin(&load.conns[i], i);
        while (load.started - load.held > 64) {
            wait_some(100);
        }
    }
    printf("slow %lu\n", load.count);
    fflush(stdout);
    for (uint64_t part = 0; !input_ended(); part++) {
        for (uint64_t i = part % 100; i < load.count; i += 100) {
            send_slowly(i);
        }
        int64_t until = now_us() + 10000;
        while (now_us() < until) {
            wait_some(2);
        }
    }
}

static void run(void)
{
    switch (load.mode) {
    case MODE_RATE:
        run_closed(load.count);
        break;
    case MODE_OPEN:
        run_open();
        break;
    case MODE_BULK:
    case MODE_MSG:
        run_closed(load.conc);
        break;
    case MODE_IDLE:
        run_idle();
        break;
    case MODE_SLOW:
        run_slow();
        break;
    }
}

static int word(const char *text, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(text, words[i]) == 0) {
            return (int)i;
        }
    }
    fprintf(stderr, "what is '%s'?\n", text);
    exit(2);
}

static void parse(int argc, char **argv)
{
    static const char *const modes[] = {"rate", "open", "bulk", "msg", "idle", "slow"};
    static const char *const styles[] = {"uuid", "numeric", "relay"};
    char host[64];
    unsigned port = 0;
    const struct {
        const char *name;
        uint64_t *value;
    } keys[] = {{"count", &load.count},
                {"conc", &load.conc},
                {"rate", &load.rate},
                {"bytes", &load.bytes},
                {"port", &load.port}};

    if (argc < 4 || sscanf(argv[2], "%63[0-9.]:%u", host, &port) != 2) {
        fprintf(stderr, "usage: see the top of proxy_load.c\n");
        exit(2);
    }
    load.mode = (enum mode)word(argv[1], modes, ARRAY_LEN(modes));
    load.style = (enum style)word(argv[3], styles, ARRAY_LEN(styles));
    load.proxy = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, host, &load.proxy.sin_addr);
    for (int i = 4; i < argc; i++) {
        for (size_t k = 0; k < ARRAY_LEN(keys); k++) {
            size_t len = strlen(keys[k].name);
            if (strncmp(argv[i], keys[k].name, len) == 0 && argv[i][len] == ':') {
                *keys[k].value = strtoull(argv[i] + len + 1, NULL, 10);
            }
        }
    }
}

int main(int argc, char **argv)
{
    struct rlimit files;

    parse(argc, argv);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    uint64_t slots = load.conc > load.count ? load.conc : load.count;
    load.conns = xcalloc(slots + 1, sizeof(struct conn));
    load.answer_us = xcalloc(load.count + load.conc + 1, sizeof(uint32_t));
    load.epoll = epoll_create1(0);
    int64_t begun = now_us();
    run();
    report((double)(now_us() - begun) / 1e6);
    return load.failed == 0 ? 0 : 1;
}
