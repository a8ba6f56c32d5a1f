/* One feed for each address. In place of replicas.c and feed_client.c: the test. */
#include "sidecar-proxy/session/feeds.h"

#include "sidecar-proxy/session/feed_client.h"
#include "tests/unit/session/fakes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* --- the addresses --- */

static struct replica list[4];
static size_t list_count;
static bool known;
static int looks;
static loop_fn on_addresses;
static void *on_addresses_arg;

void replicas_watch(struct replicas *r, loop_fn on_change, void *arg)
{
    on_addresses = on_change;
    on_addresses_arg = arg;
}

size_t replicas_count(const struct replicas *r)
{
    return list_count;
}

const struct replica *replicas_at(const struct replicas *r, size_t at)
{
    return &list[at];
}

bool replicas_none(const struct replicas *r)
{
    return known && list_count == 0;
}

bool replicas_known(const struct replicas *r)
{
    return known;
}

void replicas_look(struct replicas *r)
{
    looks++;
}

/* Last digits of the addresses that are there now. */
static void there_are(const char *digits)
{
    list_count = strlen(digits);
    known = true;
    for (size_t i = 0; i < list_count; i++) {
        list[i] = (struct replica){.port = 1, .host = "state"};
        snprintf(list[i].address, sizeof(list[i].address), "10.0.0.%c", digits[i]);
        snprintf(list[i].text, sizeof(list[i].text), "10.0.0.%c:1", digits[i]);
    }
    if (on_addresses != NULL) {
        on_addresses(on_addresses_arg);
    }
}

/* --- the feeds --- */

struct feed_client {
    struct feed_client_options o;
    bool acked, closing, orderly, synced;
    int64_t service_id;
    int verdicts;
    struct loop_timer *end;
};
static struct feed_client *clients[8];
static size_t client_count;

static struct feed_client *client(char digit)
{
    for (size_t i = 0; i < client_count; i++) {
        if (clients[i]->o.address[strlen("10.0.0.")] == digit) {
            return clients[i];
        }
    }
    return NULL;
}

static void on_client_end(void *arg)
{
    struct feed_client *c = arg;

    for (size_t i = 0; i < client_count; i++) {
        if (clients[i] == c) {
            clients[i] = clients[--client_count];
        }
    }
    struct feed_client_options o = c->o;
    loop_timer_close(c->end);
    free(c);
    o.on_closed(o.arg);
}

struct feed_client *feed_client_open(const struct feed_client_options *options)
{
    struct feed_client *c = xcalloc(1, sizeof(*c));

    c->o = *options;
    c->end = loop_timer_new(options->loop, on_client_end, c);
    clients[client_count++] = c;
    return c;
}

void feed_client_close(struct feed_client *c, bool orderly)
{
    assert_false(c->closing);
    c->closing = true;
    c->orderly = orderly;
    loop_timer_start(c->end, 0, 0);
}

void feed_client_sync(struct feed_client *c)
{
    c->synced = true;
}

void feed_client_info(struct feed_client *c, int64_t service_id, const char *phase)
{
    c->service_id = service_id;
}

void feed_client_verdict(struct feed_client *c, const struct verdict *v)
{
    c->verdicts++;
}

bool feed_client_is_acked(const struct feed_client *c)
{
    return c->acked;
}

static void set_acked(char digit, bool acked)
{
    struct feed_client *c = client(digit);

    c->acked = acked;
    c->o.on_change(c->o.arg);
}

/* --- the tests --- */

struct fixture {
    struct loop *loop;
    struct feeds *feeds;
    int changes, stale;
    bool closed;
};

static void on_stale(void *arg, const char *uuid, struct session_id id)
{
    ((struct fixture *)arg)->stale++;
}

static void on_change(void *arg)
{
    ((struct fixture *)arg)->changes++;
}

static void on_closed(void *arg)
{
    ((struct fixture *)arg)->closed = true;
}

static int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));

    on_addresses = NULL;
    list_count = 0;
    known = false;
    looks = 0;
    assert_int_equal(loop_new(&f->loop, NULL), 0);
    const struct feeds_options options = {.loop = f->loop,
                                          .keys = {.key = "key"},
                                          .on_stale = on_stale,
                                          .on_change = on_change,
                                          .on_closed = on_closed,
                                          .arg = f};
    f->feeds = feeds_open(&options);
    *state = f;
    return 0;
}

static bool is_closed(void *arg)
{
    return ((struct fixture *)arg)->closed;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    if (!f->closed) {
        feeds_close(f->feeds, false);
        fake_run_until(f->loop, is_closed, f);
    }
    assert_int_equal(client_count, 0);
    loop_free(f->loop);
    free(f);
    return 0;
}

static void test_feeds_follow_the_addresses(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(client_count, 0);
    there_are("12");
    assert_non_null(client('1'));
    struct feed_client *second = client('2');
    there_are("23");
    assert_true(client('1')->closing);
    assert_false(client('1')->orderly);
    assert_ptr_equal(client('2'), second);
    assert_false(second->closing);
    assert_non_null(client('3'));
    fake_settle(f->loop);
    assert_null(client('1'));
}

static void test_feeds_come_back_with_an_address_whose_feed_still_ends(void **state)
{
    struct fixture *f = *state;

    there_are("1");
    there_are("");
    there_are("1");
    assert_int_equal(client_count, 2);
    fake_settle(f->loop);
    assert_int_equal(client_count, 1);
    assert_false(client('1')->closing);
}

static void test_feeds_tell_those_that_come_later(void **state)
{
    struct fixture *f = *state;

    there_are("1");
    assert_false(client('1')->synced);
    feeds_sync(f->feeds);
    feeds_info(f->feeds, 12, "ready");
    assert_true(client('1')->synced);
    there_are("12");
    assert_true(client('2')->synced);
    assert_int_equal(client('2')->service_id, 12);
    feeds_verdict(f->feeds, NULL);
    assert_int_equal(client('1')->verdicts + client('2')->verdicts, 2);
}

static void test_feeds_know_who_knows(void **state)
{
    struct fixture *f = *state;

    assert_false(feeds_some_know(f->feeds)); /* no name is found yet */
    assert_false(feeds_all_know(f->feeds));
    there_are("12");
    assert_false(feeds_some_know(f->feeds));
    set_acked('1', true);
    assert_true(feeds_some_know(f->feeds));
    assert_false(feeds_all_know(f->feeds));
    set_acked('2', true);
    assert_true(feeds_all_know(f->feeds));
    assert_int_equal(f->changes, 2);
    there_are("123");
    assert_false(feeds_all_know(f->feeds));
    there_are("1");
    assert_true(feeds_all_know(f->feeds));
}

static void test_feeds_without_state_services_have_none_to_tell(void **state)
{
    struct fixture *f = *state;

    known = true;
    assert_true(feeds_some_know(f->feeds));
    assert_true(feeds_all_know(f->feeds));
}

static void test_feeds_a_break_looks_the_names_up(void **state)
{
    there_are("1");
    set_acked('1', true);
    assert_int_equal(looks, 0);
    set_acked('1', false);
    assert_int_equal(looks, 1);
}

static void test_feeds_hand_on_what_is_stale(void **state)
{
    struct fixture *f = *state;

    there_are("1");
    client('1')->o.on_stale(client('1')->o.arg, "", (struct session_id){1, 1});
    assert_int_equal(f->stale, 1);
}

static void test_feeds_end_with_the_last(void **state)
{
    struct fixture *f = *state;

    there_are("12");
    there_are("1");
    feeds_close(f->feeds, true);
    assert_true(client('1')->orderly);
    assert_false(client('2')->orderly);
    there_are("123"); /* too late */
    assert_null(client('3'));
    assert_false(f->closed);
    fake_run_until(f->loop, is_closed, f);
}

int main(void)
{
#define WITH_FEEDS(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_FEEDS(test_feeds_follow_the_addresses),
        WITH_FEEDS(test_feeds_come_back_with_an_address_whose_feed_still_ends),
        WITH_FEEDS(test_feeds_tell_those_that_come_later),
        WITH_FEEDS(test_feeds_know_who_knows),
        WITH_FEEDS(test_feeds_without_state_services_have_none_to_tell),
        WITH_FEEDS(test_feeds_a_break_looks_the_names_up),
        WITH_FEEDS(test_feeds_hand_on_what_is_stale),
        WITH_FEEDS(test_feeds_end_with_the_last),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
