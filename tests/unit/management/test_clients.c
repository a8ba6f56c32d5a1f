#include "sidecar-proxy/management/clients.h"

#include "tests/unit/cmocka_all.h"

#include <string.h>

#define CIDS 3000

/* Against a plain array, over many random steps: the same seed, so the same steps each time. */
static void test_clients_keeps_what_was_added_and_not_removed(void **state)
{
    static bool in[CIDS];
    struct clients t;
    uint32_t random = 1;

    clients_init(&t);
    for (int i = 0; i < 100000; i++) {
        random = random * 1664525 + 1013904223;
        uint64_t cid = (random >> 8) % CIDS;
        if (in[cid]) {
            clients_remove(&t, cid);
        } else {
            clients_add(&t, cid)->kid = cid + 1;
        }
        in[cid] = !in[cid];
    }
    size_t count = 0;
    for (uint64_t cid = 0; cid < CIDS; cid++) {
        const struct client *c = clients_find(&t, cid);
        assert_int_equal(c != NULL, in[cid]);
        assert_true(c == NULL || (c->cid == cid && c->kid == cid + 1));
        count += in[cid];
    }
    assert_int_equal(t.count, count);
    clients_clear(&t);
}

static void test_clients_sweep_leaves_those_that_were_seen(void **state)
{
    struct clients t;

    clients_init(&t);
    for (uint64_t cid = 0; cid < CIDS; cid++) {
        clients_add(&t, cid)->seen = cid % 3 == 0 ? 7 : 6;
    }
    clients_sweep(&t, 7);
    for (uint64_t cid = 0; cid < CIDS; cid++) {
        assert_int_equal(clients_find(&t, cid) != NULL, cid % 3 == 0);
    }
    assert_int_equal(t.count, CIDS / 3);
    clients_clear(&t);
}

static void test_clients_add_refuses_over_its_maximum(void **state)
{
    struct clients t;

    clients_init(&t);
    for (uint64_t cid = 0; cid < CLIENTS_MAX; cid++) {
        assert_non_null(clients_add(&t, cid));
    }
    assert_null(clients_add(&t, CLIENTS_MAX));
    clients_remove(&t, 5);
    assert_non_null(clients_add(&t, CLIENTS_MAX));
    clients_clear(&t);
}

static void test_client_established_by_state(void **state)
{
    static const struct {
        enum client_state state;
        uint32_t address;
        enum client_verdict verdict;
    } rows[] = {
        {CLIENT_ASKING, 1, CLIENT_KILL},     {CLIENT_REFUSED, 1, CLIENT_KILL},
        {CLIENT_AUTHORISED, 0, CLIENT_KILL}, {CLIENT_AUTHORISED, 1, CLIENT_REPORT},
        {CLIENT_UNSURE, 0, CLIENT_IGNORE},   {CLIENT_UNSURE, 1, CLIENT_REPORT},
        {CLIENT_UP, 1, CLIENT_IGNORE},       {CLIENT_UP_ASKING, 1, CLIENT_IGNORE},
    };
    assert_int_equal(client_established(NULL), CLIENT_IGNORE);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct client c = {.state = rows[i].state, .address = rows[i].address};
        assert_int_equal(client_established(&c), rows[i].verdict);
        assert_int_equal(client_is_up(&c), rows[i].verdict == CLIENT_REPORT ||
                                               rows[i].state == CLIENT_UP ||
                                               rows[i].state == CLIENT_UP_ASKING);
    }
}

static void test_client_in_status_by_state(void **state)
{
    static const struct {
        enum client_state state;
        enum client_verdict with_address;
        enum client_verdict without;
    } rows[] = {
        {CLIENT_ASKING, CLIENT_KILL, CLIENT_KEEP},
        {CLIENT_AUTHORISED, CLIENT_REPORT, CLIENT_KEEP},
        {CLIENT_UNSURE, CLIENT_REPORT, CLIENT_KILL},
        {CLIENT_REFUSED, CLIENT_KILL, CLIENT_KILL},
        {CLIENT_UP, CLIENT_REPORT, CLIENT_KILL},
        {CLIENT_UP_ASKING, CLIENT_REPORT, CLIENT_KILL},
    };
    assert_int_equal(client_in_status(NULL, 1), CLIENT_REPORT);
    assert_int_equal(client_in_status(NULL, 0), CLIENT_KILL);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct client c = {.state = rows[i].state};
        assert_int_equal(client_in_status(&c, 1), rows[i].with_address);
        assert_int_equal(client_in_status(&c, 0), rows[i].without);
    }
}

static void test_client_answered_once(void **state)
{
    struct client c = {.state = CLIENT_ASKING, .kid = 3};

    assert_false(client_asks(NULL, 3));
    assert_false(client_asks(&c, 2));
    assert_true(client_asks(&c, 3));
    client_answered(&c, true);
    assert_false(client_asks(&c, 3));
    assert_int_equal(c.state, CLIENT_AUTHORISED);
    c.state = CLIENT_UP_ASKING;
    client_answered(&c, false);
    assert_int_equal(c.state, CLIENT_UP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clients_keeps_what_was_added_and_not_removed),
        cmocka_unit_test(test_clients_sweep_leaves_those_that_were_seen),
        cmocka_unit_test(test_clients_add_refuses_over_its_maximum),
        cmocka_unit_test(test_client_established_by_state),
        cmocka_unit_test(test_client_in_status_by_state),
        cmocka_unit_test(test_client_answered_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
