/* burials.c with a balena API of the test's own in place of common/balena_api.c. */
#include "controller/pool/burials.h"
#include "loop_until.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

struct api_call {
    api_done_fn on_done;
    void *arg;
    bool is_list;
    int64_t service_id;
    size_t count;
};

static struct {
    struct loop *loop;
    struct burials *burials;
    struct loop_timer *answer_timer;
    struct api_call call; /* one at a time */
    bool busy;
    size_t listed[100]; /* by service id: devices that the API still lists */
    bool ill;           /* answers nothing sensible */
    size_t asked, reported;
    char path[64];
} t;

static const char *const uuids[2] = {"00000000000000000000000000000001",
                                     "00000000000000000000000000000002"};

static void on_answer(void *arg)
{
    struct api_call call = t.call;
    struct api_result result = {.answer = t.ill ? API_UNKNOWN : API_YES, .why = "it is ill"};

    t.busy = false;
    if (!t.ill && call.is_list) {
        result.uuids = uuids;
        result.uuid_count = t.listed[call.service_id];
    } else if (!t.ill) {
        t.listed[call.service_id] -= call.count;
        t.reported += call.count;
    }
    call.on_done(call.arg, &result);
}

static struct api_call *begin(struct api_call call)
{
    assert_false(t.busy);
    t.busy = true;
    t.asked++;
    t.call = call;
    loop_timer_start(t.answer_timer, 0, 0);
    return &t.call;
}

struct api_call *api_list_devices(struct balena_api *api, int64_t service_id, api_done_fn on_done,
                                  void *arg)
{
    return begin((struct api_call){on_done, arg, true, service_id, 0});
}

struct api_call *api_report(struct balena_api *api, bool connected, int64_t service_id,
                            const char *const *list, size_t count, api_done_fn on_done, void *arg)
{
    assert_false(connected);
    assert_int_equal(count, t.listed[service_id]);
    return begin((struct api_call){on_done, arg, false, service_id, count});
}

void api_call_cancel(struct api_call *call)
{
    if (call != NULL) {
        t.busy = false;
        loop_timer_stop(t.answer_timer);
    }
}

static void on_change(void *arg)
{
}

static void open_burials(void)
{
    struct err err;

    assert_int_equal(burials_open(t.loop, t.path, NULL, on_change, NULL, &t.burials, &err), 0);
}

static int setup(void **state)
{
    memset(&t, 0, sizeof(t));
    snprintf(t.path, sizeof(t.path), "/tmp/test-burials-%d.json", (int)getpid());
    unlink(t.path);
    assert_int_equal(loop_new(&t.loop, NULL), 0);
    t.answer_timer = loop_timer_new(t.loop, on_answer, NULL);
    open_burials();
    return 0;
}

static int teardown(void **state)
{
    burials_close(t.burials);
    loop_timer_close(t.answer_timer);
    loop_free(t.loop);
    unlink(t.path);
    return 0;
}

static bool none_is_left(void)
{
    return burials_count_pending(t.burials) == 0;
}

static bool was_asked(void)
{
    return t.asked > 0 && burials_why(t.burials)[0] != '\0';
}

static void test_burials_report_until_the_api_lists_none(void **state)
{
    t.listed[12] = 2;
    assert_int_equal(burials_live(t.burials, 1, "e1", 12, NULL), 0);
    assert_true(burials_gone(t.burials, 1, "e1"));
    assert_true(burials_pending(t.burials, 1, "e1"));
    assert_true(loop_until(t.loop, none_is_left));
    assert_int_equal(t.listed[12], 0);
    assert_int_equal(t.reported, 2);
    assert_int_equal(t.asked, 3); /* list, report, list */
    assert_false(burials_pending(t.burials, 1, "e1"));
}

static void test_burials_leave_the_living_alone(void **state)
{
    burials_live(t.burials, 1, "e1", 12, NULL);
    burials_live(t.burials, 2, "e2", 13, NULL);
    burials_gone(t.burials, 1, "e1");
    assert_true(loop_until(t.loop, none_is_left));
    assert_int_equal(t.asked, 1);
    assert_false(burials_gone(t.burials, 3, "e3")); /* never registered: nothing to bury */
}

static void test_burials_go_on_after_a_restart(void **state)
{
    t.ill = true;
    t.listed[12] = 1;
    burials_live(t.burials, 1, "e1", 12, NULL);
    burials_gone(t.burials, 1, "e1");
    assert_true(loop_until(t.loop, was_asked));
    assert_string_equal(burials_why(t.burials), "it is ill");
    burials_close(t.burials);
    t.ill = false;
    open_burials();
    assert_int_equal(burials_count_pending(t.burials), 1);
    burials_gone(t.burials, 1, "e1");
    assert_true(burials_pending(t.burials, 1, "e1"));
}

static bool nobody(void *arg, uint32_t index, const char *epoch)
{
    return false;
}

static void test_burials_take_up_who_was_alive_before_a_reboot(void **state)
{
    t.listed[12] = 1;
    burials_live(t.burials, 1, "e1", 12, NULL);
    burials_close(t.burials);
    open_burials();
    assert_int_equal(burials_count_pending(t.burials), 0);
    burials_gone_unless(t.burials, nobody, NULL);
    assert_true(loop_until(t.loop, none_is_left));
    assert_int_equal(t.reported, 1);
}

static void test_burials_bury_the_older_id_of_an_epoch_that_registered_anew(void **state)
{
    burials_live(t.burials, 1, "e1", 12, NULL);
    burials_live(t.burials, 1, "e1", 14, NULL);
    assert_int_equal(burials_count_pending(t.burials), 1);
    assert_true(loop_until(t.loop, none_is_left));
    assert_false(burials_pending(t.burials, 1, "e1"));
    assert_true(burials_gone(t.burials, 1, "e1")); /* 14 */
}

static void test_burials_try_the_others_when_one_fails(void **state)
{
    t.ill = true;
    burials_live(t.burials, 1, "e1", 12, NULL);
    burials_live(t.burials, 2, "e2", 13, NULL);
    burials_gone(t.burials, 1, "e1");
    burials_gone(t.burials, 2, "e2");
    assert_true(loop_until(t.loop, was_asked));
    t.ill = false;
    assert_true(loop_until(t.loop, none_is_left));
    assert_string_equal(burials_why(t.burials), "");
}

static void test_burials_set_a_file_aside_that_is_not_theirs(void **state)
{
    AUTO(str) char *bad = xasprintf("%s.bad", t.path);

    burials_close(t.burials);
    FILE *f = fopen(t.path, "we");
    fputs("{\"serviceInstances\":[{\"serviceId\":\"x\"}]}", f);
    fclose(f);
    open_burials();
    assert_int_equal(burials_count_pending(t.burials), 0);
    assert_int_equal(access(bad, F_OK), 0);
    assert_int_not_equal(access(t.path, F_OK), 0);
    unlink(bad);
}

/* A disk that is full, or a folder that is missing: the same once more is not "known already". */
static void test_burials_keep_what_could_not_be_written_at_first(void **state)
{
    char folder[64], path[96];
    struct burials *b = NULL;
    struct err err;

    snprintf(folder, sizeof(folder), "/tmp/test-burials-%d.d", (int)getpid());
    snprintf(path, sizeof(path), "%s/fleet.json", folder);
    assert_int_equal(burials_open(t.loop, path, NULL, on_change, NULL, &b, &err), 0);
    assert_int_equal(burials_live(b, 1, "100", 7, &err), -ENOENT);
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_int_equal(burials_live(b, 1, "100", 7, &err), 0);
    assert_int_equal(access(path, F_OK), 0);
    burials_close(b);
    unlink(path);
    rmdir(folder);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_burials_report_until_the_api_lists_none),
        TEST(test_burials_leave_the_living_alone),
        TEST(test_burials_go_on_after_a_restart),
        TEST(test_burials_take_up_who_was_alive_before_a_reboot),
        TEST(test_burials_bury_the_older_id_of_an_epoch_that_registered_anew),
        TEST(test_burials_try_the_others_when_one_fails),
        TEST(test_burials_set_a_file_aside_that_is_not_theirs),
        TEST(test_burials_keep_what_could_not_be_written_at_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
