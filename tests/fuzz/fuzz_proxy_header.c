/* Any bytes as a balancer's PROXY protocol header: what it takes lies inside the bytes, fewer of
 * them are never a fault, and the same header means the same whatever follows. */
#include "sidecar-proxy/proxy/proxy_header.h"

#include "sidecar-proxy/proxy/source.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const char *bytes, size_t size)
{
    struct proxy_header header;
    struct proxy_header again;
    char text[SOURCE_TEXT_MAX];

    int r = proxy_header_parse(bytes, size, &header);
    assert(r <= PROXY_HEADER_MAX && (r <= 0 || (size_t)r <= size));
    assert(r >= 0 || r == -EPROTO);
    assert(r != 0 || size < PROXY_HEADER_MAX);
    if (r <= 0) {
        return;
    }
    for (int len = 0; len < r; len++) {
        assert(proxy_header_parse(bytes, (size_t)len, &again) == 0);
    }
    assert(proxy_header_parse(bytes, (size_t)r, &again) == r);
    assert(again.has_source == header.has_source);
    if (header.has_source) {
        struct source source = source_of(&header.source);
        source_format(&source, text);
        assert(text[0] != '\0');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *bytes = xmalloc(size > 0 ? size : 1); /* exact, so that a read too far is seen */

    if (size > 0) {
        memcpy(bytes, data, size);
    }
    check(bytes, size);
    free(bytes);
    return 0;
}
