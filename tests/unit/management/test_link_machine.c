/* What scenarios can not say shortly: limits, deadlines, and what is left in memory. */
#include "sidecar-proxy/management/link_machine.h"

#include "tests/unit/cmocka_all.h"

#include "common/log.h"

#include <stdio.h>
#include <string.h>

struct told {
    struct link_machine machine;
    struct link_clock now;
    size_t connects;
    size_t lost;
    uint64_t generation;
    bool began;
    bool stop_at_connect;
    char why[LINK_WHY_MAX];
};

static void on_generation(void *arg, uint64_t generation, int pid, bool began)
{
    struct told *t = arg;

    t->generation = generation;
    t->began = began;
}

static void on_client(void *arg, const struct link_client *c)
{
    struct told *t = arg;

    t->connects++;
    if (t->stop_at_connect) {
        link_machine_stop(&t->machine);
    }
}

static void on_resync_end(void *arg)
{
}

static void on_state(void *arg, enum link_state state)
{
}

static void on_lost(void *arg, const char *why)
{
    struct told *t = arg;

    t->lost++;
    snprintf(t->why, sizeof(t->why), "%s", why);
}

static const struct link_callbacks callbacks = {
    .on_generation = on_generation,
    .on_connect = on_client,
    .on_reauth = on_client,
    .on_established = on_client,
    .on_disconnect = on_client,
    .on_resync_row = on_client,
    .on_resync_end = on_resync_end,
    .on_state = on_state,
    .on_lost = on_lost,
};

static void arrive(struct told *t, const char *text)
{
    link_machine_input(&t->machine, t->now, text, strlen(text));
}

static int setup(void **state)
{
    struct told *t = xcalloc(1, sizeof(*t));
    struct link_options options = {.callbacks = &callbacks, .arg = t};

    log_set_level(LOG_ERROR + 1);
    link_machine_init(&t->machine, &options, t->now);
    link_machine_connected(&t->machine, t->now);
    arrive(t, ">INFO:OpenVPN Management Interface Version 5 -- \r\nSUCCESS: pid=7\r\nEND\r\n"
              "SUCCESS: bytecount interval changed\r\n");
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    struct told *t = *state;

    link_machine_clear(&t->machine);
    free(t);
    return 0;
}

static void go_live(struct told *t)
{
    arrive(t, "HEADER\tCLIENT_LIST\tClient ID\tVirtual Address\tCommon Name\r\nEND\r\n");
    assert_int_equal(t->machine.state, LINK_LIVE);
}

static void connect_again(struct told *t)
{
    link_machine_lost(&t->machine, t->now, "test");
    t->now.monotonic_ms = link_machine_deadline(&t->machine);
    link_machine_tick(&t->machine, t->now);
    link_machine_connected(&t->machine, t->now);
}

/* In a container the pid is the same in each life: that it waits for a release tells them apart. */
static void test_link_says_whether_a_life_has_just_begun(void **state)
{
    struct told *t = *state;

    assert_int_equal(t->generation, 1);
    assert_false(t->began);
    connect_again(t);
    arrive(t, ">INFO:OpenVPN Management Interface Version 5 -- \r\n"
              "SUCCESS: pid=7\r\n");
    assert_int_equal(t->generation, 1);
    connect_again(t);
    arrive(t, ">INFO:OpenVPN Management Interface Version 5 -- \r\n"
              ">HOLD:Waiting for hold release:0\r\nSUCCESS: pid=7\r\n");
    assert_int_equal(t->generation, 2);
    assert_true(t->began);
    connect_again(t);
    arrive(t, ">INFO:OpenVPN Management Interface Version 5 -- \r\n"
              "SUCCESS: pid=8\r\n");
    assert_int_equal(t->generation, 3);
    assert_false(t->began);
}

static void test_link_gives_up_a_resync_that_never_ends(void **state)
{
    struct told *t = *state;

    while (t->machine.state == LINK_RESYNC && t->now.monotonic_ms <= 2 * LINK_RESYNC_MS) {
        arrive(t, "ERROR: The 'status' command is not supported by the current daemon mode\r\n");
        t->now.monotonic_ms = link_machine_deadline(&t->machine);
        link_machine_tick(&t->machine, t->now);
    }
    assert_int_equal(t->machine.state, LINK_WAITING);
    assert_string_equal(t->why, "no status");
    assert_int_equal(t->now.monotonic_ms, LINK_RESYNC_MS);
}

/* OpenVPN takes nothing any more: the queue has an end, and that ends the connection. */
static void test_link_is_lost_when_its_queue_is_full(void **state)
{
    struct told *t = *state;
    bool sent = true;

    go_live(t);
    arrive(t, ">CLIENT:CONNECT,1,1\r\n>CLIENT:ENV,END\r\n");
    for (size_t i = 0; sent; i++) {
        assert_true(i <= COMMANDS_MAX);
        sent = link_machine_kill(&t->machine, t->now, 1);
    }
    assert_int_equal(t->lost, 0); /* never inside an answer */
    assert_false(link_machine_allow(&t->machine, t->now, 1, 1));
    assert_int_equal(link_machine_deadline(&t->machine), t->now.monotonic_ms);
    link_machine_tick(&t->machine, t->now);
    assert_int_equal(t->lost, 1);
    assert_int_equal(t->machine.state, LINK_WAITING);
    assert_int_equal(link_machine_output(&t->machine)->len, 0);
}

/* More clients than any subnet has: the one too many is killed, not kept. */
static void test_link_kills_clients_over_its_maximum(void **state)
{
    struct told *t = *state;
    char text[128];

    go_live(t);
    for (uint64_t cid = 0; cid <= CLIENTS_MAX; cid++) {
        snprintf(text, sizeof(text), ">CLIENT:CONNECT,%d,1\r\n>CLIENT:ENV,END\r\n", (int)cid);
        arrive(t, text);
    }
    assert_int_equal(t->connects, CLIENTS_MAX);
    snprintf(text, sizeof(text), "client-kill %d\n", CLIENTS_MAX);
    assert_non_null(strstr(buf_str(link_machine_output(&t->machine)), text));
}

/* An answer after a long quiet: its time is now, not that of the last event. */
static void test_link_stamps_an_answer_with_its_own_time(void **state)
{
    struct told *t = *state;

    go_live(t);
    arrive(t, ">CLIENT:CONNECT,1,1\r\n>CLIENT:ENV,END\r\n");
    t->now.monotonic_ms = COMMAND_TIMEOUT_MS + 1;
    assert_true(link_machine_allow(&t->machine, t->now, 1, 1));
    link_machine_tick(&t->machine, t->now);
    assert_int_equal(t->machine.state, LINK_LIVE);
}

static bool holds(const void *memory, size_t len, const char *text)
{
    return memmem(memory, len, text, strlen(text)) != NULL;
}

static void test_link_forgets_a_password_after_the_callback(void **state)
{
    struct told *t = *state;

    go_live(t);
    arrive(t, ">CLIENT:CONNECT,1,1\r\n>CLIENT:ENV,password=hunter2-secret\r\n");
    assert_true(holds(&t->machine, sizeof(t->machine), "secret"));
    arrive(t, ">CLIENT:ENV,END\r\n");
    assert_int_equal(t->connects, 1);
    assert_false(holds(&t->machine, sizeof(t->machine), "secret"));
    assert_false(holds(t->machine.reader.data, LINE_MAX_BYTES, "secret"));
}

static void test_link_forgets_a_password_when_the_connection_ends(void **state)
{
    struct told *t = *state;

    go_live(t);
    arrive(t, ">CLIENT:CONNECT,1,1\r\n>CLIENT:ENV,password=first-secret\r\n"
              ">CLIENT:ENV,password=second-secret");
    link_machine_lost(&t->machine, t->now, "end");
    assert_false(holds(&t->machine, sizeof(t->machine), "secret"));
    assert_false(holds(t->machine.reader.data, LINE_MAX_BYTES, "secret"));
}

static void test_link_stopped_in_a_callback_tells_nothing_more(void **state)
{
    struct told *t = *state;

    go_live(t);
    t->stop_at_connect = true;
    arrive(t,
           ">CLIENT:CONNECT,1,1\r\n>CLIENT:ENV,END\r\n>CLIENT:CONNECT,2,1\r\n>CLIENT:ENV,END\r\n");
    assert_int_equal(t->connects, 1);
    assert_int_equal(t->machine.state, LINK_CLOSED);
    assert_int_equal(link_machine_deadline(&t->machine), INT64_MAX);
}

static void test_link_stopped_at_a_status_row_tells_no_other(void **state)
{
    struct told *t = *state;

    t->stop_at_connect = true;
    arrive(t, "HEADER\tCLIENT_LIST\tClient ID\tVirtual Address\tCommon Name\r\n"
              "CLIENT_LIST\t1\t10.0.0.3\tme\r\nCLIENT_LIST\t2\t10.0.0.4\tme\r\nEND\r\n");
    assert_int_equal(t->connects, 1);
    assert_int_equal(t->machine.state, LINK_CLOSED);
}

int main(void)
{
#define WITH_LINK(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_LINK(test_link_gives_up_a_resync_that_never_ends),
        WITH_LINK(test_link_says_whether_a_life_has_just_begun),
        WITH_LINK(test_link_is_lost_when_its_queue_is_full),
        WITH_LINK(test_link_kills_clients_over_its_maximum),
        WITH_LINK(test_link_stamps_an_answer_with_its_own_time),
        WITH_LINK(test_link_forgets_a_password_after_the_callback),
        WITH_LINK(test_link_forgets_a_password_when_the_connection_ends),
        WITH_LINK(test_link_stopped_in_a_callback_tells_nothing_more),
        WITH_LINK(test_link_stopped_at_a_status_row_tells_no_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
