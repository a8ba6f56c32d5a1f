#include "common/config.h"

#include "common/buf.h"
#include "common/secret.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define CONFIG_LIST_MAX 65536

static void print_option(const struct config_option *o)
{
    char left[96];

    if (o->name != NULL) {
        snprintf(left, sizeof(left), "--%s%s", o->name, o->kind == CONFIG_BOOL ? "" : " VALUE");
    } else {
        snprintf(left, sizeof(left), "(%s)", o->env);
    }
    printf("  %-34s %s", left, o->help);
    if (o->name != NULL && o->env != NULL) {
        printf(" [%s]", o->env);
    }
    if (o->required) {
        printf(" (required)");
    } else if (o->fallback != NULL && o->fallback[0] != '\0') {
        printf(" (default %s)", o->fallback);
    }
    printf("\n");
}

static void print_help(const char *program, const char *about, const struct config_option *options,
                       size_t count)
{
    printf("%s: %s\n\nOptions, with the variable that sets the same:\n", program, about);
    for (size_t i = 0; i < count; i++) {
        print_option(&options[i]);
    }
    printf("  %-34s %s\n  %-34s %s\n", "--help", "this text", "--version", "the version");
}

static int parse_bool(const char *text, bool *ret)
{
    static const char *const yes[] = {"true", "1", "yes", "on"};
    static const char *const no[] = {"false", "0", "no", "off"};

    for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
        if (strcasecmp(text, yes[i]) == 0) {
            *ret = true;
            return 0;
        }
        if (strcasecmp(text, no[i]) == 0) {
            *ret = false;
            return 0;
        }
    }
    return -EINVAL;
}

static int set_int(const struct config_option *o, const char *source, const char *text,
                   struct err *err)
{
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);

    if (errno != 0 || end == text || *end != '\0') {
        return err_text(err, -EINVAL, "%s: '%.64s' is not a whole number", source, text);
    }
    if ((o->min != 0 || o->max != 0) && (value < o->min || value > o->max)) {
        return err_text(err, -EINVAL, "%s: %lld is not in %lld to %lld", source, value,
                        (long long)o->min, (long long)o->max);
    }
    *(int64_t *)o->target = value;
    return 0;
}

static void set_str(const struct config_option *o, const char *text)
{
    char **target = o->target;

    free(*target);
    *target = xstrdup(text);
}

/* source: how a person named it, "--state" or "VPN_STATE". */
static int set_value(const struct config_option *o, const char *source, const char *text,
                     struct err *err)
{
    switch (o->kind) {
    case CONFIG_STR:
    case CONFIG_LIST:
        set_str(o, text);
        return 0;
    case CONFIG_KEY:
        if (!secret_is_key(text)) {
            return err_text(err, -EINVAL, "%s: " CONFIG_KEY_WRONG, source);
        }
        set_str(o, text);
        return 0;
    case CONFIG_INT:
        return set_int(o, source, text, err);
    case CONFIG_BOOL:
        if (parse_bool(text, o->target) < 0) {
            return err_text(err, -EINVAL, "%s: '%.64s' is neither true nor false", source, text);
        }
        return 0;
    }
    return -EINVAL;
}

static void set_nothing(const struct config_option *o)
{
    switch (o->kind) {
    case CONFIG_STR:
    case CONFIG_LIST:
    case CONFIG_KEY:
        *(char **)o->target = NULL;
        break;
    case CONFIG_INT:
        *(int64_t *)o->target = 0;
        break;
    case CONFIG_BOOL:
        *(bool *)o->target = false;
        break;
    }
}

/* Fallbacks, then the environment over them. A variable that is empty counts as unset. */
static int load_environment(const struct config_option *options, size_t count, bool *given,
                            struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        const struct config_option *o = &options[i];
        const char *env = o->env != NULL ? getenv(o->env) : NULL;
        set_nothing(o);
        if (o->fallback != NULL) {
            int r = set_value(o, o->name != NULL ? o->name : o->env, o->fallback, err);
            if (r < 0) {
                return r;
            }
        }
        if (env != NULL && env[0] != '\0') {
            int r = set_value(o, o->env, env, err);
            if (r < 0) {
                return r;
            }
            given[i] = true;
        }
    }
    return 0;
}

static const struct config_option *find(const struct config_option *options, size_t count,
                                        const char *name, size_t len)
{
    for (size_t i = 0; i < count; i++) {
        if (options[i].name != NULL && strlen(options[i].name) == len &&
            strncmp(options[i].name, name, len) == 0) {
            return &options[i];
        }
    }
    return NULL;
}

static int append_to_list(const struct config_option *o, bool again, const char *text,
                          struct err *err)
{
    char **target = o->target;

    if (!again || *target == NULL) {
        return set_value(o, o->name, text, err);
    }
    if (strlen(*target) + strlen(text) > CONFIG_LIST_MAX) {
        return err_text(err, -EINVAL, "--%s: the list is too long", o->name);
    }
    char *joined = xasprintf("%s,%s", *target, text);
    free(*target);
    *target = joined;
    return 0;
}

/* One "--name value" or "--name=value" at argv[*i]; moves *i onto its last word. */
static int load_argument(const struct config_option *options, size_t count, int argc, char **argv,
                         int *i, bool *given, bool *listed, struct err *err)
{
    const char *word = argv[*i] + 2;
    size_t len = strcspn(word, "=");
    const struct config_option *o = find(options, count, word, len);

    if (o == NULL) {
        return err_text(err, -EINVAL, "unknown option '%.64s' (--help lists them)", argv[*i]);
    }
    const char *value = word[len] == '=' ? word + len + 1 : NULL;
    if (value == NULL && o->kind == CONFIG_BOOL) {
        value = "true";
    } else if (value == NULL) {
        if (*i + 1 >= argc) {
            return err_text(err, -EINVAL, "option '--%s' needs a value", o->name);
        }
        value = argv[++*i];
    }
    size_t at = (size_t)(o - options);
    given[at] = true;
    if (o->kind == CONFIG_LIST) {
        bool again = listed[at];
        listed[at] = true;
        return append_to_list(o, again, value, err);
    }
    AUTO(str) char *source = xasprintf("--%s", o->name);
    return set_value(o, source, value, err);
}

static int load_arguments(const struct config_option *options, size_t count, int argc, char **argv,
                          bool *given, int *rest, struct err *err)
{
    AUTO(str) char *listed = xcalloc(count, sizeof(bool));

    for (int i = 1; i < argc; i++) {
        bool ends = strcmp(argv[i], "--") == 0;
        if (strncmp(argv[i], "--", 2) != 0 || ends) {
            if (rest == NULL) {
                return err_text(err, -EINVAL, "unexpected argument '%.64s'", argv[i]);
            }
            *rest = ends ? i + 1 : i;
            return 0;
        }
        int r = load_argument(options, count, argc, argv, &i, given, (bool *)listed, err);
        if (r < 0) {
            return r;
        }
    }
    if (rest != NULL) {
        *rest = argc;
    }
    return 0;
}

static int check_required(const struct config_option *options, size_t count, const bool *given,
                          struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        const struct config_option *o = &options[i];
        if (!o->required || given[i]) {
            continue;
        }
        if (o->name != NULL && o->env != NULL) {
            return err_text(err, -EINVAL, "--%s (or %s) is required: %s", o->name, o->env, o->help);
        }
        return err_text(err, -EINVAL, "%s%s is required: %s", o->name != NULL ? "--" : "",
                        o->name != NULL ? o->name : o->env, o->help);
    }
    return 0;
}

int config_load(const char *program, const char *about, const struct config_option *options,
                size_t count, int argc, char **argv, int *rest, struct err *err)
{
    AUTO(str) char *given = xcalloc(count, sizeof(bool));

    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            print_help(program, about, options, count);
            return 1;
        }
        if (strcmp(argv[i], "--version") == 0) {
            printf("%s %s\n", program, VPN_VERSION);
            return 1;
        }
    }
    int r = load_environment(options, count, (bool *)given, err);
    if (r == 0) {
        r = load_arguments(options, count, argc, argv, (bool *)given, rest, err);
    }
    return r < 0 ? r : check_required(options, count, (bool *)given, err);
}
