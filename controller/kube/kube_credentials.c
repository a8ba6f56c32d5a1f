#include "controller/kube/kube_credentials.h"

#include "controller/kube/kube_exec.h"
#include "controller/kube/kube_material.h"

#include <errno.h>
#include <string.h>

#define EXPIRY_LEEWAY_MS (10 * 1000)
#define EXEC_PAUSE_MS (5 * 1000) /* between two runs of a plugin that fails, or is refused */

struct kube_credentials {
    struct loop *loop;
    const struct kube_config *config;
    void (*on_ready)(void *arg);
    void *arg;
    char *token; /* NULL: none */
    char *ca_pem, *cert_pem, *key_pem;
    unsigned generation;
    uint32_t reread_ms;
    int64_t token_read_ms; /* monotonic, as all but expires_ms; INT64_MIN: is to be read */
    int64_t tls_read_ms;
    struct kube_exec_run *run; /* a plugin that is being asked */
    bool exec_good;            /* its last answer is in use */
    int64_t exec_at_ms;        /* when it last answered or failed */
    int64_t expires_ms;        /* Unix time; 0: not said */
    struct err exec_err;       /* why it failed; code 0: it did not */
};

static bool replace_secret(char **held, char *text)
{
    bool same = *held != NULL && text != NULL ? strcmp(*held, text) == 0 : *held == text;

    kube_secret_free(*held);
    *held = text;
    return !same;
}

static bool uses_exec(const struct kube_credentials *c)
{
    const struct kube_material *token = &c->config->token;

    return c->config->exec != NULL && token->file == NULL && token->data == NULL;
}

/* --- files --- */

static int read_token(struct kube_credentials *c, struct err *err)
{
    const struct kube_material *m = &c->config->token;
    char *token = NULL;

    if (m->file == NULL) {
        token = m->data != NULL ? xstrdup(m->data) : NULL;
    } else {
        int r = kube_word_read(m->file, &token, err);
        if (r < 0) {
            return err_wrap(err, "token");
        }
        if (token[0] == '\0') { /* it is being written */
            free(token);
            return err_text(err, -EINVAL, "token: '%s' is empty", m->file);
        }
    }
    replace_secret(&c->token, token);
    return 0;
}

/* All of them or none: a certificate without its key helps nobody. */
static int read_tls(struct kube_credentials *c, struct err *err)
{
    AUTO(secret) char *ca = NULL;
    AUTO(secret) char *cert = NULL;
    AUTO(secret) char *key = NULL;
    int r = kube_material_read(&c->config->ca, "certificate-authority", &ca, err);

    if (r < 0 || (r = kube_material_read(&c->config->cert, "client-certificate", &cert, err)) < 0 ||
        (r = kube_material_read(&c->config->key, "client-key", &key, err)) < 0) {
        return r;
    }
    bool changed = replace_secret(&c->ca_pem, MOVE(ca));
    if (!uses_exec(c)) {
        changed |= replace_secret(&c->cert_pem, MOVE(cert));
        changed |= replace_secret(&c->key_pem, MOVE(key));
    }
    c->generation += changed ? 1 : 0;
    return 0;
}

static bool is_due(const struct kube_credentials *c, int64_t read_ms, int64_t now)
{
    return read_ms == INT64_MIN || now - read_ms >= c->reread_ms;
}

/* A file that is being replaced, or a volume that is gone for a moment: what we have may still do.
 */
static void refresh_files(struct kube_credentials *c)
{
    int64_t now = clock_monotonic_ms();

    if (c->config->token.file != NULL && is_due(c, c->token_read_ms, now)) {
        c->token_read_ms = now;
        (void)read_token(c, NULL);
    }
    if (is_due(c, c->tls_read_ms, now)) {
        c->tls_read_ms = now;
        (void)read_tls(c, NULL);
    }
}

/* --- the plugin --- */

static void take(struct kube_credentials *c, struct kube_exec_result *got)
{
    bool changed = replace_secret(&c->cert_pem, MOVE(got->cert_pem));

    changed |= replace_secret(&c->key_pem, MOVE(got->key_pem));
    c->generation += changed ? 1 : 0;
    replace_secret(&c->token, MOVE(got->token));
    c->expires_ms = got->expires_ms;
}

static void on_exec(void *arg, int result, struct kube_exec_result *got, const struct err *err)
{
    struct kube_credentials *c = arg;

    c->run = NULL;
    c->exec_at_ms = clock_monotonic_ms();
    c->exec_good = result == 0;
    if (result == 0) {
        c->exec_err.code = 0;
        take(c, got);
    } else {
        c->exec_err = *err;
    }
    c->on_ready(c->arg);
}

static bool is_exec_good(const struct kube_credentials *c)
{
    return c->exec_good &&
           (c->expires_ms == 0 || clock_realtime_ms() + EXPIRY_LEEWAY_MS < c->expires_ms);
}

static bool pauses(const struct kube_credentials *c)
{
    return c->exec_at_ms != INT64_MIN && clock_monotonic_ms() - c->exec_at_ms < EXEC_PAUSE_MS;
}

static int exec_failure(const struct kube_credentials *c, struct err *err)
{
    if (c->exec_err.code == 0) {
        return err_text(err, -EACCES, "what credential plugin '%s' gave is refused or expired",
                        c->config->exec->command);
    }
    return err_text(err, c->exec_err.code, "%s", c->exec_err.text);
}

static int refresh_exec(struct kube_credentials *c, struct err *err)
{
    if (is_exec_good(c)) {
        return 0;
    }
    if (c->run != NULL) {
        return -EAGAIN;
    }
    if (pauses(c)) {
        return exec_failure(c, err);
    }
    int r = kube_exec_start(c->loop, c->config, on_exec, c, &c->run, &c->exec_err);
    if (r < 0) {
        c->exec_good = false;
        c->exec_at_ms = clock_monotonic_ms();
        return exec_failure(c, err);
    }
    return -EAGAIN;
}

/* --- the whole --- */

int kube_credentials_refresh(struct kube_credentials *c, struct err *err)
{
    refresh_files(c);
    return uses_exec(c) ? refresh_exec(c, err) : 0;
}

const char *kube_credentials_token(const struct kube_credentials *c)
{
    return c->token;
}

struct kube_tls kube_credentials_tls(const struct kube_credentials *c)
{
    return (struct kube_tls){.ca_pem = c->ca_pem,
                             .cert_pem = c->cert_pem,
                             .key_pem = c->key_pem,
                             .generation = c->generation};
}

static bool is_current(const struct kube_credentials *c, const char *token, unsigned generation)
{
    const char *ours = c->token != NULL ? c->token : "";

    return generation == c->generation && strcmp(token != NULL ? token : "", ours) == 0;
}

bool kube_credentials_refused(struct kube_credentials *c, const char *token, unsigned generation)
{
    if (!is_current(c, token, generation)) {
        return true; /* there are newer ones already */
    }
    if (uses_exec(c)) {
        c->exec_good = false;
        return !pauses(c);
    }
    c->token_read_ms = c->tls_read_ms = INT64_MIN;
    refresh_files(c);
    return !is_current(c, token, generation);
}

int kube_credentials_new(struct loop *loop, const struct kube_config *config, uint32_t reread_ms,
                         void (*on_ready)(void *arg), void *arg, struct kube_credentials **ret,
                         struct err *err)
{
    struct kube_credentials *c = xcalloc(1, sizeof(*c));

    c->loop = loop;
    c->config = config;
    c->reread_ms = reread_ms > 0 ? reread_ms : KUBE_REREAD_MS;
    c->on_ready = on_ready;
    c->arg = arg;
    c->exec_at_ms = INT64_MIN;
    c->token_read_ms = c->tls_read_ms = clock_monotonic_ms();
    int r = read_token(c, err);
    if (r < 0 || (r = read_tls(c, err)) < 0) {
        kube_credentials_free(c);
        return r;
    }
    *ret = c;
    return 0;
}

void kube_credentials_free(struct kube_credentials *c)
{
    if (c == NULL) {
        return;
    }
    kube_exec_cancel(c->run);
    kube_secret_free(c->token);
    kube_secret_free(c->ca_pem);
    kube_secret_free(c->cert_pem);
    kube_secret_free(c->key_pem);
    free(c);
}
