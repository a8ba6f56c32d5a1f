#include "controller/pool/local_output.h"
#include "loop_until.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static struct {
    struct loop *loop;
    struct local_output *output;
    char folder[32], path[48], log_path[48];
    int log, stderr_was;
} t;

/* What was logged so far. */
static const char *logged(void)
{
    static char text[262144];
    ssize_t len = pread(t.log, text, sizeof(text) - 1, 0);

    text[len > 0 ? len : 0] = '\0';
    return text;
}

static const char *until_text;

static bool is_logged(void)
{
    return strstr(logged(), until_text) != NULL;
}

static void assert_logs(const char *text)
{
    until_text = text;
    if (!loop_until(t.loop, is_logged)) {
        fail_msg("not logged: %s\n%s", text, logged());
    }
}

static void open_output(void)
{
    struct err err;

    assert_int_equal(local_output_open(t.loop, t.path, "openvpn", 3, &t.output, &err), 0);
}

static void say(const char *text)
{
    assert_int_equal(write(local_output_fd(t.output), text, strlen(text)), strlen(text));
}

static int setup(void **state)
{
    snprintf(t.folder, sizeof(t.folder), "/tmp/test-output-XXXXXX");
    assert_non_null(mkdtemp(t.folder));
    snprintf(t.path, sizeof(t.path), "%s/out", t.folder);
    snprintf(t.log_path, sizeof(t.log_path), "%s/log", t.folder);
    t.log = open(t.log_path, O_RDWR | O_CREAT | O_CLOEXEC | O_APPEND, 0600);
    t.stderr_was = dup(STDERR_FILENO);
    dup2(t.log, STDERR_FILENO);
    log_init("vpn-controller", LOG_JSON, LOG_INFO);
    return loop_new(&t.loop, NULL);
}

static int teardown(void **state)
{
    dup2(t.stderr_was, STDERR_FILENO);
    close(t.stderr_was);
    close(t.log);
    local_output_close(t.output);
    t.output = NULL;
    loop_free(t.loop);
    unlink(t.path);
    unlink(t.log_path);
    return rmdir(t.folder);
}

static void test_output_is_logged_with_who_says_it(void **state)
{
    open_output();
    say("2026-01-31 12:00:00 Listening on \"x\"\n\nhalf ");
    assert_logs("\"level\":\"info\",\"program\":\"openvpn\",\"msg\":\"Listening on \\\"x\\\"\","
                "\"index\":3}\n");
    say("a line\n");
    assert_logs("\"msg\":\"half a line\"");
}

/* Their encoding is nobody's business; ours must stay JSON. */
static void test_output_in_another_encoding_stays_json(void **state)
{
    open_output();
    say("caf\xe9 \x01\n");
    assert_logs("\"msg\":\"caf? \\u0001\"");
}

static void test_output_keeps_the_newest_complaint(void **state)
{
    open_output();
    say("ERROR: Cannot open TUN/TAP dev /dev/net/tun: No such file or directory (errno=2)\n"
        "Exiting due to fatal error\n");
    assert_string_equal(
        local_output_complaint(t.output),
        "ERROR: Cannot open TUN/TAP dev /dev/net/tun: No such file or directory (errno=2)");
    assert_string_equal(local_output_complaint(t.output), "");
}

static void test_output_cuts_lines_without_end(void **state)
{
    char many[3001];

    memset(many, 'x', sizeof(many) - 1);
    many[sizeof(many) - 1] = '\0';
    open_output();
    say(many);
    say("\n");
    until_text = "xxx\",\"index\":3}\n{";
    assert_true(loop_until(t.loop, is_logged));
}

/* Who writes goes on, whether anybody reads or not, and never waits. */
static void test_output_outlives_its_reader(void **state)
{
    char page[4096];
    int written = 0;

    open_output();
    int writer = open(t.path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    local_output_close(t.output);
    memset(page, '.', sizeof(page));
    while (write(writer, page, sizeof(page)) > 0) {
        written++;
    }
    assert_int_equal(errno, EAGAIN);
    assert_true(written > 0);
    open_output(); /* the next controller */
    assert_logs("\"msg\":\"....");
    assert_int_equal(write(writer, "\nstill here\n", 12), 12);
    assert_logs("\"msg\":\"still here\"");
    close(writer);
}

static void test_output_takes_the_place_of_what_is_no_pipe(void **state)
{
    struct stat st;
    int fd = open(t.path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    close(fd);
    open_output();
    assert_int_equal(lstat(t.path, &st), 0);
    assert_true(S_ISFIFO(st.st_mode));
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void test_output_without_a_folder_is_an_error(void **state)
{
    struct err err;

    assert_int_equal(local_output_open(t.loop, "/no/such/folder/x", "x", 0, &t.output, &err),
                     -ENOENT);
    assert_null(t.output);
}

static void test_output_classifies(void **state)
{
    static const struct {
        const char *line, *text;
        enum log_level level;
    } cases[] = {
        {"[ALERT]    (12) : config : x", "config : x", LOG_ERROR},
        {"[WARNING]  (12) : Server a is DOWN", "Server a is DOWN", LOG_WARN},
        {"[WARNING]  (12) : Server i/vpn2 is going DOWN for maintenance. 0 active",
         "Server i/vpn2 is going DOWN for maintenance. 0 active", LOG_INFO},
        {"[NOTICE]   (12) : New worker", "New worker", LOG_INFO},
        {"2026-01-31 12:00:00 WARNING: --ping", "WARNING: --ping", LOG_WARN},
        {"2026-01-31 12:00:00 Options error: bad", "Options error: bad", LOG_ERROR},
        {"2026-01-31 12:00 no time", "2026-01-31 12:00 no time", LOG_INFO},
        {"TLS Error: handshake failed", "TLS Error: handshake failed", LOG_INFO}, /* a device's */
        {"2026-01-31 12:00:00 10.99.0.2:47816 peer info: IV_VER=2.6.14",
         "10.99.0.2:47816 peer info: IV_VER=2.6.14", LOG_DEBUG},
        {"", "", LOG_INFO},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *text = NULL;
        assert_int_equal(local_output_classify(cases[i].line, &text), cases[i].level);
        assert_string_equal(text, cases[i].text);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_output_is_logged_with_who_says_it),
        TEST(test_output_in_another_encoding_stays_json),
        TEST(test_output_keeps_the_newest_complaint),
        TEST(test_output_cuts_lines_without_end),
        TEST(test_output_outlives_its_reader),
        TEST(test_output_takes_the_place_of_what_is_no_pipe),
        TEST(test_output_without_a_folder_is_an_error),
        cmocka_unit_test(test_output_classifies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
