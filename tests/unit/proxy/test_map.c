#include "sidecar-proxy/proxy/map.h"

#include "cmocka_all.h"

struct item {
    struct map_node node;
    int number;
};

static bool is_number(const struct map_node *node, const void *key)
{
    return ((const struct item *)node)->number == *(const int *)key;
}

static void test_map_finds_what_collides(void **state)
{
    struct map map;
    struct item items[64];

    (void)state;
    map_init(&map, 4);
    for (int i = 0; i < 64; i++) {
        items[i].number = i;
        map_add(&map, (uint64_t)i % 3, &items[i].node);
    }
    for (int i = 0; i < 64; i += 2) {
        map_remove(&map, &items[i].node);
    }
    for (int i = 0; i < 64; i++) {
        struct map_node *found = map_find(&map, (uint64_t)i % 3, is_number, &i);
        assert_ptr_equal(found, i % 2 == 0 ? NULL : &items[i].node);
    }
    assert_int_equal(map.count, 32);
    while (map_any(&map) != NULL) {
        map_remove(&map, map_any(&map));
    }
    assert_int_equal(map.count, 0);
    map_clear(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_map_finds_what_collides),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
