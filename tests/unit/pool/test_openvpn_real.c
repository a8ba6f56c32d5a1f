/* The command line, given to the real OpenVPN in a network namespace of its own: it starts, holds,
 * is released, has its device and addresses, listens, and ends. Needs root, openvpn and
 * /dev/net/tun; skipped without. */
#include "tests/unit/cmocka_all.h"

#include "common/base.h"
#include "controller/pool/openvpn_args.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#define PATIENCE_MS 20000

#define HEAD                                   \
    "apiVersion: vpn.openbalena.io/v1alpha1\n" \
    "kind: VPNPool\n"                          \
    "metadata: {name: fleet}\n"                \
    "spec:\n"

struct world {
    char dir[64];
    char management[96], status[96];
    struct openvpn_args args;
    pid_t pid;
    int fd; /* the management connection */
    struct buf heard;
};

static bool is_possible(void)
{
    return geteuid() == 0 && access("/usr/sbin/openvpn", X_OK) == 0 &&
           access("/dev/net/tun", R_OK) == 0;
}

/* This process's own: nothing outside is touched, nothing is left behind. */
static void enter_namespace(void)
{
    struct ifreq lo = {.ifr_name = "lo"};

    assert_int_equal(unshare(CLONE_NEWNET), 0);
    AUTO(fd) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(ioctl(fd, SIOCGIFFLAGS, &lo), 0);
    lo.ifr_flags |= IFF_UP;
    assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &lo), 0);
}

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void render(struct world *w, const char *spec, uint32_t index, uint16_t port, bool dh)
{
    AUTO(str) char *text = xasprintf("%s%s", HEAD, spec);
    struct openvpn_paths paths = {
        .program = "/usr/sbin/openvpn",
        .management = w->management,
        .status_file = w->status,
        .ca_file = POOL_TEST_TLS "/ca.crt",
        .cert_file = POOL_TEST_TLS "/chain.crt",
        .key_file = POOL_TEST_TLS "/server.key",
        .dh_file = dh ? POOL_TEST_TLS "/dh2048.pem" : NULL,
        .management_user = "root",
        .listen_address = "127.0.0.1",
        .port = port,
    };
    struct pool_errors errors;
    struct pool_object pool;

    pool_errors_init(&errors);
    assert_int_equal(pool_object_parse("f", text, strlen(text), &pool, &errors), 0);
    assert_int_equal(openvpn_args_make(&pool, index, &paths, &w->args, NULL), 0);
    pool_object_clear(&pool);
    pool_errors_clear(&errors);
}

static void start(struct world *w)
{
    w->pid = fork();
    assert_true(w->pid >= 0);
    if (w->pid == 0) {
        freopen("/dev/null", "w", stdout);
        execv(w->args.argv[0], w->args.argv);
        _exit(127);
    }
}

static void dial(struct world *w)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int64_t deadline = now_ms() + PATIENCE_MS;

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", w->management);
    w->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    while (connect(w->fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        if (now_ms() > deadline || waitpid(w->pid, NULL, WNOHANG) == w->pid) {
            w->pid = 0;
            fail_msg("OpenVPN did not open its management socket");
        }
        poll(NULL, 0, 5);
    }
}

static void say(struct world *w, const char *line)
{
    assert_int_equal(send(w->fd, line, strlen(line), MSG_NOSIGNAL), (ssize_t)strlen(line));
}

/* Reads until text was heard. */
static void wait_for(struct world *w, const char *text)
{
    int64_t deadline = now_ms() + PATIENCE_MS;
    struct pollfd p = {.fd = w->fd, .events = POLLIN};

    while (strstr(buf_str(&w->heard), text) == NULL) {
        if (now_ms() > deadline || poll(&p, 1, 1000) < 0) {
            fail_msg("never heard '%s', but:\n%s", text, buf_str(&w->heard));
        }
        if (p.revents == 0) {
            continue;
        }
        assert_int_equal(buf_reserve(&w->heard, 4096), 0);
        ssize_t n = recv(w->fd, buf_end(&w->heard), 4096, 0);
        if (n <= 0) {
            fail_msg("OpenVPN left before '%s', after:\n%s", text, buf_str(&w->heard));
        }
        buf_grew(&w->heard, (size_t)n);
    }
}

/* Its address and its far end's. */
static void check_device(const char *name, const char *address, const char *peer)
{
    struct ifaddrs *all = NULL;
    bool found = false;

    assert_int_equal(getifaddrs(&all), 0);
    for (const struct ifaddrs *i = all; i != NULL; i = i->ifa_next) {
        if (strcmp(i->ifa_name, name) == 0 && i->ifa_addr != NULL &&
            i->ifa_addr->sa_family == AF_INET) {
            const struct sockaddr_in *own = (const void *)i->ifa_addr;
            const struct sockaddr_in *far = (const void *)i->ifa_dstaddr;
            assert_string_equal(address_format(ntohl(own->sin_addr.s_addr)).text, address);
            assert_string_equal(address_format(ntohl(far->sin_addr.s_addr)).text, peer);
            found = true;
        }
    }
    freeifaddrs(all);
    assert_true(found);
}

static bool listens(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    AUTO(fd) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    return connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
}

static int begin(void **state)
{
    struct world *w = xcalloc(1, sizeof(*w));

    w->fd = -1;
    buf_init(&w->heard, 1 << 20);
    snprintf(w->dir, sizeof(w->dir), "/tmp/test_openvpn_real.XXXXXX");
    if (mkdtemp(w->dir) == NULL) {
        return -1;
    }
    snprintf(w->management, sizeof(w->management), "%s/m.sock", w->dir);
    snprintf(w->status, sizeof(w->status), "%s/status", w->dir);
    *state = w;
    return 0;
}

static int end(void **state)
{
    struct world *w = *state;

    if (w->pid > 0) {
        kill(w->pid, SIGKILL);
        waitpid(w->pid, NULL, 0);
    }
    auto_fd(&w->fd);
    openvpn_args_clear(&w->args);
    buf_clear(&w->heard);
    unlink(w->management);
    unlink(w->status);
    rmdir(w->dir);
    free(w);
    return 0;
}

struct real_case {
    const char *spec;
    uint32_t index;
    bool dh, udp;
    const char *device, *address, *peer;
};

static void run(struct world *w, const struct real_case *c)
{
    uint16_t port = (uint16_t)(10000 + c->index);

    if (!is_possible()) {
        skip();
    }
    enter_namespace();
    render(w, c->spec, c->index, port, c->dh);
    start(w);
    dial(w);
    wait_for(w, ">HOLD:");
    assert_false(listens(port)); /* the hold is a readiness gate */
    say(w, "state on\nhold release\n");
    wait_for(w, ",CONNECTED,SUCCESS,");
    check_device(c->device, c->address, c->peer);
    assert_true(c->udp || listens(port));
    say(w, "status 3\n");
    wait_for(w, "GLOBAL_STATS");
    say(w, "signal SIGTERM\n");
    int status = -1;
    assert_int_equal(waitpid(w->pid, &status, 0), w->pid);
    w->pid = 0;
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    AUTO(str) char *file = xasprintf("grep -q '^TITLE,OpenVPN' %s", w->status);
    assert_int_equal(system(file), 0);
}

static void test_openvpn_real_defaults(void **s)
{
    run(*s, &(struct real_case){.spec = "  replicas: 2\n",
                                .index = 2,
                                .device = "tun2",
                                .address = "100.64.16.1",
                                .peer = "100.64.16.2"});
}

static void test_openvpn_real_everything_set(void **s)
{
    run(*s, &(struct real_case){
                .spec = "  network: {baseSubnet: 10.0.0.0/8, instancePrefixLength: 29, gateway: "
                        "10.0.1.1}\n"
                        "  openvpn:\n"
                        "    protocol: tcp4\n"
                        "    dataCiphers: [AES-256-GCM, AES-128-CBC]\n"
                        "    opensslProviders: [legacy, default]\n"
                        "    keepalive: {intervalSeconds: 7, timeoutSeconds: 21}\n"
                        "    handWindowSeconds: 30\n",
                .index = 3,
                .dh = true,
                .device = "tun3",
                .address = "10.0.1.1",
                .peer = "10.0.0.18"});
}

static void test_openvpn_real_largest_subnet(void **s)
{
    run(*s, &(struct real_case){.spec = "  network: {instancePrefixLength: 16}\n",
                                .index = 64,
                                .device = "tun64",
                                .address = "100.127.0.1",
                                .peer = "100.127.0.2"});
}

static void test_openvpn_real_udp(void **s)
{
    run(*s, &(struct real_case){.spec = "  openvpn: {protocol: udp4, explicitExitNotify: 1}\n",
                                .index = 1,
                                .udp = true,
                                .device = "tun1",
                                .address = "100.64.0.1",
                                .peer = "100.64.0.2"});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_openvpn_real_defaults, begin, end),
        cmocka_unit_test_setup_teardown(test_openvpn_real_everything_set, begin, end),
        cmocka_unit_test_setup_teardown(test_openvpn_real_largest_subnet, begin, end),
        cmocka_unit_test_setup_teardown(test_openvpn_real_udp, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
