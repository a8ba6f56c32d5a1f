#include "controller/kube/kube_time.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define LAST_MS 253402300799999 /* 9999-12-31T23:59:59.999Z: there is no later one */

static struct kube_time_text format(int64_t unix_ms, bool micro)
{
    struct kube_time_text ret;
    struct tm tm;
    int64_t ms = unix_ms < 0 ? 0 : unix_ms < LAST_MS ? unix_ms : LAST_MS;
    time_t seconds = (time_t)(ms / 1000);
    char day[24] = "";

    if (gmtime_r(&seconds, &tm) != NULL) {
        strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
    }
    if (micro) {
        snprintf(ret.text, sizeof(ret.text), "%s.%03u000Z", day, (unsigned)(ms % 1000));
    } else {
        snprintf(ret.text, sizeof(ret.text), "%sZ", day);
    }
    return ret;
}

struct kube_time_text kube_time_micro(int64_t unix_ms)
{
    return format(unix_ms, true);
}

struct kube_time_text kube_time_second(int64_t unix_ms)
{
    return format(unix_ms, false);
}

static bool digits(const char **at, int count, int *ret)
{
    *ret = 0;
    for (; count > 0; count--, (*at)++) {
        if (**at < '0' || **at > '9') {
            return false;
        }
        *ret = *ret * 10 + (**at - '0');
    }
    return true;
}

static bool literal(const char **at, char c)
{
    if (**at != c) {
        return false;
    }
    (*at)++;
    return true;
}

static bool fraction(const char **at, int *ms)
{
    int place = 100;

    *ms = 0;
    if (**at != '.') {
        return true;
    }
    const char *first = ++*at;
    for (; **at >= '0' && **at <= '9'; (*at)++, place /= 10) {
        *ms += (**at - '0') * place;
    }
    return *at > first;
}

static bool offset(const char **at, int *seconds)
{
    int hours, minutes;
    bool west = **at == '-';

    *seconds = 0;
    if (literal(at, 'Z') || literal(at, 'z')) {
        return true;
    }
    if (!literal(at, '+') && !literal(at, '-')) {
        return false;
    }
    if (!digits(at, 2, &hours) || !literal(at, ':') || !digits(at, 2, &minutes)) {
        return false;
    }
    *seconds = (west ? -1 : 1) * (hours * 3600 + minutes * 60);
    return true;
}

static bool in_range(const struct tm *tm)
{
    return tm->tm_mon >= 0 && tm->tm_mon < 12 && tm->tm_mday >= 1 && tm->tm_mday <= 31 &&
           tm->tm_hour < 24 && tm->tm_min < 60 && tm->tm_sec <= 60;
}

int kube_time_parse(const char *text, int64_t *unix_ms)
{
    struct tm tm = {0};
    int ms, east_s;
    const char *at = text;

    if (!digits(&at, 4, &tm.tm_year) || !literal(&at, '-') || !digits(&at, 2, &tm.tm_mon) ||
        !literal(&at, '-') || !digits(&at, 2, &tm.tm_mday) ||
        (!literal(&at, 'T') && !literal(&at, 't')) || !digits(&at, 2, &tm.tm_hour) ||
        !literal(&at, ':') || !digits(&at, 2, &tm.tm_min) || !literal(&at, ':') ||
        !digits(&at, 2, &tm.tm_sec) || !fraction(&at, &ms) || !offset(&at, &east_s) ||
        *at != '\0') {
        return -EINVAL;
    }
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    if (!in_range(&tm)) {
        return -EINVAL;
    }
    *unix_ms = ((int64_t)timegm(&tm) - east_s) * 1000 + ms;
    return 0;
}
