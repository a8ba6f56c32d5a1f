/* haproxy's statistics and what is planned from them: any text is a table or an error, and a plan
 * never names a server that neither side has. */
#include "controller/balancer/servers.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static struct server_list desired, observed;

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    char *text = xstrndup((const char *)bytes, len);
    struct buf plan;
    struct err err;

    if (servers_parse(text, "instances", &observed, &err) == 0) {
        if (observed.count > SERVERS_MAX) {
            abort();
        }
        desired.count = 1;
        desired.items[0] =
            (struct server){.name = "vpn1", .address = "127.0.0.1:10001", .mode = SERVER_READY};
        buf_init(&plan, (size_t)1 << 20);
        if (servers_plan("instances", &desired, &observed, &plan) == 0 &&
            strpbrk(buf_str(&plan), ";") != NULL) {
            abort();
        }
        buf_clear(&plan);
    }
    free(text);
    return 0;
}
