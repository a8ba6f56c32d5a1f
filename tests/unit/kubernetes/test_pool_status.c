#include "controller/kubernetes/pool_status.h"
#include "tests/unit/cmocka_all.h"

#include <stdio.h>
#include <string.h>

#define NOW 1795472797042

static const struct pool_network network = {.base = {.network = 0x64400000, .prefix_len = 10},
                                            .instance_prefix_len = 20};

static char *text_of(const struct pool_status *s)
{
    cJSON *o = pool_status_make(s, "fleet", &network);
    char *text = cJSON_PrintUnformatted(o);

    cJSON_Delete(o);
    return text;
}

static void fill(struct pool_status *s)
{
    pool_status_init(s);
    s->observed_generation = 3;
    s->capacity = 1024;
    struct pool_instance *i = pool_status_add(s, 2, NOW);
    snprintf(i->uid, sizeof(i->uid), "u2");
    i->service_id = 12;
    i->sessions = 7;
    pool_status_add(s, 1, NOW);
    pool_status_add(s, 9, NOW);
    pool_status_remove(s, 9, NOW + 1000);
    s->burials = xcalloc(1, sizeof(*s->burials));
    s->burials[0] = (struct pool_burial){.index = 9, .epoch = "u9", .service_id = 11};
    s->burial_count = 1;
    pool_status_condition(s, POOL_AVAILABLE, true, "EnoughReady", "2 of 2", NOW);
}

static void test_pool_status_is_what_it_was_after_a_round_trip(void **state)
{
    struct pool_status a, b;
    size_t ignored = 0;

    (void)state;
    fill(&a);
    AUTO(str) char *before = text_of(&a);
    cJSON *o = cJSON_Parse(before);
    pool_status_read(o, &b, &ignored);
    cJSON_Delete(o);
    AUTO(str) char *after = text_of(&b);
    assert_string_equal(before, after);
    assert_int_equal(ignored, 0);
    assert_string_equal(pool_status_find(&b, 2)->uid, "u2");
    assert_int_equal(pool_status_find(&b, 1)->since_ms, NOW);
    assert_null(pool_status_find(&b, 9));
    pool_status_clear(&a);
    pool_status_clear(&b);
}

static void test_pool_status_reads_well(void **state)
{
    struct pool_status s;

    (void)state;
    fill(&s);
    AUTO(str) char *text = text_of(&s);
    assert_non_null(strstr(text,
                           "\"index\":1,\"subnet\":\"100.64.0.0/20\",\"pod\":\"fleet-1\","
                           "\"phase\":\"Starting\",\"since\":\"2026-11-23T22:26:37.042000Z\""));
    assert_non_null(strstr(text, "\"selector\":\"vpn.openbalena.io/pool=fleet\""));
    assert_non_null(
        strstr(text, "\"freed\":[{\"index\":9,\"at\":\"2026-11-23T22:26:38.042000Z\"}]"));
    assert_non_null(strstr(text, "{\"type\":\"Available\",\"status\":\"True\",\"reason\":"
                                 "\"EnoughReady\",\"message\":\"2 of 2\",\"lastTransitionTime\":"
                                 "\"2026-11-23T22:26:37Z\",\"observedGeneration\":3}"));
    pool_status_clear(&s);
}

/* What somebody else wrote there. */
static void test_pool_status_leaves_out_what_makes_no_sense(void **state)
{
    struct pool_status s;
    size_t ignored = 0;
    cJSON *o = cJSON_Parse(
        "{\"replicas\":-1,\"instances\":[{\"index\":1,\"phase\":\"Ready\"},{\"index\":1,\"phase\":"
        "\"Ready\"},{\"index\":0,\"phase\":\"Ready\"},{\"index\":2000,\"phase\":\"Ready\"},"
        "{\"index\":2},{\"index\":3,\"phase\":\"Free\"},{\"index\":4,\"phase\":\"Asleep\"},7,"
        "{\"index\":5,\"phase\":\"Starting\",\"since\":\"soon\",\"sessions\":\"many\",\"uid\":3}],"
        "\"freed\":[{\"index\":1},{\"index\":8},{\"index\":8},{}],\"burials\":[{\"index\":1},"
        "{\"index\":1,\"epoch\":\"e\",\"serviceId\":4}],\"conditions\":[{\"type\":\"Odd\"},[]]}");

    (void)state;
    assert_non_null(o);
    pool_status_read(o, &s, &ignored);
    cJSON_Delete(o);
    assert_int_equal(s.count, 2);
    assert_int_equal(s.instances[0].index, 1);
    assert_int_equal(s.instances[1].index, 5);
    assert_int_equal(s.freed_count, 1);
    assert_int_equal(s.burial_count, 1);
    assert_int_equal(ignored, 7 + 2 + 1 + 2);
    pool_status_clear(&s);
    pool_status_read(NULL, &s, &ignored);
    assert_int_equal(s.count, 0);
    pool_status_clear(&s);
}

static void test_pool_status_freed_indices_are_in_order_and_once(void **state)
{
    struct pool_status s;

    (void)state;
    pool_status_init(&s);
    for (uint32_t i = 1; i <= 3; i++) {
        pool_status_add(&s, i, NOW);
    }
    pool_status_remove(&s, 2, NOW + 1);
    pool_status_remove(&s, 1, NOW + 2);
    pool_status_add(&s, 2, NOW + 3);
    assert_int_equal(s.freed_count, 1);
    pool_status_remove(&s, 2, NOW + 4);
    assert_int_equal(s.freed_count, 2);
    assert_int_equal(s.freed[0].index, 1);
    assert_int_equal(s.freed[1].index, 2);
    pool_status_clear(&s);
}

static void test_pool_status_conditions_remember_when_they_changed(void **state)
{
    struct pool_status s;

    (void)state;
    pool_status_init(&s);
    pool_status_condition(&s, POOL_DEGRADED, false, "AsDesired", "", NOW);
    pool_status_condition(&s, POOL_DEGRADED, false, "AsDesired", "", NOW + 5000);
    assert_int_equal(s.conditions[POOL_DEGRADED].since_ms, NOW);
    pool_status_condition(&s, POOL_DEGRADED, true, "NameTaken", "a", NOW + 6000);
    pool_status_condition(&s, POOL_DEGRADED, true, "CreateFailed", "b", NOW + 7000);
    assert_int_equal(s.conditions[POOL_DEGRADED].since_ms, NOW + 6000);
    assert_string_equal(s.conditions[POOL_DEGRADED].reason, "CreateFailed");
    pool_status_clear(&s);
}

static void test_pool_status_gist_leaves_out_what_changes_all_the_time(void **state)
{
    struct pool_status s;

    (void)state;
    fill(&s);
    AUTO(str) char *before = pool_status_gist(&s);
    pool_status_find(&s, 2)->sessions = 8;
    s.sessions = 8;
    AUTO(str) char *busier = pool_status_gist(&s);
    assert_string_equal(before, busier);
    pool_instance_enter(pool_status_find(&s, 2), INDEX_READY, "Ready", NOW);
    AUTO(str) char *other = pool_status_gist(&s);
    assert_string_not_equal(before, other);
    assert_int_equal(pool_status_find(&s, 2)->sessions, 8);
    pool_status_clear(&s);
}

static void test_pool_reason_is_one_word(void **state)
{
    char word[POD_REASON_MAX + 1];

    (void)state;
    pool_reason("scaled down", word);
    assert_string_equal(word, "ScaledDown");
    pool_reason("OpenVPN has ended", word);
    assert_string_equal(word, "OpenVPNHasEnded");
    pool_reason("replaced by a new template", word);
    assert_string_equal(word, "ReplacedByANewTemplate");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pool_status_is_what_it_was_after_a_round_trip),
        cmocka_unit_test(test_pool_status_reads_well),
        cmocka_unit_test(test_pool_status_leaves_out_what_makes_no_sense),
        cmocka_unit_test(test_pool_status_freed_indices_are_in_order_and_once),
        cmocka_unit_test(test_pool_status_conditions_remember_when_they_changed),
        cmocka_unit_test(test_pool_status_gist_leaves_out_what_changes_all_the_time),
        cmocka_unit_test(test_pool_reason_is_one_word),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
