/* Lines as they come out of standard error. */
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static int was, pipes[2];

static int set_up(void **state)
{
    assert_int_equal(pipe2(pipes, O_CLOEXEC | O_NONBLOCK), 0);
    was = dup(STDERR_FILENO);
    dup2(pipes[1], STDERR_FILENO);
    return 0;
}

static int tear_down(void **state)
{
    dup2(was, STDERR_FILENO);
    close(was);
    close(pipes[0]);
    close(pipes[1]);
    log_mark(NULL, NULL);
    return 0;
}

/* What was said since, without the time at the beginning of human lines. */
static const char *said(void)
{
    static char text[16384];
    ssize_t n = read(pipes[0], text, sizeof(text) - 1);

    text[n > 0 ? n : 0] = '\0';
    return text[0] == '{' || n <= 0 ? text : text + strlen("2026-11-23T10:00:00.000Z ");
}

static void test_log_marks_each_line_of_ours(void **state)
{
    log_init("vpn-sidecar", LOG_HUMAN, LOG_INFO);
    log_mark("instance", "fleet-1");
    log_info("connected", "uuid", "0123", NULL);
    assert_string_equal(said(), "info  vpn-sidecar: connected uuid=0123 instance=fleet-1\n");
    log_info("drained", NULL);
    assert_string_equal(said(), "info  vpn-sidecar: drained instance=fleet-1\n");
    log_line_of("openvpn", LOG_WARN, "TLS error", NULL);
    assert_string_equal(said(), "warn  openvpn: TLS error\n");
    log_init("vpn-sidecar", LOG_JSON, LOG_INFO);
    log_info("connected", "uuid", "0123", NULL);
    assert_non_null(
        strstr(said(), "\"msg\":\"connected\",\"uuid\":\"0123\",\"instance\":\"fleet-1\"}\n"));
    log_mark(NULL, NULL);
    log_info("connected", NULL);
    assert_non_null(strstr(said(), "\"msg\":\"connected\"}\n"));
}

/* And nothing else does, whatever somebody's text begins with. */
static void test_log_has_numbers_as_numbers(void **state)
{
    log_init("t", LOG_HUMAN, LOG_INFO);
    log_info("m", "n", NUM(-12), "m", NUM(0), "text", "7", NULL);
    assert_string_equal(said(), "info  t: m n=-12 m=0 text=7\n");
    log_init("t", LOG_JSON, LOG_INFO);
    log_info("m", "n", NUM(-12), "m", NUM(INT64_MAX), "text", "7", NULL);
    assert_non_null(
        strstr(said(), "\"msg\":\"m\",\"n\":-12,\"m\":9223372036854775807,\"text\":\"7\"}\n"));
    log_info("m", "a", "\0011,\"x\":2", "b", "\001", "c", "\001-", NULL);
    assert_non_null(strstr(said(), "\"a\":\"\\u00011,\\\"x\\\":2\",\"b\":\"\\u0001\","
                                   "\"c\":\"\\u0001-\"}\n"));
}

static void test_log_open_names_what_set_it(void **state)
{
    struct err err;

    setenv("LOG_FORMAT", "xml", 1);
    setenv("LOG_LEVEL", "loud", 1);
    assert_int_equal(log_open("t", "xml", "info", &err), -EINVAL);
    assert_string_equal(err.text, "LOG_FORMAT: 'xml' is not human or json");
    assert_int_equal(log_open("t", "yaml", "info", &err), -EINVAL);
    assert_string_equal(err.text, "--log-format: 'yaml' is not human or json");
    assert_int_equal(log_open("t", "json", "loud", &err), -EINVAL);
    assert_string_equal(err.text, "LOG_LEVEL: 'loud' is none of debug, info, warn, error");
    assert_int_equal(log_open("t", "json", "quiet", &err), -EINVAL);
    assert_string_equal(err.text, "--log-level: 'quiet' is none of debug, info, warn, error");
    assert_int_equal(log_open("t", "human", "warn", &err), 0);
    log_info("not this", NULL);
    log_warn("this", NULL);
    assert_string_equal(said(), "warn  t: this\n");
    log_open_early("t");
    log_error("bad settings", NULL);
    assert_string_equal(said(), "error t: bad settings\n");
    setenv("LOG_FORMAT", "json", 1);
    log_open_early("t");
    log_error("bad settings", NULL);
    assert_non_null(strstr(said(), "\"program\":\"t\",\"msg\":\"bad settings\"}\n"));
    unsetenv("LOG_FORMAT");
    unsetenv("LOG_LEVEL");
}

static void test_log_quotes_what_is_not_plain(void **state)
{
    log_init("x", LOG_HUMAN, LOG_INFO);
    log_info("said", "why", "no \"way\"\nout", "empty", "", "absent", NULL, NULL);
    assert_string_equal(said(), "info  x: said why=\"no \\\"way\\\"\\nout\" empty=\"\"\n");
    log_debug("not at this level", NULL);
    assert_string_equal(said(), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_log_marks_each_line_of_ours, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_log_has_numbers_as_numbers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_log_open_names_what_set_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_log_quotes_what_is_not_plain, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
