#include "common/uuid.h"

#include <string.h>

static bool valid_len(size_t len)
{
    return len == 32 || len == 62;
}

bool uuid_valid(const char *text, size_t len)
{
    if (!valid_len(len)) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
            return false;
        }
    }
    return true;
}

bool uuid_valid_str(const char *text)
{
    return text != NULL && uuid_valid(text, strnlen(text, UUID_TEXT_MAX + 1));
}

bool uuid_fold(const char *text, size_t len, char *out)
{
    char folded[UUID_TEXT_MAX + 1];

    if (!valid_len(len)) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        folded[i] = c >= 'A' && c <= 'F' ? (char)(c - 'A' + 'a') : c;
    }
    folded[len] = '\0';
    if (!uuid_valid(folded, len)) {
        return false;
    }
    memcpy(out, folded, len + 1);
    return true;
}
