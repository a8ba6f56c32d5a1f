#include "sidecar-proxy/state/recent.h"
#include "world.h"

static struct table_now now_of(void *arg)
{
    return ((struct world *)arg)->now;
}

static void test_recent_has_the_newest_event_first(void **state)
{
    struct world w;
    struct recent r;
    world_init(&w, NULL);
    recent_init(&r, w.table, now_of, &w);
    struct table_instance *one = hello(&w, 1, 1, "e");

    up(&w, one, "1.0", 'a', w.now.unix_ms);
    down(&w, one, "1.0");
    assert_int_equal(RECENT_OFFLINE, recent_event(&r, 0)->kind);
    assert_int_equal(RECENT_ONLINE, recent_event(&r, 1)->kind);
    assert_string_equal(uuid_of('a'), recent_event(&r, 1)->uuid);
    assert_int_equal(RECENT_INSTANCE, recent_event(&r, 2)->kind);
    assert_null(recent_event(&r, 3));
    recent_clear(&r);
    world_clear(&w);
}

static void test_recent_keeps_the_last_events_only(void **state)
{
    struct world w;
    struct recent r;
    world_init(&w, NULL);
    recent_init(&r, w.table, now_of, &w);
    struct table_instance *one = hello(&w, 1, 1, "e");

    for (int n = 0; n < RECENT_EVENTS; n++) {
        up(&w, one, "1.0", 'a', w.now.unix_ms);
        down(&w, one, "1.0");
    }
    assert_non_null(recent_event(&r, RECENT_EVENTS - 1));
    assert_null(recent_event(&r, RECENT_EVENTS));
    recent_clear(&r);
    world_clear(&w);
}

static void test_recent_takes_old_sessions_for_no_news(void **state)
{
    struct world w;
    struct recent r;
    uint32_t came = 0, went = 0;
    world_init(&w, NULL);
    recent_init(&r, w.table, now_of, &w);
    struct table_instance *one = hello(&w, 1, 1, "e");

    up(&w, one, "1.0", 'a', w.now.unix_ms - RECENT_NEWS_MS - 1);
    recent_rates(&r, &came, &went);
    assert_int_equal(0, came);
    recent_clear(&r);
    world_clear(&w);
}

static void test_recent_rates_are_of_the_last_minute(void **state)
{
    struct world w;
    struct recent r;
    uint32_t came = 0, went = 0;
    world_init(&w, NULL);
    recent_init(&r, w.table, now_of, &w);
    struct table_instance *one = hello(&w, 1, 1, "e");

    up(&w, one, "1.0", 'a', w.now.unix_ms);
    w.now.mono_ms += 59000;
    down(&w, one, "1.0");
    recent_rates(&r, &came, &went);
    assert_int_equal(1, came);
    assert_int_equal(1, went);
    w.now.mono_ms += 1000;
    recent_rates(&r, &came, &went);
    assert_int_equal(0, came);
    assert_int_equal(1, went);
    w.now.mono_ms += 1000000;
    recent_rates(&r, &came, &went);
    assert_int_equal(0, came + went);
    recent_clear(&r);
    world_clear(&w);
}

static void test_recent_renders_its_samples_oldest_first(void **state)
{
    struct world w;
    struct recent r;
    AUTO(buf) struct buf b;
    world_init(&w, NULL);
    recent_init(&r, w.table, now_of, &w);
    buf_init(&b, 1 << 16);

    for (int n = 0; n < RECENT_SAMPLES; n++) {
        recent_sample(&r);
    }
    up(&w, hello(&w, 1, 1, "e"), "1.0", 'a', 1);
    recent_sample(&r);
    recent_render(&r, &b);
    assert_non_null(strstr(buf_str(&b), "0,0,1]"));
    recent_clear(&r);
    world_clear(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recent_has_the_newest_event_first),
        cmocka_unit_test(test_recent_keeps_the_last_events_only),
        cmocka_unit_test(test_recent_takes_old_sessions_for_no_news),
        cmocka_unit_test(test_recent_rates_are_of_the_last_minute),
        cmocka_unit_test(test_recent_renders_its_samples_oldest_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
