#include "sidecar-proxy/session/sessions.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define UUID_A "0123456789abcdef0123456789abcdef"
#define UUID_B "fedcba9876543210fedcba9876543210"

struct heard {
    int up;
    int down;
    struct session_id last_down;
    int64_t down_at_ms;
};

static void on_up(void *arg, const struct session *s)
{
    ((struct heard *)arg)->up++;
}

static void on_down(void *arg, const struct session *s, int64_t at_ms)
{
    struct heard *heard = arg;

    heard->down++;
    heard->last_down = s->id;
    heard->down_at_ms = at_ms;
}

struct fixture {
    struct sessions table;
    struct heard heard;
    struct sessions_watcher watcher;
};

static int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));

    sessions_init(&f->table, 3);
    f->watcher = (struct sessions_watcher){.on_up = on_up, .on_down = on_down, .arg = &f->heard};
    sessions_watch(&f->table, &f->watcher);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    sessions_clear(&f->table);
    free(f);
    return 0;
}

static struct session_claim claim(uint64_t generation, uint64_t cid, const char *uuid)
{
    return (struct session_claim){
        .id = {generation, cid}, .uuid = uuid, .address = 0x64400003, .since_ms = 1000};
}

static enum sessions_result up(struct fixture *f, uint64_t generation, uint64_t cid,
                               const char *uuid)
{
    struct session_claim c = claim(generation, cid, uuid);

    return sessions_up(&f->table, &c);
}

static enum sessions_result adopt(struct fixture *f, uint64_t generation, uint64_t cid,
                                  const char *uuid)
{
    struct session_claim c = claim(generation, cid, uuid);

    return sessions_adopt(&f->table, &c);
}

static bool down(struct fixture *f, uint64_t generation, uint64_t cid)
{
    return sessions_down(&f->table, (struct session_id){generation, cid}, 2000);
}

static void test_sessions_finds_by_uuid_and_id(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(up(f, 1, 7, UUID_A), SESSIONS_UP);
    assert_int_equal(sessions_find(&f->table, UUID_A)->id.cid, 7);
    assert_string_equal(sessions_find_id(&f->table, (struct session_id){1, 7})->uuid, UUID_A);
    assert_null(sessions_find(&f->table, UUID_B));
    assert_null(sessions_find_id(&f->table, (struct session_id){2, 7}));
    assert_int_equal(f->heard.up, 1);
}

static void test_sessions_up_twice_is_told_once(void **state)
{
    struct fixture *f = *state;

    up(f, 1, 7, UUID_A);
    assert_int_equal(up(f, 1, 7, UUID_A), SESSIONS_KNOWN);
    assert_int_equal(f->heard.up, 1);
}

static void test_sessions_dead_id_stays_dead(void **state)
{
    struct fixture *f = *state;

    up(f, 1, 7, UUID_A);
    assert_true(down(f, 1, 7));
    assert_int_equal(f->heard.down_at_ms, 2000);
    assert_int_equal(up(f, 1, 7, UUID_A), SESSIONS_DEAD);
    assert_int_equal(sessions_count(&f->table), 0);
}

static void test_sessions_end_before_start_wins(void **state)
{
    struct fixture *f = *state;

    assert_false(down(f, 1, 5));
    assert_int_equal(up(f, 1, 5, UUID_A), SESSIONS_DEAD);
}

static void test_sessions_row_of_openvpns_list_revives(void **state)
{
    struct fixture *f = *state;

    up(f, 1, 7, UUID_A);
    down(f, 1, 7);
    assert_int_equal(adopt(f, 1, 7, UUID_A), SESSIONS_UP);
    assert_int_equal(f->heard.up, 2);
}

static void test_sessions_row_of_another_device_replaces(void **state)
{
    struct fixture *f = *state;

    up(f, 1, 0, UUID_A);
    assert_int_equal(adopt(f, 1, 0, UUID_B), SESSIONS_UP);
    assert_null(sessions_find(&f->table, UUID_A));
    assert_int_equal(f->heard.down, 1);
}

static void test_sessions_newest_of_a_uuid_counts(void **state)
{
    struct fixture *f = *state;

    up(f, 1, 8, UUID_A);
    up(f, 1, 7, UUID_A);
    up(f, 1, 9, UUID_A);
    assert_int_equal(sessions_find(&f->table, UUID_A)->id.cid, 9);
    down(f, 1, 9);
    assert_int_equal(sessions_find(&f->table, UUID_A)->id.cid, 8);
    down(f, 1, 7);
    assert_int_equal(sessions_find(&f->table, UUID_A)->id.cid, 8);
    down(f, 1, 8);
    assert_null(sessions_find(&f->table, UUID_A));
}

static void test_sessions_table_is_bounded(void **state)
{
    struct fixture *f = *state;

    for (uint64_t cid = 0; cid < 3; cid++) {
        assert_int_equal(up(f, 1, cid, UUID_A), SESSIONS_UP);
    }
    assert_int_equal(up(f, 1, 3, UUID_B), SESSIONS_FULL);
    assert_int_equal(f->heard.up, 3);
}

static void test_sessions_memory_of_the_dead_is_bounded(void **state)
{
    struct fixture *f = *state;

    for (uint64_t cid = 0; cid < 20000; cid++) {
        up(f, 1, cid, UUID_A);
        down(f, 1, cid);
    }
    assert_int_equal(up(f, 1, 19999, UUID_A), SESSIONS_DEAD);
    assert_true(f->table.dead.count <= 4096);
}

static void test_sessions_resync_drops_what_is_not_listed(void **state)
{
    struct fixture *f = *state;

    up(f, 1, 1, UUID_A);
    up(f, 1, 2, UUID_B);
    sessions_unmark(&f->table);
    adopt(f, 1, 2, UUID_B);
    assert_int_equal(sessions_drop_unmarked(&f->table, 3000), 1);
    assert_int_equal(f->heard.last_down.cid, 1);
    assert_int_equal(f->heard.up, 2);
}

static void test_sessions_new_generation_ends_the_old(void **state)
{
    struct fixture *f = *state;

    up(f, 1, 1, UUID_A);
    up(f, 2, 0, UUID_B);
    assert_int_equal(sessions_drop_before(&f->table, 2, 3000), 1);
    assert_non_null(sessions_find(&f->table, UUID_B));
}

static void test_sessions_bytes_never_go_back(void **state)
{
    struct fixture *f = *state;
    struct session_id id = {1, 1};

    up(f, 1, 1, UUID_A);
    sessions_bytes(&f->table, id, 100, 200);
    sessions_bytes(&f->table, id, 50, 300);
    assert_int_equal(sessions_find_id(&f->table, id)->bytes_in, 100);
    assert_int_equal(sessions_find_id(&f->table, id)->bytes_out, 300);
}

static void test_session_id_text_goes_both_ways(void **state)
{
    struct session_id id = {12, 18446744073709551615ULL};
    struct session_id back = {0};

    assert_string_equal(session_id_format(id).text, "12.18446744073709551615");
    assert_true(session_id_parse("12.18446744073709551615", &back));
    assert_true(session_id_equal(id, back));
}

static void test_session_id_refuses_other_texts(void **state)
{
    static const char *const bad[] = {"",
                                      "1",
                                      ".1",
                                      "1.",
                                      "1.-2",
                                      "+1.2",
                                      " 1.2",
                                      "1. 2",
                                      "1.2.3",
                                      "01.2",
                                      "1.02",
                                      "a.b",
                                      "1.18446744073709551616"};
    struct session_id id;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(session_id_parse(bad[i], &id));
    }
}

int main(void)
{
#define WITH_TABLE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_TABLE(test_sessions_finds_by_uuid_and_id),
        WITH_TABLE(test_sessions_up_twice_is_told_once),
        WITH_TABLE(test_sessions_dead_id_stays_dead),
        WITH_TABLE(test_sessions_end_before_start_wins),
        WITH_TABLE(test_sessions_row_of_openvpns_list_revives),
        WITH_TABLE(test_sessions_row_of_another_device_replaces),
        WITH_TABLE(test_sessions_newest_of_a_uuid_counts),
        WITH_TABLE(test_sessions_table_is_bounded),
        WITH_TABLE(test_sessions_memory_of_the_dead_is_bounded),
        WITH_TABLE(test_sessions_resync_drops_what_is_not_listed),
        WITH_TABLE(test_sessions_new_generation_ends_the_old),
        WITH_TABLE(test_sessions_bytes_never_go_back),
        cmocka_unit_test(test_session_id_text_goes_both_ways),
        cmocka_unit_test(test_session_id_refuses_other_texts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
