/* Any bytes as a request head: what it finds lies inside the bytes, and the same bytes behind more
 * or fewer of the following mean the same. */
#include "sidecar-proxy/proxy/connect_head.h"
#include "sidecar-proxy/proxy/credentials.h"
#include "sidecar-proxy/proxy/target.h"
#include "sidecar-proxy/proxy/via.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_inside(struct text t, const char *bytes, size_t len)
{
    assert(t.at >= bytes && t.at + t.len <= bytes + len);
}

/* What is sent on is one request in origin-form, whatever came. */
static void check_forward(const struct connect_head *head, const char *chain)
{
    AUTO(buf) struct buf out;
    struct connect_head again;

    buf_init(&out, (size_t)4 * CONNECT_HEAD_MAX);
    assert(connect_head_forward(head, chain, &out) == 0);
    assert(strstr(buf_str(&out), "\r\n\r\n") == out.data + out.len - 4);
    if (out.len <= CONNECT_HEAD_MAX) {
        assert(connect_head_parse(out.data, out.len, &again, NULL) == -EOPNOTSUPP);
    }
}

static void use(const struct connect_head *head, const char *bytes, size_t len)
{
    struct text value = {"", 0};
    struct credentials c;
    char uuid[UUID_TEXT_MAX + 1];
    size_t pos = 0;

    check_inside(head->host, bytes, len);
    check_inside(head->fields, bytes, len);
    assert(head->host.len >= 1 && head->minor >= 0 && head->minor <= 1);
    if (target_parse(head->host, uuid)) {
        assert(uuid_valid_str(uuid));
    }
    if (connect_head_field(head, "proxy-authorization", &pos, &value)) {
        check_inside(value, bytes, len);
    }
    credentials_parse(value, &c);
    assert((c.text != NULL) == (c.kind == CREDENTIALS_KEY || c.kind == CREDENTIALS_TICKET));
    credentials_clear(&c);
    via_looped(head, "vpn-1");
    char *chain = via_chain(head, "vpn-1");
    assert(strpbrk(chain, "\r\n") == NULL);
    if (head->forward) {
        check_forward(head, chain);
    }
    free(chain);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *bytes = xmalloc(size > 0 ? size : 1); /* exact, so that a read too far is seen */
    struct connect_head head;
    struct err err;

    if (size > 0) {
        memcpy(bytes, data, size);
    }
    int r = connect_head_parse(bytes, size, &head, &err);
    assert(r <= CONNECT_HEAD_MAX && (r > 0 ? (size_t)r <= size : true));
    assert(r >= 0 || r == -EPROTO || r == -EMSGSIZE || r == -EOPNOTSUPP);
    if (r > 0) {
        use(&head, bytes, size);
        assert(connect_head_parse(bytes, (size_t)r, &head, &err) == r);
        assert(connect_head_parse(bytes, (size_t)r - 1, &head, &err) == 0);
    }
    free(bytes);
    return 0;
}
