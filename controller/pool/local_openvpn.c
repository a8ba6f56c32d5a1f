#include "controller/pool/local_openvpn.h"

#include "controller/pool/ask_program.h"
#include "controller/pool/object_rules.h"

#include <errno.h>
#include <string.h>

#define WORDS_MAX 32768 /* --show-ciphers prints some 6 KiB */

#define CIPHERS "spec.openvpn.dataCiphers"
#define PROVIDERS "spec.openvpn.opensslProviders"

struct asked {
    const char *program;
    const struct pool_object *pool;
    struct faults *faults;
    char words[WORDS_MAX]; /* of the answer */
};

/* --- the question --- */

/* As OpenVPN will have it: these decide where OpenSSL looks for providers. */
static void fill_env(struct args *env)
{
    static const char *const names[] = {"PATH", "OPENSSL_CONF", "OPENSSL_MODULES"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const char *value = getenv(names[i]);
        if (value != NULL) {
            args_addf(env, "%s=%s", names[i], value);
        }
    }
}

static int ask(struct asked *a, struct args *words)
{
    struct args env = {0};

    fill_env(&env);
    int status = ask_program(a->program, words->items, env.items, "", a->words, sizeof(a->words));
    args_clear(&env);
    args_clear(words);
    return status;
}

static void begin(const struct asked *a, struct args *words)
{
    const char *providers = a->pool->openvpn.openssl_providers;
    AUTO(str) char *copy = xstrdup(providers != NULL ? providers : "");

    args_add(words, "openvpn");
    args_add(words, "--suppress-timestamps");
    if (providers != NULL) {
        args_add(words, "--providers");
        for (char *rest = copy, *word;
             (word = strsep(&rest, ":")) != NULL && words->count + 8 < KEEPER_ARGS_MAX;) {
            args_add(words, word);
        }
    }
}

/* --- the answer --- */

static bool is_list_of(const struct yaml_node *list, const char *path)
{
    return list != NULL && list->kind == YAML_LIST && list->key != NULL &&
           strcmp(list->key, strrchr(path, '.') + 1) == 0;
}

/* The word of the list at path that line is about: the longest that is in it. NULL: none. */
static const struct yaml_node *word_in(const struct asked *a, const char *path, const char *line)
{
    const struct yaml_node *list = yaml_tree_locate(a->pool->origin, path);
    const struct yaml_node *found = NULL;

    if (!is_list_of(list, path)) {
        return NULL;
    }
    for (const struct yaml_node *item = list->first; item != NULL; item = item->next) {
        if (strstr(line, item->text) != NULL &&
            (found == NULL || strlen(item->text) > strlen(found->text))) {
            found = item;
        }
    }
    return found;
}

static void say(const struct asked *a, const char *path, const char *line)
{
    const struct yaml_node *word = word_in(a, path, line);

    if (word != NULL) {
        faults_add(a->faults, word->line, word->column, path, "openvpn refuses it: %s", line);
    } else {
        object_fault(a->faults, a->pool->origin, path, "openvpn refuses it: %s", line);
    }
}

/* Each line that begins with one of these; ended by NULL. -> how many */
static size_t say_lines(const struct asked *a, const char *path, const char *const *beginnings)
{
    AUTO(str) char *copy = xstrdup(a->words);
    size_t said = 0;

    for (char *save = NULL, *line = strtok_r(copy, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save)) {
        for (const char *const *b = beginnings; *b != NULL; b++) {
            if (strncmp(line, *b, strlen(*b)) == 0) {
                say(a, path, line);
                said++;
            }
        }
    }
    return said;
}

/* It loads them before all else, and ends where one cannot be had. */
static bool refuses_providers(struct asked *a)
{
    static const char *const failed[] = {"failed to load provider", "Options error: ", NULL};
    struct args words = {0};

    if (a->pool->openvpn.openssl_providers == NULL) {
        return false;
    }
    begin(a, &words);
    args_add(&words, "--show-ciphers");
    if (ask(a, &words) == 0) {
        return false;
    }
    if (say_lines(a, PROVIDERS, failed) == 0) {
        say(a, PROVIDERS, "see openvpn --providers ... --show-ciphers");
    }
    return true;
}

/* It looks at them before it misses what else a test of them needs (a key file), so its status does
 * not tell. 2.4 and 2.5 say "NCP cipher list". */
static void check_ciphers(struct asked *a)
{
    static const char *const which[] = {"Unsupported cipher in ", NULL};
    static const char *const refusals[] = {"Options error: --data-ciphers ",
                                           "Options error: NCP cipher list ", NULL};
    struct args words = {0};

    begin(a, &words);
    args_add(&words, "--dev");
    args_add(&words, "null");
    args_add(&words, "--data-ciphers");
    args_add(&words, a->pool->openvpn.data_ciphers);
    args_add(&words, "--test-crypto");
    if (ask(a, &words) != 0 &&
        (strstr(a->words, refusals[0]) != NULL || strstr(a->words, refusals[1]) != NULL) &&
        say_lines(a, CIPHERS, which) == 0) {
        say_lines(a, CIPHERS, refusals);
    }
}

int local_openvpn_check(const char *file, const struct pool_object *pool,
                        struct pool_errors *errors)
{
    AUTO(str) char *program = NULL;
    AUTO(faults) struct faults faults;
    struct asked *a = NULL;

    faults_init(&faults, file);
    faults.name_of = pool->name_of;
    if (process_find_program(local_tool_names[TOOL_OPENVPN], false, &program, NULL) < 0) {
        return 0;
    }
    a = xcalloc(1, sizeof(*a));
    a->program = program;
    a->pool = pool;
    a->faults = &faults;
    if (!refuses_providers(a)) { /* else there is no telling what ciphers there are */
        check_ciphers(a);
    }
    free(a);
    int r = faults.count > 0 ? -EINVAL : 0;
    faults_write(&faults, errors);
    return r;
}
