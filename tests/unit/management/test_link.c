/* The link on a real unix socket, with a stand-in for OpenVPN on the same loop: it takes what
 * comes, says what the test says. No time is measured; each test waits for what has to happen. */
#include "sidecar-proxy/management/link.h"

#include "tests/unit/cmocka_all.h"

#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define GREETING ">INFO:OpenVPN Management Interface Version 5 -- type 'help'\r\nSUCCESS: pid=7\r\n"
#define BODY "OpenVPN Version: OpenVPN 2.6.14 x\r\nEND\r\nSUCCESS: bytecount interval changed\r\n"
#define STATUS "HEADER\tCLIENT_LIST\tClient ID\tVirtual Address\tCommon Name\r\nEND\r\n"

struct fixture {
    struct loop *loop;
    struct link *link;
    struct loop_timer *check; /* runs the loop out when `until` holds */
    bool (*until)(struct fixture *f);
    char folder[32];
    char path[64];
    int listener;
    int peer; /* OpenVPN's end */
    char heard[1 << 16];
    size_t heard_len;
    size_t heard_lines; /* of those that are no longer in heard */
    bool close_at_connect;
    size_t connects;
    size_t established;
    size_t losts;
    size_t closeds;
    bool last_answer;
};

static void on_generation(void *arg, uint64_t generation, int pid, bool began)
{
}

static void on_connect(void *arg, const struct link_client *c)
{
    struct fixture *f = arg;

    f->connects++;
    if (f->close_at_connect) {
        link_close(f->link);
    } else {
        f->last_answer = link_allow(f->link, c->cid, c->kid);
    }
}

static void on_established(void *arg, const struct link_client *c)
{
    struct fixture *f = arg;

    f->established++;
}

static void on_client(void *arg, const struct link_client *c)
{
}

static void on_resync_end(void *arg)
{
}

static void on_state(void *arg, enum link_state state)
{
}

static void on_lost(void *arg, const char *why)
{
    struct fixture *f = arg;

    f->losts++;
}

static void on_closed(void *arg)
{
    struct fixture *f = arg;

    f->closeds++;
    f->link = NULL;
}

static const struct link_callbacks callbacks = {
    .on_generation = on_generation,
    .on_connect = on_connect,
    .on_reauth = on_client,
    .on_established = on_established,
    .on_disconnect = on_client,
    .on_resync_row = on_client,
    .on_resync_end = on_resync_end,
    .on_state = on_state,
    .on_lost = on_lost,
    .on_closed = on_closed,
};

static void hear(struct fixture *f)
{
    ssize_t len;

    while (f->peer >= 0 && f->heard_len < sizeof(f->heard) - 1 &&
           (len = recv(f->peer, f->heard + f->heard_len, sizeof(f->heard) - 1 - f->heard_len,
                       MSG_DONTWAIT)) > 0) {
        f->heard_len += (size_t)len;
        f->heard[f->heard_len] = '\0';
    }
}

static void on_check(void *arg)
{
    struct fixture *f = arg;

    if (f->peer < 0) {
        f->peer = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC);
    }
    hear(f);
    if (f->until(f)) {
        loop_stop(f->loop);
    }
}

static void wait_until(struct fixture *f, bool (*until)(struct fixture *f))
{
    f->until = until;
    loop_timer_start(f->check, 0, 1);
    loop_run(f->loop);
    loop_timer_stop(f->check);
}

static void say(struct fixture *f, const char *text)
{
    assert_int_equal(send(f->peer, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void hang_up(struct fixture *f)
{
    close(f->peer);
    f->peer = -1;
    f->heard_len = 0;
}

static void listen_at(struct fixture *f)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", f->path);
    unlink(f->path);
    f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(f->listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(f->listener, 1), 0);
}

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    struct link_options options = {.path = f->path, .callbacks = &callbacks, .arg = f};

    log_set_level(LOG_ERROR + 1);
    f->peer = -1;
    strcpy(f->folder, "/tmp/test_link.XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof(f->path), "%s/m.sock", f->folder);
    listen_at(f);
    assert_int_equal(loop_new(&f->loop, NULL), 0);
    f->check = loop_timer_new(f->loop, on_check, f);
    assert_int_equal(link_open(f->loop, &options, &f->link, NULL), 0);
    *state = f;
    return 0;
}

static bool is_closed(struct fixture *f)
{
    return f->closeds == 1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    if (f->link != NULL) {
        link_close(f->link);
        link_close(f->link); /* twice is once */
        wait_until(f, is_closed);
    }
    loop_timer_close(f->check);
    loop_free(f->loop);
    if (f->peer >= 0) {
        close(f->peer);
    }
    close(f->listener);
    unlink(f->path);
    rmdir(f->folder);
    free(f);
    return 0;
}

static bool is_accepted(struct fixture *f)
{
    return f->peer >= 0;
}

static bool is_live(struct fixture *f)
{
    return link_state(f->link) == LINK_LIVE;
}

static void go_live(struct fixture *f)
{
    wait_until(f, is_accepted);
    say(f, GREETING BODY STATUS);
    wait_until(f, is_live);
    assert_int_equal(link_openvpn_pid(f->link), 7);
}

static bool heard_allow(struct fixture *f)
{
    return strstr(f->heard, "client-auth-nt 3 1\n") != NULL;
}

static bool is_established(struct fixture *f)
{
    return f->established == 1;
}

static void test_link_talks_over_its_socket(void **state)
{
    struct fixture *f = *state;

    go_live(f);
    say(f, ">CLIENT:CONNECT,3,1\r\n>CLIENT:ENV,END\r\n");
    wait_until(f, heard_allow);
    assert_string_equal(f->heard, "pid\nversion\nbytecount 0\nstatus 3\nclient-auth-nt 3 1\n");
    assert_true(f->last_answer);
    say(f, "SUCCESS: client-auth command succeeded\r\n>CLIENT:ADDRESS,3,10.0.0.3,1\r\n"
           ">CLIENT:ESTABLISHED,3\r\n>CLIENT:ENV,END\r\n");
    wait_until(f, is_established);
}

static bool is_lost(struct fixture *f)
{
    return f->losts == 1;
}

static void test_link_comes_back_after_the_end_of_a_connection(void **state)
{
    struct fixture *f = *state;

    go_live(f);
    hang_up(f);
    wait_until(f, is_lost);
    go_live(f);
}

static bool is_waiting(struct fixture *f)
{
    return link_state(f->link) == LINK_WAITING;
}

static void test_link_waits_for_a_socket_that_is_not_there(void **state)
{
    struct fixture *f = *state;

    go_live(f);
    close(f->listener);
    unlink(f->path);
    hang_up(f);
    wait_until(f, is_lost);
    wait_until(f, is_waiting);
    listen_at(f);
    go_live(f);
}

/* OpenVPN says its last words before it ends: they count. */
static void test_link_reads_to_the_end_of_a_connection(void **state)
{
    struct fixture *f = *state;

    go_live(f);
    say(f, ">CLIENT:CONNECT,3,1\r\n>CLIENT:ENV,END\r\n");
    shutdown(f->peer, SHUT_WR);
    wait_until(f, is_lost);
    assert_int_equal(f->connects, 1);
    assert_false(link_kill(f->link, 3));
    hang_up(f);
}

#define KILLS 60000 /* 17 bytes each: far more than a socket takes at once */

static bool heard_all(struct fixture *f)
{
    for (size_t i = 0; i < f->heard_len; i++) {
        f->heard_lines += f->heard[i] == '\n';
    }
    f->heard_len = 0;
    return f->heard_lines == KILLS;
}

static bool heard_connect(struct fixture *f)
{
    return f->connects == 1;
}

/* OpenVPN reads nothing for a while: the link goes on reading, keeps what it has to say, and says
 * it when it is taken. */
static void test_link_keeps_what_the_socket_does_not_take(void **state)
{
    struct fixture *f = *state;

    go_live(f);
    say(f, ">CLIENT:CONNECT,3,1\r\n>CLIENT:ENV,END\r\n");
    wait_until(f, heard_connect);
    wait_until(f, heard_allow);
    f->heard_len = 0;
    for (int i = 0; i < KILLS; i++) {
        assert_true(link_kill(f->link, 3));
    }
    say(f, "SUCCESS: client-auth command succeeded\r\n>CLIENT:ADDRESS,3,10.0.0.3,1\r\n"
           ">CLIENT:ESTABLISHED,3\r\n>CLIENT:ENV,END\r\n");
    wait_until(f, heard_all);
    wait_until(f, is_established);
    assert_int_equal(f->losts, 0);
}

static void test_link_closed_in_a_callback_calls_no_other(void **state)
{
    struct fixture *f = *state;

    go_live(f);
    f->close_at_connect = true;
    say(f, ">CLIENT:CONNECT,3,1\r\n>CLIENT:ENV,END\r\n>CLIENT:CONNECT,4,1\r\n>CLIENT:ENV,END\r\n");
    wait_until(f, is_closed);
    assert_int_equal(f->connects, 1);
}

static void test_link_open_refuses_a_path_that_is_too_long(void **state)
{
    struct fixture *f = *state;
    char path[200];
    struct link_options options = {.path = path, .callbacks = &callbacks, .arg = f};
    struct link *link;
    struct err err;

    memset(path, 'x', sizeof(path));
    path[sizeof(path) - 1] = '\0';
    assert_int_equal(link_open(f->loop, &options, &link, &err), -ENAMETOOLONG);
}

int main(void)
{
#define WITH_LINK(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_LINK(test_link_talks_over_its_socket),
        WITH_LINK(test_link_comes_back_after_the_end_of_a_connection),
        WITH_LINK(test_link_waits_for_a_socket_that_is_not_there),
        WITH_LINK(test_link_reads_to_the_end_of_a_connection),
        WITH_LINK(test_link_keeps_what_the_socket_does_not_take),
        WITH_LINK(test_link_closed_in_a_callback_calls_no_other),
        WITH_LINK(test_link_open_refuses_a_path_that_is_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
