/* The resolver's part is played by the test (in place of loop_resolve.c). */
#include "common/replicas.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct loop_resolve {
    char host[256];
    loop_resolve_fn fn;
    void *arg;
};
static struct loop_resolve *asked[8]; /* that wait for an answer */
static size_t asked_count;

struct loop_resolve *loop_resolve_start(struct loop *loop, const char *host, loop_resolve_fn fn,
                                        void *arg)
{
    struct loop_resolve *r = xcalloc(1, sizeof(*r));

    snprintf(r->host, sizeof(r->host), "%s", host);
    r->fn = fn;
    r->arg = arg;
    assert_true(asked_count < ARRAY_LEN(asked));
    asked[asked_count++] = r;
    return r;
}

static void forget(struct loop_resolve *r)
{
    for (size_t i = 0; i < asked_count; i++) {
        if (asked[i] == r) {
            asked[i] = asked[--asked_count];
        }
    }
    free(r);
}

void loop_resolve_cancel(struct loop_resolve *r)
{
    if (r != NULL) {
        forget(r);
    }
}

static void answer(struct loop_resolve *r, const char *const *addresses, size_t count)
{
    struct loop_resolve copy = *r;

    forget(r);
    copy.fn(copy.arg, count > 0 ? 0 : -EHOSTUNREACH, addresses, count);
}
#define ANSWER(r, ...)                            \
    do {                                          \
        const char *const list[] = {__VA_ARGS__}; \
        answer(r, list, ARRAY_LEN(list));         \
    } while (0)

struct fixture {
    struct loop *loop;
    struct replicas *replicas;
    int changes;
};

static int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));

    assert_int_equal(loop_new(&f->loop, NULL), 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    replicas_close(f->replicas);
    assert_int_equal(asked_count, 0);
    loop_free(f->loop);
    free(f);
    return 0;
}

static void on_change(void *arg)
{
    ((struct fixture *)arg)->changes++;
}

static void on_look(void *arg)
{
    if (asked_count > 0) {
        loop_stop(arg);
    }
}

static void run_until_asked(struct fixture *f)
{
    struct loop_timer *timer = loop_timer_new(f->loop, on_look, f->loop);

    loop_timer_start(timer, 0, 1);
    loop_run(f->loop);
    loop_timer_close(timer);
}

static void open_list(struct fixture *f, const char *list)
{
    assert_int_equal(replicas_new(f->loop, list, &f->replicas, NULL), 0);
    replicas_watch(f->replicas, on_change, f);
}

static const char *text_at(struct fixture *f, size_t at)
{
    return replicas_at(f->replicas, at)->text;
}

static void test_replicas_of_addresses_are_there_at_once(void **state)
{
    struct fixture *f = *state;

    open_list(f, "127.0.0.1:8090,[2001:db8::1]:81");
    assert_true(replicas_known(f->replicas));
    assert_int_equal(replicas_count(f->replicas), 2);
    assert_string_equal(text_at(f, 0), "127.0.0.1:8090");
    assert_string_equal(text_at(f, 1), "[2001:db8::1]:81");
    assert_string_equal(replicas_at(f->replicas, 1)->address, "2001:db8::1");
    assert_int_equal(replicas_at(f->replicas, 1)->port, 81);
    replicas_look(f->replicas);
    assert_int_equal(asked_count, 0);
}

static void test_replicas_of_an_empty_list_never_come(void **state)
{
    struct fixture *f = *state;

    open_list(f, "");
    assert_true(replicas_none(f->replicas));
    assert_true(replicas_known(f->replicas));
    assert_int_equal(replicas_count(f->replicas), 0);
}

static void test_replicas_refuse_what_is_no_address(void **state)
{
    struct fixture *f = *state;
    struct err err;

    assert_int_equal(replicas_new(f->loop, "state", &f->replicas, &err), -EINVAL);
    assert_int_equal(
        replicas_new(f->loop, "a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1",
                     &f->replicas, &err),
        -E2BIG);
}

static void test_replicas_of_a_name_are_all_its_addresses(void **state)
{
    struct fixture *f = *state;

    open_list(f, "state.svc:8090");
    assert_false(replicas_known(f->replicas));
    run_until_asked(f);
    assert_string_equal(asked[0]->host, "state.svc");
    ANSWER(asked[0], "10.0.0.2", "10.0.0.1");
    assert_true(replicas_known(f->replicas));
    assert_int_equal(f->changes, 1);
    assert_int_equal(replicas_count(f->replicas), 2);
    assert_string_equal(text_at(f, 0), "10.0.0.1:8090");
    assert_string_equal(text_at(f, 1), "10.0.0.2:8090");
    assert_string_equal(replicas_at(f->replicas, 0)->host, "state.svc");
}

static void test_replicas_in_another_order_are_no_change(void **state)
{
    struct fixture *f = *state;

    open_list(f, "state:1");
    run_until_asked(f);
    ANSWER(asked[0], "10.0.0.2", "10.0.0.1");
    replicas_look(f->replicas);
    ANSWER(asked[0], "10.0.0.1", "10.0.0.2");
    assert_int_equal(f->changes, 1);
    replicas_look(f->replicas);
    ANSWER(asked[0], "10.0.0.1", "10.0.0.3");
    assert_int_equal(f->changes, 2);
    assert_string_equal(text_at(f, 1), "10.0.0.3:1");
}

static void test_replicas_of_both_families_are_taken_once(void **state)
{
    struct fixture *f = *state;

    open_list(f, "state:1");
    run_until_asked(f);
    ANSWER(asked[0], "fd00::1", "10.0.0.1", "fd00::2", "10.0.0.2");
    assert_int_equal(replicas_count(f->replicas), 2);
    assert_string_equal(text_at(f, 0), "10.0.0.1:1");
    replicas_look(f->replicas);
    ANSWER(asked[0], "fd00::1");
    assert_int_equal(replicas_count(f->replicas), 1);
    assert_string_equal(text_at(f, 0), "[fd00::1]:1");
}

static void test_replicas_stay_when_a_lookup_fails(void **state)
{
    struct fixture *f = *state;

    open_list(f, "state:1");
    run_until_asked(f);
    ANSWER(asked[0], "10.0.0.1");
    replicas_look(f->replicas);
    answer(asked[0], NULL, 0);
    assert_int_equal(replicas_count(f->replicas), 1);
    assert_int_equal(f->changes, 1);
}

static void test_replicas_look_once_at_a_time(void **state)
{
    struct fixture *f = *state;

    open_list(f, "state:1,127.0.0.1:1,other:2");
    run_until_asked(f);
    replicas_look(f->replicas);
    assert_int_equal(asked_count, 2);
}

static void test_replicas_are_bounded(void **state)
{
    char texts[100][32];
    const char *list[100];
    struct fixture *f = *state;

    for (int i = 0; i < 100; i++) {
        snprintf(texts[i], sizeof(texts[i]), "10.0.0.%d", 100 + i);
        list[i] = texts[i];
    }
    open_list(f, "127.0.0.1:1,state:1");
    run_until_asked(f);
    answer(asked[0], list, 100);
    assert_int_equal(replicas_count(f->replicas), REPLICAS_MAX);
    assert_string_equal(text_at(f, 0), "127.0.0.1:1");
    assert_string_equal(text_at(f, REPLICAS_MAX - 1), "10.0.0.162:1");
}

int main(void)
{
#define WITH_LOOP(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_LOOP(test_replicas_of_addresses_are_there_at_once),
        WITH_LOOP(test_replicas_of_an_empty_list_never_come),
        WITH_LOOP(test_replicas_refuse_what_is_no_address),
        WITH_LOOP(test_replicas_of_a_name_are_all_its_addresses),
        WITH_LOOP(test_replicas_in_another_order_are_no_change),
        WITH_LOOP(test_replicas_of_both_families_are_taken_once),
        WITH_LOOP(test_replicas_stay_when_a_lookup_fails),
        WITH_LOOP(test_replicas_look_once_at_a_time),
        WITH_LOOP(test_replicas_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
