/* Real processes with names and command lines as ours have them: copies of sh that read from a pipe
 * until it is closed. */
#include "controller/pool/local_strays.h"

#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#define MANY 70

static struct {
    char folder[32]; /* with run/ and other/ */
    struct local_paths paths;
    int gate[2];
    size_t started;
} t;

static void run(const char *command)
{
    AUTO(str) char *all = xasprintf("cd %s && %s", t.folder, command);

    assert_int_equal(system(all), 0);
}

static int setup(void **state)
{
    memset(&t, 0, sizeof(t));
    strcpy(t.folder, "/tmp/test-strays-XXXXXX");
    assert_non_null(mkdtemp(t.folder));
    run("mkdir run run/below run2 other && ln -s run link");
    AUTO(str) char *runtime = xasprintf("%s/run", t.folder);
    local_paths_init(&t.paths, runtime, "/nowhere");
    return pipe(t.gate);
}

static int teardown(void **state)
{
    close(t.gate[1]);
    for (size_t i = 0; i < t.started; i++) {
        wait(NULL);
    }
    close(t.gate[0]);
    local_paths_clear(&t.paths);
    AUTO(str) char *command = xasprintf("rm -r %s", t.folder);
    return system(command);
}

/* --- by their words --- */

/* One option with a path in our folder, among others. */
static bool ours(enum local_tool tool, const char *option, const char *folder, const char *file)
{
    AUTO(str) char *path = xasprintf("%s/%s/%s", t.folder, folder, file);
    char *const words[] = {
        (char[]){"program"}, (char[]){"--verb"}, (char[]){"1"}, (char *)option, path, NULL};

    return local_strays_is_ours(&t.paths, tool, words);
}

static void test_strays_are_ours_by_one_of_our_paths(void **state)
{
    assert_true(ours(TOOL_OPENVPN, "--management", "run", "server-1.sock"));
    assert_true(ours(TOOL_OPENVPN, "--management", "run", "server-1024.sock"));
    assert_true(ours(TOOL_SIDECAR, "--management", "run", "server-3.sock"));
    assert_true(ours(TOOL_HAPROXY, "-f", "run", "haproxy.cfg"));
    assert_true(ours(TOOL_STATE, "--owner", "run", "controller.sock"));
    assert_true(ours(TOOL_CONNECT_PROXY, "--owner", "run", "controller.sock"));
}

static void test_strays_are_ours_however_the_folder_is_spelled(void **state)
{
    assert_true(ours(TOOL_OPENVPN, "--management", "run/", "server-1.sock"));
    assert_true(ours(TOOL_OPENVPN, "--management", "run/../run", "server-1.sock"));
    assert_true(ours(TOOL_STATE, "--owner", "link", "controller.sock"));
}

static void test_strays_of_other_folders_are_not_ours(void **state)
{
    static const char *const folders[] = {"other", "run2", "run/below", ".", "not/there"};

    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        assert_false(ours(TOOL_OPENVPN, "--management", folders[i], "server-1.sock"));
        assert_false(ours(TOOL_SIDECAR, "--management", folders[i], "server-1.sock"));
        assert_false(ours(TOOL_HAPROXY, "-f", folders[i], "haproxy.cfg"));
        assert_false(ours(TOOL_STATE, "--owner", folders[i], "controller.sock"));
        assert_false(ours(TOOL_CONNECT_PROXY, "--owner", folders[i], "controller.sock"));
    }
}

/* Debian's openvpn@server-1, and one whose certificates lie with us. */
static void test_strays_are_not_ours_by_other_files_in_our_folder(void **state)
{
    assert_false(ours(TOOL_OPENVPN, "--status", "run", "server-1.status"));
    assert_false(ours(TOOL_OPENVPN, "--writepid", "run", "server-1.pid"));
    assert_false(ours(TOOL_OPENVPN, "--ca", "run/tls", "ca.crt"));
    assert_false(ours(TOOL_OPENVPN, "--management", "run", "client.sock"));
    assert_false(ours(TOOL_HAPROXY, "-f", "run", "another.cfg"));
    assert_false(ours(TOOL_NFT, "-f", "run", "haproxy.cfg"));
}

static void test_strays_are_not_ours_by_words_that_end_early(void **state)
{
    char *const none[] = {NULL}, *const no_value[] = {(char[]){"vpn-state"}, (char[]){"--owner"},
                                                      NULL};
    char *const no_path[] = {(char[]){"vpn-state"}, (char[]){"--owner"},
                             (char[]){"controller.sock"}, NULL};

    assert_false(local_strays_is_ours(&t.paths, TOOL_STATE, none));
    assert_false(local_strays_is_ours(&t.paths, TOOL_STATE, no_value));
    assert_false(local_strays_is_ours(&t.paths, TOOL_STATE, no_path));
}

/* --- among all processes --- */

/* Runs once it returns. words: behind its name, separated by spaces. */
static void start(const char *name, const char *words)
{
    int ready[2];
    char byte;
    AUTO(str)
    char *command = xasprintf("test -e %s || cp /bin/sh %s; exec ./%s -c 'exec >&-; read x' %s",
                              name, name, name, words);

    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (chdir(t.folder) == 0 && dup2(t.gate[0], STDIN_FILENO) >= 0 &&
            dup2(ready[1], STDOUT_FILENO) >= 0) {
            close(t.gate[1]);
            close(ready[0]);
            close(ready[1]);
            execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        }
        _exit(1);
    }
    assert_true(pid > 0);
    t.started++;
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 0); /* until it closes its output */
    close(ready[0]);
}

static size_t count(enum local_tool tool)
{
    struct process_id *found;
    size_t n = local_strays_find(&t.paths, tool, &found);

    free(found);
    return n;
}

static void start_at(const char *name, const char *option, const char *folder, const char *more)
{
    AUTO(str) char *words = xasprintf("%s %s/%s%s", option, t.folder, folder, more);

    start(name, words);
}

static void test_strays_are_found_however_many_there_are(void **state)
{
    for (size_t i = 1; i <= MANY; i++) {
        AUTO(str) char *socket = xasprintf("/server-%zu.sock", i);
        start_at("vpn-sidecar", "--management", "run", socket);
    }
    start_at("vpn-sidecar", "--management", "other", "/server-1.sock");
    assert_int_equal(count(TOOL_SIDECAR), MANY);
    assert_int_equal(count(TOOL_OPENVPN), 0);
}

static void test_strays_are_found_by_a_name_that_the_kernel_cuts(void **state)
{
    start_at("vpn-connect-proxy", "--owner", "run", "/controller.sock");
    start_at("vpn-connect-proxy", "--owner", "other", "/controller.sock");
    assert_int_equal(count(TOOL_CONNECT_PROXY), 1);
}

/* --- others --- */

/* In a network of its own: who knows what runs in ours. */
static bool leave_network(void)
{
    return unshare(CLONE_NEWNET) == 0;
}

static void test_alone_is_who_sees_only_its_own(void **state)
{
    if (!leave_network()) {
        skip();
    }
    start_at("vpn-state", "--owner", "run", "/controller.sock");
    start_at("openvpn", "--dev tun1 --management", "run", "/server-1.sock unix");
    start_at("openvpn", "--dev tun7 --management", "other", "/server-1.sock unix");
    start_at("openvpn", "--dev tun7 --management", "other", "/client.sock unix");
    start_at("haproxy", "-f", "other", "/haproxy.cfg");
    assert_int_equal(local_strays_check_alone(&t.paths, NULL), 0);
}

static void assert_not_alone(const char *name)
{
    AUTO(str) char *folder = xasprintf("--runtime-dir %s/other,", t.folder);
    struct err err;

    assert_int_equal(local_strays_check_alone(&t.paths, &err), -EBUSY);
    assert_non_null(strstr(err.text, name));
    assert_non_null(strstr(err.text, folder));
}

static void test_alone_is_nobody_beside_anothers_instance(void **state)
{
    if (!leave_network()) {
        skip();
    }
    start_at("openvpn", "--dev tun1 --management", "other", "/server-1.sock unix");
    assert_not_alone("openvpn");
}

static void test_alone_is_nobody_beside_anothers_programs(void **state)
{
    if (!leave_network()) {
        skip();
    }
    start_at("vpn-connect-proxy", "--owner", "other", "/controller.sock");
    assert_not_alone("vpn-connect-proxy");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_strays_are_ours_by_one_of_our_paths),
        TEST(test_strays_are_ours_however_the_folder_is_spelled),
        TEST(test_strays_of_other_folders_are_not_ours),
        TEST(test_strays_are_not_ours_by_other_files_in_our_folder),
        TEST(test_strays_are_not_ours_by_words_that_end_early),
        TEST(test_strays_are_found_however_many_there_are),
        TEST(test_strays_are_found_by_a_name_that_the_kernel_cuts),
        TEST(test_alone_is_who_sees_only_its_own),
        TEST(test_alone_is_nobody_beside_anothers_instance),
        TEST(test_alone_is_nobody_beside_anothers_programs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
