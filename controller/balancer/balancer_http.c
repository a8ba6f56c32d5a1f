#include "controller/balancer/balancer_http.h"

static const char *const mode_words[] = {
    [SERVER_MAINT] = "maint",
    [SERVER_DRAIN] = "drain",
    [SERVER_READY] = "ready",
};

/* Names and addresses are plain, or servers_parse() would not have taken them. */
void balancer_format_servers(struct buf *out, bool settled, const struct server_list *servers)
{
    buf_printf(out, "{\"settled\":%s,\"servers\":[", settled ? "true" : "false");
    for (size_t i = 0; i < servers->count; i++) {
        const struct server *s = &servers->items[i];
        buf_printf(out, "%s{\"name\":\"%s\",\"address\":\"%s\",\"mode\":\"%s\",\"sessions\":%u}",
                   i > 0 ? "," : "", s->name, s->address, mode_words[s->mode], s->sessions);
    }
    buf_append_str(out, "]}\n");
}
