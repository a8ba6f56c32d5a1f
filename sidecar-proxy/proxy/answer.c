#include "sidecar-proxy/proxy/answer.h"

#include <errno.h>
#include <string.h>

struct phrase {
    int status;
    const char *text;
};

static const struct phrase phrases[] = {
    {200, "Connection Established"},
    {400, "Bad Request"},
    {403, "Forbidden"},
    {405, "Method Not Allowed"},
    {407, "Proxy Authorization Required"},
    {408, "Request Timeout"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {508, "Loop Detected"},
};

const char *answer_phrase(int status)
{
    for (size_t i = 0; i < ARRAY_LEN(phrases); i++) {
        if (phrases[i].status == status) {
            return phrases[i].text;
        }
    }
    return "Internal Server Error";
}

void answer_format(const struct answer *answer, struct buf *out)
{
    buf_printf(out, "HTTP/1.%d %d %s\r\n", answer->minor, answer->status,
               answer_phrase(answer->status));
    if (answer->status == 200) { /* neither length nor body: the tunnel begins behind the head */
        buf_append_str(out, "\r\n");
        return;
    }
    if (answer->status == 407) {
        buf_append_str(out, "Proxy-Authenticate: Basic realm=\"open-balena-vpn\"\r\n");
    }
    if (answer->status == 405) {
        buf_append_str(out, "Allow: CONNECT\r\n");
    }
    if (answer->retry_after_s > 0) {
        buf_printf(out, "Retry-After: %d\r\n", answer->retry_after_s);
    }
    if (answer->limit != NULL) {
        buf_printf(
            out,
            "Proxy-Status: open-balena-vpn; error=connection_limit_reached; details=\"%s\"\r\n",
            answer->limit);
    }
    if (answer->close) {
        buf_append_str(out, "Connection: close\r\n");
    }
    buf_append_str(out, "Content-Length: 0\r\n\r\n");
}

void hop_request_format(const struct hop_request *request, struct buf *out)
{
    buf_printf(out, "CONNECT %s.balena:%u HTTP/1.1\r\nHost: %s.balena:%u\r\n", request->uuid,
               request->port, request->uuid, request->port);
    if (request->authorization != NULL) {
        buf_printf(out, "Proxy-Authorization: %s\r\n", request->authorization);
    }
    bool v6 = strchr(request->client, ':') != NULL;
    buf_printf(out,
               v6 ? "Via: %s\r\nForwarded: for=\"[%s]\";by=_%s\r\n"
                  : "Via: %s\r\nForwarded: for=%s;by=_%s\r\n",
               request->via, request->client, request->self);
    if (request->traceparent != NULL) {
        buf_printf(out, "traceparent: %s\r\n", request->traceparent);
    }
    buf_append_str(out, "\r\n");
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* "HTTP/1.x nnn", then a blank or the line's end. */
static int parse_status_line(const char *line, size_t len, int *status)
{
    if (len < 12 || memcmp(line, "HTTP/1.", 7) != 0 || !is_digit(line[7]) || line[8] != ' ' ||
        !is_digit(line[9]) || !is_digit(line[10]) || !is_digit(line[11]) ||
        (len > 12 && line[12] != ' ')) {
        return -EPROTO;
    }
    *status = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
    return 0;
}

int hop_answer_parse(const char *bytes, size_t len, int *status)
{
    const char *end = memmem(bytes, len, "\r\n\r\n", 4);

    if (end == NULL) {
        return len < ANSWER_HEAD_MAX ? 0 : -EMSGSIZE;
    }
    const char *eol = memmem(bytes, len, "\r\n", 2);
    int r = parse_status_line(bytes, (size_t)(eol - bytes), status);

    return r < 0 ? r : (int)(end - bytes) + 4;
}

bool traceparent_valid(const char *value, size_t len)
{
    static const char shape[] = "00-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx-xxxxxxxxxxxxxxxx-xx";

    if (len != sizeof(shape) - 1) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        bool hex = is_digit(value[i]) || (value[i] >= 'a' && value[i] <= 'f');
        if (shape[i] == 'x' ? !hex : value[i] != shape[i]) {
            return false;
        }
    }
    return true;
}
