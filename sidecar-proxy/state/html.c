#include "sidecar-proxy/state/html.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define PRINTED_MAX 1024

void html_text(struct buf *b, const char *text)
{
    while (*text != '\0') {
        size_t plain = strcspn(text, "&<>\"'");
        buf_append(b, text, plain);
        text += plain;
        if (*text != '\0') {
            buf_printf(b, "&#%d;", *text++);
        }
    }
}

void html_printf(struct buf *b, const char *fmt, ...)
{
    char text[PRINTED_MAX];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    html_text(b, text);
}

void html_duration(struct buf *b, int64_t ms)
{
    int64_t s = ms > 0 ? ms / 1000 : 0;

    if (s < 60) {
        buf_printf(b, "%" PRId64 " s", s);
    } else if (s < 60 * 60) {
        buf_printf(b, "%" PRId64 " min", s / 60);
    } else if (s < 48 * 60 * 60) {
        buf_printf(b, "%" PRId64 " h", s / 3600);
    } else {
        buf_printf(b, "%" PRId64 " d", s / 86400);
    }
}

void html_ago(struct buf *b, int64_t at_ms, int64_t now_ms)
{
    char stamp[64] = "";
    time_t seconds = (time_t)(at_ms / 1000);
    struct tm tm;

    if (gmtime_r(&seconds, &tm) != NULL) {
        strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%SZ", &tm);
    }
    buf_printf(b, "<time datetime=\"%s\" title=\"%s\">", stamp, stamp);
    html_duration(b, now_ms - at_ms);
    buf_append_str(b, "</time>");
}

void html_number(struct buf *b, uint64_t n)
{
    if (n >= 1000) {
        html_number(b, n / 1000);
        buf_printf(b, "&#8239;%03" PRIu64, n % 1000);
    } else {
        buf_printf(b, "%" PRIu64, n);
    }
}
