#include "sidecar-proxy/state/feed_in.h"
#include "world.h"

#include <errno.h>

#define HELLO                                                                              \
    "{\"type\":\"hello\",\"pool\":\"fleet\",\"index\":1,\"epoch\":\"e\",\"serviceId\":12," \
    "\"proxy\":\"127.0.0.1:21001\",\"subnet\":\"100.64.0.0/20\",\"phase\":\"ready\"}"
#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define FP "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define SESSION(id, uuid) \
    "{\"id\":\"" id "\",\"uuid\":\"" uuid "\",\"address\":\"100.64.0.3\",\"since\":1764000000000}"
#define VERDICT "{\"uuid\":\"" A "\",\"fingerprint\":\"" FP "\",\"at\":1764000000000}"
#define SNAPSHOT(seq, more, sessions)                                                  \
    "{\"type\":\"snapshot\",\"seq\":" seq ",\"more\":" more ",\"sessions\":[" sessions \
    "],\"verdicts\":[]}"
#define UP(seq, session) "{\"type\":\"up\",\"seq\":" seq ",\"session\":" session "}"
#define DOWN(seq, id, uuid) \
    "{\"type\":\"down\",\"seq\":" seq ",\"uuid\":\"" uuid "\",\"id\":\"" id "\",\"at\":1}"

struct fixture {
    struct world w;
    struct verdicts verdicts;
    struct roster roster;
    struct feed_world shared;
    struct feed_in feed;
};

static void on_stale(void *arg, const char *uuid, const char *id)
{
    struct fixture *f = arg;
    buf_printf(&f->w.said, "stale %c/%s ", uuid[0], id);
}

static void on_dropped(void *arg, const char *why)
{
    struct fixture *f = arg;
    buf_append_str(&f->w.said, "dropped ");
}

static void setup(struct fixture *f)
{
    world_init(&f->w, NULL);
    verdicts_init(&f->verdicts, 86400000, 100);
    roster_init(&f->roster, 0);
    f->shared = (struct feed_world){f->w.table, &f->verdicts, &f->roster};
    f->feed = (struct feed_in){
        .world = &f->shared, .on_stale = on_stale, .on_dropped = on_dropped, .arg = f};
    feed_in_init(&f->feed);
}

static void teardown(struct fixture *f)
{
    feed_in_clear(&f->feed, f->w.now);
    world_clear(&f->w);
    verdicts_clear(&f->verdicts);
    roster_clear(&f->roster);
}

static int say(struct fixture *f, const char *text)
{
    struct err err = {0};
    int r = feed_in_message(&f->feed, text, strlen(text), f->w.now, &err);
    assert_int_equal(r < 0, err.text[0] != '\0');
    return r;
}

static void accepted(struct fixture *f, const char *text)
{
    assert_int_equal(0, say(f, text));
}

static void test_feed_goes_live_by_hello_and_snapshot(void **state)
{
    struct fixture f;
    setup(&f);

    accepted(&f, HELLO);
    assert_int_equal(FEED_EMPTY, f.feed.state);
    accepted(&f, SNAPSHOT("1", "false", SESSION("1.0", A)));
    assert_int_equal(FEED_LIVE, f.feed.state);
    accepted(&f, UP("2", SESSION("1.1", B)));
    accepted(&f, DOWN("3", "1.0", A));
    world_said(&f.w, "up a@1 up b@1 down a@1");
    assert_int_equal(3, f.feed.seq);
    assert_int_equal(12, f.feed.instance->service_id);
    assert_string_equal("127.0.0.1:21001", f.feed.instance->proxy);
    teardown(&f);
}

static void test_feed_parts_take_effect_together(void **state)
{
    struct fixture f;
    setup(&f);

    accepted(&f, HELLO);
    accepted(&f, SNAPSHOT("1", "true", SESSION("1.0", A)));
    assert_int_equal(FEED_STAGING, f.feed.state);
    assert_int_equal(0, where(&f.w, 'a'));
    assert_false(f.feed.instance->synced);
    accepted(&f, SNAPSHOT("2", "false", SESSION("1.1", B)));
    assert_int_equal(1, where(&f.w, 'a'));
    assert_int_equal(1, where(&f.w, 'b'));
    assert_true(f.feed.instance->synced);
    teardown(&f);
}

static void test_feed_changes_between_parts_apply_to_the_parts(void **state)
{
    struct fixture f;
    setup(&f);

    accepted(&f, HELLO);
    accepted(&f, SNAPSHOT("1", "true", SESSION("1.0", A)));
    accepted(&f, DOWN("2", "1.0", A));
    accepted(&f, UP("3", SESSION("1.7", B)));
    world_said(&f.w, "");
    accepted(&f, SNAPSHOT("4", "false", ""));
    world_said(&f.w, "up b@1");
    teardown(&f);
}

static void test_feed_broken_between_parts_has_changed_nothing(void **state)
{
    struct fixture f;
    setup(&f);

    accepted(&f, HELLO);
    accepted(&f, SNAPSHOT("1", "false", SESSION("1.0", A)));
    accepted(&f, SNAPSHOT("2", "true", SESSION("1.1", B)));
    feed_in_clear(&f.feed, f.w.now);
    assert_int_equal(1, where(&f.w, 'a'));
    assert_int_equal(0, where(&f.w, 'b'));
    teardown(&f);
}

static void test_feed_snapshot_may_come_again(void **state)
{
    struct fixture f;
    setup(&f);

    accepted(&f, HELLO);
    accepted(&f, SNAPSHOT("1", "false", SESSION("1.0", A)));
    accepted(&f, SNAPSHOT("2", "false", SESSION("1.1", B)));
    world_said(&f.w, "up a@1 up b@1 down a@1");
    teardown(&f);
}

static void test_feed_gap_in_the_numbers_is_refused(void **state)
{
    struct fixture f;
    setup(&f);

    accepted(&f, HELLO);
    accepted(&f, SNAPSHOT("1", "false", ""));
    assert_int_equal(-EPROTO, say(&f, UP("3", SESSION("1.0", A))));
    assert_int_equal(0, where(&f.w, 'a'));
    assert_int_equal(-EPROTO, say(&f, UP("1", SESSION("1.0", A))));
    teardown(&f);
}

static void test_feed_refuses_what_is_out_of_order(void **state)
{
    static const char *const first[] = {SNAPSHOT("1", "false", ""),
                                        UP("1", SESSION("1.0", A)),
                                        DOWN("1", "1.0", A),
                                        "{\"type\":\"bye\"}",
                                        "{\"type\":\"info\",\"seq\":1,\"phase\":\"ready\"}",
                                        "{\"type\":\"verdict\",\"seq\":1,\"verdict\":" VERDICT "}"};

    for (size_t i = 0; i < ARRAY_LEN(first); i++) {
        struct fixture f;
        setup(&f);
        assert_int_equal(-EPROTO, say(&f, first[i]));
        teardown(&f);
    }
    struct fixture f;
    setup(&f);
    accepted(&f, HELLO);
    assert_int_equal(-EPROTO, say(&f, HELLO));
    assert_int_equal(-EPROTO, say(&f, UP("1", SESSION("1.0", A))));
    assert_int_equal(-EPROTO, say(&f, DOWN("1", "1.0", A)));
    teardown(&f);
}

static void test_feed_refuses_malformed_messages(void **state)
{
    static const char *const rows[] = {
        "",
        "{",
        "[]",
        "null",
        "1",
        "{}",
        "{\"type\":1}",
        "{\"type\":\"what\"}",
        "{\"type\":\"up\",\"session\":" SESSION("1.0", A) "}", /* no seq */
        "{\"type\":\"up\",\"seq\":-1,\"session\":" SESSION("1.0", A) "}",
        "{\"type\":\"up\",\"seq\":1.5,\"session\":" SESSION("1.0", A) "}",
        "{\"type\":\"up\",\"seq\":2}",
        UP("2", "{}"),
        UP("2", SESSION("1", A)),
        UP("2", SESSION("1.", A)),
        UP("2", SESSION(".1", A)),
        UP("2", SESSION("1.2.3", A)),
        UP("2", SESSION("-1.2", A)),
        UP("2", SESSION("1.0", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")),
        UP("2", SESSION("1.0", "aaa")),
        UP("2", SESSION("1.0", "../../aaaaaaaaaaaaaaaaaaaaaaaaaaa")),
        UP("2", "{\"id\":\"1.0\",\"uuid\":\"" A "\",\"address\":\"1.2.3\",\"since\":1}"),
        UP("2", "{\"id\":\"1.0\",\"uuid\":\"" A "\",\"address\":\"1.2.3.4\",\"since\":-1}"),
        UP("2", "{\"id\":\"1.0\",\"uuid\":\"" A "\",\"address\":\"1.2.3.4\",\"since\":1e99}"),
        SNAPSHOT("2", "1", ""),
        SNAPSHOT("2", "false", "null"),
        "{\"type\":\"snapshot\",\"seq\":2,\"more\":false,\"sessions\":{}}",
        "{\"type\":\"verdict\",\"seq\":2,\"verdict\":{\"uuid\":\"" A
        "\",\"fingerprint\":\"xyz\",\"at\":1}}",
        "{\"type\":\"info\",\"seq\":2,\"phase\":\"<script>\"}",
        "{\"type\":\"down\",\"seq\":2,\"uuid\":\"" A "\",\"id\":\"1.0\"}",
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct fixture f;
        setup(&f);
        accepted(&f, HELLO);
        accepted(&f, SNAPSHOT("1", "false", ""));
        assert_int_equal(-EPROTO, say(&f, rows[i]));
        assert_int_equal(0, table_counts(f.w.table).sessions);
        teardown(&f);
    }
}

static void test_feed_refuses_malformed_hellos(void **state)
{
    static const char *const rows[] = {
        "{\"type\":\"hello\"}",
        "{\"type\":\"hello\",\"pool\":\"<b>\",\"index\":1,\"epoch\":\"e\",\"proxy\":\"a:1\","
        "\"subnet\":\"100.64.0.0/20\",\"phase\":\"ready\"}",
        "{\"type\":\"hello\",\"pool\":\"p\",\"index\":0,\"epoch\":\"e\",\"proxy\":\"a:1\","
        "\"subnet\":\"100.64.0.0/20\",\"phase\":\"ready\"}",
        "{\"type\":\"hello\",\"pool\":\"p\",\"index\":1,\"epoch\":\"\\\"\",\"proxy\":\"a:1\","
        "\"subnet\":\"100.64.0.0/20\",\"phase\":\"ready\"}",
        "{\"type\":\"hello\",\"pool\":\"p\",\"index\":1,\"epoch\":\"e\",\"proxy\":\"a\\n:1\","
        "\"subnet\":\"100.64.0.0/20\",\"phase\":\"ready\"}",
        "{\"type\":\"hello\",\"pool\":\"p\",\"index\":1,\"epoch\":\"e\",\"proxy\":\"a:1\","
        "\"subnet\":\"100.64.0.1/20\",\"phase\":\"ready\"}",
        "{\"type\":\"hello\",\"pool\":\"p\",\"index\":1,\"epoch\":\"e\",\"proxy\":\"a:1\","
        "\"subnet\":\"100.64.0.0/20\",\"phase\":\"ready\",\"serviceId\":\"x\"}",
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct fixture f;
        setup(&f);
        assert_int_equal(-EPROTO, say(&f, rows[i]));
        assert_int_equal(0, table_counts(f.w.table).instances);
        teardown(&f);
    }
}

static void test_feed_hello_without_a_service_id(void **state)
{
    struct fixture f;
    setup(&f);

    accepted(&f, "{\"type\":\"hello\",\"pool\":\"p\",\"index\":1,\"epoch\":\"e\",\"proxy\":\"a:1\","
                 "\"subnet\":\"100.64.0.0/20\",\"phase\":\"starting\",\"serviceId\":null}");
    assert_int_equal(-1, f.feed.instance->service_id);
    accepted(&f, "{\"type\":\"info\",\"seq\":1,\"serviceId\":77}");
    assert_int_equal(77, f.feed.instance->service_id);
    assert_string_equal("starting", f.feed.instance->phase);
    accepted(&f, "{\"type\":\"info\",\"seq\":2,\"phase\":\"ready\"}");
    assert_int_equal(77, f.feed.instance->service_id);
    assert_string_equal("ready", f.feed.instance->phase);
    teardown(&f);
}

static void test_feed_verdicts_are_remembered(void **state)
{
    struct fixture f;
    int64_t at_ms = 0;
    setup(&f);

    accepted(&f, HELLO);
    accepted(&f, "{\"type\":\"verdict\",\"seq\":5,\"verdict\":" VERDICT "}");
    assert_true(verdicts_get(&f.verdicts, A, FP, f.w.now.unix_ms, &at_ms));
    accepted(&f, "{\"type\":\"snapshot\",\"seq\":6,\"more\":false,\"sessions\":[],\"verdicts\":["
                 "{\"uuid\":\"" B "\",\"fingerprint\":\"" FP "\",\"at\":1763999999000}]}");
    assert_true(verdicts_get(&f.verdicts, B, FP, f.w.now.unix_ms, &at_ms));
    assert_true(at_ms == 1763999999000);
    teardown(&f);
}

static void test_feed_bye_ends_the_instance(void **state)
{
    struct fixture f;
    setup(&f);

    accepted(&f, HELLO);
    accepted(&f, SNAPSHOT("1", "false", SESSION("1.0", A)));
    accepted(&f, "{\"type\":\"bye\"}");
    world_said(&f.w, "up a@1 down a@1"); /* and not "dropped" */
    assert_int_equal(FEED_ENDED, f.feed.state);
    accepted(&f, "what comes behind is not even read");
    teardown(&f);
}

static void test_feed_end_without_bye_keeps_the_sessions(void **state)
{
    struct fixture f;
    setup(&f);

    accepted(&f, HELLO);
    accepted(&f, SNAPSHOT("1", "false", SESSION("1.0", A)));
    feed_in_clear(&f.feed, f.w.now);
    assert_int_equal(1, where(&f.w, 'a'));
    f.w.now.mono_ms += 30000;
    table_tick(f.w.table, f.w.now);
    assert_int_equal(0, where(&f.w, 'a'));
    teardown(&f);
}

static void test_feed_that_was_replaced_takes_no_more_messages(void **state)
{
    struct fixture f;
    setup(&f);

    accepted(&f, HELLO);
    accepted(&f, SNAPSHOT("1", "false", ""));
    hello(&f.w, 2, 1, "e");
    world_said(&f.w, "dropped");
    assert_null(f.feed.instance);
    accepted(&f, UP("2", SESSION("1.0", A)));
    assert_int_equal(0, where(&f.w, 'a'));
    teardown(&f); /* its end is not the end of the instance's new feed */
}

static void test_feed_end_of_a_replaced_connection_leaves_the_new_one(void **state)
{
    struct fixture f;
    setup(&f);

    accepted(&f, HELLO);
    struct table_instance *i = hello(&f.w, 2, 1, "e");
    feed_in_clear(&f.feed, f.w.now);
    assert_ptr_equal(&f.w.feeds[2].hooks, i->feed);
    teardown(&f);
}

static void test_feed_is_told_of_stale_sessions(void **state)
{
    struct fixture f;
    setup(&f);

    accepted(&f, HELLO);
    accepted(&f, SNAPSHOT("1", "false", SESSION("1.0", A)));
    up(&f.w, hello(&f.w, 2, 2, "f"), "1.0", 'a', 1764000009000);
    world_said(&f.w, "up a@1 stale a/1.0 up a@2");
    teardown(&f);
}

static void test_feed_down_that_names_another_device_is_refused(void **state)
{
    struct fixture f;
    setup(&f);

    accepted(&f, HELLO);
    accepted(&f, SNAPSHOT("1", "false", SESSION("1.0", A)));
    assert_int_equal(-EPROTO, say(&f, DOWN("2", "1.0", B)));
    assert_int_equal(1, where(&f.w, 'a'));
    teardown(&f);
}

static void test_feed_of_an_epoch_that_the_list_does_not_name_is_refused(void **state)
{
    struct fixture f;
    setup(&f);
    struct roster_entry *entry = xcalloc(1, sizeof(*entry));

    *entry = (struct roster_entry){.index = 1, .epoch = "live"};
    hello(&f.w, 2, 1, "live");
    roster_set(&f.roster, entry, 1, f.w.table, f.w.now);
    assert_int_equal(-EBUSY, say(&f, HELLO));
    world_said(&f.w, "");
    teardown(&f);
}

static void test_feed_of_another_pool_with_the_same_index_is_admitted(void **state)
{
    struct fixture f;
    setup(&f);
    struct roster_entry *entries = xcalloc(2, sizeof(*entries));
    struct table_hello other = {
        .pool = "other", .index = 1, .epoch = "of-the-other", .proxy = "", .subnet = ""};

    entries[0] = (struct roster_entry){.index = 1, .epoch = "live"};
    entries[1] = (struct roster_entry){.index = 1, .epoch = "of-the-other"};
    hello(&f.w, 2, 1, "live");
    roster_set(&f.roster, entries, 2, f.w.table, f.w.now);
    assert_true(roster_admits(&f.roster, f.w.table, &other));
    struct table_instance *instance;
    assert_int_equal(table_hello(f.w.table, &other, &f.w.feeds[3].hooks, f.w.now, &instance, NULL),
                     0);
    strcpy(other.epoch, "older");
    assert_false(roster_admits(&f.roster, f.w.table, &other));
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_feed_goes_live_by_hello_and_snapshot),
        cmocka_unit_test(test_feed_parts_take_effect_together),
        cmocka_unit_test(test_feed_changes_between_parts_apply_to_the_parts),
        cmocka_unit_test(test_feed_broken_between_parts_has_changed_nothing),
        cmocka_unit_test(test_feed_snapshot_may_come_again),
        cmocka_unit_test(test_feed_gap_in_the_numbers_is_refused),
        cmocka_unit_test(test_feed_refuses_what_is_out_of_order),
        cmocka_unit_test(test_feed_refuses_malformed_messages),
        cmocka_unit_test(test_feed_refuses_malformed_hellos),
        cmocka_unit_test(test_feed_hello_without_a_service_id),
        cmocka_unit_test(test_feed_verdicts_are_remembered),
        cmocka_unit_test(test_feed_bye_ends_the_instance),
        cmocka_unit_test(test_feed_end_without_bye_keeps_the_sessions),
        cmocka_unit_test(test_feed_that_was_replaced_takes_no_more_messages),
        cmocka_unit_test(test_feed_end_of_a_replaced_connection_leaves_the_new_one),
        cmocka_unit_test(test_feed_is_told_of_stale_sessions),
        cmocka_unit_test(test_feed_down_that_names_another_device_is_refused),
        cmocka_unit_test(test_feed_of_an_epoch_that_the_list_does_not_name_is_refused),
        cmocka_unit_test(test_feed_of_another_pool_with_the_same_index_is_admitted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
