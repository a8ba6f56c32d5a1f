/* Any JSON as an EndpointSlice: what comes out can be said to haproxy. */
#include "controller/balancer/endpoints.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* It goes into a command: nothing that could end one and begin another. */
static void check(const struct server *s)
{
    assert(s->name[0] != '\0' && strlen(s->name) <= SERVER_NAME_MAX);
    assert(strpbrk(s->name, " ;/\r\n\t\"'\\") == NULL);
    assert(s->address[0] != '\0' && strpbrk(s->address, " ;/\r\n") == NULL);
    assert(s->mode == SERVER_READY || s->mode == SERVER_DRAIN);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct server_list list;
    AUTO(json) cJSON *object = NULL;

    if (json_parse((const char *)data, size, &object, NULL) < 0) {
        return 0;
    }
    struct slice *slice = slice_read(object, "vpn");
    const struct slice *twice[] = {slice, slice};
    assert(slice->count <= SLICE_ENDPOINTS_MAX);
    endpoints_merge(twice, 2, &list);
    assert(list.count <= slice->count);
    for (size_t i = 0; i < list.count; i++) {
        check(&list.items[i]);
        assert(i == 0 || strcmp(list.items[i - 1].name, list.items[i].name) < 0);
    }
    free(slice);
    return 0;
}
