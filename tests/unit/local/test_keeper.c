#include "controller/pool/keeper.h"
#include "loop_until.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct {
    struct loop *loop;
    struct keeper *keeper;
    const char *script;
    char mark[64]; /* a file that the program makes */
    char *mark_env;
    struct keeper_record on_disk;
    size_t records;
    int command_result;
    size_t changes;
    bool ran_before_record;
    const char *complaint; /* or NULL */
} t;

static int command(void *arg, struct keeper_command *ret, struct err *err)
{
    static char *envp[2];
    static char shell[] = "sh", option[] = "-c";

    if (t.command_result < 0) {
        return err_text(err, t.command_result, "no such thing");
    }
    envp[0] = t.mark_env;
    ret->program = "/bin/sh";
    ret->argv[0] = shell;
    ret->argv[1] = option;
    ret->argv[2] = (char *)t.script;
    ret->envp = envp;
    return 0;
}

static void record(void *arg)
{
    t.on_disk = keeper_record(t.keeper);
    t.records++;
    t.ran_before_record |= t.records == 1 && access(t.mark, F_OK) == 0;
}

static void on_change(void *arg)
{
    t.changes++;
}

static const char *complaint(void *arg)
{
    return t.complaint;
}

static void open_keeper(const char *script, bool once)
{
    struct keeper_options options = {.name = "sh",
                                     .once = once,
                                     .command = command,
                                     .record = record,
                                     .complaint = complaint,
                                     .on_change = on_change};

    t.script = script;
    t.keeper = keeper_new(t.loop, &options);
}

static int setup(void **state)
{
    memset(&t, 0, sizeof(t));
    snprintf(t.mark, sizeof(t.mark), "/tmp/test-keeper-%d", (int)getpid());
    t.mark_env = xasprintf("MARK=%s", t.mark);
    unlink(t.mark);
    return loop_new(&t.loop, NULL);
}

static int teardown(void **state)
{
    struct keeper_record r = keeper_record(t.keeper);

    if (r.id.pid > 0) {
        kill(r.id.pid, SIGKILL);
    }
    keeper_close(t.keeper);
    loop_free(t.loop);
    unlink(t.mark);
    free(t.mark_env);
    return 0;
}

static bool mark_is_there(void)
{
    return access(t.mark, F_OK) == 0;
}

static bool is_idle(void)
{
    return keeper_state(t.keeper) == KEEPER_IDLE;
}

static bool was_started_three_times(void)
{
    return keeper_record(t.keeper).restarts >= 2;
}

static bool is_waiting(void)
{
    return keeper_state(t.keeper) == KEEPER_WAITING;
}

static void test_keeper_records_a_process_before_it_runs(void **state)
{
    open_keeper("echo x > $MARK; exec sleep 60", false);
    keeper_start(t.keeper);
    assert_int_equal(t.records, 1);
    assert_true(t.on_disk.id.pid > 0);
    assert_true(t.on_disk.started_at_ms > 0);
    assert_true(loop_until(t.loop, mark_is_there));
    assert_false(t.ran_before_record);
}

static void test_keeper_starts_again_what_ends(void **state)
{
    open_keeper("exit 3", false);
    keeper_start(t.keeper);
    assert_true(loop_until(t.loop, was_started_three_times));
    assert_string_equal(keeper_last_end(t.keeper), "exit status 3");
    assert_true(keeper_was_started(t.keeper));
    assert_true(t.changes > 0);
}

static void test_keeper_tells_an_end_with_the_last_complaint(void **state)
{
    t.complaint = "ERROR: Cannot do it";
    open_keeper("exit 3", true);
    keeper_start(t.keeper);
    assert_true(loop_until(t.loop, is_idle));
    assert_string_equal(keeper_last_end(t.keeper), "exit status 3: ERROR: Cannot do it");
}

static void test_keeper_tells_why_it_was_killed_and_forgets_it(void **state)
{
    open_keeper("echo x > $MARK; exec sleep 60", true);
    keeper_start(t.keeper);
    assert_true(loop_until(t.loop, mark_is_there));
    keeper_kill(t.keeper, "does not answer");
    assert_true(loop_until(t.loop, is_idle));
    assert_string_equal(keeper_last_end(t.keeper), "signal 9 (Killed): does not answer");
    t.script = "exit 3";
    keeper_start(t.keeper);
    assert_true(loop_until(t.loop, is_idle));
    assert_string_equal(keeper_last_end(t.keeper), "exit status 3");
}

static void test_keeper_once_leaves_the_next_start_to_its_owner(void **state)
{
    open_keeper("exit 3", true);
    keeper_start(t.keeper);
    assert_true(loop_until(t.loop, is_idle));
    assert_int_equal(t.on_disk.id.pid, 0);
    assert_int_equal(t.on_disk.restarts, 1);
}

static void test_keeper_tries_again_when_there_is_no_command(void **state)
{
    t.command_result = -ENOENT;
    open_keeper("", false);
    keeper_start(t.keeper);
    assert_true(loop_until(t.loop, is_waiting));
    assert_string_equal(keeper_last_end(t.keeper), "no such thing");
    assert_false(keeper_was_started(t.keeper));
}

static void test_keeper_stops_without_another_start(void **state)
{
    open_keeper("echo x > $MARK; exec sleep 60", false);
    keeper_start(t.keeper);
    assert_true(loop_until(t.loop, mark_is_there));
    keeper_stop(t.keeper, 60000);
    assert_int_equal(keeper_state(t.keeper), KEEPER_STOPPING);
    assert_true(loop_until(t.loop, is_idle));
    assert_int_equal(t.on_disk.id.pid, 0);
    assert_int_equal(t.on_disk.restarts, 0); /* it was asked for */
}

static void test_keeper_stops_while_it_waits(void **state)
{
    open_keeper("exit 3", false);
    keeper_start(t.keeper);
    assert_true(loop_until(t.loop, is_waiting));
    keeper_stop(t.keeper, 60000);
    assert_int_equal(keeper_state(t.keeper), KEEPER_IDLE);
}

static void test_keeper_forgets_a_process_that_lives_on(void **state)
{
    open_keeper("echo x > $MARK; exec sleep 60", false);
    keeper_start(t.keeper);
    assert_true(loop_until(t.loop, mark_is_there));
    struct process_id id = keeper_forget(t.keeper), now;
    assert_int_equal(keeper_state(t.keeper), KEEPER_IDLE);
    assert_int_equal(process_look(id.pid, &now, NULL), 0);
    kill(id.pid, SIGKILL);
}

static void test_keeper_adopts_what_its_predecessor_started(void **state)
{
    open_keeper("echo x > $MARK; while :; do sleep 1; done", false);
    keeper_start(t.keeper);
    assert_true(loop_until(t.loop, mark_is_there));
    struct keeper_record before = keeper_record(t.keeper);
    keeper_close(t.keeper);
    open_keeper("exec sleep 60", false);
    assert_true(keeper_adopt(t.keeper, &before));
    assert_int_equal(keeper_state(t.keeper), KEEPER_RUNNING);
    assert_int_equal(keeper_record(t.keeper).started_at_ms, before.started_at_ms);
    keeper_kill(t.keeper, "does not answer");
    while (keeper_record(t.keeper).id.pid == before.id.pid) {
        assert_true(loop_until(t.loop, is_waiting));
    }
    assert_int_equal(keeper_record(t.keeper).restarts, 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_keeper_records_a_process_before_it_runs),
        TEST(test_keeper_starts_again_what_ends),
        TEST(test_keeper_tells_an_end_with_the_last_complaint),
        TEST(test_keeper_tells_why_it_was_killed_and_forgets_it),
        TEST(test_keeper_once_leaves_the_next_start_to_its_owner),
        TEST(test_keeper_tries_again_when_there_is_no_command),
        TEST(test_keeper_stops_without_another_start),
        TEST(test_keeper_stops_while_it_waits),
        TEST(test_keeper_forgets_a_process_that_lives_on),
        TEST(test_keeper_adopts_what_its_predecessor_started),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
