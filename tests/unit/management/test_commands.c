#include "sidecar-proxy/management/commands.h"

#include "tests/unit/cmocka_all.h"

#include <string.h>

static bool send_kind(struct commands *c, enum command_kind kind, uint64_t cid)
{
    struct command command = {.kind = kind, .cid = cid, .sent_ms = 100};

    return commands_send(c, &command, "");
}

static void test_replies_belong_to_commands_in_order(void **state)
{
    struct commands c;
    struct command got;

    commands_init(&c);
    for (uint64_t i = 0; i < 1000; i++) { /* the ring turns and grows meanwhile */
        send_kind(&c, COMMAND_KILL, 2 * i);
        send_kind(&c, COMMAND_ALLOW, 2 * i + 1);
        assert_int_equal(c.pending[COMMAND_KILL] + c.pending[COMMAND_ALLOW], c.count);
        const char *line = i % 2 == 0 ? "SUCCESS: client-kill command succeeded"
                                      : "SUCCESS: client-auth command succeeded";
        assert_int_equal(commands_take_reply(&c, line, 0, &got), REPLY_OK);
        assert_int_equal(got.cid, i);
    }
    assert_int_equal(c.count, 1000);
    commands_clear(&c);
}

static void test_body_ends_with_its_end_line(void **state)
{
    struct commands c;
    struct command got;

    commands_init(&c);
    send_kind(&c, COMMAND_STATUS, 0);
    send_kind(&c, COMMAND_PID, 0);
    assert_int_equal(commands_take_reply(&c, "TITLE\tx", 0, &got), REPLY_LINE);
    assert_int_equal(commands_take_reply(&c, "ERROR: is only a line by now", 0, &got), REPLY_LINE);
    assert_int_equal(commands_take_reply(&c, "END", 0, &got), REPLY_OK);
    assert_int_equal(commands_take_reply(&c, "SUCCESS: pid=1", 0, &got), REPLY_OK);
    assert_int_equal(got.kind, COMMAND_PID);
    commands_clear(&c);
}

static void test_body_may_be_an_error_instead(void **state)
{
    struct commands c;
    struct command got;

    commands_init(&c);
    send_kind(&c, COMMAND_STATUS, 0);
    assert_int_equal(commands_take_reply(&c, "ERROR: not now", 0, &got), REPLY_ERROR);
    assert_int_equal(c.count, 0);
    commands_clear(&c);
}

static void test_reply_of_another_command_is_a_mismatch(void **state)
{
    static const struct {
        enum command_kind owed;
        const char *line;
    } rows[] = {
        {COMMAND_PID, "SUCCESS: client-auth command succeeded"},
        {COMMAND_ALLOW, "SUCCESS: client-deny command succeeded"},
        {COMMAND_DENY, "SUCCESS: client-auth command succeeded"},
        {COMMAND_KILL, "SUCCESS: pid=1"},
        {COMMAND_KILL, "END"},
        {COMMAND_ALLOW, ""},
        {COMMAND_STATUS, "SUCCESS: pid=1"},
        {COMMAND_BYTECOUNT, "TITLE\tx"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct commands c;
        struct command got;
        commands_init(&c);
        assert_int_equal(commands_take_reply(&c, rows[i].line, 0, &got), REPLY_MISMATCH);
        send_kind(&c, rows[i].owed, 0);
        assert_int_equal(commands_take_reply(&c, rows[i].line, 0, &got), REPLY_MISMATCH);
        assert_int_equal(c.count, 1);
        commands_clear(&c);
    }
}

static void test_each_line_of_a_reply_puts_off_the_deadline(void **state)
{
    struct commands c;
    struct command got;

    commands_init(&c);
    assert_int_equal(commands_deadline(&c), INT64_MAX);
    send_kind(&c, COMMAND_STATUS, 0); /* sent at 100 */
    assert_int_equal(commands_deadline(&c), 100 + COMMAND_TIMEOUT_MS);
    commands_take_reply(&c, "TITLE\tx", 5000, &got);
    assert_int_equal(commands_deadline(&c), 5000 + COMMAND_TIMEOUT_MS);
    commands_clear(&c);
}

static void test_commands_send_refuses_at_its_limits(void **state)
{
    struct commands c;

    commands_init(&c);
    for (size_t i = 0; i < COMMANDS_MAX; i++) {
        assert_true(send_kind(&c, COMMAND_PID, 0));
    }
    assert_false(send_kind(&c, COMMAND_PID, 0));
    commands_clear(&c);
    assert_true(buf_reserve(&c.output, COMMANDS_OUTPUT_MAX - 3) == 0);
    memset(buf_end(&c.output), 'x', COMMANDS_OUTPUT_MAX - 3);
    buf_grew(&c.output, COMMANDS_OUTPUT_MAX - 3);
    assert_false(send_kind(&c, COMMAND_PID, 0)); /* "pid\n" is one byte too long */
    assert_int_equal(c.output.len, COMMANDS_OUTPUT_MAX - 3);
    assert_int_equal(c.count, 0);
    commands_clear(&c);
}

static void test_command_quote(void **state)
{
    static const struct {
        const char *text;
        const char *quoted;
    } rows[] = {
        {"", " \"\""},
        {"plain text", " \"plain text\""},
        {"\"\\'", " \"\\\"\\\\'\""},
        {"a\nEND\r\nb\tc\x1b[0m\x7f", " \"aENDbc[0m\""},
        {"# no comment; here", " \"# no comment; here\""},
        {"\xc3\xa9\xff", " \"\xc3\xa9\xff\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(buf) struct buf out;
        buf_init(&out, COMMAND_MAX);
        command_quote(&out, rows[i].text);
        assert_string_equal(buf_str(&out), rows[i].quoted);
    }
}

static void test_command_quote_cuts_before_a_character(void **state)
{
    AUTO(buf) struct buf out;
    char text[300];

    memset(text, 'x', sizeof(text));
    memcpy(text + COMMAND_TEXT_MAX - 1, "\xe6\x97\xa5", 3);
    text[sizeof(text) - 1] = '\0';
    buf_init(&out, COMMAND_MAX);
    command_quote(&out, text);
    assert_int_equal(out.len, COMMAND_TEXT_MAX - 1 + strlen(" \"\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replies_belong_to_commands_in_order),
        cmocka_unit_test(test_body_ends_with_its_end_line),
        cmocka_unit_test(test_body_may_be_an_error_instead),
        cmocka_unit_test(test_reply_of_another_command_is_a_mismatch),
        cmocka_unit_test(test_each_line_of_a_reply_puts_off_the_deadline),
        cmocka_unit_test(test_commands_send_refuses_at_its_limits),
        cmocka_unit_test(test_command_quote),
        cmocka_unit_test(test_command_quote_cuts_before_a_character),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
