/* The relay over real sockets of the loopback, driven by hand: no epoll, no threads. */
#include "sidecar-proxy/proxy/relay.h"

#include "tests/unit/cmocka_all.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct rig { /* client -- relay -- device */
    struct relay relay;
    struct relay_thread thread;
    int client;
    int device;
};

static void connected(int *far, int *near)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    *far = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(*far, (struct sockaddr *)&address, len), 0);
    *near = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    fcntl(*far, F_SETFL, O_NONBLOCK);
    close(listener);
}

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));

    rig->thread.buffer = malloc(RELAY_BUFFER);
    pipes_init(&rig->thread.pipes);
    connected(&rig->client, &rig->relay.ends[0].fd);
    connected(&rig->device, &rig->relay.ends[1].fd);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;

    relay_clear(&rig->relay, &rig->thread);
    pipes_clear(&rig->thread.pipes);
    close(rig->client);
    close(rig->device);
    close(rig->relay.ends[0].fd);
    close(rig->relay.ends[1].fd);
    free(rig->thread.buffer);
    free(rig);
    return 0;
}

/* As if epoll had said everything there is to say. */
static enum relay_result pump(struct rig *rig, int from, int *at_fault)
{
    for (int i = 0; i < 2; i++) {
        rig->relay.ends[i].readable = rig->relay.ends[i].writable = true;
        rig->relay.ends[i].hangs_up = true;
    }
    return relay_pump(&rig->relay, from, &rig->thread, at_fault);
}

static enum relay_result pump_up(struct rig *rig)
{
    int at_fault = -1;

    return pump(rig, 0, &at_fault);
}

static char pattern(size_t i)
{
    return (char)(i * 31 + i / 251);
}

/* Sends total bytes from one end through the relay to the other, in writes of at most piece. */
static void stream(struct rig *rig, size_t total, size_t piece, bool *spliced)
{
    static char out[300000];
    static char in[300000];
    size_t sent = 0;
    size_t received = 0;

    while (received < total) {
        size_t want = total - sent < piece ? total - sent : piece;
        for (size_t i = 0; i < want; i++) {
            out[i] = pattern(sent + i);
        }
        ssize_t n = want > 0 ? send(rig->client, out, want, MSG_NOSIGNAL) : 0;
        sent += n > 0 ? (size_t)n : 0;
        pump_up(rig);
        *spliced = *spliced || rig->relay.flows[0].pipe != NULL || rig->thread.spliced > 0;
        n = recv(rig->device, in, sizeof(in), 0);
        for (ssize_t i = 0; i < n; i++) {
            assert_int_equal(in[i], pattern(received + (size_t)i));
        }
        received += n > 0 ? (size_t)n : 0;
    }
    assert_int_equal(rig->relay.flows[0].bytes, total);
}

static void test_relay_copies_small_messages(void **state)
{
    bool spliced = false;

    stream(*state, 100000, 64, &spliced);
    assert_false(spliced);
}

static void test_relay_splices_a_stream_and_every_byte_arrives(void **state)
{
    bool spliced = false;

    stream(*state, 20000000, 300000, &spliced);
    assert_true(spliced);
}

static void test_relay_holds_nothing_when_idle(void **state)
{
    struct rig *rig = *state;
    bool spliced = false;

    stream(rig, 20000000, 300000, &spliced);
    assert_int_equal(pump_up(rig), RELAY_WAIT);
    assert_null(rig->relay.flows[0].pipe);
    assert_null(rig->relay.flows[0].chunk);
    assert_int_equal(rig->thread.pipes.free_count, rig->thread.pipes.made);
}

static void test_relay_copies_when_there_are_no_pipes(void **state)
{
    struct rig *rig = *state;
    bool spliced = false;

    rig->thread.pipes.refused_until_us = INT64_MAX;
    stream(rig, 5000000, 300000, &spliced);
    assert_false(spliced);
}

/* A device that does not read: the relay stops reading the client, keeps at most one buffer, and
 * goes on where it was. */
static void test_relay_waits_for_a_slow_reader(void **state)
{
    struct rig *rig = *state;
    static char block[65536];
    static char in[65536];
    size_t sent = 0;

    memset(block, 'x', sizeof(block));
    for (int stuck = 0; stuck < 20;) {
        ssize_t n = send(rig->client, block, sizeof(block), MSG_NOSIGNAL);
        sent += n > 0 ? (size_t)n : 0;
        stuck = n > 0 ? 0 : stuck + 1;
        pump_up(rig);
    }
    assert_true(relay_holds(&rig->relay, 0));
    size_t received = 0;
    while (received < sent) {
        ssize_t n = recv(rig->device, in, sizeof(in), 0);
        received += n > 0 ? (size_t)n : 0;
        pump_up(rig);
    }
    assert_false(relay_holds(&rig->relay, 0));
}

static void test_relay_passes_a_fin_on_behind_the_bytes_and_the_other_way_lives(void **state)
{
    struct rig *rig = *state;
    char in[16];
    int at_fault = -1;

    send(rig->client, "last", 4, 0);
    shutdown(rig->client, SHUT_WR);
    assert_int_equal(pump_up(rig), RELAY_ENDED);
    assert_int_equal(recv(rig->device, in, sizeof(in), 0), 4);
    assert_int_equal(recv(rig->device, in, sizeof(in), 0), 0);
    send(rig->device, "answer", 6, 0);
    assert_int_equal(pump(rig, 1, &at_fault), RELAY_WAIT);
    assert_int_equal(recv(rig->client, in, sizeof(in), 0), 6);
    assert_int_equal(pump_up(rig), RELAY_ENDED);
}

static void test_relay_tells_which_end_was_reset(void **state)
{
    struct rig *rig = *state;
    const struct linger at_once = {1, 0};
    int at_fault = -1;

    setsockopt(rig->device, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    close(rig->device);
    rig->device = dup(rig->client);
    assert_int_equal(pump(rig, 1, &at_fault), RELAY_RESET);
    assert_int_equal(at_fault, 1);
    at_fault = -1;
    send(rig->client, "x", 1, 0);
    assert_int_equal(pump(rig, 0, &at_fault), RELAY_RESET);
    assert_int_equal(at_fault, 1);
}

static void test_relay_prepended_bytes_go_first(void **state)
{
    struct rig *rig = *state;
    char in[32];

    relay_prepend(&rig->relay, 0, "early ", 6);
    send(rig->client, "later", 5, 0);
    assert_int_equal(pump_up(rig), RELAY_WAIT);
    assert_int_equal(recv(rig->device, in, sizeof(in), 0), 11);
    assert_memory_equal(in, "early later", 11);
}

#define RELAY_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RELAY_TEST(test_relay_copies_small_messages),
        RELAY_TEST(test_relay_splices_a_stream_and_every_byte_arrives),
        RELAY_TEST(test_relay_holds_nothing_when_idle),
        RELAY_TEST(test_relay_copies_when_there_are_no_pipes),
        RELAY_TEST(test_relay_waits_for_a_slow_reader),
        RELAY_TEST(test_relay_passes_a_fin_on_behind_the_bytes_and_the_other_way_lives),
        RELAY_TEST(test_relay_tells_which_end_was_reset),
        RELAY_TEST(test_relay_prepended_bytes_go_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
