/* The lease: who may believe to lead, and when not any more. Times are short here: 2 s, 1500, 50
 * ms.
 */
#include "controller/kube/lease.h"
#include "controller/kube/lease_record.h"
#include "tests/unit/kube/fake_api.h"

#include <errno.h>

#define PATH "/apis/coordination.k8s.io/v1/namespaces/vpn/leases"
#define LEASE(holder, version, renewed)                                               \
    "{\"kind\":\"Lease\",\"metadata\":{\"name\":\"l\",\"resourceVersion\":\"" version \
    "\",\"labels\":{\"keep\":\"me\"}},\"spec\":{\"holderIdentity\":\"" holder         \
    "\",\"leaseDurationSeconds\":2,\"acquireTime\":\"2020-01-01T00:00:00.000000Z\","  \
    "\"renewTime\":\"" renewed "\",\"leaseTransitions\":3}}"
#define LONG_AGO "2020-01-01T00:00:00.000000Z"
#define FAR_AHEAD "2120-01-01T00:00:00.000000Z"

static struct kube_client *client;
static struct lease *lease;
static int started, stopped, released;
static char why[256], leader[64];

static void on_started(void *arg)
{
    (void)arg;
    started++;
}

static void on_stopped(void *arg, const char *text)
{
    (void)arg;
    stopped++;
    snprintf(why, sizeof(why), "%s", text);
}

static void on_leader(void *arg, const char *identity)
{
    (void)arg;
    snprintf(leader, sizeof(leader), "%s", identity);
}

static void on_released(void *arg)
{
    (void)arg;
    released++;
}

static int setup(void **state)
{
    net_setup(state);
    fake_api_open();
    started = stopped = released = 0;
    why[0] = leader[0] = '\0';
    AUTO(kube_config) struct kube_config *config = fake_config("t");
    struct kube_client_options client_options = {.config = config};
    assert_int_equal(kube_client_new(loop, &client_options, &client, NULL), 0);
    struct lease_options options = {
        .client = client,
        .ns = "vpn",
        .name = "l",
        .identity = "me",
        .duration_s = 2,
        .renew_deadline_ms = 1500,
        .retry_ms = 50,
        .on_started = on_started,
        .on_stopped = on_stopped,
        .on_leader = on_leader,
    };
    assert_int_equal(lease_open(loop, &options, &lease, NULL), 0);
    return 0;
}

static int teardown(void **state)
{
    lease_close(lease);
    kube_client_close(client);
    fake_api_close();
    return net_teardown(state);
}

#define lease_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static void take(const char *method, const char *path)
{
    TAKE_REQUEST();
    assert_string_equal(api.request.method, method);
    assert_string_equal(api.request.target, path);
}

static void expect_spec(const char *holder, int transitions)
{
    AUTO(json) cJSON *sent = cJSON_Parse(api.request.body);
    struct lease_record record;

    assert_int_equal(lease_record_read(sent, &record, NULL), 0);
    assert_string_equal(record.holder, holder);
    assert_int_equal(record.duration_s, holder[0] != '\0' ? 2 : 1);
    assert_int_equal(record.transitions, transitions);
    lease_record_clear(&record);
}

/* Gives back what was sent, as a server does. */
static void accept_write(void)
{
    fake_answer(200, "", api.request.body);
}

static void become_leader(void)
{
    take("GET", PATH "/l");
    fake_answer(200, "", LEASE("", "1", LONG_AGO));
    take("PUT", PATH "/l");
    expect_spec("me", 4);
    assert_non_null(strstr(api.request.body, "\"keep\":\"me\"")); /* what is not ours stays */
    assert_non_null(strstr(api.request.body, "\"resourceVersion\":\"1\""));
    assert_int_equal(started, 0);
    accept_write();
    RUN_UNTIL(started);
    assert_true(lease_is_held(lease) && lease_is_healthy(lease));
}

static void test_a_lease_that_is_not_there_is_made(void **state)
{
    (void)state;
    take("GET", PATH "/l");
    fake_answer(404, "", "{\"reason\":\"NotFound\"}");
    take("POST", PATH);
    expect_spec("me", 0);
    fake_answer(201, "", LEASE("me", "1", FAR_AHEAD));
    RUN_UNTIL(started);
    assert_string_equal(leader, "me");
    take("PUT", PATH "/l"); /* and renewed */
    expect_spec("me", 3);
}

static void test_two_who_make_it_are_one_who_leads(void **state)
{
    (void)state;
    take("GET", PATH "/l");
    fake_answer(404, "", "{\"reason\":\"NotFound\"}");
    take("POST", PATH);
    fake_answer(409, "", "{\"reason\":\"AlreadyExists\"}");
    take("GET", PATH "/l");
    fake_answer(200, "", LEASE("other", "2", LONG_AGO));
    take("GET", PATH "/l");
    assert_int_equal(started, 0);
    assert_string_equal(leader, "other");
}

/* Its times are long past, but they are another machine's: only what we see counts. */
static void test_expiry_is_what_we_observe(void **state)
{
    (void)state;
    int64_t seen_ms = 0;
    for (int renewals = 0;;) {
        take("GET", PATH "/l");
        if (renewals < 2) { /* a renewal, by a clock that is years behind */
            renewals++;
            seen_ms = clock_monotonic_ms();
            fake_answer(200, "",
                        renewals == 1 ? LEASE("other", "1", "2019-01-01T00:00:00.000000Z")
                                      : LEASE("other", "2", LONG_AGO));
            continue;
        }
        fake_answer(200, "", LEASE("other", "2", LONG_AGO));
        if (clock_monotonic_ms() - seen_ms >= 2000) {
            break;
        }
    }
    take("PUT", PATH "/l");
    assert_true(clock_monotonic_ms() - seen_ms >= 2000);
    expect_spec("me", 4);
}

static void test_renewals_go_on_and_a_conflict_is_looked_into(void **state)
{
    (void)state;
    become_leader();
    take("PUT", PATH "/l");
    expect_spec("me", 4); /* no further transition */
    accept_write();
    take("PUT", PATH "/l");
    fake_answer(409, "", "{\"reason\":\"Conflict\"}");
    take("GET", PATH "/l");
    fake_answer(200, "", LEASE("me", "9", LONG_AGO)); /* an answer was lost: ours all the same */
    take("PUT", PATH "/l");
    assert_non_null(strstr(api.request.body, "\"resourceVersion\":\"9\""));
    accept_write();
    take("PUT", PATH "/l");
    assert_int_equal(started, 1);
    assert_int_equal(stopped, 0);
}

static void test_another_holder_ends_it_at_once(void **state)
{
    (void)state;
    become_leader();
    take("PUT", PATH "/l");
    fake_answer(409, "", "{\"reason\":\"Conflict\"}");
    take("GET", PATH "/l");
    fake_answer(200, "", LEASE("other", "9", LONG_AGO));
    RUN_UNTIL(stopped);
    assert_false(lease_is_held(lease));
    assert_string_equal(leader, "other");
}

/* It may have been led by another, who gave it up, since we last looked. */
static void test_a_lease_that_is_empty_or_gone_is_not_ours(void **state)
{
    (void)state;
    become_leader();
    take("PUT", PATH "/l");
    fake_answer(404, "", "{\"reason\":\"NotFound\"}");
    take("GET", PATH "/l");
    fake_answer(200, "", LEASE("", "9", LONG_AGO));
    RUN_UNTIL(stopped);
    assert_false(lease_is_held(lease));
}

static void test_an_api_that_fails_ends_it_at_the_deadline(void **state)
{
    (void)state;
    become_leader();
    while (!stopped) {
        if (fake_api_poll()) {
            fake_answer(500, "", "{}");
        }
        net_step(__FILE__, __LINE__, "the deadline");
    }
    assert_non_null(strstr(why, "500"));
    assert_false(lease_is_held(lease));
}

static void test_a_silent_api_ends_it_at_the_deadline(void **state)
{
    (void)state;
    become_leader();
    RUN_UNTIL(stopped);
    assert_false(lease_is_held(lease));
}

static void test_release_lets_the_next_one_in(void **state)
{
    (void)state;
    become_leader();
    lease_release(lease, on_released, NULL);
    assert_false(lease_is_held(lease));
    do {
        TAKE_REQUEST(); /* a renewal may be under way */
    } while (strstr(api.request.body, "\"holderIdentity\":\"\"") == NULL);
    expect_spec("", 4);
    fake_answer(409, "", "{\"reason\":\"Conflict\"}");
    take("GET", PATH "/l");
    fake_answer(200, "", LEASE("me", "9", LONG_AGO));
    take("PUT", PATH "/l");
    expect_spec("", 3);
    assert_int_equal(released, 0);
    accept_write();
    RUN_UNTIL(released);
    assert_int_equal(stopped, 0);
}

static void test_release_ends_even_if_nobody_answers(void **state)
{
    (void)state;
    become_leader();
    lease_release(lease, on_released, NULL);
    RUN_UNTIL(released);
    assert_int_equal(released, 1);
}

static void test_a_candidate_releases_nothing(void **state)
{
    (void)state;
    take("GET", PATH "/l");
    lease_release(lease, on_released, NULL);
    assert_int_equal(released, 0);
    RUN_UNTIL(released);
}

static void test_bad_options_are_refused(void **state)
{
    (void)state;
    struct lease *bad;
    struct lease_options options = {.client = client, .ns = "vpn", .name = "l", .identity = ""};
    assert_int_equal(lease_open(loop, &options, &bad, NULL), -EINVAL);
    options.identity = "me";
    options.duration_s = 10;
    assert_int_equal(lease_open(loop, &options, &bad, NULL), -EINVAL); /* not before the deadline */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        lease_test(test_a_lease_that_is_not_there_is_made),
        lease_test(test_two_who_make_it_are_one_who_leads),
        lease_test(test_expiry_is_what_we_observe),
        lease_test(test_renewals_go_on_and_a_conflict_is_looked_into),
        lease_test(test_another_holder_ends_it_at_once),
        lease_test(test_a_lease_that_is_empty_or_gone_is_not_ours),
        lease_test(test_an_api_that_fails_ends_it_at_the_deadline),
        lease_test(test_a_silent_api_ends_it_at_the_deadline),
        lease_test(test_release_lets_the_next_one_in),
        lease_test(test_release_ends_even_if_nobody_answers),
        lease_test(test_a_candidate_releases_nothing),
        lease_test(test_bad_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
