#include "controller/kubernetes/rfc3339.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define YEAR_MIN 1970
#define YEAR_MAX 9999

/* Exactly count digits. */
static bool digits(const char **at, int count, int *ret)
{
    *ret = 0;
    for (int i = 0; i < count; i++, (*at)++) {
        if (!isdigit((unsigned char)**at)) {
            return false;
        }
        *ret = *ret * 10 + (**at - '0');
    }
    return true;
}

static bool character(const char **at, const char *any_of)
{
    if (**at == '\0' || strchr(any_of, **at) == NULL) {
        return false;
    }
    (*at)++;
    return true;
}

static bool fraction(const char **at, int *ms)
{
    int scale = 100;

    *ms = 0;
    if (!character(at, ".")) {
        return true;
    }
    if (!isdigit((unsigned char)**at)) {
        return false;
    }
    for (; isdigit((unsigned char)**at); (*at)++, scale /= 10) {
        *ms += (**at - '0') * scale;
    }
    return true;
}

static bool offset(const char **at, int *minutes)
{
    int hour = 0, minute = 0, sign = **at == '-' ? -1 : 1;

    *minutes = 0;
    if (character(at, "Zz")) {
        return true;
    }
    if (!character(at, "+-") || !digits(at, 2, &hour) || !character(at, ":") ||
        !digits(at, 2, &minute) || hour > 23 || minute > 59) {
        return false;
    }
    *minutes = sign * (hour * 60 + minute);
    return true;
}

static bool is_in_range(const struct tm *t)
{
    return t->tm_year >= YEAR_MIN && t->tm_year <= YEAR_MAX && t->tm_mon >= 1 && t->tm_mon <= 12 &&
           t->tm_mday >= 1 && t->tm_mday <= 31 && t->tm_hour <= 23 && t->tm_min <= 59 &&
           t->tm_sec <= 60;
}

bool rfc3339_parse(const char *text, int64_t *ret)
{
    const char *at = text;
    struct tm t = {0};
    int ms = 0, minutes = 0;

    if (!digits(&at, 4, &t.tm_year) || !character(&at, "-") || !digits(&at, 2, &t.tm_mon) ||
        !character(&at, "-") || !digits(&at, 2, &t.tm_mday) || !character(&at, "Tt ") ||
        !digits(&at, 2, &t.tm_hour) || !character(&at, ":") || !digits(&at, 2, &t.tm_min) ||
        !character(&at, ":") || !digits(&at, 2, &t.tm_sec) || !fraction(&at, &ms) ||
        !offset(&at, &minutes) || *at != '\0' || !is_in_range(&t)) {
        return false;
    }
    t.tm_year -= 1900;
    t.tm_mon -= 1;
    *ret = ((int64_t)timegm(&t) - (int64_t)minutes * 60) * 1000 + ms;
    return true;
}

static struct tm split(int64_t unix_ms)
{
    int64_t most = INT64_C(253402300799); /* the last second of 9999 */
    int64_t seconds = unix_ms < 0 ? 0 : unix_ms / 1000;
    time_t s = (time_t)(seconds < most ? seconds : most);
    struct tm t;

    gmtime_r(&s, &t);
    return t;
}

void rfc3339_format(int64_t unix_ms, char ret[RFC3339_MAX])
{
    struct tm t = split(unix_ms);

    strftime(ret, RFC3339_MAX, "%Y-%m-%dT%H:%M:%SZ", &t);
}

void rfc3339_format_ms(int64_t unix_ms, char ret[RFC3339_MAX])
{
    struct tm t = split(unix_ms);
    size_t len = strftime(ret, RFC3339_MAX, "%Y-%m-%dT%H:%M:%S", &t);

    snprintf(ret + len, RFC3339_MAX - len, ".%03dZ", unix_ms < 0 ? 0 : (int)(unix_ms % 1000));
}
