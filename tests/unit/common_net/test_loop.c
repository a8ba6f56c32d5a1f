#include "tests/unit/common_net/net_test.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>

static char order[16];
static char a[] = "a";
static char b[] = "b";
static char plus[] = "+";

static void note(void *arg)
{
    strcat(order, arg);
}

static void note_and_post(void *arg)
{
    note(arg);
    loop_post(loop, note, plus);
}

static void test_posts_run_in_order_and_not_at_once(void **state)
{
    (void)state;
    order[0] = '\0';
    loop_post(loop, note_and_post, a);
    loop_post(loop, note, b);
    assert_string_equal(order, "");
    RUN_UNTIL(strlen(order) == 3);
    assert_string_equal(order, "ab+");
}

struct fire {
    int count;
    int64_t at_ms;
    struct loop_timer *timer;
};

static void on_fire(void *arg)
{
    struct fire *f = arg;

    f->count++;
    f->at_ms = clock_monotonic_ms();
}

static void test_timer_never_fires_early_in_a_long_round(void **state)
{
    (void)state;
    struct fire f = {.timer = loop_timer_new(loop, on_fire, &f)};
    struct timespec busy = {.tv_nsec = 30 * 1000000};

    net_step(__FILE__, __LINE__, "a round");
    nanosleep(&busy, NULL); /* the loop's own clock stands still meanwhile */
    int64_t started_ms = clock_monotonic_ms();
    loop_timer_start(f.timer, 20, 0);
    RUN_UNTIL(f.count == 1);
    assert_true(f.at_ms - started_ms >= 20);
    loop_timer_close(f.timer);
}

static void on_fire_close(void *arg)
{
    struct fire *f = arg;

    f->count++;
    loop_timer_close(f->timer);
    loop_timer_close(f->timer);
    loop_timer_start(f->timer, 1, 1); /* does nothing any more */
}

static void test_timer_closed_in_its_callback_is_silent(void **state)
{
    (void)state;
    struct fire closing = {.timer = loop_timer_new(loop, on_fire_close, &closing)};
    struct fire later = {.timer = loop_timer_new(loop, on_fire, &later)};

    loop_timer_start(closing.timer, 1, 1);
    loop_timer_start(later.timer, 20, 0);
    RUN_UNTIL(later.count == 1);
    assert_int_equal(closing.count, 1);
    loop_timer_close(later.timer);
}

static void on_fire_again(void *arg)
{
    struct fire *f = arg;

    assert_true(++f->count < 100000); /* the round never ends */
    loop_timer_start(f->timer, 0, 0);
}

static void test_timer_that_starts_itself_lets_others_run(void **state)
{
    (void)state;
    struct fire again = {.timer = loop_timer_new(loop, on_fire_again, &again)};
    struct fire other = {0};

    loop_timer_start(again.timer, 0, 0);
    RUN_UNTIL(again.count > 1);
    loop_post(loop, on_fire, &other);
    RUN_UNTIL(other.count == 1);
    loop_timer_close(again.timer);
}

static void test_timer_repeats_until_stopped(void **state)
{
    (void)state;
    struct fire f = {.timer = loop_timer_new(loop, on_fire, &f)};

    loop_timer_start(f.timer, 0, 1);
    RUN_UNTIL(f.count >= 3);
    assert_true(loop_timer_active(f.timer));
    loop_timer_stop(f.timer);
    assert_false(loop_timer_active(f.timer));
    loop_timer_close(f.timer);
}

struct seen {
    int events;
    int error;
    int count;
};

static void on_seen(void *arg, int events, int error)
{
    struct seen *s = arg;

    s->events |= events;
    s->error = error;
    s->count++;
}

static void test_io_tells_what_is_ready(void **state)
{
    (void)state;
    int fds[2];
    struct seen seen = {0};
    struct loop_io *io;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    assert_int_equal(loop_io_new(loop, fds[0], on_seen, &seen, &io, NULL), 0);

    loop_io_set(io, LOOP_READ);
    net_step(__FILE__, __LINE__, "a round");
    assert_int_equal(seen.count, 0);
    assert_int_equal(write(fds[1], "x", 1), 1);
    RUN_UNTIL(seen.events == LOOP_READ);
    loop_io_set(io, LOOP_READ | LOOP_WRITE);
    RUN_UNTIL(seen.events == (LOOP_READ | LOOP_WRITE));
    loop_io_set(io, 0);
    int count = seen.count;
    net_step(__FILE__, __LINE__, "a round");
    assert_int_equal(seen.count, count);
    loop_io_close(io);
    close(fds[0]);
    close(fds[1]);
}

static void test_io_reports_a_failed_descriptor_as_ready_and_keeps_its_errno(void **state)
{
    (void)state;
    char address[32];
    struct seen seen = {0};
    struct loop_io *io;
    int listener = raw_listen(address);
    struct raw ours = raw_connect(address);
    struct raw peer;
    RUN_UNTIL(raw_accept(listener, &peer));

    assert_int_equal(loop_io_new(loop, ours.fd, on_seen, &seen, &io, NULL), 0);
    loop_io_set(io, LOOP_READ);
    raw_reset(&peer);
    RUN_UNTIL(seen.count >= 2); /* level-triggered: it is not told once only */
    assert_int_equal(seen.events, LOOP_READ);
    assert_int_equal(seen.error, 0);
    char byte;
    assert_int_equal(recv(ours.fd, &byte, 1, 0), -1);
    assert_int_equal(errno, ECONNRESET);
    loop_io_close(io);
    raw_close(&ours);
    close(listener);
}

static void test_signal_reaches_the_loop(void **state)
{
    (void)state;
    struct loop_signal *s;
    order[0] = '\0';
    assert_int_equal(loop_signal_new(loop, SIGUSR1, note, a, &s, NULL), 0);
    raise(SIGUSR1);
    RUN_UNTIL(strcmp(order, "a") == 0);
    loop_signal_close(s);
    struct sigaction pipe_action;
    sigaction(SIGPIPE, NULL, &pipe_action);
    assert_ptr_equal(pipe_action.sa_handler, SIG_IGN);
    struct err err;
    assert_true(loop_signal_new(loop, SIGKILL, note, a, &s, &err) < 0);
}

static void *send_wake(void *wake)
{
    loop_wake_send(wake);
    return NULL;
}

static void test_wake_comes_from_another_thread(void **state)
{
    (void)state;
    struct loop_wake *wake;
    pthread_t thread;
    order[0] = '\0';
    assert_int_equal(loop_wake_new(loop, note, b, &wake, NULL), 0);
    assert_int_equal(pthread_create(&thread, NULL, send_wake, wake), 0);
    RUN_UNTIL(order[0] == 'b');
    pthread_join(thread, NULL);
    loop_wake_close(wake);
}

struct resolved {
    int count;
    int result;
    char first[64];
};

static void on_resolved(void *arg, int result, const char *const *addresses, size_t count)
{
    struct resolved *r = arg;

    r->count++;
    r->result = result;
    if (count > 0) {
        snprintf(r->first, sizeof(r->first), "%s", addresses[0]);
    }
}

static void test_resolve_gives_numeric_addresses(void **state)
{
    (void)state;
    struct resolved r = {0};
    loop_resolve_start(loop, "127.0.0.1", on_resolved, &r);
    assert_int_equal(r.count, 0);
    RUN_UNTIL(r.count == 1);
    assert_int_equal(r.result, 0);
    assert_string_equal(r.first, "127.0.0.1");
}

static void test_resolve_of_an_impossible_name_fails_later(void **state)
{
    (void)state;
    struct resolved r = {0};
    char name[2048];
    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    loop_resolve_start(loop, name, on_resolved, &r);
    assert_int_equal(r.count, 0);
    RUN_UNTIL(r.count == 1);
    assert_int_equal(r.result, -EHOSTUNREACH);
}

static void test_resolve_cancelled_is_silent(void **state)
{
    (void)state;
    struct resolved r = {0};
    loop_resolve_cancel(loop_resolve_start(loop, "127.0.0.1", on_resolved, &r));
    struct resolved after = {0};
    loop_resolve_start(loop, "127.0.0.1", on_resolved, &after);
    RUN_UNTIL(after.count == 1);
    assert_int_equal(r.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        net_test(test_posts_run_in_order_and_not_at_once),
        net_test(test_timer_never_fires_early_in_a_long_round),
        net_test(test_timer_closed_in_its_callback_is_silent),
        net_test(test_timer_that_starts_itself_lets_others_run),
        net_test(test_timer_repeats_until_stopped),
        net_test(test_io_tells_what_is_ready),
        net_test(test_io_reports_a_failed_descriptor_as_ready_and_keeps_its_errno),
        net_test(test_signal_reaches_the_loop),
        net_test(test_wake_comes_from_another_thread),
        net_test(test_resolve_gives_numeric_addresses),
        net_test(test_resolve_of_an_impossible_name_fails_later),
        net_test(test_resolve_cancelled_is_silent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
