/* Any bytes as an HTTP request and its body: the same bytes in one piece and byte by byte mean the
 * same, and what is found is what the contract says. */
#include "common/http_head.h"

#include <assert.h>
#include <string.h>

#define BODY_MAX 1000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_head(const struct http_head *head)
{
    const char *end = head->text + sizeof(head->text);

    assert(head->path >= head->text && head->path < end && head->path[0] == '/');
    assert(strlen(head->path) < sizeof(head->text));
    assert(strpbrk(head->query, " \r\n#") == NULL);
    assert(strpbrk(head->authorization, "\r\n") == NULL);
    assert(strpbrk(head->ws_protocols, "\r\n") == NULL);
    assert(strlen(head->method) > 0);
    assert(!head->is_chunked || head->content_length == 0);
    http_list_has(head->ws_protocols, "vpn-state.v1");
}

/* The head's length is found at that byte, and not one before. */
static void check_incremental(const char *bytes, int len)
{
    static struct http_head head;
    int from = len > 64 ? len - 64 : 0;

    for (int at = from; at < len; at++) {
        assert(http_head_parse(bytes, (size_t)at, &head) == 0);
    }
    assert(http_head_parse(bytes, (size_t)len, &head) == len);
}

static long feed(const struct http_head *head, const char *bytes, size_t len, size_t step,
                 struct buf *out)
{
    struct http_body body;
    size_t at = 0;

    http_body_init(&body, head);
    while (at < len && !http_body_is_done(&body)) {
        size_t piece = step < len - at ? step : len - at;
        long n = http_body_feed(&body, bytes + at, piece, out);
        if (n < 0) {
            return n;
        }
        assert((size_t)n == piece || http_body_is_done(&body));
        at += (size_t)n;
    }
    return (long)at;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct http_head head;
    const char *bytes = (const char *)data;
    int len = http_head_parse(bytes, size, &head);

    assert(len <= (int)size);
    if (len <= 0) {
        assert(len == 0 || (len <= -400 && len >= -505));
        return 0;
    }
    check_head(&head);
    check_incremental(bytes, len);
    AUTO(buf) struct buf whole;
    AUTO(buf) struct buf pieces;
    buf_init(&whole, BODY_MAX);
    buf_init(&pieces, BODY_MAX);
    size_t rest = size - (size_t)len;
    long n = feed(&head, bytes + len, rest, rest > 0 ? rest : 1, &whole);
    long m = feed(&head, bytes + len, rest, 1, &pieces);
    assert(n == m);
    if (n >= 0) {
        assert(whole.len == pieces.len && strcmp(buf_str(&whole), buf_str(&pieces)) == 0);
    }
    return 0;
}
