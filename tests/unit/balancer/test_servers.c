#include "controller/balancer/servers.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define HEADER "# pxname,svname,qcur,scur,status,weight,addr,cookie,\n"

static struct server_list desired, observed;

static int setup(void **state)
{
    desired.count = 0;
    observed.count = 0;
    return 0;
}

static void want(const char *name, const char *address, enum server_mode mode)
{
    struct server *s = &desired.items[desired.count++];

    *s = (struct server){.mode = mode};
    strcpy(s->name, name);
    strcpy(s->address, address);
}

static void have(const char *name, const char *address, enum server_mode mode, uint32_t sessions)
{
    struct server *s = &observed.items[observed.count++];

    *s = (struct server){.mode = mode, .sessions = sessions};
    strcpy(s->name, name);
    strcpy(s->address, address);
}

static void assert_plan(const char *text)
{
    struct buf plan;

    buf_init(&plan, 4096);
    assert_int_equal(servers_plan("instances", &desired, &observed, &plan), 0);
    assert_string_equal(buf_str(&plan), text);
    buf_clear(&plan);
}

/* --- reading --- */

static void test_servers_parse_reads_names_addresses_modes_and_connections(void **state)
{
    struct err err;

    assert_int_equal(servers_parse(HEADER "instances,vpn1,0,3,no check,1,127.0.0.1:10001,,\n"
                                          "instances,vpn2,0,0,MAINT,1,127.0.0.1:10002,,\n"
                                          "instances,vpn3,0,7,DRAIN,0,127.0.0.1:10003,,\n"
                                          "instances,vpn4,0,0,DOWN,0,127.0.0.1:10004,,\n",
                                   "instances", &observed, &err),
                     0);
    assert_int_equal(observed.count, 4);
    assert_string_equal(observed.items[0].name, "vpn1");
    assert_string_equal(observed.items[0].address, "127.0.0.1:10001");
    assert_int_equal(observed.items[0].sessions, 3);
    assert_int_equal(observed.items[0].mode, SERVER_READY);
    assert_int_equal(observed.items[1].mode, SERVER_MAINT);
    assert_int_equal(observed.items[2].mode, SERVER_DRAIN);
    assert_int_equal(observed.items[2].sessions, 7);
    assert_true(observed.items[3].failing);
}

static void test_servers_parse_reads_a_table_without_servers(void **state)
{
    struct err err;

    assert_int_equal(servers_parse(HEADER, "instances", &observed, &err), 0);
    assert_int_equal(observed.count, 0);
}

static void test_servers_parse_ignores_other_backends(void **state)
{
    struct err err;

    assert_int_equal(servers_parse(HEADER "metrics_state,state,0,0,no check,1,127.0.0.1:8090,,\n",
                                   "instances", &observed, &err),
                     0);
    assert_int_equal(observed.count, 0);
}

static void test_servers_parse_refuses_what_is_no_table(void **state)
{
    static const char *const replies[] = {
        "",
        "Unknown command, but maybe one of the following ones is a better match:",
        "# pxname,svname,scur,status\n", /* no addr */
        HEADER "instances,vpn1,0\n",
        HEADER "instances,,0,0,UP,1,127.0.0.1:1,,\n",
        HEADER "instances,vpn1;del server x,0,0,UP,1,127.0.0.1:1,,\n",
        HEADER "instances,vpn1,0,0,UP,1,127.0.0.1:1 x,,\n",
    };
    struct err err;

    for (size_t i = 0; i < ARRAY_LEN(replies); i++) {
        assert_int_equal(servers_parse(replies[i], "instances", &observed, &err), -EPROTO);
    }
}

/* --- planning --- */

static void test_servers_plan_is_empty_when_all_is_as_desired(void **state)
{
    want("vpn1", "127.0.0.1:10001", SERVER_READY);
    have("vpn1", "127.0.0.1:10001", SERVER_READY, 5);
    assert_plan("");
}

static void test_servers_plan_adds_then_enables(void **state)
{
    want("vpn1", "127.0.0.1:10001", SERVER_READY);
    assert_plan("add server instances/vpn1 127.0.0.1:10001\n");
    have("vpn1", "127.0.0.1:10001", SERVER_MAINT, 0);
    assert_plan("set server instances/vpn1 state ready\n");
}

static void test_servers_plan_drains_and_takes_back(void **state)
{
    want("vpn1", "127.0.0.1:10001", SERVER_DRAIN);
    want("vpn2", "127.0.0.1:10002", SERVER_READY);
    have("vpn1", "127.0.0.1:10001", SERVER_READY, 1);
    have("vpn2", "127.0.0.1:10002", SERVER_DRAIN, 1);
    assert_plan("set server instances/vpn1 state drain\nset server instances/vpn2 state ready\n");
}

static void test_servers_plan_removes_in_three_steps(void **state)
{
    have("vpn1", "127.0.0.1:10001", SERVER_DRAIN, 2);
    assert_plan("set server instances/vpn1 state maint\n");
    observed.items[0].mode = SERVER_MAINT;
    assert_plan("shutdown sessions server instances/vpn1\n");
    observed.items[0].sessions = 0;
    assert_plan("del server instances/vpn1\n");
}

static void test_servers_plan_never_readdresses_a_server(void **state)
{
    want("vpn1", "127.0.0.1:20001", SERVER_READY);
    have("vpn1", "127.0.0.1:10001", SERVER_READY, 2);
    assert_plan("set server instances/vpn1 state maint\n");
}

static void test_servers_plan_gives_a_restarted_haproxy_all_servers(void **state)
{
    want("vpn1", "127.0.0.1:10001", SERVER_READY);
    want("vpn2", "127.0.0.1:10002", SERVER_DRAIN);
    assert_plan("add server instances/vpn1 127.0.0.1:10001\n"
                "add server instances/vpn2 127.0.0.1:10002\n");
}

/* --- replies --- */

static void test_servers_check_reply_takes_haproxys_words_whole(void **state)
{
    static const struct {
        const char *command, *reply;
        int result;
    } cases[] = {
        {"add server instances/vpn1 127.0.0.1:1", "New server registered.", 0},
        {"add server instances/vpn1 127.0.0.1:1",
         "Already exists a server with the same name in backend.", -EPROTO},
        {"add server instances/vpn1 127.0.0.1:1", "", -EPROTO},
        {"del server instances/vpn1", "Server deleted.", 0},
        {"del server instances/vpn1", "Only servers in maintenance mode can be deleted.", -EPROTO},
        {"set server instances/vpn1 state drain", "", 0},
        {"set server instances/vpn1 state drain", "No such server.", -EPROTO},
        {"shutdown sessions server instances/vpn1", "", 0},
    };
    struct err err;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(servers_check_reply(cases[i].command, cases[i].reply, &err),
                         cases[i].result);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_servers_parse_reads_names_addresses_modes_and_connections,
                               setup),
        cmocka_unit_test_setup(test_servers_parse_reads_a_table_without_servers, setup),
        cmocka_unit_test_setup(test_servers_parse_ignores_other_backends, setup),
        cmocka_unit_test_setup(test_servers_parse_refuses_what_is_no_table, setup),
        cmocka_unit_test_setup(test_servers_plan_is_empty_when_all_is_as_desired, setup),
        cmocka_unit_test_setup(test_servers_plan_adds_then_enables, setup),
        cmocka_unit_test_setup(test_servers_plan_drains_and_takes_back, setup),
        cmocka_unit_test_setup(test_servers_plan_removes_in_three_steps, setup),
        cmocka_unit_test_setup(test_servers_plan_never_readdresses_a_server, setup),
        cmocka_unit_test_setup(test_servers_plan_gives_a_restarted_haproxy_all_servers, setup),
        cmocka_unit_test_setup(test_servers_check_reply_takes_haproxys_words_whole, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
