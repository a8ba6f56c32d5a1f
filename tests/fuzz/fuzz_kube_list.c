/* The body of a list, in pieces of any size: the objects in it are the same as those of a parser
 * that sees it whole, or it is refused. */
#include "controller/kube/kube_items.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int on_item(void *arg, cJSON *object, struct err *err)
{
    (void)err;
    assert(cJSON_IsObject(object));
    ++*(int *)arg;
    return 0;
}

static int on_metadata(void *arg, cJSON *object, struct err *err)
{
    (void)arg;
    (void)err;
    assert(cJSON_IsObject(object));
    return 0;
}

static int feed(const char *text, size_t size, size_t piece, int *items)
{
    const struct kube_items_to to = {on_item, on_metadata, items};
    struct kube_items k;
    int r = 0;

    kube_items_init(&k, 4096);
    for (size_t at = 0; at < size && r == 0; at += piece) {
        r = kube_items_feed(&k, text + at, size - at < piece ? size - at : piece, &to, NULL);
        assert(k.value.len <= 4096);
    }
    r = r == 0 ? kube_items_end(&k, NULL) : r;
    kube_items_clear(&k);
    assert(r == 0 || r == -EPROTO || r == -EMSGSIZE);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data + 1;
    int whole_items = 0, items = 0;
    cJSON *tree = NULL;

    if (size < 2) {
        return 0;
    }
    int whole = feed(text, size - 1, size - 1, &whole_items);
    size_t piece = data[0] % 64 + 1;
    assert(feed(text, size - 1, piece, &items) == whole && items == whole_items);
    if (whole == 0 && json_parse(text, size - 1, &tree, NULL) == 0) {
        const cJSON *list = NULL;
        int count = 0;
        for (const cJSON *member = tree->child; member != NULL; member = member->next) {
            if (strcmp(member->string, "items") == 0 && cJSON_IsArray(member)) {
                list = member; /* a name given twice counts twice below as well */
                count += cJSON_GetArraySize(list);
            }
        }
        assert(count >= items);
    }
    cJSON_Delete(tree);
    return 0;
}
