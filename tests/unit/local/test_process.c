#include "controller/pool/process.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

static struct {
    struct loop *loop;
    struct process *process;
    bool ended, timed_out;
    struct process_end end;
    char path[64]; /* a file that does not exist yet */
    bool (*until)(void);
} t;

static void on_end(void *arg, const struct process_end *end)
{
    t.ended = true;
    t.end = *end;
    t.process = NULL;
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
    loop_timer_start(poll, 0, 5);
    loop_timer_start(deadline, 20000, 0);
    loop_run(t.loop);
    loop_timer_close(poll);
    loop_timer_close(deadline);
    assert_false(t.timed_out);
}

static bool ended(void)
{
    return t.ended;
}

static bool file_is_there(void)
{
    return access(t.path, F_OK) == 0;
}

static int setup(void **state)
{
    memset(&t, 0, sizeof(t));
    snprintf(t.path, sizeof(t.path), "/tmp/test-process-%d", (int)getpid());
    unlink(t.path);
    return loop_new(&t.loop, NULL);
}

static int teardown(void **state)
{
    if (t.process != NULL) {
        process_signal(t.process, SIGKILL);
        process_close(t.process);
    }
    loop_free(t.loop);
    unlink(t.path);
    return 0;
}

static void hold_shell_as(const char *shell, const char *user, const char *script)
{
    char *argv[] = {(char[]){"sh"}, (char[]){"-c"}, (char *)script, NULL};
    char *path = xasprintf("FILE=%s", t.path);
    char *envp[] = {path, NULL};
    struct process_spec spec = {
        .program = shell,
        .argv = argv,
        .envp = envp,
        .user = user,
        .stdin_fd = -1,
        .output_fd = -1,
    };
    struct err err;

    assert_int_equal(process_hold(t.loop, &spec, on_end, NULL, &t.process, &err), 0);
    free(path);
}

static void hold_shell(const char *script)
{
    hold_shell_as("/bin/sh", NULL, script);
}

static void test_process_does_nothing_before_release(void **state)
{
    hold_shell("echo x > $FILE; exit 3");
    struct process_id id = process_id(t.process), now;
    assert_int_equal(process_look(id.pid, &now, NULL), 0);
    assert_int_equal(id.start, now.start);
    assert_false(file_is_there());
    process_release(t.process);
    run_until(ended);
    assert_true(file_is_there());
    assert_true(t.end.known);
    assert_false(t.end.signaled);
    assert_int_equal(t.end.code, 3);
}

static void test_process_held_ends_with_who_held_it(void **state)
{
    hold_shell("echo x > $FILE");
    pid_t pid = process_id(t.process).pid;
    process_close(t.process);
    t.process = NULL;
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_false(file_is_there());
}

static void test_process_gets_only_the_environment_given(void **state)
{
    setenv("SECRET_OF_OURS", "x", 1);
    hold_shell("env > $FILE; test -z \"$SECRET_OF_OURS\"");
    process_release(t.process);
    run_until(ended);
    assert_int_equal(t.end.code, 0);
}

static void test_process_inherits_no_descriptor(void **state)
{
    int leak = dup(STDOUT_FILENO); /* without FD_CLOEXEC */
    AUTO(str) char *script = xasprintf("test ! -e /proc/self/fd/%d", leak);

    hold_shell(script);
    process_release(t.process);
    run_until(ended);
    assert_int_equal(t.end.code, 0);
    close(leak);
}

/* A program below /root, say: nobody runs it, and may nothing there. */
static void test_process_becomes_who_may_not_look_where_its_program_is(void **state)
{
    char folder[] = "/tmp/test-process-XXXXXX";

    if (geteuid() != 0) {
        skip();
    }
    assert_non_null(mkdtemp(folder)); /* 0700 */
    AUTO(str) char *shell = xasprintf("%s/sh", folder);
    AUTO(str) char *copy = xasprintf("cp /bin/sh %s && chmod 755 %s", shell, shell);
    assert_int_equal(system(copy), 0);
    AUTO(str)
    char *script = xasprintf("test \"$(id -un)\" = nobody && ! test -e %s && "
                             "grep -q '^CapEff:[\t0]*$' /proc/self/status && "
                             "grep -q '^CapPrm:[\t0]*$' /proc/self/status",
                             shell);
    hold_shell_as(shell, "nobody", script);
    process_release(t.process);
    run_until(ended);
    unlink(shell);
    rmdir(folder);
    assert_false(t.end.signaled);
    assert_int_equal(t.end.code, 0);
}

static void test_process_is_a_session_of_its_own(void **state)
{
    hold_shell("read -r a b c d e sid rest < /proc/self/stat; test $sid = $$");
    process_release(t.process);
    run_until(ended);
    assert_int_equal(t.end.code, 0);
}

static void test_process_stop_sends_sigterm(void **state)
{
    hold_shell("echo x > $FILE; exec sleep 60");
    process_release(t.process);
    run_until(file_is_there);
    process_stop(t.process, 60000);
    run_until(ended);
    assert_true(t.end.signaled);
    assert_int_equal(t.end.code, SIGTERM);
    assert_string_equal(process_end_text(&t.end).text, "signal 15 (Terminated)");
}

static void test_process_stop_kills_who_does_not_listen(void **state)
{
    hold_shell("trap '' TERM; echo x > $FILE; while :; do sleep 1; done");
    process_release(t.process);
    run_until(file_is_there);
    process_stop(t.process, 60000);
    process_stop(t.process, 50); /* a shorter grace counts */
    run_until(ended);
    assert_int_equal(t.end.code, SIGKILL);
}

/* A sleep that is not our child: its parent, a shell, has ended. */
static struct process_id start_stranger(void)
{
    char text[32] = "";
    struct process_id id;
    FILE *f = popen("sleep 60 >/dev/null & echo $!", "r");

    assert_non_null(f);
    assert_non_null(fgets(text, sizeof(text), f));
    pclose(f);
    char name[16] = "";
    while (strcmp(name, "sleep") != 0) { /* until its exec is done */
        assert_int_equal(process_look((pid_t)atoi(text), &id, name), 0);
    }
    return id;
}

static void test_process_adopts_who_is_not_our_child(void **state)
{
    struct process_id id = start_stranger();
    struct err err;

    assert_int_equal(process_adopt(t.loop, id, "sleep", on_end, NULL, &t.process, &err), 0);
    process_stop(t.process, 60000);
    run_until(ended);
    assert_false(t.end.known);
    assert_string_equal(process_end_text(&t.end).text, "gone");
}

static void test_process_adopts_no_other_start_time_or_name(void **state)
{
    struct process_id id = start_stranger(), other = id;
    struct err err;

    other.start++;
    assert_int_equal(process_adopt(t.loop, other, "sleep", on_end, NULL, &t.process, &err), -ESRCH);
    assert_int_equal(process_adopt(t.loop, id, "openvpn", on_end, NULL, &t.process, &err), -ESRCH);
    assert_int_equal(
        process_adopt(t.loop, (struct process_id){0}, "sleep", on_end, NULL, &t.process, &err),
        -ESRCH);
    kill(id.pid, SIGKILL);
}

static bool sleeps_for(void *arg, char *const *words)
{
    return words[1] != NULL && words[2] == NULL && strcmp(words[1], arg) == 0;
}

static bool finds(const char *name, const char *seconds, struct process_id id)
{
    struct process_id *found;
    size_t count = process_scan(name, sleeps_for, (void *)seconds, &found);
    bool is_there = false;

    for (size_t i = 0; i < count; i++) {
        is_there |= found[i].pid == id.pid && found[i].start == id.start;
    }
    free(found);
    return is_there;
}

static void test_process_scan_finds_by_name_and_words(void **state)
{
    struct process_id id = start_stranger();

    assert_true(finds("sleep", "60", id));
    assert_false(finds("sleep", "6", id));
    assert_false(finds("slee", "60", id));
    kill(id.pid, SIGKILL);
}

static void test_process_await_sends_nothing_before_its_time(void **state)
{
    hold_shell("trap 'exit 7' TERM; echo x > $FILE; while :; do sleep 0.01; done");
    process_release(t.process);
    run_until(file_is_there);
    process_await(t.process, 50);
    run_until(ended);
    assert_int_equal(t.end.code, SIGKILL);
}

static void test_process_stop_tells_who_was_awaited(void **state)
{
    hold_shell("trap 'exit 7' TERM; echo x > $FILE; while :; do sleep 0.01; done");
    process_release(t.process);
    run_until(file_is_there);
    process_await(t.process, 60000);
    process_stop(t.process, 60000);
    run_until(ended);
    assert_int_equal(t.end.code, 7);
}

static void test_process_find_program_looks_in_sbin_too(void **state)
{
    AUTO(str) char *path = NULL;
    struct err err;

    setenv("PATH", "/nowhere", 1);
    assert_int_equal(process_find_program("ldconfig", false, &path, &err), 0);
    assert_int_equal(process_find_program("no-such-program", true, &path, &err), -ENOENT);
    assert_non_null(strstr(err.text, "no-such-program"));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_process_does_nothing_before_release),
        TEST(test_process_held_ends_with_who_held_it),
        TEST(test_process_gets_only_the_environment_given),
        TEST(test_process_inherits_no_descriptor),
        TEST(test_process_becomes_who_may_not_look_where_its_program_is),
        TEST(test_process_is_a_session_of_its_own),
        TEST(test_process_stop_sends_sigterm),
        TEST(test_process_stop_kills_who_does_not_listen),
        TEST(test_process_adopts_who_is_not_our_child),
        TEST(test_process_adopts_no_other_start_time_or_name),
        TEST(test_process_scan_finds_by_name_and_words),
        TEST(test_process_await_sends_nothing_before_its_time),
        TEST(test_process_stop_tells_who_was_awaited),
        TEST(test_process_find_program_looks_in_sbin_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
