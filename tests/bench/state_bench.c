/* state_bench VPN_STATE: starts it, feeds it 100,000 sessions of 25 instances over 25 WebSockets,
 * asks it, watches it, and prints a Markdown table. Bounded: a fixed amount of work. */
#include "common/buf.h"
#include "common/secret.h"
#include "common/ws_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#define INSTANCES 25
#define EACH 4000 /* sessions of an instance */
#define PART 1000 /* sessions of a message */
#define KEY "bench"
#define SERIAL 5000        /* lookups one after the other */
#define PARALLEL 32        /* connections that ask at once */
#define PARALLEL_EACH 2000 /* lookups on each of them */
#define EVENTS 1000        /* ups and downs that a watcher is timed with */

extern char **environ;

struct sidecar {
    struct ws_client *client;
    int index;
    int seq, acked;
    bool open;
};

static struct {
    pid_t pid;
    uint16_t port;
    struct loop *loop;
    char token[SECRET_HEX_LEN + 1];
    struct sidecar sidecars[INSTANCES];
    struct buf watched;
    int watch_fd;
    struct err err;
} bench;

static void must(bool fine, const char *what)
{
    if (!fine) {
        fprintf(stderr, "state_bench: %s: %s\n", what,
                bench.err.text[0] != '\0' ? bench.err.text : strerror(errno));
        if (bench.pid > 0) {
            kill(bench.pid, SIGKILL);
        }
        exit(1);
    }
}

static int64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* --- the process --- */

static struct sockaddr_in address(void)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons(bench.port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static uint16_t free_port(void)
{
    struct sockaddr_in at = address();
    socklen_t len = sizeof(at);
    AUTO(fd) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    must(bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0, "bind");
    must(getsockname(fd, (struct sockaddr *)&at, &len) == 0, "getsockname");
    return ntohs(at.sin_port);
}

static int dial(void)
{
    struct sockaddr_in at = address();
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (connect(fd, (struct sockaddr *)&at, sizeof(at)) < 0) {
        close(fd);
        return -1;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return fd;
}

static void start(const char *program)
{
    char listen[32];
    char grace[] = "--start-grace-seconds=0", option[] = "--listen";
    char *argv[] = {(char *)program, option, listen, grace, NULL};

    bench.port = free_port();
    snprintf(listen, sizeof(listen), "127.0.0.1:%u", bench.port);
    setenv("VPN_SERVICE_API_KEY", KEY, 1);
    setenv("LOG_LEVEL", "error", 1);
    errno = posix_spawn(&bench.pid, program, NULL, NULL, argv, environ);
    must(errno == 0, program);
    for (int tries = 0; tries < 500; tries++) {
        AUTO(fd) int fd = dial();
        if (fd >= 0) {
            return;
        }
        usleep(10000);
    }
    must(false, "vpn-state does not listen");
}

/* What it alone has in memory, and its share of what it has not alone. */
static long process_kib(void)
{
    char path[64], line[256];
    long kib = 0;

    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", bench.pid);
    FILE *f = fopen(path, "re");
    must(f != NULL, path);
    while (fgets(line, sizeof(line), f) != NULL) {
        sscanf(line, "Pss: %ld", &kib);
    }
    fclose(f);
    return kib;
}

static double process_cpu_s(void)
{
    char path[64], text[1024] = "";
    unsigned long user = 0, system = 0;

    snprintf(path, sizeof(path), "/proc/%d/stat", bench.pid);
    FILE *f = fopen(path, "re");
    must(f != NULL && fgets(text, sizeof(text), f) != NULL, path);
    fclose(f);
    sscanf(strrchr(text, ')') + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
           &system);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

/* --- sidecars --- */

static void on_open(void *arg)
{
    ((struct sidecar *)arg)->open = true;
    loop_stop(bench.loop);
}

static void on_message(void *arg, const char *text, size_t len)
{
    struct sidecar *s = arg;

    if (sscanf(text, "{\"type\":\"ack\",\"seq\":%d}", &s->acked) == 1 && s->acked == s->seq) {
        loop_stop(bench.loop);
    }
}

static void on_closed(void *arg, const char *why)
{
    ((struct sidecar *)arg)->client = NULL;
    loop_stop(bench.loop);
}

static void say(struct sidecar *s, const struct buf *text)
{
    must(ws_client_send(s->client, buf_str(text), text->len) == 0, "send");
}

static void connect_sidecar(struct sidecar *s, int index)
{
    AUTO(buf) struct buf text;
    struct ws_client_options options = {.address = "127.0.0.1",
                                        .port = bench.port,
                                        .path = "/v1/feed",
                                        .protocol = "vpn-state.v1",
                                        .bearer = bench.token,
                                        .max_message_bytes = 65536,
                                        .max_queued_bytes = 16 << 20,
                                        .on_open = on_open,
                                        .on_message = on_message,
                                        .on_closed = on_closed,
                                        .arg = s};

    s->index = index;
    must(ws_client_open(bench.loop, &options, &s->client, &bench.err) == 0, "open");
    while (!s->open && s->client != NULL) {
        loop_run(bench.loop);
    }
    must(s->open, "the feed does not open");
    buf_init(&text, 4096);
    buf_printf(
        &text,
        "{\"type\":\"hello\",\"pool\":\"fleet\",\"index\":%d,\"epoch\":\"1\",\"serviceId\":%d,"
        "\"proxy\":\"127.0.0.1:%d\",\"subnet\":\"100.%d.%d.0/20\",\"phase\":\"ready\"}",
        index, index, 21000 + index, 64 + index / 16, index % 16 * 16);
    say(s, &text);
}

static void uuid_of(int instance, int n, char out[33])
{
    uint64_t mixed = (uint64_t)(instance * EACH + n + 1) * UINT64_C(0x9e3779b97f4a7c15);

    snprintf(out, 33, "%016llx%016llx", (unsigned long long)mixed,
             (unsigned long long)(mixed * UINT64_C(0xbf58476d1ce4e5b9)));
}

static void put_session(struct buf *b, int instance, int n)
{
    char uuid[33];

    uuid_of(instance, n, uuid);
    buf_printf(b, "{\"id\":\"1.%d\",\"uuid\":\"%s\",\"address\":\"100.64.%d.%d\",\"since\":%lld}",
               n, uuid, n / 256, n % 256, 1764000000000LL + n);
}

static void send_snapshot(struct sidecar *s)
{
    for (int from = 0; from < EACH; from += PART) {
        AUTO(buf) struct buf text;
        buf_init(&text, 1 << 20);
        buf_printf(&text, "{\"type\":\"snapshot\",\"seq\":%d,\"more\":%s,\"sessions\":[", ++s->seq,
                   from + PART < EACH ? "true" : "false");
        for (int n = from; n < from + PART; n++) {
            buf_append_str(&text, n > from ? "," : "");
            put_session(&text, s->index - 1, n);
        }
        buf_append_str(&text, "],\"verdicts\":[]}");
        say(s, &text);
    }
}

static void wait_acked(struct sidecar *s)
{
    while (s->acked != s->seq && s->client != NULL) {
        loop_run(bench.loop);
    }
    must(s->acked == s->seq, "the feed ended");
}

static void feed_all(void)
{
    for (int i = 0; i < INSTANCES; i++) {
        connect_sidecar(&bench.sidecars[i], i + 1);
    }
    long kib = process_kib();
    double cpu = process_cpu_s();
    int64_t begun = now_us();
    for (int i = 0; i < INSTANCES; i++) {
        send_snapshot(&bench.sidecars[i]);
    }
    for (int i = 0; i < INSTANCES; i++) {
        wait_acked(&bench.sidecars[i]);
    }
    int64_t took = now_us() - begun;
    int sessions = INSTANCES * EACH;
    printf("| snapshots of %d instances, %d sessions | %.2f s, %.2f s of CPU |\n", INSTANCES,
           sessions, (double)took / 1e6, process_cpu_s() - cpu);
    printf("| memory for each session | %.0f bytes |\n",
           (double)(process_kib() - kib) * 1024 / sessions);
    printf("| memory of the process | %.1f MiB |\n", (double)process_kib() / 1024);
}

/* --- callers --- */

static void ask(int fd, int n)
{
    char uuid[33], text[256];

    uuid_of(n % INSTANCES, n / INSTANCES % EACH, uuid);
    int len = snprintf(text, sizeof(text), "GET /v1/devices/%s HTTP/1.1\r\nHost: x\r\n\r\n", uuid);
    must(send(fd, text, (size_t)len, MSG_NOSIGNAL) == len, "ask");
}

static void hear(int fd)
{
    char text[4096];
    ssize_t len = 0;

    do { /* one answer, whose end is the object's */
        ssize_t n = recv(fd, text + len, sizeof(text) - 1 - (size_t)len, 0);
        must(n > 0, "answer");
        len += n;
        text[len] = '\0';
    } while (strstr(text, "}}") == NULL);
    must(strncmp(text, "HTTP/1.1 200 ", 13) == 0, "a device is not known");
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static void print_times(const char *what, int64_t *us, size_t count)
{
    qsort(us, count, sizeof(*us), compare);
    printf("| %s: median, 99 of 100 | %lld us, %lld us |\n", what, (long long)us[count / 2],
           (long long)us[count * 99 / 100]);
}

static void lookups_serial(void)
{
    static int64_t us[SERIAL];
    AUTO(fd) int fd = dial();

    must(fd >= 0, "dial");
    for (int n = 0; n < SERIAL; n++) {
        int64_t begun = now_us();
        ask(fd, n * 37);
        hear(fd);
        us[n] = now_us() - begun;
    }
    print_times("one lookup", us, SERIAL);
}

static void lookups_parallel(void)
{
    int fds[PARALLEL];
    int total = PARALLEL * PARALLEL_EACH;

    for (int i = 0; i < PARALLEL; i++) {
        fds[i] = dial();
        must(fds[i] >= 0, "dial");
    }
    double cpu = process_cpu_s();
    int64_t begun = now_us();
    for (int n = 0; n < PARALLEL_EACH; n++) {
        for (int i = 0; i < PARALLEL; i++) {
            ask(fds[i], n * PARALLEL + i);
        }
        for (int i = 0; i < PARALLEL; i++) {
            hear(fds[i]);
        }
    }
    double took = (double)(now_us() - begun) / 1e6;
    printf("| lookups, %d connections | %.0f a second, %.1f us of CPU each |\n", PARALLEL,
           total / took, (process_cpu_s() - cpu) * 1e6 / total);
    for (int i = 0; i < PARALLEL; i++) {
        close(fds[i]);
    }
}

/* --- a watcher --- */

static void on_watch(void *arg, int events, int error)
{
    char bytes[65536];
    ssize_t n = recv(bench.watch_fd, bytes, sizeof(bytes), MSG_DONTWAIT);

    must(n > 0, "watch");
    must(buf_append(&bench.watched, bytes, (size_t)n) == 0, "watch");
    if (memchr(bytes, '\n', (size_t)n) != NULL) {
        loop_stop(bench.loop);
    }
}

static void wait_watched(const char *part)
{
    while (strstr(buf_str(&bench.watched), part) == NULL) {
        loop_run(bench.loop);
    }
    buf_truncate(&bench.watched, 0);
}

static void events(void)
{
    static const char request[] = "GET /v1/watch HTTP/1.1\r\nHost: x\r\n\r\n";
    static int64_t us[EVENTS];
    struct sidecar *s = &bench.sidecars[0];
    struct loop_io *io = NULL;

    bench.watch_fd = dial();
    buf_init(&bench.watched, 64 << 20);
    must(bench.watch_fd >= 0 && send(bench.watch_fd, request, sizeof(request) - 1, 0) > 0, "watch");
    must(loop_io_new(bench.loop, bench.watch_fd, on_watch, NULL, &io, &bench.err) == 0, "watch");
    loop_io_set(io, LOOP_READ);
    wait_watched("{\"type\":\"synced\"}\n");
    for (int n = 0; n < EVENTS; n++) {
        AUTO(buf) struct buf text;
        char part[64];
        buf_init(&text, 4096);
        buf_printf(&text, "{\"type\":\"up\",\"seq\":%d,\"session\":", ++s->seq);
        put_session(&text, 0, EACH + n);
        buf_append_str(&text, "}");
        snprintf(part, sizeof(part), "\"session\":\"1.%d\"", EACH + n);
        int64_t begun = now_us();
        say(s, &text);
        wait_watched(part);
        us[n] = now_us() - begun;
    }
    print_times("from a sidecar's message to a watcher", us, EVENTS);
    loop_io_close(io);
    close(bench.watch_fd);
    buf_clear(&bench.watched);
}

int main(int argc, char **argv)
{
    uint8_t token[SECRET_BYTES];
    int status = 0;

    if (argc != 2) {
        fprintf(stderr, "usage: state_bench VPN_STATE\n");
        return 2;
    }
    secret_derive(KEY, SECRET_STATE, token);
    secret_hex(token, bench.token);
    must(loop_new(&bench.loop, &bench.err) == 0, "loop");
    start(argv[1]);
    printf("| vpn-state | |\n|---|---|\n");
    feed_all();
    lookups_serial();
    lookups_parallel();
    events();
    kill(bench.pid, SIGTERM);
    waitpid(bench.pid, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : 1;
}
