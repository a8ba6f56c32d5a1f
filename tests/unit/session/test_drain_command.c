/* The command against a sidecar's real control API. */
#include "sidecar-proxy/session/drain_command.h"

#include "sidecar-proxy/session/control.h"
#include "tests/unit/session/fakes.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
    struct loop *loop;
    struct sessions sessions;
    struct control *control;
    char folder[32];
    char *address, *path;
    uint16_t port;
    struct control_status status;
    struct control_drain drained;
    int drains;
    const char *phase_after; /* what a drain leads to */
    bool ended;
    enum drain_command_end end;
    char text[512];
};

static struct control_status on_status(void *arg)
{
    return ((struct fixture *)arg)->status;
}

static void on_drain(void *arg, const struct control_drain *d)
{
    struct fixture *f = arg;

    f->drained = *d;
    f->drains++;
    f->status.phase = f->phase_after;
}

static void open_control(struct fixture *f)
{
    AUTO(str) char *listen = xasprintf("%s,127.0.0.1:%u", f->address, f->port);
    const struct control_options options = {
        .loop = f->loop,
        .listen = listen,
        .keys = {.key = "service key"},
        .sessions = &f->sessions,
        .drain_default = {.rate_per_minute = 500, .timeout_s = 120},
        .status = on_status,
        .drain = on_drain,
        .arg = f,
    };

    assert_int_equal(control_open(&options, &f->control, NULL), 0);
}

static int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));

    snprintf(f->folder, sizeof(f->folder), "/tmp/test-drain-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    f->path = xasprintf("%s/c.sock", f->folder);
    f->address = xasprintf("unix:%s", f->path);
    f->port = fake_free_port();
    assert_int_equal(loop_new(&f->loop, NULL), 0);
    sessions_init(&f->sessions, 4);
    f->status = (struct control_status){
        .pool = "fleet", .index = 1, .epoch = "e", .link = "live", .phase = "ready", .sessions = 3};
    f->phase_after = "draining";
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    control_close(f->control);
    sessions_clear(&f->sessions);
    loop_free(f->loop);
    unlink(f->path);
    rmdir(f->folder);
    free(f->path);
    free(f->address);
    free(f);
    return 0;
}

static void on_end(void *arg, enum drain_command_end end, const char *text)
{
    struct fixture *f = arg;

    assert_false(f->ended);
    f->ended = true;
    f->end = end;
    snprintf(f->text, sizeof(f->text), "%s", text);
}

static struct drain_command_options options_of(struct fixture *f)
{
    return (struct drain_command_options){
        .loop = f->loop,
        .control = f->address,
        .rate_per_minute = 60,
        .timeout_s = 30,
        .on_end = on_end,
        .arg = f,
    };
}

static void start(const struct drain_command_options *options)
{
    struct drain_command *command;

    assert_int_equal(drain_command_open(options, &command, NULL), 0);
}

static bool is_ended(void *arg)
{
    return ((struct fixture *)arg)->ended;
}

static bool is_asked(void *arg)
{
    return ((struct fixture *)arg)->drains > 0;
}

static void test_drain_command_waits_until_nobody_is_left(void **state)
{
    struct fixture *f = *state;
    struct drain_command_options o = options_of(f);

    open_control(f);
    start(&o);
    fake_run_until(f->loop, is_asked, f);
    assert_int_equal(f->drained.rate_per_minute, 60);
    assert_int_equal(f->drained.timeout_s, 30);
    fake_settle(f->loop);
    assert_false(f->ended);
    f->status.phase = "drained";
    fake_run_until(f->loop, is_ended, f);
    assert_int_equal(f->end, DRAIN_COMMAND_EMPTY);
    assert_int_equal(f->drains, 1);
}

static void test_drain_command_without_figures_takes_the_sidecars(void **state)
{
    struct fixture *f = *state;
    struct drain_command_options o = options_of(f);

    o.rate_per_minute = 0;
    o.timeout_s = -1;
    f->phase_after = "drained";
    open_control(f);
    start(&o);
    fake_run_until(f->loop, is_ended, f);
    assert_int_equal(f->drained.rate_per_minute, 500);
    assert_int_equal(f->drained.timeout_s, 120);
}

static void test_drain_command_ends_with_its_time(void **state)
{
    struct fixture *f = *state;
    struct drain_command_options o = options_of(f);

    o.timeout_s = 0;
    o.margin_ms = 1;
    open_control(f);
    start(&o);
    fake_run_until(f->loop, is_ended, f);
    assert_int_equal(f->end, DRAIN_COMMAND_TIME_OVER);
    assert_string_equal(f->text, "3 devices are left");
}

static void test_drain_command_waits_for_a_sidecar_that_restarts(void **state)
{
    struct fixture *f = *state;
    struct drain_command_options o = options_of(f);

    start(&o);
    fake_settle(f->loop);
    open_control(f);
    fake_run_until(f->loop, is_asked, f);
    control_close(f->control);
    f->status.phase = "ready"; /* the new one knows of no drain */
    f->drains = 0;
    f->phase_after = "drained";
    open_control(f);
    fake_run_until(f->loop, is_ended, f);
    assert_int_equal(f->drains, 1);
    assert_int_equal(f->end, DRAIN_COMMAND_EMPTY);
}

static void test_drain_command_gives_up_when_nobody_answers(void **state)
{
    struct fixture *f = *state;
    struct drain_command_options o = options_of(f);

    o.silence_ms = 1;
    start(&o);
    fake_run_until(f->loop, is_ended, f);
    assert_int_equal(f->end, DRAIN_COMMAND_REFUSED);
    assert_non_null(strstr(f->text, "no sidecar answers: "));
}

static void test_drain_command_over_tcp_needs_the_key(void **state)
{
    struct fixture *f = *state;
    AUTO(str) char *tcp = xasprintf("127.0.0.1:%u", f->port);
    struct drain_command_options o = options_of(f);

    f->phase_after = "drained";
    o.control = tcp;
    open_control(f);
    start(&o);
    fake_run_until(f->loop, is_ended, f);
    assert_int_equal(f->end, DRAIN_COMMAND_REFUSED);
    assert_non_null(strstr(f->text, "401"));
    f->ended = false;
    o.keys.key = "service key";
    start(&o);
    fake_run_until(f->loop, is_ended, f);
    assert_int_equal(f->end, DRAIN_COMMAND_EMPTY);
}

static void test_drain_command_refuses_what_is_no_address(void **state)
{
    struct fixture *f = *state;
    struct drain_command_options o = options_of(f);
    struct drain_command *command;
    struct err err;

    o.control = "nowhere";
    assert_int_equal(drain_command_open(&o, &command, &err), -EINVAL);
    assert_non_null(strstr(err.text, "--control"));
}

int main(void)
{
#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_FIXTURE(test_drain_command_waits_until_nobody_is_left),
        WITH_FIXTURE(test_drain_command_without_figures_takes_the_sidecars),
        WITH_FIXTURE(test_drain_command_ends_with_its_time),
        WITH_FIXTURE(test_drain_command_waits_for_a_sidecar_that_restarts),
        WITH_FIXTURE(test_drain_command_gives_up_when_nobody_answers),
        WITH_FIXTURE(test_drain_command_over_tcp_needs_the_key),
        WITH_FIXTURE(test_drain_command_refuses_what_is_no_address),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
