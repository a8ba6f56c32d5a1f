#include "controller/pool/sidecar_client.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define WHOLE                                                                       \
    "{\"pool\":\"fleet\",\"index\":1,\"epoch\":\"1764000000000\",\"serviceId\":12," \
    "\"link\":\"live\",\"phase\":\"ready\",\"sessions\":3,\"openvpnPid\":4711,"     \
    "\"apiSane\":true,\"unreported\":0}"

static void test_sidecar_status_reads_every_field(void **state)
{
    struct sidecar_status s;
    struct err err;

    assert_int_equal(sidecar_status_parse(WHOLE, strlen(WHOLE), &s, &err), 0);
    assert_string_equal(s.epoch, "1764000000000");
    assert_int_equal(s.service_id, 12);
    assert_int_equal(s.link, SIDECAR_LINK_LIVE);
    assert_int_equal(s.phase, SIDECAR_READY);
    assert_int_equal(s.sessions, 3);
    assert_int_equal(s.openvpn_pid, 4711);
    assert_true(s.api_sane);
    assert_string_equal(s.api_why, "");
}

static void test_sidecar_status_accepts_no_service_id_yet(void **state)
{
    static const char text[] =
        "{\"epoch\":\"1\",\"serviceId\":null,\"link\":\"connecting\","
        "\"phase\":\"starting\",\"sessions\":0,\"apiSane\":false,"
        "\"apiWhy\":\"it answered 503\",\"unreported\":2,\"openvpnPid\":null}";
    struct sidecar_status s;
    struct err err;

    assert_int_equal(sidecar_status_parse(text, strlen(text), &s, &err), 0);
    assert_int_equal(s.service_id, 0);
    assert_int_equal(s.openvpn_pid, 0);
    assert_int_equal(s.unreported, 2);
    assert_string_equal(s.api_why, "it answered 503");
}

static void test_sidecar_status_refuses_what_is_none(void **state)
{
    static const struct {
        const char *text, *names;
    } cases[] = {
        {"", "JSON"},
        {"[]", "epoch"},
        {"{\"epoch\":1}", "epoch"},
        {"{\"epoch\":\"123456789012345678901234567890123\"}", "epoch"},
        {"{\"epoch\":\"1\",\"link\":\"up\"}", "link"},
        {"{\"epoch\":\"1\",\"link\":\"live\",\"phase\":7}", "phase"},
        {"{\"epoch\":\"1\",\"link\":\"live\",\"phase\":\"ready\",\"sessions\":-1}", "sessions"},
        {"{\"epoch\":\"1\",\"link\":\"live\",\"phase\":\"ready\",\"sessions\":1,"
         "\"apiSane\":true,\"unreported\":0,\"serviceId\":\"x\"}",
         "serviceId"},
    };
    struct sidecar_status s = {.sessions = 42};
    struct err err;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(sidecar_status_parse(cases[i].text, strlen(cases[i].text), &s, &err),
                         -EPROTO);
        assert_non_null(strstr(err.text, cases[i].names));
        assert_int_equal(s.sessions, 42);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sidecar_status_reads_every_field),
        cmocka_unit_test(test_sidecar_status_accepts_no_service_id_yet),
        cmocka_unit_test(test_sidecar_status_refuses_what_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
