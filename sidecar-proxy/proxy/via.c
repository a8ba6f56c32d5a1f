#include "sidecar-proxy/proxy/via.h"

#include "common/buf.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

/* May c be part of a pseudonym? What may not ends one. */
static bool is_name_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c != '\0' && strchr("-._:[]", c) != NULL);
}

/* Is name in value as a whole word? */
static bool names(struct text value, const char *name)
{
    size_t len = strlen(name);

    for (size_t i = 0; i + len <= value.len; i++) {
        bool starts = i == 0 || !is_name_char(value.at[i - 1]);
        bool ends = i + len == value.len || !is_name_char(value.at[i + len]);
        if (starts && ends && strncasecmp(value.at + i, name, len) == 0) {
            return true;
        }
    }
    return false;
}

static size_t length_of(const struct connect_head *head, const char *field)
{
    struct text value;
    size_t len = 0;

    for (size_t pos = 0; connect_head_field(head, field, &pos, &value);) {
        len += value.len + 2;
    }
    return len;
}

bool via_looped(const struct connect_head *head, const char *self)
{
    struct text value;
    char by[VIA_SELF_MAX + 2];

    by[0] = '_'; /* a node that is no address starts so (RFC 7239 6.3) */
    strncpy(by + 1, self, VIA_SELF_MAX);
    by[VIA_SELF_MAX + 1] = '\0';
    for (size_t pos = 0; connect_head_field(head, "via", &pos, &value);) {
        if (names(value, self)) {
            return true;
        }
    }
    for (size_t pos = 0; connect_head_field(head, "forwarded", &pos, &value);) {
        if (names(value, by)) {
            return true;
        }
    }
    return length_of(head, "via") > VIA_MAX;
}

char *via_chain(const struct connect_head *head, const char *self)
{
    struct text value;
    struct buf chain;

    buf_init(&chain, (size_t)2 * VIA_MAX);
    for (size_t pos = 0; connect_head_field(head, "via", &pos, &value);) {
        if (value.len > 0 && chain.len + value.len <= VIA_MAX) {
            buf_append(&chain, value.at, value.len);
            buf_append_str(&chain, ", ");
        }
    }
    buf_printf(&chain, "1.%d %.*s", head->minor, VIA_SELF_MAX, self);
    return buf_take(&chain);
}
