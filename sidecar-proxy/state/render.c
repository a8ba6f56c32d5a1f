#include "sidecar-proxy/state/render.h"

#include <inttypes.h>

static void service_id(struct buf *b, const struct table_instance *i)
{
    if (i->service_id >= 0) {
        buf_printf(b, ",\"serviceId\":%" PRId64, i->service_id);
    } else {
        buf_append_str(b, ",\"serviceId\":null");
    }
}

static void begin(struct buf *b, const char *type)
{
    buf_append_str(b, "{");
    if (type != NULL) {
        buf_printf(b, "\"type\":\"%s\",", type);
    }
}

void render_session(struct buf *b, const char *type, const struct table_session *s, int64_t at_ms)
{
    const struct table_instance *i = s->instance;

    begin(b, type);
    buf_printf(b, "\"uuid\":\"%s\",\"address\":\"%s\",\"session\":\"%s\",\"since\":%" PRId64,
               s->device->uuid, address_format(s->address).text, s->id, s->since_ms);
    buf_printf(b, ",\"instance\":{\"pool\":\"%s\",\"index\":%" PRIu32 ",\"epoch\":\"%s\"", i->pool,
               i->index, i->epoch);
    service_id(b, i);
    buf_printf(b, ",\"proxy\":\"%s\"}", i->proxy);
    if (at_ms >= 0) {
        buf_printf(b, ",\"at\":%" PRId64, at_ms);
    }
    buf_append_str(b, "}");
}

void render_instance(struct buf *b, const char *type, const struct table_instance *i, bool gone)
{
    begin(b, type);
    buf_printf(b, "\"pool\":\"%s\",\"index\":%" PRIu32 ",\"epoch\":\"%s\"", i->pool, i->index,
               i->epoch);
    service_id(b, i);
    buf_printf(b, ",\"proxy\":\"%s\",\"subnet\":\"%s\"", i->proxy, i->subnet);
    buf_printf(b, ",\"connected\":%s,\"sessions\":%zu,\"phase\":\"%s\",\"since\":%" PRId64,
               i->feed != NULL ? "true" : "false", i->sessions.count, i->phase, i->since_ms);
    buf_append_str(b, gone ? ",\"gone\":true}" : "}");
}
