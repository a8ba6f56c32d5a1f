/* The real haproxy: its words are the contract. Skipped where it is not installed. */
#include "controller/balancer/haproxy_config.h"
#include "controller/balancer/members.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#define HAPROXY "/usr/sbin/haproxy"

static struct {
    struct loop *loop;
    struct members *members;
    char dir[32], config[64], socket[64];
    uint16_t port;
    pid_t haproxy;
    bool timed_out;
    bool (*until)(void);
} t;

/* A port nobody listens on at this moment. */
static uint16_t free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    AUTO(fd) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    return ntohs(a.sin_port);
}

static void haproxy_start(void)
{
    t.haproxy = fork();
    if (t.haproxy == 0) {
        execl(HAPROXY, "haproxy", "-db", "-q", "-f", t.config, (char *)NULL);
        _exit(127);
    }
}

static void haproxy_kill(void)
{
    kill(t.haproxy, SIGKILL);
    waitpid(t.haproxy, NULL, 0);
}

static void check(void *arg)
{
    if (t.until()) {
        loop_stop(t.loop);
    }
}

static void on_deadline(void *arg)
{
    t.timed_out = true;
    loop_stop(t.loop);
}

static void run_until(bool (*condition)(void))
{
    struct loop_timer *poll = loop_timer_new(t.loop, check, NULL);
    struct loop_timer *deadline = loop_timer_new(t.loop, on_deadline, NULL);

    t.until = condition;
    loop_timer_start(poll, 0, 10);
    loop_timer_start(deadline, 20000, 0);
    loop_run(t.loop);
    loop_timer_close(poll);
    loop_timer_close(deadline);
    assert_false(t.timed_out);
}

static int setup(void **state)
{
    if (access(HAPROXY, X_OK) != 0) {
        return 0;
    }
    strcpy(t.dir, "/tmp/test-haproxy-XXXXXX");
    assert_non_null(mkdtemp(t.dir));
    snprintf(t.config, sizeof(t.config), "%s/haproxy.cfg", t.dir);
    snprintf(t.socket, sizeof(t.socket), "%s/haproxy.sock", t.dir);
    t.port = free_port();
    struct haproxy_config config = {.port = t.port,
                                    .max_connections = 100,
                                    .idle_timeout_s = 60,
                                    .threads = 1,
                                    .runtime_socket = t.socket};
    struct buf text;
    buf_init(&text, 65536);
    assert_int_equal(haproxy_config_render(&config, &text, NULL), 0);
    FILE *f = fopen(t.config, "we");
    assert_non_null(f);
    fputs(buf_str(&text), f);
    fclose(f);
    buf_clear(&text);
    assert_int_equal(loop_new(&t.loop, NULL), 0);
    struct members_options options = {.socket_path = t.socket, .backend = HAPROXY_BACKEND};
    t.members = members_new(t.loop, &options);
    haproxy_start();
    return 0;
}

static int teardown(void **state)
{
    if (t.loop != NULL) {
        haproxy_kill();
        members_close(t.members);
        loop_free(t.loop);
        unlink(t.config);
        unlink(t.socket);
        rmdir(t.dir);
        t.loop = NULL;
    }
    return 0;
}

static void set_members(size_t count, enum server_mode mode)
{
    struct server_list *list = xcalloc(1, sizeof(*list));

    for (size_t i = 0; i < count; i++) {
        struct server *s = &list->items[list->count++];
        s->mode = mode;
        snprintf(s->name, sizeof(s->name), "vpn%zu", i + 1);
        snprintf(s->address, sizeof(s->address), "127.0.0.1:%zu", 61000 + i);
    }
    members_set(t.members, list);
    free(list);
}

static bool settled(void)
{
    return members_settled(t.members);
}

static bool two_ready(void)
{
    const struct server_list *list = members_observed(t.members);

    return settled() && list != NULL && list->count == 2 && list->items[0].mode == SERVER_READY &&
           list->items[1].mode == SERVER_READY;
}

static void test_members_gives_haproxy_its_servers_and_takes_them_away(void **state)
{
    if (t.loop == NULL) {
        skip();
    }
    set_members(2, SERVER_READY);
    run_until(two_ready);
    set_members(2, SERVER_DRAIN);
    run_until(settled);
    assert_int_equal(members_observed(t.members)->items[1].mode, SERVER_DRAIN);
    set_members(1, SERVER_READY);
    run_until(settled);
    assert_int_equal(members_observed(t.members)->count, 1);
    assert_int_equal(members_observed(t.members)->items[0].mode, SERVER_READY);
    assert_string_equal(members_why(t.members), "");
}

static void test_members_gives_a_restarted_haproxy_all_again(void **state)
{
    if (t.loop == NULL) {
        skip();
    }
    set_members(2, SERVER_READY);
    run_until(two_ready);
    haproxy_kill();
    haproxy_start();
    members_sync(t.members);
    run_until(two_ready);
}

/* A device that is connected to an instance which is taken away is cut, then the server goes. */
static int listener, device;

static bool device_arrived(void)
{
    const struct server_list *list = members_observed(t.members);

    members_sync(t.members);
    return list != NULL && list->count == 1 && list->items[0].sessions == 1;
}

static void test_members_ends_the_connections_of_a_server_that_goes(void **state)
{
    if (t.loop == NULL) {
        skip();
    }
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct server_list *list = xcalloc(1, sizeof(*list));
    uint16_t port = free_port();

    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    a.sin_port = htons(port);
    assert_int_equal(bind(listener, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(listener, 8), 0);
    list->count = 1;
    list->items[0].mode = SERVER_READY;
    strcpy(list->items[0].name, "vpn1");
    snprintf(list->items[0].address, sizeof(list->items[0].address), "127.0.0.1:%u", port);
    members_set(t.members, list);
    run_until(settled);
    device = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    a.sin_port = htons(t.port);
    assert_int_equal(connect(device, (struct sockaddr *)&a, sizeof(a)), 0);
    run_until(device_arrived);
    list->count = 0;
    members_set(t.members, list);
    run_until(settled);
    assert_int_equal(members_observed(t.members)->count, 0);
    char byte;
    assert_true(recv(device, &byte, 1, 0) <= 0);
    close(device);
    close(listener);
    free(list);
}

static bool unknown(void)
{
    return members_observed(t.members) == NULL && members_why(t.members)[0] != '\0';
}

static void test_members_says_that_haproxy_does_not_answer(void **state)
{
    if (t.loop == NULL) {
        skip();
    }
    set_members(1, SERVER_READY);
    run_until(settled);
    haproxy_kill();
    members_sync(t.members);
    run_until(unknown);
    assert_false(members_settled(t.members));
    haproxy_start();
    run_until(settled);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_members_gives_haproxy_its_servers_and_takes_them_away,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_members_gives_a_restarted_haproxy_all_again, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_members_ends_the_connections_of_a_server_that_goes,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_members_says_that_haproxy_does_not_answer, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
