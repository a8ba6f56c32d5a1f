#include "common/http_answer.h"

#include <string.h>
#include <time.h>

const char *http_reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } known[] = {
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Content"},
        {426, "Upgrade Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
    };

    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (known[i].status == status) {
            return known[i].reason;
        }
    }
    return "Status";
}

bool http_has_body(int status)
{
    return status >= 200 && status != 204 && status != 304;
}

static void append_date(struct buf *b)
{
    char text[64];
    time_t now = time(NULL);
    struct tm tm;

    gmtime_r(&now, &tm);
    strftime(text, sizeof(text), "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
    buf_append_str(b, text);
}

void http_answer_head(struct buf *out, int status, const char *content_type,
                      const char *extra_header, bool keep_alive)
{
    buf_printf(out, "HTTP/1.1 %d %s\r\n", status, http_reason(status));
    append_date(out);
    if (http_has_body(status)) {
        buf_printf(out, "Content-Type: %s\r\n", content_type != NULL ? content_type : "text/plain");
    }
    if (extra_header != NULL && strpbrk(extra_header, "\r\n") == NULL) {
        buf_printf(out, "%s\r\n", extra_header);
    }
    buf_printf(out, "Connection: %s\r\n", keep_alive ? "keep-alive" : "close");
}
