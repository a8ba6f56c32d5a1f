#include "sidecar-proxy/session/device_router.h"

#include "common/subnet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define A "0123456789abcdef0123456789abcdef"
#define B "fedcba9876543210fedcba9876543210"

struct fixture {
    struct sessions sessions;
    struct device_router *router;
    struct proxy_router proxy;
};

static void up(struct fixture *f, uint64_t cid, const char *uuid, const char *address)
{
    struct session_claim claim = {.id = {1, cid}, .uuid = uuid, .since_ms = (int64_t)cid};

    assert_int_equal(address_parse(address, &claim.address, NULL), 0);
    assert_int_equal(sessions_up(&f->sessions, &claim), SESSIONS_UP);
}

static void down(struct fixture *f, uint64_t cid)
{
    assert_true(sessions_down(&f->sessions, (struct session_id){1, cid}, 0));
}

static void expect_at(struct fixture *f, const char *uuid, const char *address)
{
    struct route route;

    assert_true(f->proxy.known(f->proxy.arg, uuid, 22, &route));
    assert_int_equal(route.kind, ROUTE_DEVICE);
    assert_string_equal(route.address, address);
    assert_int_equal(route.port, 22);
}

static void expect_unknown(struct fixture *f, const char *uuid)
{
    struct route route;

    assert_false(f->proxy.known(f->proxy.arg, uuid, 22, &route));
}

static int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));

    sessions_init(&f->sessions, 16);
    f->router = device_router_new(&f->sessions);
    f->proxy = device_router_proxy(f->router);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    device_router_free(f->router);
    sessions_clear(&f->sessions);
    free(f);
    return 0;
}

static void test_device_router_knows_a_device_while_its_session_lasts(void **state)
{
    struct fixture *f = *state;

    expect_unknown(f, A);
    up(f, 1, A, "100.64.0.3");
    up(f, 2, B, "100.64.0.4");
    expect_at(f, A, "100.64.0.3");
    expect_at(f, B, "100.64.0.4");
    down(f, 1);
    expect_unknown(f, A);
    expect_at(f, B, "100.64.0.4");
}

static void test_device_router_an_address_follows_its_device(void **state)
{
    struct fixture *f = *state;

    up(f, 1, A, "100.64.0.3");
    down(f, 1);
    up(f, 2, B, "100.64.0.3");
    expect_unknown(f, A);
    expect_at(f, B, "100.64.0.3");
}

static void test_device_router_the_newest_of_two_sessions_counts(void **state)
{
    struct fixture *f = *state;

    up(f, 1, A, "100.64.0.3");
    up(f, 2, A, "100.64.0.5");
    expect_at(f, A, "100.64.0.5");
    down(f, 1);
    expect_at(f, A, "100.64.0.5");
    down(f, 2);
    expect_unknown(f, A);
}

static void test_device_router_goes_back_to_an_older_session_that_is_left(void **state)
{
    struct fixture *f = *state;

    up(f, 1, A, "100.64.0.3");
    up(f, 2, A, "100.64.0.5");
    down(f, 2);
    expect_at(f, A, "100.64.0.3");
}

static void test_device_router_takes_over_what_was_there_before_it(void **state)
{
    struct fixture *f = *state;

    up(f, 1, A, "100.64.0.3");
    device_router_free(f->router);
    f->router = device_router_new(&f->sessions);
    f->proxy = device_router_proxy(f->router);
    expect_at(f, A, "100.64.0.3");
}

#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FIXTURE(test_device_router_knows_a_device_while_its_session_lasts),
        WITH_FIXTURE(test_device_router_an_address_follows_its_device),
        WITH_FIXTURE(test_device_router_the_newest_of_two_sessions_counts),
        WITH_FIXTURE(test_device_router_goes_back_to_an_older_session_that_is_left),
        WITH_FIXTURE(test_device_router_takes_over_what_was_there_before_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
