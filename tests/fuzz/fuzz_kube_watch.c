/* The stream of a watch, into a store's objects: any bytes, in pieces of any size. What is told
 * fits together: an object is added once before it changes or goes, and what is told is what is
 * there. */
#include "controller/kube/kube_lines.h"
#include "controller/kube/kube_objects.h"
#include "controller/kube/kube_watch_event.h"

#include <assert.h>
#include <string.h>

#define OBJECTS_MAX 8
#define LINE_MAX_BYTES 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct world {
    struct kube_objects objects;
    size_t told; /* added and not deleted */
} world;

static void on_add(void *arg, const struct kube_object *object)
{
    (void)arg;
    assert(object->name[0] != '\0' && object->resource_version[0] != '\0');
    assert(kube_objects_get(&world.objects, object->name) == object);
    world.told++;
}

static void on_update(void *arg, const struct kube_object *object, const void *before)
{
    (void)arg;
    assert(before != NULL && before != object->kept);
}

static void on_delete(void *arg, const struct kube_object *object)
{
    (void)arg;
    assert(kube_objects_get(&world.objects, object->name) == NULL);
    assert(world.told > 0);
    world.told--;
}

static int on_line(void *arg, const char *line, size_t len, struct err *err)
{
    struct kube_watch_event e;
    int r = kube_watch_event_parse(line, len, &e, err);

    (void)arg;
    if (r < 0) {
        return r;
    }
    if (e.type == KUBE_WATCH_BOOKMARK && e.initial_end) {
        kube_objects_sweep(&world.objects);
        kube_objects_round(&world.objects);
    } else if (e.type == KUBE_WATCH_DELETED) {
        (void)kube_objects_remove(&world.objects, e.object, NULL);
    } else if (e.type != KUBE_WATCH_BOOKMARK && e.type != KUBE_WATCH_ERROR) {
        (void)kube_objects_put(&world.objects, e.object, NULL);
    }
    kube_watch_event_clear(&e);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct kube_store_options options = {.max_objects = OBJECTS_MAX,
                                               .on_add = on_add,
                                               .on_update = on_update,
                                               .on_delete = on_delete};
    bool closed = false;
    struct kube_lines lines;
    size_t piece = size > 0 && data[0] % 64 > 0 ? data[0] % 64 : size;

    world = (struct world){0};
    kube_objects_init(&world.objects, &options, &closed);
    kube_lines_init(&lines, LINE_MAX_BYTES);
    for (size_t at = 1; at < size; at += piece) {
        size_t len = size - at < piece ? size - at : piece;
        if (kube_lines_feed(&lines, (const char *)data + at, len, on_line, NULL, NULL) < 0) {
            break;
        }
    }
    assert(world.told == world.objects.names.count && world.told <= OBJECTS_MAX);
    kube_lines_clear(&lines);
    kube_objects_clear(&world.objects);
    return 0;
}
