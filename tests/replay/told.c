#include "tests/replay/told.h"

#include "common/buf.h"

#include <inttypes.h>

#define TOLD_MAX 65536

static void append_quoted(struct buf *out, const char *name, const char *text)
{
    buf_printf(out, " %s=\"", name);
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x20 || c >= 0x7f) {
            buf_printf(out, "\\x%02x", c);
        } else {
            buf_append(out, text, 1);
        }
    }
    buf_append_str(out, "\"");
}

static void append_address(struct buf *out, uint32_t a)
{
    if (a != 0) {
        buf_printf(out, " address=%u.%u.%u.%u", a >> 24, (a >> 16) & 255, (a >> 8) & 255, a & 255);
    }
}

char *told_client(const char *what, const struct link_client *c)
{
    struct buf text;

    buf_init(&text, TOLD_MAX);
    buf_printf(&text, "%s %" PRIu64, what, c->cid);
    if (c->kid != 0) {
        buf_printf(&text, " %" PRIu64, c->kid);
    }
    append_quoted(&text, "user", c->username);
    if (c->password[0] != '\0') {
        append_quoted(&text, "password", c->password);
    }
    buf_printf(&text, " from=%s version=%s%s", c->remote, c->version,
               c->knows_temp ? " knows-temp" : "");
    append_address(&text, c->address);
    buf_printf(&text, " since=%" PRId64, c->since_ms);
    if (c->bytes_in > 0 || c->bytes_out > 0) {
        buf_printf(&text, " in=%" PRIu64 " out=%" PRIu64, c->bytes_in, c->bytes_out);
    }
    return buf_take(&text);
}

const char *told_state(enum link_state state)
{
    static const char *const names[] = {
        [LINK_CONNECTING] = "connecting", [LINK_GREETING] = "greeting",
        [LINK_RESYNC] = "resync",         [LINK_LIVE] = "live",
        [LINK_WAITING] = "waiting",       [LINK_CLOSED] = "closed",
    };

    return names[state];
}
