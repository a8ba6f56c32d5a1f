#include "common/base64.h"

#include <errno.h>

/* 0..63, -1: skipped, -2: not of the alphabet. */
static int digit(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    if (c == '+' || c == '/') {
        return c == '+' ? 62 : 63;
    }
    return c == ' ' || c == '\t' || c == '\r' || c == '\n' ? -1 : -2;
}

/* Only padding and blanks from here on? */
static bool is_tail(const char *text, size_t len)
{
    size_t padding = 0;

    for (size_t i = 0; i < len; i++) {
        padding += text[i] == '=';
        if (text[i] != '=' && digit(text[i]) != -1) {
            return false;
        }
    }
    return padding <= 2;
}

int base64_decode(const char *text, size_t len, char **ret, size_t *ret_len, struct err *err)
{
    AUTO(str) char *out = xmalloc(len / 4 * 3 + 4);
    size_t out_len = 0;
    uint32_t bits = 0;
    unsigned digits = 0;

    for (size_t i = 0; i < len; i++) {
        int d = digit(text[i]);
        if (d == -1) {
            continue;
        }
        if (d < 0) {
            if (text[i] == '=' && is_tail(text + i, len - i)) {
                break;
            }
            return err_text(err, -EINVAL, "no base64 at byte %zu", i);
        }
        bits = bits << 6 | (uint32_t)d;
        if (++digits % 4 == 0) {
            out[out_len++] = (char)(bits >> 16 & 255);
            out[out_len++] = (char)(bits >> 8 & 255);
            out[out_len++] = (char)(bits & 255);
        }
    }
    if (digits % 4 == 1) {
        return err_text(err, -EINVAL, "base64 is cut short");
    }
    if (digits % 4 >= 2) {
        bits <<= 6 * (4 - digits % 4);
        out[out_len++] = (char)(bits >> 16 & 255);
        if (digits % 4 == 3) {
            out[out_len++] = (char)(bits >> 8 & 255);
        }
    }
    out[out_len] = '\0';
    *ret = MOVE(out);
    *ret_len = out_len;
    return 0;
}
