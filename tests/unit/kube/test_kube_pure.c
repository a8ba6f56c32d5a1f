/* The small pure modules: paths, times, buckets, lists in pieces, expectations. */
#include "controller/kube/bucket.h"
#include "controller/kube/expectations.h"
#include "controller/kube/kube_client.h"
#include "controller/kube/kube_event_limits.h"
#include "controller/kube/kube_items.h"
#include "controller/kube/kube_objects.h"
#include "controller/kube/kube_time.h"
#include "controller/kube/kube_watch_event.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_paths(void **state)
{
    (void)state;
    static const struct {
        const struct kube_resource *resource;
        const char *ns, *name, *subresource, *path;
    } cases[] = {
        {&kube_pods, "vpn", "fleet-1", NULL, "/api/v1/namespaces/vpn/pods/fleet-1"},
        {&kube_pods, NULL, NULL, NULL, "/api/v1/pods"},
        {&kube_nodes, NULL, "a", "status", "/api/v1/nodes/a/status"},
        {&kube_endpoint_slices, "vpn", NULL, NULL,
         "/apis/discovery.k8s.io/v1/namespaces/vpn/endpointslices"},
        {&kube_pods, "../x", "a/b?c", NULL, "/api/v1/namespaces/..%2Fx/pods/a%2Fb%3Fc"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(str)
        char *path = kube_path(cases[i].resource, cases[i].ns, cases[i].name, cases[i].subresource);
        assert_string_equal(path, cases[i].path);
    }
}

static void test_times(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms; /* -1: refused */
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"2018-03-05T17:30:20-08:00", 1520299820000},
        {"2018-03-05T17:30:20.5+00:30", 1520269220500},
        {"2026-11-23T10:00:00.123456Z", 1795428000123},
        {"2026-11-23T10:00:00.1234567890123456789Z", 1795428000123},
        {"2026-11-23 10:00:00Z", -1},
        {"2026-13-23T10:00:00Z", -1},
        {"2026-11-23T10:00:00", -1},
        {"2026-11-23T10:00:00.Z", -1},
        {"2026-11-23T10:00:00Zx", -1},
        {"2026-11-23T22:26:37z ", -1},
        {"2026-11-32T22:26:37Z", -1},
        {"2026-11-23T24:26:37Z", -1},
        {"2026-11-23T22:26:37+2:00", -1},
        {"-026-11-23T22:26:37Z", -1},
        {"2026-11-23", -1},
        {"", -1},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t ms = -1;
        int r = kube_time_parse(cases[i].text, &ms);
        assert_int_equal(r, cases[i].ms < 0 ? -EINVAL : 0);
        assert_int_equal(ms, cases[i].ms);
    }
    assert_string_equal(kube_time_micro(1795428000123).text, "2026-11-23T10:00:00.123000Z");
    assert_string_equal(kube_time_second(1795428000123).text, "2026-11-23T10:00:00Z");
    assert_string_equal(kube_time_micro(-1).text, "1970-01-01T00:00:00.000000Z");
    assert_string_equal(kube_time_second(INT64_MAX).text, "9999-12-31T23:59:59Z");
}

static void test_bucket_gives_its_burst_then_its_rate(void **state)
{
    (void)state;
    struct bucket b = bucket_make(10, 3, 1000);
    for (int i = 0; i < 3; i++) {
        assert_true(bucket_take(&b, 1000));
    }
    assert_false(bucket_take(&b, 1000));
    assert_false(bucket_take(&b, 1099));
    assert_true(bucket_take(&b, 1101));
    /* reserved ahead: each 100 ms after the other */
    assert_int_equal(bucket_reserve(&b, 1101), 99);
    assert_int_equal(bucket_reserve(&b, 1101), 199);
    assert_false(bucket_take(&b, 1200));
    assert_int_equal(bucket_reserve(&b, 100000), 0); /* full again, no fuller than its burst */
    assert_true(bucket_take(&b, 100000) && bucket_take(&b, 100000));
    assert_false(bucket_take(&b, 100000));
}

/* --- lists --- */

struct seen {
    char text[512];
};

static int on_item(void *arg, cJSON *object, struct err *err)
{
    struct seen *s = arg;
    char *text = cJSON_PrintUnformatted(object);

    (void)err;
    strncat(s->text, text, sizeof(s->text) - strlen(s->text) - 1);
    strncat(s->text, ";", sizeof(s->text) - strlen(s->text) - 1);
    cJSON_free(text);
    return 0;
}

static int on_metadata(void *arg, cJSON *object, struct err *err)
{
    struct seen *s = arg;

    strncat(s->text, "M", sizeof(s->text) - strlen(s->text) - 1);
    return on_item(arg, object, err);
}

static int feed(const char *text, size_t piece, size_t max, struct seen *s)
{
    struct kube_items k;
    const struct kube_items_to to = {on_item, on_metadata, s};
    size_t len = strlen(text);
    int r = 0;

    s->text[0] = '\0';
    kube_items_init(&k, max);
    for (size_t at = 0; at < len && r == 0; at += piece) {
        /* each piece alone in memory: the sanitizer sees one byte too far */
        size_t n = len - at < piece ? len - at : piece;
        char *alone = xmalloc(n);
        memcpy(alone, text + at, n);
        r = kube_items_feed(&k, alone, n, &to, NULL);
        free(alone);
    }
    r = r == 0 ? kube_items_end(&k, NULL) : r;
    kube_items_clear(&k);
    return r;
}

static void test_lists_come_apart_in_any_pieces(void **state)
{
    (void)state;
    static const struct {
        const char *text, *seen;
    } cases[] = {
        {"{\"items\":[],\"metadata\":{\"a\":1}}", "M{\"a\":1};"},
        {" {\"kind\":\"L\\\"ist\" , \"metadata\" : {\"r\":\"1\"},\n\"items\" : [ {\"n\":\"a]}\"} , "
         "{\"x\":[{\"y\":[]}],\"items\":[1]} ] }\n",
         "M{\"r\":\"1\"};{\"n\":\"a]}\"};{\"x\":[{\"y\":[]}],\"items\":[1]};"},
        {"{\"items\":null,\"metadata\":{},\"other\":{\"items\":[{\"no\":1}],\"metadata\":{}}}",
         "M{};"},
        {"{\"metadata\":{\"e\":\"\\\\\"},\"items\":[{\"n\":\"\\\\\\\"}\"}]}",
         "M{\"e\":\"\\\\\"};{\"n\":\"\\\\\\\"}\"};"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (size_t piece = 1; piece <= strlen(cases[i].text); piece++) {
            struct seen s;
            assert_int_equal(feed(cases[i].text, piece, 1000, &s), 0);
            assert_string_equal(s.text, cases[i].seen);
        }
    }
}

static void test_what_is_no_list_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int result;
    } cases[] = {
        {"", -EPROTO},
        {"[]", -EPROTO},
        {"null", -EPROTO},
        {"{\"items\":[{}", -EPROTO},
        {"{\"items\":[1]}", -EPROTO},
        {"{\"items\":[[{}]]}", -EPROTO},
        {"{\"items\":[{\"a\":}]}", -EPROTO},
        {"{\"items\":[]}}", -EPROTO},
        {"{\"items\":[]}{}", -EPROTO},
        {"{\"items\":[{\"long\":\"0123456789012345678901234567890123456789\"}]}", -EMSGSIZE},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (size_t piece = 1; piece < 8; piece++) {
            struct seen s;
            assert_int_equal(feed(cases[i].text, piece, 40, &s), cases[i].result);
        }
    }
}

/* --- events of a watch --- */

static void test_lines_of_a_watch(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        int result;
        enum kube_watch_type type;
    } cases[] = {
        {"{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"1\"}}"
         "}",
         0, KUBE_WATCH_ADDED},
        {"{\"object\":{\"metadata\":{\"resourceVersion\":\"1\"}},\"type\":\"BOOKMARK\"}", 0,
         KUBE_WATCH_BOOKMARK},
        {"{\"type\":\"ERROR\",\"object\":{}}", 0, KUBE_WATCH_ERROR},
        {"{\"type\":\"ERROR\",\"object\":{\"code\":\"x\"}}", 0, KUBE_WATCH_ERROR},
        {"{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"resourceVersion\":\"1\"}}}", -EPROTO, 0},
        {"{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"a\"}}}", -EPROTO, 0},
        {"{\"type\":\"ADDED\",\"object\":{\"metadata\":7}}", -EPROTO, 0},
        {"{\"type\":\"ADDED\",\"object\":[]}", -EPROTO, 0},
        {"{\"type\":\"added\",\"object\":{}}", -EPROTO, 0},
        {"{\"type\":7,\"object\":{}}", -EPROTO, 0},
        {"{}", -EPROTO, 0},
        {"[]", -EPROTO, 0},
        {"{\"type\":\"ADDED\"", -EPROTO, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct kube_watch_event e;
        int r = kube_watch_event_parse(cases[i].line, strlen(cases[i].line), &e, NULL);
        assert_int_equal(r, cases[i].result);
        if (r == 0) {
            assert_int_equal(e.type, cases[i].type);
            kube_watch_event_clear(&e);
        }
    }
}

/* --- expectations --- */

static void test_expectations_are_met_by_name(void **state)
{
    (void)state;
    struct expectations e;
    expectations_init(&e, 10, 1000);
    assert_int_equal(expectations_check(&e, 0), EXPECT_MET);
    assert_int_equal(expectations_due_in_ms(&e, 0), -1);
    assert_int_equal(expectations_create(&e, "a", 100), 0);
    assert_int_equal(expectations_delete(&e, "b", "u1", 200), 0);
    assert_int_equal(expectations_has(&e, "a"), EXPECT_CREATE);
    assert_int_equal(expectations_has(&e, "b"), EXPECT_DELETE);
    assert_int_equal(expectations_has(&e, "c"), EXPECT_NONE);
    /* somebody else's Pod, and another life of ours, are not what is waited for */
    assert_false(expectations_saw_create(&e, "c"));
    assert_false(expectations_saw_create(&e, "b"));
    assert_false(expectations_saw_delete(&e, "b", "u2"));
    assert_int_equal(expectations_check(&e, 500), EXPECT_WAITING);
    assert_int_equal(expectations_due_in_ms(&e, 500), 600);
    assert_true(expectations_saw_create(&e, "a"));
    assert_true(expectations_saw_delete(&e, "b", "u1"));
    assert_int_equal(expectations_check(&e, 500), EXPECT_MET);
    expectations_clear(&e);
}

static void test_expectations_become_overdue_and_are_bounded(void **state)
{
    (void)state;
    struct expectations e;
    expectations_init(&e, 2, 1000);
    assert_int_equal(expectations_create(&e, "a", 0), 0);
    assert_int_equal(expectations_create(&e, "b", 900), 0);
    assert_int_equal(expectations_create(&e, "c", 900), -EBUSY);
    assert_int_equal(expectations_delete(&e, "b", "u", 900), 0); /* the later one counts */
    assert_int_equal(expectations_has(&e, "b"), EXPECT_DELETE);
    assert_int_equal(expectations_check(&e, 999), EXPECT_WAITING);
    assert_int_equal(expectations_check(&e, 1000), EXPECT_OVERDUE); /* the oldest counts */
    expectations_forget(&e, "a");
    assert_int_equal(expectations_check(&e, 1000), EXPECT_WAITING);
    expectations_clear(&e);
    assert_int_equal(expectations_count(&e), 0);
}

/* --- what a store keeps --- */

static void *keep_if_wanted(void *arg, cJSON *object)
{
    (void)arg;
    return cJSON_HasObjectItem(object, "unwanted") ? NULL : object; /* the object itself */
}

static void drop(void *arg, void *kept)
{
    (void)arg;
    cJSON_Delete(kept);
}

static char said[256];

static void on_add(void *arg, const struct kube_object *object)
{
    const cJSON *spec = cJSON_GetObjectItem(object->kept, "spec");

    (void)arg;
    strcat(said, "add ");
    strcat(said, spec->valuestring);
}

static void on_delete(void *arg, const struct kube_object *object)
{
    (void)arg;
    (void)object;
    strcat(said, " delete");
}

static void put(struct kube_objects *o, const char *text)
{
    AUTO(json) cJSON *object = cJSON_Parse(text);

    assert_int_equal(kube_objects_put(o, object, NULL), 0);
}

static void test_keep_may_return_the_object_or_nothing(void **state)
{
    (void)state;
    const struct kube_store_options options = {.max_objects = 1,
                                               .keep = keep_if_wanted,
                                               .drop = drop,
                                               .on_add = on_add,
                                               .on_delete = on_delete};
    bool closed = false;
    struct kube_objects o;
    kube_objects_init(&o, &options, &closed);
    put(&o,
        "{\"metadata\":{\"name\":\"a\",\"uid\":\"u\",\"resourceVersion\":\"1\"},\"spec\":\"s\"}");
    put(&o,
        "{\"metadata\":{\"name\":\"b\",\"uid\":\"v\",\"resourceVersion\":\"2\"},\"spec\":\"s\"}");
    assert_int_equal(o.left_out, 1);
    put(&o,
        "{\"metadata\":{\"name\":\"a\",\"uid\":\"u\",\"resourceVersion\":\"3\"},\"unwanted\":1}");
    put(&o,
        "{\"metadata\":{\"name\":\"a\",\"uid\":\"u\",\"resourceVersion\":\"4\"},\"unwanted\":1}");
    assert_string_equal(said, "add s delete");
    assert_int_equal(o.names.count, 0);
    kube_objects_clear(&o);
}

/* --- how much is said --- */

static void test_notes_on_a_matter_are_limited_for_ten_minutes(void **state)
{
    (void)state;
    struct kube_event_limits l;
    kube_event_limits_init(&l);
    for (int i = 0; i < 10; i++) {
        assert_true(kube_event_limits_note(&l, "a", 0));
    }
    assert_false(kube_event_limits_note(&l, "a", 600 * 1000));
    assert_true(kube_event_limits_note(&l, "b", 0));
    assert_true(kube_event_limits_note(&l, "a", 600 * 1000 + 1));
    kube_event_limits_forget(&l, 600 * 1000 + 1);
    assert_int_equal(kube_event_limits_count(&l), 1); /* "b" is long past */
    kube_event_limits_clear(&l);
}

static void test_an_object_has_25_events_and_one_each_5_minutes(void **state)
{
    (void)state;
    struct kube_event_limits l;
    kube_event_limits_init(&l);
    for (int i = 0; i < 25; i++) {
        assert_true(kube_event_limits_write(&l, "u", 0));
    }
    assert_false(kube_event_limits_write(&l, "u", 299 * 1000));
    assert_true(kube_event_limits_write(&l, "u", 301 * 1000));
    assert_false(kube_event_limits_write(&l, "u", 301 * 1000));
    assert_true(kube_event_limits_write(&l, "v", 0));
    kube_event_limits_clear(&l);
}

static void test_what_is_kept_in_mind_is_bounded(void **state)
{
    (void)state;
    struct kube_event_limits l;
    kube_event_limits_init(&l);
    for (int i = 0; i < KUBE_EVENT_LIMITS_MAX; i++) {
        char key[16];
        snprintf(key, sizeof(key), "%d", i);
        assert_true(kube_event_limits_note(&l, key, 0));
        assert_true(kube_event_limits_write(&l, key, 0));
    }
    assert_false(kube_event_limits_note(&l, "x", 0));
    assert_false(kube_event_limits_write(&l, "x", 0));
    kube_event_limits_clear(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_bucket_gives_its_burst_then_its_rate),
        cmocka_unit_test(test_lists_come_apart_in_any_pieces),
        cmocka_unit_test(test_what_is_no_list_is_refused),
        cmocka_unit_test(test_lines_of_a_watch),
        cmocka_unit_test(test_expectations_are_met_by_name),
        cmocka_unit_test(test_expectations_become_overdue_and_are_bounded),
        cmocka_unit_test(test_keep_may_return_the_object_or_nothing),
        cmocka_unit_test(test_notes_on_a_matter_are_limited_for_ten_minutes),
        cmocka_unit_test(test_an_object_has_25_events_and_one_each_5_minutes),
        cmocka_unit_test(test_what_is_kept_in_mind_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
