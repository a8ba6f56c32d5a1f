#include "common/endpoint.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static bool port_parse(const char *text, size_t len, uint16_t *ret)
{
    unsigned port = 0;

    if (len == 0 || len > 5) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (!isdigit((unsigned char)text[i])) {
            return false;
        }
        port = port * 10 + (unsigned)(text[i] - '0');
    }
    *ret = (uint16_t)port;
    return port >= 1 && port <= 65535;
}

static bool host_ok(const char *text, size_t len, bool bracketed)
{
    if (len == 0 || len > ENDPOINT_HOST_MAX) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        bool ok = bracketed ? isxdigit(c) || c == ':' || c == '.'
                            : isalnum(c) || c == '-' || c == '.' || c == '_';
        if (!ok) {
            return false;
        }
    }
    return true;
}

static int parse(const char *text, size_t len, struct endpoint *ret, struct err *err)
{
    const char *colon = memrchr(text, ':', len);
    bool bracketed = len > 0 && text[0] == '[';
    struct endpoint found = {0};

    if (colon == NULL) {
        return err_text(err, -EINVAL, "'%.*s' is not host:port", (int)len, text);
    }
    const char *host = text + bracketed;
    size_t host_len = (size_t)(colon - host);
    if (bracketed && (host_len == 0 || host[--host_len] != ']')) {
        return err_text(err, -EINVAL, "'%.*s' is not [address]:port", (int)len, text);
    }
    if (!host_ok(host, host_len, bracketed) ||
        !port_parse(colon + 1, (size_t)(text + len - colon - 1), &found.port)) {
        return err_text(err, -EINVAL, "'%.*s' is not host:port", (int)len, text);
    }
    memcpy(found.host, host, host_len);
    *ret = found;
    return 0;
}

int endpoint_parse(const char *text, struct endpoint *ret, struct err *err)
{
    return parse(text, strlen(text), ret, err);
}

int endpoint_parse_list(const char *text, struct endpoint *ret, size_t max, size_t *count,
                        struct err *err)
{
    size_t n = 0;

    for (const char *at = text + strspn(text, ", "); *at != '\0'; at += strspn(at, ", ")) {
        size_t len = strcspn(at, ", ");
        if (n == max) {
            return err_text(err, -E2BIG, "more than %zu addresses in '%.64s'", max, text);
        }
        int r = parse(at, len, &ret[n++], err);
        if (r < 0) {
            return r;
        }
        at += len;
    }
    *count = n;
    return 0;
}

char *endpoint_url(const struct endpoint *e)
{
    bool v6 = strchr(e->host, ':') != NULL;

    return xasprintf("http://%s%s%s:%u", v6 ? "[" : "", e->host, v6 ? "]" : "", e->port);
}
