#include "controller/pool/local_state.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static struct local_state a, b;

static void fill(void)
{
    memset(&a, 0, sizeof(a));
    memset(&b, 0, sizeof(b));
    strcpy(a.pool, "fleet");
    strcpy(a.boot.text, "b0");
    a.instance_count = 2;
    a.instances[0] = (struct local_instance){
        .index = 7,
        .epoch = "1764000000000",
        .phase = INDEX_DRAINING,
        .phase_since_ms = 5,
        .service_id = 12,
        .serving = true,
        .failures = 3,
        .not_before_ms = 9,
        .revision = "0123456789abcdef",
        .sidecar_revision = "fedcba9876543210",
        .openvpn = {.id = {.pid = 4711, .start = 99},
                    .started_at_ms = 1764000000001,
                    .restarts = 2},
        .sidecar = {.id = {.pid = 4712, .start = 98}, .started_at_ms = 1764000000002},
    };
    a.instances[1] = (struct local_instance){.index = 1, .epoch = "2", .phase = INDEX_STARTING};
    local_state_freed(&a, 4, 100);
    local_state_freed(&a, 3, 200);
    a.pool_not_before_ms = 77;
    a.programs[LOCAL_HAPROXY].process.id.pid = 17;
    strcpy(a.programs[LOCAL_STATE].revision, "rev");
}

static void test_local_state_is_the_same_after_a_round_trip(void **state)
{
    struct err err;

    fill();
    AUTO(str) char *text = local_state_format(&a);
    assert_int_equal(local_state_parse(text, strlen(text), &b, &err), 0);
    AUTO(str) char *again = local_state_format(&b);
    assert_string_equal(text, again);
    struct local_instance *i = local_state_find(&b, 7);
    assert_non_null(i);
    assert_int_equal(i->phase, INDEX_DRAINING);
    assert_int_equal(i->openvpn.id.pid, 4711);
    assert_int_equal(i->openvpn.id.start, 99);
    assert_string_equal(i->revision, "0123456789abcdef");
    assert_true(i->serving);
    assert_null(local_state_find(&b, 2));
}

static void test_local_state_keeps_freed_ones_in_order(void **state)
{
    fill();
    local_state_freed(&a, 4, 300); /* used and freed again: now the latest */
    assert_int_equal(a.freed_count, 2);
    assert_int_equal(a.freed[0].index, 3);
    assert_int_equal(a.freed[1].index, 4);
    local_state_taken(&a, 3);
    assert_int_equal(a.freed_count, 1);
    assert_int_equal(a.freed[0].index, 4);
}

static void test_local_state_refuses_what_it_did_not_write(void **state)
{
    static const char *const texts[] = {
        "",
        "[]",
        "{}",
        "{\"version\":2}",
        "{\"version\":1,\"pool\":\"a\",\"bootId\":\"b\",\"poolNotBefore\":0,\"instances\":[{}]}",
    };
    struct err err;

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        assert_int_not_equal(local_state_parse(texts[i], strlen(texts[i]), &b, &err), 0);
    }
}

static void test_local_state_refuses_an_index_that_is_there_twice(void **state)
{
    struct err err;

    fill();
    a.instances[1].index = 7;
    AUTO(str) char *text = local_state_format(&a);
    assert_int_equal(local_state_parse(text, strlen(text), &b, &err), -EPROTO);
    assert_non_null(strstr(err.text, "'index' 7"));
}

static void test_local_state_refuses_every_cut_short_text(void **state)
{
    struct err err;

    fill();
    AUTO(str) char *text = local_state_format(&a);
    for (size_t len = 0; len < strlen(text); len++) {
        assert_int_not_equal(local_state_parse(text, len, &b, &err), 0);
    }
}

static void test_local_state_is_saved_whole_and_private(void **state)
{
    char path[] = "/tmp/test-local-state-XXXXXX";
    AUTO(str) char *temporary = NULL;
    struct stat st;
    struct err err;

    fill();
    close(mkstemp(path));
    temporary = xasprintf("%s.new", path);
    close(creat(temporary, 0644)); /* of one that died while it wrote */
    assert_int_equal(local_state_save(path, &a, &err), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_not_equal(access(temporary, F_OK), 0);
    assert_int_equal(local_state_load(path, &b, &err), 0);
    assert_string_equal(b.pool, "fleet");
    unlink(path);
    assert_int_equal(local_state_load(path, &b, &err), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_local_state_is_the_same_after_a_round_trip),
        cmocka_unit_test(test_local_state_keeps_freed_ones_in_order),
        cmocka_unit_test(test_local_state_refuses_what_it_did_not_write),
        cmocka_unit_test(test_local_state_refuses_an_index_that_is_there_twice),
        cmocka_unit_test(test_local_state_refuses_every_cut_short_text),
        cmocka_unit_test(test_local_state_is_saved_whole_and_private),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
