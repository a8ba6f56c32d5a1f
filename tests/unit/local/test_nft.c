#include "controller/pool/nft.h"
#include "controller/pool/process.h"

#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct loop *loop;
static int last_result;
static char last_why[512];

static void on_done(void *arg, int result, const char *why)
{
    last_result = result;
    snprintf(last_why, sizeof(last_why), "%s", why);
    loop_stop(loop);
}

/* A network namespace of our own, or the test is skipped. */
static int setup(void **state)
{
    if (access("/usr/sbin/nft", X_OK) != 0 || unshare(CLONE_NEWNET) != 0) {
        return 0;
    }
    return loop_new(&loop, NULL);
}

static int teardown(void **state)
{
    loop_free(loop);
    loop = NULL;
    return 0;
}

static void start(const char *script, bool check)
{
    struct nft_run *run;
    struct err err;

    assert_int_equal(nft_start(loop, "/usr/sbin/nft", script, check, on_done, NULL, &run, &err), 0);
    loop_run(loop);
}

static void run(const char *script)
{
    start(script, false);
}

static bool listing_has(const char *text)
{
    char out[8192];
    FILE *f = popen("/usr/sbin/nft list ruleset", "r");

    assert_non_null(f);
    out[fread(out, 1, sizeof(out) - 1, f)] = '\0';
    pclose(f);
    return strstr(out, text) != NULL;
}

static void apply_rules(const struct nft_rules *rules)
{
    struct buf script;

    buf_init(&script, 65536);
    assert_int_equal(nft_render("fleet", rules, &script), 0);
    run(buf_str(&script));
    assert_string_equal(last_why, "");
    assert_int_equal(last_result, 0);
    buf_clear(&script);
}

static void apply(const uint32_t *indices, size_t count)
{
    struct nft_rules rules = {.indices = indices, .count = count};

    apply_rules(&rules);
}

static void test_nft_table_name_keeps_only_what_nft_takes(void **state)
{
    char name[NFT_TABLE_MAX];

    nft_table_name("fleet-1", name);
    assert_string_equal(name, "openvpn-fleet-1");
    nft_table_name("a;b c\"", name);
    assert_string_equal(name, "openvpn-a_b_c_");
}

static void test_nft_table_is_made_replaced_and_removed(void **state)
{
    if (loop == NULL) {
        skip();
    }
    struct buf script;
    uint32_t two[] = {1, 2};

    run("table inet other { }");
    apply(NULL, 0);
    assert_true(listing_has("table inet openvpn-fleet"));
    apply(two, 2);
    assert_true(listing_has("\"tun2\""));
    apply(two, 1);
    assert_false(listing_has("\"tun2\""));
    assert_true(listing_has("\"tun1\""));
    buf_init(&script, 65536);
    assert_int_equal(nft_render_removal("fleet", &script), 0);
    run(buf_str(&script));
    run(buf_str(&script)); /* also when it is not there */
    assert_int_equal(last_result, 0);
    assert_false(listing_has("openvpn-fleet"));
    assert_true(listing_has("table inet other"));
    buf_clear(&script);
}

static void test_nft_limits_each_way_by_itself(void **state)
{
    if (loop == NULL) {
        skip();
    }
    const uint32_t one[] = {1};
    struct nft_rules rules = {.indices = one, .count = 1, .down = 8000000};

    apply_rules(&rules);
    assert_true(listing_has("ip daddr limit rate over 1000000 bytes/second burst 16 kbytes"));
    assert_false(listing_has("saddr"));
    rules.up = 80000;
    apply_rules(&rules);
    assert_true(listing_has("ip saddr limit rate over 10000 bytes/second burst 16 kbytes"));
    apply(one, 1);
    assert_false(listing_has("limit rate"));
}

static bool looks_right(const struct nft_rules *rules)
{
    struct buf script;

    buf_init(&script, 65536);
    assert_int_equal(nft_render_look("fleet", rules, &script), 0);
    start(buf_str(&script), true);
    buf_clear(&script);
    return last_result == 0;
}

static void test_nft_look_finds_what_was_loaded_and_changes_nothing(void **state)
{
    if (loop == NULL) {
        skip();
    }
    const uint32_t two[] = {1, 2};
    const struct nft_rules all[] = {{0},
                                    {.indices = two, .count = 2},
                                    {.indices = two, .count = 2, .down = 8000000},
                                    {.indices = two, .count = 2, .up = 8000000},
                                    {.indices = two, .count = 1, .down = 80000, .up = 80000}};

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        apply_rules(&all[i]);
        assert_true(looks_right(&all[i]));
        assert_true(looks_right(&all[i]));
    }
}

static void test_nft_look_sees_what_somebody_took_away(void **state)
{
    if (loop == NULL) {
        skip();
    }
    const char *const changes[] = {
        "flush ruleset",
        "delete table inet openvpn-fleet",
        "flush chain inet openvpn-fleet input",
        "flush chain inet openvpn-fleet forward",
        "flush chain inet openvpn-fleet output",
        "flush chain inet openvpn-fleet input; delete chain inet openvpn-fleet input",
        "delete element inet openvpn-fleet tuns { \"tun2\" }",
        "flush set inet openvpn-fleet tuns",
    };
    const uint32_t two[] = {1, 2};
    const struct nft_rules rules = {.indices = two, .count = 2, .down = 80000, .up = 80000};

    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        apply_rules(&rules);
        run(changes[i]);
        assert_int_equal(last_result, 0);
        assert_false(looks_right(&rules));
    }
}

static void test_nft_says_what_is_wrong(void **state)
{
    if (loop == NULL) {
        skip();
    }
    run("nonsense");
    assert_int_equal(last_result, -EIO);
    assert_non_null(strstr(last_why, "syntax error"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nft_table_name_keeps_only_what_nft_takes),
        cmocka_unit_test_setup_teardown(test_nft_table_is_made_replaced_and_removed, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_nft_limits_each_way_by_itself, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nft_look_finds_what_was_loaded_and_changes_nothing,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_nft_look_sees_what_somebody_took_away, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_nft_says_what_is_wrong, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
