#include "controller/pool/port_use.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

/* A socket on a port that the kernel chooses. */
static int open_socket(int type, const char *address, bool share, uint16_t *ret_port)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0), yes = 1;

    assert_true(fd >= 0);
    assert_int_equal(inet_pton(AF_INET, address, &at.sin_addr), 1);
    assert_true(!share || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof(yes)) == 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    assert_true(type != SOCK_STREAM || listen(fd, 1) == 0);
    *ret_port = ntohs(at.sin_port);
    return fd;
}

static void assert_taken(bool udp, const char *address, uint16_t port)
{
    char wanted[64];
    struct err err;

    snprintf(wanted, sizeof(wanted), "%s %u is taken by test_port_use (process %d)",
             udp ? "UDP port" : "port", port, (int)getpid());
    assert_int_equal(port_check(udp, address, port, &err), -EADDRINUSE);
    assert_string_equal(err.text, wanted);
}

static void test_port_names_who_has_it(void **state)
{
    uint16_t port;
    AUTO(fd) int fd = open_socket(SOCK_STREAM, "127.0.0.1", false, &port);

    (void)fd;
    assert_taken(false, "127.0.0.1", port);
    assert_taken(false, NULL, port);
    assert_int_equal(port_check(false, "127.0.0.2", port, NULL), 0);
    assert_int_equal(port_check(true, "127.0.0.1", port, NULL), 0);
}

static void test_port_of_all_addresses_is_taken_at_each(void **state)
{
    uint16_t port;
    AUTO(fd) int fd = open_socket(SOCK_STREAM, "0.0.0.0", false, &port);

    (void)fd;
    assert_taken(false, "127.0.0.2", port);
    assert_taken(false, NULL, port);
}

/* Both would be let in by the kernel, and each would get half of the connections. */
static void test_port_that_could_be_shared_is_taken(void **state)
{
    uint16_t port;
    AUTO(fd) int fd = open_socket(SOCK_STREAM, "0.0.0.0", true, &port);

    (void)fd;
    assert_taken(false, NULL, port);
}

static void test_port_of_udp(void **state)
{
    uint16_t port;
    AUTO(fd) int fd = open_socket(SOCK_DGRAM, "0.0.0.0", false, &port);

    (void)fd;
    assert_taken(true, NULL, port);
    assert_int_equal(port_check(false, NULL, port, NULL), 0);
}

static void test_port_is_free_again(void **state)
{
    uint16_t port;
    int fd = open_socket(SOCK_STREAM, "127.0.0.1", false, &port);

    close(fd);
    assert_int_equal(port_check(false, "127.0.0.1", port, NULL), 0);
    assert_int_equal(port_check(false, NULL, 0, NULL), 0); /* none is wanted */
    assert_int_equal(port_check(false, "no address", 1, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_port_names_who_has_it),
        cmocka_unit_test(test_port_of_all_addresses_is_taken_at_each),
        cmocka_unit_test(test_port_that_could_be_shared_is_taken),
        cmocka_unit_test(test_port_of_udp),
        cmocka_unit_test(test_port_is_free_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
