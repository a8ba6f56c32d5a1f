/* What a state service answers, as it is read. */
#include "controller/kubernetes/state_view.h"
#include "tests/unit/cmocka_all.h"

#include "common/buf.h"

#include <errno.h>
#include <string.h>

static void on_instance(void *arg, const char *epoch, const struct instance_report *report)
{
    struct buf *b = arg;

    buf_printf(b, "%s:%d:%u:%lld ", epoch, report->phase, report->sessions,
               (long long)report->service_id);
}

static void test_state_instances_are_read(void **state)
{
    static const struct {
        const char *name, *text, *read;
        int result;
        bool ready;
    } cases[] = {
        {"none", "{\"ready\":true,\"instances\":[],\"missing\":[]}", "", 0, true},
        {"two, one not registered yet",
         "{\"ready\":false,\"instances\":[{\"epoch\":\"u1\",\"serviceId\":12,\"sessions\":3,"
         "\"phase\":\"ready\"},{\"epoch\":\"u2\",\"serviceId\":null,\"sessions\":0,\"phase\":"
         "\"starting\"}]}",
         "u1:2:3:12 u2:1:0:0 ", 0, false},
        {"draining and drained",
         "{\"ready\":true,\"instances\":[{\"epoch\":\"u1\",\"sessions\":3,\"phase\":\"draining\"},"
         "{\"epoch\":\"u2\",\"sessions\":0,\"phase\":\"drained\"}]}",
         "u1:3:3:0 u2:4:0:0 ", 0, true},
        {"a phase of later days",
         "{\"ready\":true,\"instances\":[{\"epoch\":\"u1\",\"sessions\":3,\"phase\":\"asleep\"}]}",
         "u1:0:3:0 ", 0, true},
        {"entries that make no sense",
         "{\"ready\":true,\"instances\":[7,{},{\"epoch\":1,\"sessions\":3,\"phase\":\"ready\"},"
         "{\"epoch\":\"u1\",\"sessions\":-1,\"phase\":\"ready\"}]}",
         "", 0, true},
        {"no list", "{\"ready\":true}", "", -EPROTO, false},
        {"no readiness", "{\"instances\":[]}", "", -EPROTO, false},
        {"no JSON", "<html>", "", -EPROTO, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(buf) struct buf b;
        bool ready = false;
        struct err err;
        buf_init(&b, 4096);
        int r = state_instances_parse(cases[i].text, strlen(cases[i].text), &ready, on_instance, &b,
                                      &err);
        if (r != cases[i].result || ready != cases[i].ready ||
            strcmp(buf_str(&b), cases[i].read) != 0) {
            fail_msg("%s: %d, ready %d, '%s'", cases[i].name, r, ready, buf_str(&b));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_state_instances_are_read)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
