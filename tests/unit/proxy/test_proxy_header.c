#include "sidecar-proxy/proxy/proxy_header.h"

#include "tests/unit/cmocka_all.h"

#include "sidecar-proxy/proxy/address.h"

#include <errno.h>
#include <string.h>

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

struct row {
    const char *bytes;
    size_t len;
    int taken;          /* or an error */
    const char *source; /* NULL: the peer */
};

#define TEXT(bytes, taken, source)              \
    {                                           \
        bytes, sizeof(bytes) - 1, taken, source \
    }

static void check(const struct row *row)
{
    struct proxy_header header = {.has_source = false};
    char host[ADDRESS_TEXT_MAX];

    int r = proxy_header_parse(row->bytes, row->len, &header);
    if (r != row->taken) {
        fail_msg("'%.*s': %d and not %d", (int)row->len, row->bytes, r, row->taken);
    }
    if (r <= 0) {
        return;
    }
    assert_int_equal(header.has_source, row->source != NULL);
    if (row->source != NULL) {
        address_host(&header.source, host);
        assert_string_equal(host, row->source);
    }
}

static void test_proxy_header_v1_answers_each_row_of_the_table(void **state)
{
    static const struct row rows[] = {
        TEXT("PROXY TCP4 192.0.2.1 198.51.100.1 5000 443\r\nGET", 44, "192.0.2.1"),
        TEXT("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", 56, "255.255.255.255"),
        TEXT("PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n", 40, "2001:db8::1"),
        TEXT("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
             "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
             104, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        TEXT("PROXY UNKNOWN\r\n", 15, NULL),
        TEXT("PROXY UNKNOWN what ever 1 2 3\r\n", 31, NULL),
        TEXT("P", 0, NULL),
        TEXT("PROXY TCP4 192.0.2.1 198.51.100.1 5000 443\r", 0, NULL),
        TEXT("PROXY TCP4 192.0.2.1 198.51.100.1 5000 443\n\r\n", -EPROTO, NULL),
        TEXT("PROXY UNKNOWNX\r\n", -EPROTO, NULL),
        TEXT("PROXY\r\n", -EPROTO, NULL),
        TEXT("PROXY \r\n", -EPROTO, NULL),
        TEXT("PROXY TCP4 192.0.2.1 198.51.100.1 5000\r\n", -EPROTO, NULL),
        TEXT("PROXY TCP4 192.0.2.1 198.51.100.1 5000 443 1\r\n", -EPROTO, NULL),
        TEXT("PROXY TCP4  192.0.2.1 198.51.100.1 5000 443\r\n", -EPROTO, NULL),
        TEXT("PROXY TCP4 192.0.2.1 198.51.100.1 5000 443 \r\n", -EPROTO, NULL),
        TEXT("PROXY TCP4 192.0.2.1 198.51.100.1 65536 443\r\n", -EPROTO, NULL),
        TEXT("PROXY TCP4 192.0.2.1 198.51.100.1 05 443\r\n", -EPROTO, NULL),
        TEXT("PROXY TCP4 192.0.2.1 198.51.100.1 -5 443\r\n", -EPROTO, NULL),
        TEXT("PROXY TCP4 192.0.2.256 198.51.100.1 5 443\r\n", -EPROTO, NULL),
        TEXT("PROXY TCP4 192.0.2.1 example.com 5 443\r\n", -EPROTO, NULL),
        TEXT("PROXY TCP4 192.0.2.1\0 198.51.100.1 5 443\r\n", -EPROTO, NULL),
        TEXT("PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n", -EPROTO, NULL),
        TEXT("PROXY TCP6 192.0.2.1 198.51.100.1 5000 443\r\n", -EPROTO, NULL),
        TEXT("PROXY UDP4 192.0.2.1 198.51.100.1 5000 443\r\n", -EPROTO, NULL),
        TEXT("proxy TCP4 192.0.2.1 198.51.100.1 5000 443\r\n", -EPROTO, NULL),
        TEXT("CONNECT x:1 HTTP/1.1\r\n\r\n", -EPROTO, NULL),
        TEXT("\x16\x03\x01", -EPROTO, NULL),
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check(&rows[i]);
    }
}

static void test_proxy_header_v1_ends_within_107_bytes(void **state)
{
    char line[200];
    struct proxy_header header;

    (void)state;
    memset(line, 'x', sizeof(line));
    memcpy(line, "PROXY UNKNOWN ", 14);
    assert_int_equal(proxy_header_parse(line, 106, &header), 0);
    assert_int_equal(proxy_header_parse(line, 107, &header), -EPROTO);
    memcpy(line + 105, "\r\n", 2);
    assert_int_equal(proxy_header_parse(line, 200, &header), 107);
}

static void test_proxy_header_v2_answers_each_row_of_the_table(void **state)
{
    static const struct row rows[] = {
        TEXT(SIGNATURE "\x21\x11\0\x0c\xc0\0\2\1\xc6\x33\x64\1\x13\x88\1\xbbGET", 28, "192.0.2.1"),
        TEXT(SIGNATURE "\x21\x11\0\x0f\xc0\0\2\1\xc6\x33\x64\1\x13\x88\1\xbb\4\0\0GET", 31,
             "192.0.2.1"), /* a TLV */
        TEXT(SIGNATURE "\x21\x21\0\x24\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"
                       "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\2\0\1\0\2",
             52, "2001:db8::1"),
        TEXT(SIGNATURE "\x20\0\0\0", 16, NULL),
        TEXT(SIGNATURE "\x20\x11\0\x0c\xc0\0\2\1\xc6\x33\x64\1\x13\x88\1\xbb", 28,
             NULL), /* LOCAL */
        TEXT(SIGNATURE "\x21\0\0\0", 16, NULL),
        TEXT(SIGNATURE "\x21\0\0\2ab", 18, NULL),
        TEXT(SIGNATURE "\x21\x11\0\x0c\xc0\0\2\1\xc6\x33\x64\1\x13\x88\1", 0, NULL),
        TEXT(SIGNATURE "\x21\x11\0", 0, NULL),
        TEXT(SIGNATURE, 0, NULL),
        TEXT("\r\n\r\n", 0, NULL),
        TEXT(SIGNATURE "\x21\x11\0\x0b\xc0\0\2\1\xc6\x33\x64\1\x13\x88\1", -EPROTO, NULL),
        TEXT(SIGNATURE "\x21\x21\0\x0c\xc0\0\2\1\xc6\x33\x64\1\x13\x88\1\xbb", -EPROTO, NULL),
        TEXT(SIGNATURE "\x21\x12\0\x0c\xc0\0\2\1\xc6\x33\x64\1\x13\x88\1\xbb", -EPROTO, NULL),
        TEXT(SIGNATURE "\x11\x11\0\x0c", -EPROTO, NULL), /* version 1 in version 2's clothes */
        TEXT(SIGNATURE "\x22\x11\0\x0c", -EPROTO, NULL), /* no such command */
        TEXT(SIGNATURE "\x21\x11\x10\0", -EPROTO, NULL), /* 4096 bytes to follow */
        TEXT("\r\n\r\n\0\r\nQUIT\r\x21\x11\0\x0c", -EPROTO, NULL),
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check(&rows[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_proxy_header_v1_answers_each_row_of_the_table),
        cmocka_unit_test(test_proxy_header_v1_ends_within_107_bytes),
        cmocka_unit_test(test_proxy_header_v2_answers_each_row_of_the_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
