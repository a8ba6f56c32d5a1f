#include "controller/pool/local_load.h"

#include "common/balena_api.h"
#include "common/config.h"
#include "common/log.h"
#include "common/secret.h"
#include "controller/pool/faults.h"
#include "controller/pool/local_haproxy.h"
#include "controller/pool/local_openvpn.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* --- what is said --- */

void local_findings_init(struct local_findings *f)
{
    pool_errors_init(&f->errors);
    pool_errors_init(&f->warnings);
    buf_init(&f->notes.text, ENV_NOTES_MAX); /* with a file there are none */
}

void local_findings_clear(struct local_findings *f)
{
    pool_errors_clear(&f->errors);
    pool_errors_clear(&f->warnings);
    buf_clear(&f->notes.text);
}

static void log_lines(enum log_level level, const struct buf *text)
{
    AUTO(str) char *copy = xstrdup(buf_str(text));

    for (char *save = NULL, *line = strtok_r(copy, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save)) {
        log_line(level, line, NULL);
    }
}

void local_findings_log(const struct local_findings *f)
{
    log_lines(LOG_INFO, &f->notes.text);
    log_lines(LOG_WARN, &f->warnings.text);
    log_lines(LOG_ERROR, &f->errors.text);
}

void local_findings_print(const struct local_findings *f)
{
    AUTO(str) char *warnings = xstrdup(buf_str(&f->warnings.text));

    fputs(buf_str(&f->notes.text), stderr);
    for (char *save = NULL, *line = strtok_r(warnings, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save)) {
        fprintf(stderr, "warning: %s\n", line);
    }
    fputs(buf_str(&f->errors.text), stderr);
}

/* --- keys --- */

/* haproxy and its clients take any password that is a line of text. */
static bool is_line(const char *text)
{
    while (*text != '\0' && (unsigned char)*text >= ' ' && *text != 0x7f) {
        text++;
    }
    return *text == '\0';
}

/* What the programs would refuse later, all of them again and again. Keys are in no message. */
static int check_keys(struct pool_errors *errors)
{
    static const char *const keys[] = {"VPN_SERVICE_API_KEY", "VPN_SERVICE_API_KEY_PREVIOUS",
                                       "VPN_GUEST_API_KEY"};
    const char *token = getenv("MONITOR_SECRET_TOKEN");
    AUTO(faults) struct faults faults;

    faults_init(&faults, "environment");
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        const char *key = getenv(keys[i]);
        if (key != NULL && key[0] != '\0' && !secret_is_key(key)) {
            faults_add(&faults, 0, 0, keys[i], CONFIG_KEY_WRONG);
        }
    }
    if (token != NULL && !is_line(token)) {
        faults_add(&faults, 0, 0, "MONITOR_SECRET_TOKEN",
                   "holds a control byte, such as a line end");
    }
    int r = faults.count > 0 ? -EINVAL : 0;
    faults_write(&faults, errors);
    return r;
}

/* --- the pool --- */

static int load_file(const char *file, struct pool_object *ret, struct local_findings *f)
{
    return pool_object_load_local(file, ret, &f->errors, &f->warnings);
}

static int load_environment(const struct local_paths *paths, struct pool_object *ret,
                            struct env_pem *pem, struct local_findings *f)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int r = env_pool_load(paths->tls_dir, cores > 0 ? (uint32_t)cores : 1, ret, pem, &f->notes,
                          &f->errors, &f->warnings);

    return r < 0 ? r : pool_object_check_local("environment", ret, &f->errors, &f->warnings);
}

static int ask_programs(const char *file, const struct pool_object *pool,
                        const struct local_paths *paths, struct local_findings *f)
{
    int openvpn = local_openvpn_check(file, pool, &f->errors);
    int haproxy = local_haproxy_check(file, pool, paths, &f->errors);

    return openvpn < 0 ? openvpn : haproxy;
}

int local_load_pool(const struct local_settings *settings, const struct local_paths *paths,
                    struct pool_object *ret, struct env_pem *pem, struct local_findings *findings)
{
    struct pool_object pool = {0};
    struct env_pem own = {0};
    const char *file = settings->file;
    int r = file != NULL ? load_file(file, &pool, findings)
                         : load_environment(paths, &pool, &own, findings);

    if (r == 0) { /* they are asked about what would run, so there must be such a thing */
        r = ask_programs(file != NULL ? file : "environment", &pool, paths, findings);
    }
    if (check_keys(&findings->errors) < 0) {
        r = -EINVAL;
    }
    if (r < 0) {
        pool_object_clear(&pool);
        env_pem_clear(&own);
        return -EINVAL;
    }
    *ret = pool;
    *pem = own;
    return 0;
}

/* --- the API --- */

int local_load_api(const struct local_settings *settings, char **url, char **ca, struct err *err)
{
    int r = balena_api_url_from_env(url, err);

    if (r == 0 && *url == NULL) {
        r = err_text(err, -EINVAL,
                     "no balena API is named: set BALENA_API_HOST (https), or "
                     "BALENA_API_INTERNAL_HOST (http)");
    }
    if (r == 0 && settings->keys.key == NULL) {
        r = err_text(err, -EINVAL, "VPN_SERVICE_API_KEY is not set: the key of the VPN service");
    }
    return r < 0 ? r : balena_api_ca_from_env(ca, err);
}
