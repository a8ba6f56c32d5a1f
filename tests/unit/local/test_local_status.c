#include "controller/pool/local_status.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const char json[] =
    "{\"pool\":\"fleet\",\"replicas\":2,\"ready\":1,\"available\":false,"
    "\"unavailable\":\"vpn-state: port 8090 is taken by nginx (process 812)\",\"progressing\":true,"
    "\"stopping\":false,\"instances\":["
    "{\"index\":1,\"subnet\":\"100.64.0.0/20\",\"port\":10001,\"phase\":\"ready\",\"serving\":true,"
    "\"sessions\":3,\"pid\":4711,\"startedAt\":1000000,\"restarts\":0,\"sidecarRestarts\":2,"
    "\"serviceId\":12},"
    "{\"index\":12,\"subnet\":\"100.64.176.0/20\",\"port\":10012,\"phase\":\"starting\","
    "\"serving\":false,\"sessions\":null,\"pid\":0,\"startedAt\":0,\"restarts\":4,"
    "\"sidecarRestarts\":0,\"serviceId\":null,\"why\":\"OpenVPN: exit status 1\"}],"
    "\"programs\":[{\"name\":\"haproxy\",\"state\":\"running\",\"pid\":17,\"startedAt\":1000000,"
    "\"restarts\":1,\"lastEnd\":\"signal 9 "
    "(Killed)\",\"finishing\":1,\"serving\":true,\"why\":null},"
    "{\"name\":\"vpn-state\",\"state\":\"waiting for its next start\",\"pid\":0,\"startedAt\":0,"
    "\"restarts\":3,\"lastEnd\":\"exit status 1\",\"finishing\":0,\"serving\":false,"
    "\"why\":\"port 8090 is taken by nginx (process 812)\"}],"
    "\"apiSane\":true,\"burialsPending\":1,\"burialsWhy\":\"it is "
    "ill\",\"serversWhy\":null,\"stateFileWhy\":\"No space left\","
    "\"certificatesWhy\":\"No room\","
    "\"firewallWhy\":null,\"degraded\":\"no free index\",\"notice\":null}";

static const char table[] =
    "pool fleet: 1 of 2 ready, changing, NOT available: vpn-state: port 8090 is taken by nginx "
    "(process 812)\n"
    "\n"
    "INDEX  SUBNET           PORT   PHASE     SESSIONS  PID   UPTIME  RESTARTS  SERVICE-ID\n"
    "1      100.64.0.0/20    10001  ready     3         4711  1m05s   0/2       12\n"
    "12     100.64.176.0/20  10012  starting  -         -     -       4/0       -\n"
    "(restarts: OpenVPN's/its sidecar's)\n"
    "\n"
    "haproxy            running, pid 17, up 1m05s, restarts 1, last end: signal 9 (Killed), "
    "1 before it still finishing\n"
    "vpn-state          waiting for its next start: port 8090 is taken by nginx (process 812), "
    "restarts 3\n"
    "instance 12        OpenVPN: exit status 1\n"
    "balena API         sane\n"
    "burials            1 service instances whose devices the API still lists\n"
    "burials            it is ill\n"
    "state file         No space left\n"
    "certificates       No room\n"
    "degraded           no free index\n";

static void test_local_status_is_an_aligned_table(void **state)
{
    struct buf text;
    struct err err;

    buf_init(&text, 65536);
    assert_int_equal(local_status_table(json, strlen(json), 1065000, &text, &err), 0);
    assert_string_equal(buf_str(&text), table);
    buf_clear(&text);
}

static void test_local_status_says_why_the_api_is_ill(void **state)
{
    static const char ill[] = "{\"pool\":\"fleet\",\"instances\":[],\"programs\":[],"
                              "\"apiSane\":false,\"apiWhy\":\"it answered 503\"}";
    static const char unknown[] = "{\"pool\":\"fleet\",\"instances\":[],\"programs\":[],"
                                  "\"apiSane\":false,\"apiWhy\":null}";
    struct buf text;

    buf_init(&text, 65536);
    assert_int_equal(local_status_table(ill, strlen(ill), 0, &text, NULL), 0);
    assert_non_null(strstr(buf_str(&text), "balena API         ill: it answered 503\n"));
    assert_int_equal(local_status_table(unknown, strlen(unknown), 0, &text, NULL), 0);
    assert_non_null(strstr(buf_str(&text), "balena API         not asked yet\n"));
    buf_clear(&text);
}

static void test_local_status_refuses_what_is_no_status(void **state)
{
    struct buf text;
    struct err err;

    buf_init(&text, 65536);
    assert_int_not_equal(local_status_table("{}", 2, 0, &text, &err), 0);
    assert_int_not_equal(local_status_table("nonsense", 8, 0, &text, &err), 0);
    buf_clear(&text);
}

static void test_uptime_is_short(void **state)
{
    static const struct {
        int64_t seconds;
        const char *text;
    } cases[] = {{0, "0s"},       {59, "59s"},       {60, "1m00s"},    {3599, "59m59s"},
                 {3600, "1h00m"}, {86399, "23h59m"}, {86400, "1d00h"}, {864000, "10d00h"}};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_string_equal(uptime_text(1000, 1000 + cases[i].seconds * 1000).text, cases[i].text);
    }
    assert_string_equal(uptime_text(0, 1000).text, "-");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_local_status_is_an_aligned_table),
        cmocka_unit_test(test_local_status_says_why_the_api_is_ill),
        cmocka_unit_test(test_local_status_refuses_what_is_no_status),
        cmocka_unit_test(test_uptime_is_short),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
