#include "tests/unit/common_net/net_test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>

#define TEST_MAX_MS 10000

struct loop *loop;

static struct loop_timer *tick;
static int64_t test_began_ms;
static char temp_dir[64];

static void on_tick(void *arg)
{
    loop_stop(arg);
}

int net_setup(void **state)
{
    (void)state;
    struct err err;
    assert_int_equal(loop_new(&loop, &err), 0);
    tick = loop_timer_new(loop, on_tick, loop);
    loop_timer_start(tick, 1, 1);
    test_began_ms = clock_monotonic_ms();
    return 0;
}

int net_teardown(void **state)
{
    (void)state;
    loop_timer_close(tick);
    loop_free(loop);
    if (temp_dir[0] != '\0') {
        AUTO(str) char *command = xasprintf("rm -rf '%s'", temp_dir);
        assert_int_equal(system(command), 0);
        temp_dir[0] = '\0';
    }
    return 0;
}

void net_step(const char *file, int line, const char *what)
{
    if (clock_monotonic_ms() - test_began_ms > TEST_MAX_MS) {
        print_error("waited in vain for: %s\n", what);
        _fail(file, line);
    }
    loop_run(loop);
}

const char *temp_path(const char *name)
{
    static char path[128];

    if (temp_dir[0] == '\0') {
        strcpy(temp_dir, "/tmp/net-test-XXXXXX");
        assert_non_null(mkdtemp(temp_dir));
    }
    snprintf(path, sizeof(path), "%s/%s", temp_dir, name);
    return path;
}

static void format_address(int fd, char address[32])
{
    struct sockaddr_in sa;
    socklen_t len = sizeof(sa);

    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    snprintf(address, 32, "127.0.0.1:%u", ntohs(sa.sin_port));
}

int raw_listen(char address[32])
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(listen(fd, 128), 0);
    format_address(fd, address);
    return fd;
}

void unused_address(char address[32])
{
    close(raw_listen(address));
}

static struct raw raw_of(int fd)
{
    struct raw r = {.fd = fd};
    int one = 1;

    assert_true(fd >= 0);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    buf_init(&r.in, (size_t)64 << 20);
    return r;
}

bool raw_accept(int listener, struct raw *ret)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0) {
        return false;
    }
    *ret = raw_of(fd);
    return true;
}

static int connect_unix(const char *path)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    strcpy(sa.sun_path, path);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    return fd;
}

static int connect_tcp(const char *address)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    sa.sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    return fd;
}

struct raw raw_connect(const char *address)
{
    bool is_unix = strncmp(address, "unix:", 5) == 0;
    int fd = is_unix ? connect_unix(address + 5) : connect_tcp(address);

    fcntl(fd, F_SETFL, O_NONBLOCK);
    return raw_of(fd);
}

void raw_send_bytes(struct raw *r, const void *bytes, size_t len)
{
    const char *at = bytes;

    while (len > 0) {
        ssize_t n = send(r->fd, at, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            net_step(__FILE__, __LINE__, "the peer reads");
            continue;
        }
        if (n < 0) { /* the peer closed: some tests want to see that */
            return;
        }
        at += n;
        len -= (size_t)n;
    }
}

void raw_send(struct raw *r, const char *text)
{
    raw_send_bytes(r, text, strlen(text));
}

void raw_pull(struct raw *r)
{
    char block[65536];
    ssize_t n = 1;

    while (!r->eof && (n = recv(r->fd, block, sizeof(block), 0)) > 0) {
        assert_int_equal(buf_append(&r->in, block, (size_t)n), 0);
    }
    r->eof = r->eof || n == 0 || errno != EAGAIN;
}

bool raw_has(struct raw *r, const char *text)
{
    return raw_count(r, text) > 0;
}

size_t raw_count(struct raw *r, const char *text)
{
    size_t count = 0;

    raw_pull(r);
    const char *at = buf_str(&r->in);
    const char *end = at + r->in.len;
    while ((at = memmem(at, (size_t)(end - at), text, strlen(text))) != NULL) {
        at += strlen(text);
        count++;
    }
    return count;
}

bool raw_ended(struct raw *r)
{
    raw_pull(r);
    return r->eof;
}

void raw_close(struct raw *r)
{
    close(r->fd);
    buf_clear(&r->in);
}

void raw_reset(struct raw *r)
{
    struct linger off = {.l_onoff = 1, .l_linger = 0};

    setsockopt(r->fd, SOL_SOCKET, SO_LINGER, &off, sizeof(off));
    raw_close(r);
}

void on_result(void *arg, int result, const struct http_response *res, const struct err *err)
{
    struct result *r = arg;

    r->done++;
    r->code = result;
    r->call = NULL;
    if (res == NULL) {
        assert_true(result < 0);
        assert_int_equal(err->code, result);
        snprintf(r->error, sizeof(r->error), "%s", err->text);
        return;
    }
    assert_int_equal(result, 0);
    r->status = res->status;
    r->retry_after_s = res->retry_after_s;
    r->body_len = res->body_len;
    snprintf(r->body, sizeof(r->body), "%s", res->body);
    snprintf(r->content_type, sizeof(r->content_type), "%s", res->content_type);
}

struct http_request request_for(struct result *r, const char *method, const char *url,
                                const char *body)
{
    *r = (struct result){0};
    return (struct http_request){
        .method = method,
        .url = url,
        .body = body,
        .body_len = body != NULL ? strlen(body) : 0,
        .on_done = on_result,
        .arg = r,
    };
}

void send_request(struct http_client *client, const struct http_request *request)
{
    struct err err;
    struct result *r = request->arg;

    if (http_client_send(client, request, &r->call, &err) < 0) {
        fail_msg("%s", err.text);
    }
    assert_int_equal(r->done, 0);
}
