#include "sidecar-proxy/state/query.h"

#include <ctype.h>
#include <string.h>

static int hex(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One character at *p, which moves on. -1: malformed. */
static int decode_one(const char **p, const char *end)
{
    const char *s = *p;

    if (*s == '+') {
        *p = s + 1;
        return ' ';
    }
    if (*s != '%') {
        *p = s + 1;
        return (unsigned char)*s;
    }
    if (end - s < 3 || hex(s[1]) < 0 || hex(s[2]) < 0) {
        return -1;
    }
    *p = s + 3;
    return hex(s[1]) << 4 | hex(s[2]);
}

static bool decode(const char *p, const char *end, char *out, size_t size)
{
    size_t len = 0;

    while (p < end) {
        int c = decode_one(&p, end);
        if (c <= 0 || len + 1 >= size) {
            return false;
        }
        if (len > 0 || !isspace(c)) {
            out[len++] = (char)c;
        }
    }
    while (len > 0 && isspace((unsigned char)out[len - 1])) {
        len--;
    }
    out[len] = '\0';
    return true;
}

bool query_get(const char *query, const char *name, char *out, size_t size)
{
    size_t name_len = strlen(name);

    out[0] = '\0';
    for (const char *p = query; *p != '\0';) {
        const char *end = strchrnul(p, '&');
        if ((size_t)(end - p) > name_len && p[name_len] == '=' && memcmp(p, name, name_len) == 0) {
            bool fine = decode(p + name_len + 1, end, out, size);
            if (!fine) {
                out[0] = '\0';
            }
            return fine;
        }
        p = *end == '&' ? end + 1 : end;
    }
    return false;
}

bool query_number(const char *query, const char *name, uint32_t max, uint32_t *ret)
{
    char text[12];
    uint64_t value = 0;

    if (!query_get(query, name, text, sizeof(text)) || text[0] == '\0' ||
        text[strspn(text, "0123456789")] != '\0') {
        return false;
    }
    value = strtoull(text, NULL, 10);
    if (value < 1 || value > max) {
        return false;
    }
    *ret = (uint32_t)value;
    return true;
}
