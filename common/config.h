/* config: a program's settings from its command line and environment, by one table.
 * An option "--auth-cache-seconds 60" (or =60) wins over its variable; an unknown option or a value
 * that does not fit is an error that names it. "--help" prints the table. */
#pragma once

#include "common/err.h"

enum config_kind {
    CONFIG_STR,  /* char *: owned by the caller after config_load() (free() it) */
    CONFIG_KEY,  /* char *: like STR, one that callers of an API send; never told in an error */
    CONFIG_INT,  /* int64_t within min..max */
    CONFIG_BOOL, /* bool: true/false/1/0/yes/no; an option without a value is true */
    CONFIG_LIST, /* char *: like STR, but may be given several times; joined by ',' */
};

/* Of a CONFIG_KEY, behind what names it. */
#define CONFIG_KEY_WRONG \
    "holds a byte that no key can have: a line end, a blank, or one that is not printable ASCII"

struct config_option {
    const char *name; /* "auth-cache-seconds", NULL: only by its variable (secrets) */
    const char *env;  /* "VPN_AUTH_CACHE_SECONDS", or NULL */
    enum config_kind kind;
    void *target;         /* char **, int64_t *, bool * */
    const char *fallback; /* as text; NULL: none (NULL, 0, false) */
    int64_t min, max;     /* CONFIG_INT; both 0: any */
    bool required;
    const char *help; /* one line */
};

/* Fills all targets. -EINVAL: text says all that is wrong, the first only. 1: --help or --version
 * was printed to standard output, the program should exit with 0. Arguments that are no options are
 * an error unless rest is given: *rest gets the index of the first one. */
int config_load(const char *program, const char *about, const struct config_option *options,
                size_t count, int argc, char **argv, int *rest, struct err *err);
