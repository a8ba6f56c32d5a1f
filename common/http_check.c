#include "common/http_check.h"

#include <errno.h>
#include <string.h>

static bool is_alphanumeric(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

bool http_is_token(const char *s)
{
    size_t len = 0;

    while (is_alphanumeric(s[len]) || (s[len] != '\0' && strchr("!#$%&'*+-.^_`|~", s[len]))) {
        len++;
    }
    return len > 0 && s[len] == '\0';
}

/* All bytes of s at least lowest, and none is DEL. */
static bool is_within(const char *s, unsigned char lowest)
{
    for (; *s != '\0'; s++) {
        unsigned char c = (unsigned char)*s;
        if (c < lowest || c == 0x7f) {
            return false;
        }
    }
    return true;
}

bool http_is_bearer(const char *s)
{
    for (const char *c = s; *c != '\0'; c++) {
        if (*c < 0x21 || *c > 0x7e) {
            return false;
        }
    }
    return *s != '\0';
}

bool http_is_url(const char *url)
{
    return (strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0) &&
           is_within(url, 0x21);
}

bool http_is_value(const char *s)
{
    return is_within(s, 0x20);
}

int http_check_headers(const char *const *headers, struct err *err)
{
    for (; headers != NULL && *headers != NULL; headers++) {
        const char *colon = strchr(*headers, ':');
        if (colon == NULL || !http_is_value(*headers)) {
            return err_text(err, -EINVAL, "bad header");
        }
        AUTO(str) char *name = xstrndup(*headers, (size_t)(colon - *headers));
        if (!http_is_token(name)) {
            return err_text(err, -EINVAL, "bad header name");
        }
    }
    return 0;
}
