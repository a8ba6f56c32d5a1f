#include "sidecar-proxy/management/status.h"

#include "tests/unit/cmocka_all.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int parse(struct status_reader *s, const char *text, struct link_client *ret)
{
    static char line[1024]; /* rows borrow from it */

    snprintf(line, sizeof(line), "%s", text);
    return status_parse(s, line, ret);
}

static void test_status_finds_columns_by_name(void **state)
{
    struct status_reader s;
    struct link_client c;

    status_reader_init(&s);
    assert_int_equal(parse(&s, "TITLE\tOpenVPN", &c), STATUS_OTHER);
    assert_int_equal(parse(&s,
                           "HEADER\tCLIENT_LIST\tVirtual Address\tNew\tBytes Sent\tClient ID\t"
                           "Common Name\tBytes Received\tReal Address\tConnected Since (time_t)",
                           &c),
                     STATUS_OTHER);
    assert_int_equal(
        parse(&s, "CLIENT_LIST\t10.0.0.3\tx\t7\t5\tme\t6\ttcp4-server:192.0.2.1:99\t1764000000",
              &c),
        STATUS_CLIENT);
    assert_int_equal(c.cid, 5);
    assert_int_equal(c.address, 0x0a000003);
    assert_string_equal(c.username, "me");
    assert_string_equal(c.remote, "192.0.2.1:99");
    assert_int_equal(c.bytes_in, 6);
    assert_int_equal(c.bytes_out, 7);
    assert_int_equal(c.since_ms, INT64_C(1764000000000));
    assert_string_equal(c.password, "");
}

static void test_status_refuses_rows_that_it_can_not_judge(void **state)
{
    static const char *const headers[] = {
        "TITLE\tno header at all",
        "HEADER\tCLIENT_LIST\tCommon Name\tVirtual Address",
        "HEADER\tCLIENT_LIST\tCommon Name\tClient ID",
        "HEADER\tCLIENT_LIST\tVirtual Address\tClient ID",
        "HEADER\tROUTING_TABLE\tVirtual Address\tClient ID\tCommon Name",
    };
    struct status_reader s;
    struct link_client c;

    for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
        status_reader_init(&s);
        parse(&s, headers[i], &c);
        assert_false(s.has_header);
        assert_int_equal(parse(&s, "CLIENT_LIST\t10.0.0.3\t7\tme", &c), -EPROTO);
    }
}

static void test_status_row_without_address_is_empty_not_strange(void **state)
{
    struct status_reader s;
    struct link_client c;

    status_reader_init(&s);
    parse(&s, "HEADER\tCLIENT_LIST\tClient ID\tCommon Name\tVirtual Address", &c);
    assert_int_equal(parse(&s, "CLIENT_LIST\t1\tme\t", &c), STATUS_CLIENT);
    assert_int_equal(c.address, 0);
    assert_int_equal(parse(&s, "CLIENT_LIST\t1\tme", &c), -EPROTO);
    assert_int_equal(parse(&s, "CLIENT_LIST\t1\tme\t10.0.0.0/8", &c), -EPROTO);
    assert_int_equal(parse(&s, "CLIENT_LIST\tx\tme\t10.0.0.1", &c), -EPROTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_finds_columns_by_name),
        cmocka_unit_test(test_status_refuses_rows_that_it_can_not_judge),
        cmocka_unit_test(test_status_row_without_address_is_empty_not_strange),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
