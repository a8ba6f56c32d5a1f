/* Tables: EndpointSlices on the left, haproxy's servers on the right. */
#include "controller/balancer/endpoints.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define PORTS "\"ports\":[{\"name\":\"control\",\"port\":8080},{\"name\":\"vpn\",\"port\":1194}]"
#define POD(name) "\"targetRef\":{\"kind\":\"Pod\",\"name\":\"" name "\"}"
#define ADDRESS(text) "\"addresses\":[\"" text "\"]"
#define READY "\"conditions\":{\"ready\":true,\"serving\":true,\"terminating\":false}"
#define SLICE(endpoints) "{\"addressType\":\"IPv4\",\"endpoints\":[" endpoints "]," PORTS "}"

static struct slice *read_text(const char *text)
{
    AUTO(json) cJSON *object = NULL;

    assert_int_equal(json_parse(text, strlen(text), &object, NULL), 0);
    return slice_read(object, "vpn");
}

/* "fleet-1@10.0.0.1:1194 ready, ..." */
static char *merged(const char *const *texts, size_t count)
{
    struct slice *slices[4];
    struct server_list *list = xcalloc(1, sizeof(*list));
    struct buf out;

    for (size_t i = 0; i < count; i++) {
        slices[i] = read_text(texts[i]);
    }
    assert_int_equal(endpoints_merge((const struct slice *const *)slices, count, list), 0);
    buf_init(&out, 4096);
    for (size_t i = 0; i < list->count; i++) {
        buf_printf(&out, "%s%s@%s %s", i > 0 ? ", " : "", list->items[i].name,
                   list->items[i].address, list->items[i].mode == SERVER_READY ? "ready" : "drain");
    }
    for (size_t i = 0; i < count; i++) {
        free(slices[i]);
    }
    free(list);
    char *text = xstrdup(buf_str(&out));
    buf_clear(&out);
    return text;
}

static void test_endpoints_become_servers(void **state)
{
    static const struct {
        const char *what, *slice, *servers;
    } cases[] = {
        {"one ready Pod", SLICE("{" ADDRESS("10.0.0.1") "," POD("fleet-1") "," READY "}"),
         "fleet-1@10.0.0.1:1194 ready"},
        {"in order of names",
         SLICE("{" ADDRESS("10.0.0.2") "," POD("fleet-2") "," READY "},{" ADDRESS(
             "10.0.0.1") "," POD("fleet-1") "," READY "}"),
         "fleet-1@10.0.0.1:1194 ready, fleet-2@10.0.0.2:1194 ready"},
        {"conditions unsaid: ready", SLICE("{" ADDRESS("10.0.0.1") "," POD("a") "}"),
         "a@10.0.0.1:1194 ready"},
        {"conditions null", SLICE("{" ADDRESS("10.0.0.1") "," POD("a") ",\"conditions\":null}"),
         "a@10.0.0.1:1194 ready"},
        {"not ready",
         SLICE("{" ADDRESS("10.0.0.1") "," POD("a") ",\"conditions\":{\"ready\":false}}"),
         "a@10.0.0.1:1194 drain"},
        {"terminating, still serving",
         SLICE("{" ADDRESS("10.0.0.1") "," POD(
             "a") ",\"conditions\":{\"ready\":false,\"serving\":true,\"terminating\":true}}"),
         "a@10.0.0.1:1194 drain"},
        {"publishNotReadyAddresses: ready is a lie, serving is not",
         SLICE("{" ADDRESS("10.0.0.1") "," POD(
             "a") ",\"conditions\":{\"ready\":true,\"serving\":false,\"terminating\":false}}"),
         "a@10.0.0.1:1194 drain"},
        {"publishNotReadyAddresses, terminating",
         SLICE("{" ADDRESS("10.0.0.1") "," POD(
             "a") ",\"conditions\":{\"ready\":true,\"serving\":true,\"terminating\":true}}"),
         "a@10.0.0.1:1194 drain"},
        {"conditions of a wrong type",
         SLICE("{" ADDRESS("10.0.0.1") "," POD("a") ",\"conditions\":{\"ready\":\"no\"}}"),
         "a@10.0.0.1:1194 ready"},
        {"IPv6, in haproxy's own form",
         SLICE("{" ADDRESS("2001:DB8:0:0:0:0:0:1") "," POD("a") "," READY "}"),
         "a@[2001:db8::1]:1194 ready"},
        {"no Pod: the host name",
         SLICE("{" ADDRESS("10.0.0.1") ",\"hostname\":\"vpn-a\"," READY "}"),
         "vpn-a@10.0.0.1:1194 ready"},
        {"no Pod and no host name: the address", SLICE("{" ADDRESS("10.0.0.1") "," READY "}"),
         "10.0.0.1@10.0.0.1:1194 ready"},
        {"a target that is no Pod",
         SLICE("{" ADDRESS("10.0.0.1") ",\"targetRef\":{\"kind\":\"Node\",\"name\":\"n\"}}"),
         "10.0.0.1@10.0.0.1:1194 ready"},
        {"addresses of one endpoint are one place",
         SLICE("{\"addresses\":[\"10.0.0.1\",\"10.0.0.9\"]," POD("a") "}"),
         "a@10.0.0.1:1194 ready"},
        {"no addresses", SLICE("{" POD("a") "},{\"addresses\":[]," POD("b") "}"), ""},
        {"a name as address (addressType FQDN)",
         SLICE("{" ADDRESS("vpn.example.com") "," POD("a") "}"), ""},
        {"address rubbish", SLICE("{" ADDRESS("10.0.0.1; del server") "," POD("a") "}"), ""},
        {"name rubbish",
         SLICE("{" ADDRESS("10.0.0.1") "," POD("a b") "},{" ADDRESS("10.0.0.2") "," POD("a;b") "}"),
         ""},
        {"name of 64 bytes",
         SLICE("{" ADDRESS("10.0.0.1") "," POD(
             "a234567890123456789012345678901234567890123456789012345678901234") "}"),
         ""},
        {"name of 63 bytes",
         SLICE("{" ADDRESS("10.0.0.1") "," POD(
             "a23456789012345678901234567890123456789012345678901234567890123") "}"),
         "a23456789012345678901234567890123456789012345678901234567890123@10.0.0.1:1194 ready"},
        {"endpoints null", "{\"endpoints\":null," PORTS "}", ""},
        {"endpoints of a wrong type", "{\"endpoints\":{}," PORTS "}", ""},
        {"an endpoint of a wrong type", SLICE("7,null,[],\"x\""), ""},
        {"ports null", "{\"endpoints\":[{" ADDRESS("10.0.0.1") "," POD("a") "}],\"ports\":null}",
         ""},
        {"no such port",
         "{\"endpoints\":[{" ADDRESS("10.0.0.1") "," POD(
             "a") "}],\"ports\":[{\"name\":\"http\",\"port\":80}]}",
         ""},
        {"the one port has no name",
         "{\"endpoints\":[{" ADDRESS("10.0.0.1") "," POD(
             "a") "}],\"ports\":[{\"name\":null,\"port\":99}]}",
         "a@10.0.0.1:99 ready"},
        {"one of two has no name: it is not taken for another",
         "{\"endpoints\":[{" ADDRESS("10.0.0.1") "," POD(
             "a") "}],\"ports\":[{\"port\":99},{\"name\":\"x\",\"port\":98}]}",
         ""},
        {"a port without number",
         "{\"endpoints\":[{" ADDRESS("10.0.0.1") "," POD(
             "a") "}],\"ports\":[{\"name\":\"vpn\",\"port\":null}]}",
         ""},
        {"a port out of range",
         "{\"endpoints\":[{" ADDRESS("10.0.0.1") "," POD(
             "a") "}],\"ports\":[{\"name\":\"vpn\",\"port\":65536}]}",
         ""},
        {"no object at all", "[]", ""},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(str) char *servers = merged(&cases[i].slice, 1);
        if (strcmp(servers, cases[i].servers) != 0) {
            fail_msg("%s: '%s', not '%s'", cases[i].what, servers, cases[i].servers);
        }
    }
}

static void test_endpoints_of_several_slices_are_merged(void **state)
{
    static const struct {
        const char *what, *slices[3], *servers;
    } cases[] = {
        {"each has one",
         {SLICE("{" ADDRESS("10.0.0.1") "," POD("a") "}"),
          SLICE("{" ADDRESS("10.0.0.2") "," POD("b") "}")},
         "a@10.0.0.1:1194 ready, b@10.0.0.2:1194 ready"},
        {"one Pod in two",
         {SLICE("{" ADDRESS("10.0.0.1") "," POD("a") "}"),
          SLICE("{" ADDRESS("10.0.0.1") "," POD("a") "}")},
         "a@10.0.0.1:1194 ready"},
        {"one of them is not up to date: ready",
         {SLICE("{" ADDRESS("10.0.0.1") "," POD("a") ",\"conditions\":{\"ready\":false}}"),
          SLICE("{" ADDRESS("10.0.0.1") "," POD("a") "," READY "}")},
         "a@10.0.0.1:1194 ready"},
        {"who terminates does not come back",
         {SLICE("{" ADDRESS("10.0.0.1") "," POD("a") "," READY "}"),
          SLICE("{" ADDRESS("10.0.0.1") "," POD("a") ",\"conditions\":{\"terminating\":true}}")},
         "a@10.0.0.1:1194 drain"},
        {"both families: IPv4",
         {SLICE("{" ADDRESS("2001:db8::1") "," POD("a") "}"),
          SLICE("{" ADDRESS("10.0.0.1") "," POD("a") "}")},
         "a@10.0.0.1:1194 ready"},
        {"both families, IPv4 in the first",
         {SLICE("{" ADDRESS("10.0.0.1") "," POD("a") "}"),
          SLICE("{" ADDRESS("2001:db8::1") "," POD("a") "}")},
         "a@10.0.0.1:1194 ready"},
        {"a successor of the same name: its address, and no newcomers for now",
         {SLICE("{" ADDRESS("10.0.0.1") "," POD("a") ",\"conditions\":{\"terminating\":true}}"),
          SLICE("{" ADDRESS("10.0.0.9") "," POD("a") "," READY "}")},
         "a@10.0.0.9:1194 drain"},
        {"two addresses, one ready",
         {SLICE("{" ADDRESS("10.0.0.1") "," POD("a") ",\"conditions\":{\"ready\":false}}"),
          SLICE("{" ADDRESS("10.0.0.9") "," POD("a") "," READY "}")},
         "a@10.0.0.9:1194 ready"},
        {"two addresses, nothing between them",
         {SLICE("{" ADDRESS("10.0.0.9") "," POD("a") "}"),
          SLICE("{" ADDRESS("10.0.0.1") "," POD("a") "}")},
         "a@10.0.0.1:1194 ready"},
        {"one is empty",
         {SLICE(""), SLICE("{" ADDRESS("10.0.0.1") "," POD("a") "}")},
         "a@10.0.0.1:1194 ready"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(str) char *servers = merged(cases[i].slices, 2);
        if (strcmp(servers, cases[i].servers) != 0) {
            fail_msg("%s: '%s', not '%s'", cases[i].what, servers, cases[i].servers);
        }
    }
    AUTO(str) char *none = merged(NULL, 0);
    assert_string_equal(none, "");
}

static void test_endpoints_count_what_is_unusable(void **state)
{
    struct slice *s =
        read_text(SLICE("{" ADDRESS("10.0.0.1") "," POD("a") "},{" POD("b") "},null"));

    assert_int_equal(s->count, 1);
    assert_int_equal(s->unusable, 2);
    free(s);
}

static struct slice *many(size_t count, size_t first)
{
    struct slice *s = xcalloc(1, sizeof(*s) + count * sizeof(s->items[0]));

    s->count = count;
    for (size_t i = 0; i < count; i++) {
        snprintf(s->items[i].name, sizeof(s->items[i].name), "p%zu", first + i);
        snprintf(s->items[i].address, sizeof(s->items[i].address), "10.0.0.1:%zu", i + 1);
    }
    return s;
}

static void test_endpoints_over_the_maximum_are_left_out(void **state)
{
    struct slice *slices[] = {many(1000, 0), many(1000, 1000)};
    struct server_list *list = xcalloc(1, sizeof(*list));

    assert_int_equal(endpoints_merge((const struct slice *const *)slices, 2, list),
                     2000 - SERVERS_MAX);
    assert_int_equal(list->count, SERVERS_MAX);
    free(slices[0]);
    free(slices[1]);
    free(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_endpoints_become_servers),
        cmocka_unit_test(test_endpoints_of_several_slices_are_merged),
        cmocka_unit_test(test_endpoints_count_what_is_unusable),
        cmocka_unit_test(test_endpoints_over_the_maximum_are_left_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
