/* The wall with an nft of the test's own: a script that keeps what it was given. */
#include "controller/pool/wall.h"
#include "loop_until.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static struct {
    struct loop *loop;
    struct wall *wall;
    char folder[32], program[64], given[64], broken[64];
} t;

static void on_change(void *arg)
{
}

static int setup(void **state)
{
    strcpy(t.folder, "/tmp/test-wall-XXXXXX");
    assert_non_null(mkdtemp(t.folder));
    snprintf(t.program, sizeof(t.program), "%s/nft", t.folder);
    snprintf(t.given, sizeof(t.given), "%s/given", t.folder);
    snprintf(t.broken, sizeof(t.broken), "%s/broken", t.folder);
    FILE *f = fopen(t.program, "we");
    fprintf(f,
            "#!/bin/sh\nif test -e %s; then echo 'no such kernel' >&2; exit 1; fi\ncat > %s\n! "
            "grep -q limit %s\n",
            t.broken, t.given, t.given);
    fclose(f);
    chmod(t.program, 0755);
    assert_int_equal(loop_new(&t.loop, NULL), 0);
    t.wall = wall_new(t.loop, t.program, "fleet", on_change, NULL);
    return 0;
}

static int teardown(void **state)
{
    wall_close(t.wall);
    loop_free(t.loop);
    unlink(t.program);
    unlink(t.given);
    unlink(t.broken);
    rmdir(t.folder);
    return 0;
}

static bool settled(void)
{
    return wall_settled(t.wall);
}

static bool given_has(const char *word)
{
    char text[4096] = "";
    FILE *f = fopen(t.given, "re");

    assert_non_null(f);
    text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
    fclose(f);
    return strstr(text, word) != NULL;
}

static void test_wall_covers_an_index_only_when_nft_has_done_it(void **state)
{
    uint32_t two[] = {1, 2};

    wall_set(t.wall, two, 2);
    assert_false(wall_covers(t.wall, 1));
    assert_true(loop_until(t.loop, settled));
    assert_true(wall_covers(t.wall, 1));
    assert_true(wall_covers(t.wall, 2));
    assert_false(wall_covers(t.wall, 3));
    assert_true(given_has("\"tun2\""));
}

static void test_wall_keeps_covering_while_it_changes(void **state)
{
    uint32_t all[] = {1, 2, 3};

    wall_set(t.wall, all, 1);
    assert_true(loop_until(t.loop, settled));
    wall_set(t.wall, all, 2);
    wall_set(t.wall, all, 3); /* before the first change was even begun */
    assert_true(wall_covers(t.wall, 1));
    assert_false(wall_covers(t.wall, 3));
    assert_true(loop_until(t.loop, settled));
    assert_true(wall_covers(t.wall, 3));
}

static bool says_why(void)
{
    return wall_why(t.wall)[0] != '\0';
}

static void test_wall_tries_again_and_says_why(void **state)
{
    uint32_t one[] = {1};

    close(creat(t.broken, 0600));
    wall_set(t.wall, one, 1);
    assert_true(loop_until(t.loop, says_why));
    assert_string_equal(wall_why(t.wall), "no such kernel");
    assert_false(wall_covers(t.wall, 1));
    unlink(t.broken);
    assert_true(loop_until(t.loop, settled));
    assert_string_equal(wall_why(t.wall), "");
}

static void test_wall_stands_without_limits_where_the_kernel_has_none(void **state)
{
    uint32_t one[] = {1};

    wall_limit(t.wall, 8000000, 8000000);
    wall_set(t.wall, one, 1);
    assert_true(loop_until(t.loop, settled));
    assert_true(wall_is_without_limits(t.wall));
    assert_true(wall_covers(t.wall, 1));
    assert_false(given_has("limit"));
    wall_set(t.wall, one, 1); /* the next round asks for the same: nothing to do */
    assert_true(wall_settled(t.wall));
}

static void test_wall_is_removed(void **state)
{
    uint32_t one[] = {1};

    wall_set(t.wall, one, 1);
    assert_true(loop_until(t.loop, settled));
    wall_remove(t.wall);
    assert_true(loop_until(t.loop, settled));
    assert_false(wall_covers(t.wall, 1));
    assert_true(given_has("delete table inet openvpn-fleet"));
    assert_false(given_has("hook input"));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_wall_covers_an_index_only_when_nft_has_done_it),
        TEST(test_wall_keeps_covering_while_it_changes),
        TEST(test_wall_tries_again_and_says_why),
        TEST(test_wall_stands_without_limits_where_the_kernel_has_none),
        TEST(test_wall_is_removed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
