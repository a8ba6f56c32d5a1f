#include "controller/kube/kube_exec.h"

#include "common/buf.h"
#include "common/json.h"
#include "controller/kube/kube_material.h"
#include "controller/kube/kube_time.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define EXEC_TIMEOUT_MS (30 * 1000)
#define OUTPUT_MAX ((size_t)1 << 20)

extern char **environ;

struct kube_exec_run {
    struct loop *loop;
    pid_t pid; /* also of its group; 0: reaped */
    int pidfd;
    int out; /* its standard output */
    struct loop_io *exit_io, *out_io;
    struct loop_timer *timer;
    struct buf output;
    char *command;
    char *api_version;
    kube_exec_fn on_done;
    void *arg;
};

void kube_exec_result_clear(struct kube_exec_result *r)
{
    kube_secret_free(r->token);
    kube_secret_free(r->cert_pem);
    kube_secret_free(r->key_pem);
    *r = (struct kube_exec_result){0};
}

/* --- what it prints --- */

static int take_text(const cJSON *status, const char *key, char **ret, struct err *err)
{
    const char *text = NULL;
    int r = json_str(status, key, &text, err);

    if (r == 0) {
        *ret = text[0] != '\0' ? xstrdup(text) : NULL;
    }
    return r == -ENOENT ? 0 : r;
}

static int take_expiry(const cJSON *status, int64_t *ret, struct err *err)
{
    const char *text = NULL;
    int r = json_str(status, "expirationTimestamp", &text, err);

    if (r == 0 && kube_time_parse(text, ret) < 0) {
        return err_text(err, -EPROTO, "expirationTimestamp is no time");
    }
    return r == -ENOENT ? 0 : r;
}

static int take_status(const cJSON *status, struct kube_exec_result *ret, struct err *err)
{
    int r = take_text(status, "token", &ret->token, err);

    if (r < 0 || (r = take_text(status, "clientCertificateData", &ret->cert_pem, err)) < 0 ||
        (r = take_text(status, "clientKeyData", &ret->key_pem, err)) < 0 ||
        (r = take_expiry(status, &ret->expires_ms, err)) < 0) {
        return r;
    }
    if ((ret->cert_pem == NULL) != (ret->key_pem == NULL)) {
        return err_text(err, -EPROTO, "certificate without key, or key without certificate");
    }
    if (ret->token == NULL && ret->cert_pem == NULL) {
        return err_text(err, -EPROTO, "neither a token nor a certificate");
    }
    return 0;
}

int kube_exec_parse(const char *text, size_t len, const char *api_version,
                    struct kube_exec_result *ret, struct err *err)
{
    AUTO(json) cJSON *object = NULL;
    const cJSON *status;
    const char *kind = "", *version = "";
    int r = json_parse(text, len, &object, err);

    if (r < 0) {
        return r;
    }
    (void)json_str(object, "kind", &kind, NULL);
    (void)json_str(object, "apiVersion", &version, NULL);
    if (strcmp(kind, "ExecCredential") != 0 || strcmp(version, api_version) != 0) {
        return err_text(err, -EPROTO, "it is no ExecCredential of %s", api_version);
    }
    if (json_object(object, "status", &status, err) < 0) {
        return err_text(err, -EPROTO, "it has no status");
    }
    struct kube_exec_result got = {0};
    r = take_status(status, &got, err);
    if (r < 0) {
        kube_exec_result_clear(&got);
        return r;
    }
    *ret = got;
    return 0;
}

/* --- what it is told --- */

static void add_text(cJSON *object, const char *key, const char *text)
{
    if (text != NULL) {
        cJSON_AddStringToObject(object, key, text);
    }
}

static char *to_base64(const char *text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t len = strlen(text);
    char *out = xmalloc((len + 2) / 3 * 4 + 1);
    char *to = out;

    for (size_t i = 0; i < len; i += 3) {
        unsigned b[3] = {0};
        for (size_t j = 0; j < 3 && i + j < len; j++) {
            b[j] = (unsigned char)text[i + j];
        }
        *to++ = digits[b[0] >> 2];
        *to++ = digits[(b[0] & 3) << 4 | b[1] >> 4];
        *to++ = i + 1 < len ? digits[(b[1] & 15) << 2 | b[2] >> 6] : '=';
        *to++ = i + 2 < len ? digits[b[2] & 63] : '=';
    }
    *to = '\0';
    return out;
}

static void add_cluster(cJSON *spec, const struct kube_config *config)
{
    cJSON *cluster = cJSON_AddObjectToObject(spec, "cluster");
    AUTO(str) char *ca = NULL;

    add_text(cluster, "server", config->server);
    add_text(cluster, "tls-server-name", config->tls_server_name);
    add_text(cluster, "proxy-url", config->proxy_url);
    if (config->insecure) {
        cJSON_AddTrueToObject(cluster, "insecure-skip-tls-verify");
    }
    if (kube_material_read(&config->ca, "CA", &ca, NULL) == 0 && ca != NULL) {
        AUTO(str) char *encoded = to_base64(ca);
        add_text(cluster, "certificate-authority-data", encoded);
    }
}

static char *exec_info(const struct kube_config *config)
{
    AUTO(json) cJSON *info = cJSON_CreateObject();

    cJSON_AddStringToObject(info, "kind", "ExecCredential");
    cJSON_AddStringToObject(info, "apiVersion", config->exec->api_version);
    cJSON *spec = cJSON_AddObjectToObject(info, "spec");
    cJSON_AddFalseToObject(spec, "interactive");
    if (config->exec->provides_cluster_info) {
        add_cluster(spec, config);
    }
    char *text = cJSON_PrintUnformatted(info);
    char *line = xasprintf("KUBERNETES_EXEC_INFO=%s", text);
    cJSON_free(text);
    return line;
}

static size_t count_of(char *const *list)
{
    size_t count = 0;

    while (list[count] != NULL) {
        count++;
    }
    return count;
}

static bool same_name(const char *a, const char *b)
{
    size_t len = strcspn(a, "=");

    return strncmp(a, b, len) == 0 && b[len] == '=';
}

static bool is_replaced(const char *variable, char *const *by, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (same_name(by[i], variable)) {
            return true;
        }
    }
    return false;
}

/* Ours, but for the names that the plugin's own list or info (last in it) has. Borrows all. */
static char **make_env(char *const *own, char *info)
{
    size_t own_count = count_of(own);
    char **env = xcalloc(count_of(environ) + own_count + 2, sizeof(*env));
    size_t n = 0;

    for (; n < own_count; n++) {
        env[n] = own[n];
    }
    env[n++] = info;
    size_t first = n;
    for (char *const *e = environ; *e != NULL; e++) {
        if (!is_replaced(*e, env, first)) {
            env[n++] = *e;
        }
    }
    return env;
}

static char **make_argv(const struct kube_exec *exec)
{
    size_t count = count_of(exec->args);
    char **argv = xcalloc(count + 2, sizeof(*argv));

    argv[0] = exec->command;
    for (size_t i = 0; i < count; i++) {
        argv[i + 1] = exec->args[i];
    }
    return argv;
}

/* --- its life --- */

static void run_free(struct kube_exec_run *run)
{
    loop_io_close(run->exit_io);
    loop_io_close(run->out_io);
    loop_timer_close(run->timer);
    if (run->pid > 0) {
        kill(-run->pid, SIGKILL);
        waitpid(run->pid, NULL, 0);
    }
    if (run->pidfd >= 0) {
        close(run->pidfd);
    }
    if (run->out >= 0) {
        close(run->out);
    }
    buf_wipe(&run->output);
    free(run->command);
    free(run->api_version);
    free(run);
}

void kube_exec_cancel(struct kube_exec_run *run)
{
    if (run != NULL) {
        run_free(run);
    }
}

static void finish(struct kube_exec_run *run, int result, struct kube_exec_result *got,
                   struct err *err)
{
    kube_exec_fn on_done = run->on_done;
    void *arg = run->arg;

    run_free(run);
    on_done(arg, result, got, err);
    if (got != NULL) {
        kube_exec_result_clear(got);
    }
}

static void fail(struct kube_exec_run *run, int code, const char *why)
{
    struct err err;

    err_text(&err, code, "credential plugin '%s' %s", run->command, why);
    finish(run, code, NULL, &err);
}

/* 0: more may come. 1: its end. */
static int pull(struct kube_exec_run *run)
{
    for (;;) {
        if (buf_reserve(&run->output, 4096) < 0) {
            return -EMSGSIZE;
        }
        ssize_t n = read(run->out, buf_end(&run->output), 4096);
        if (n > 0) {
            buf_grew(&run->output, (size_t)n);
        } else if (n == 0) {
            return 1;
        } else if (errno != EINTR) {
            return errno == EAGAIN ? 0 : -errno;
        }
    }
}

static void on_output(void *arg, int events, int error)
{
    struct kube_exec_run *run = arg;
    int r = pull(run);

    (void)events;
    (void)error;
    if (r < 0) {
        fail(run, r, r == -EMSGSIZE ? "prints too much" : "cannot be read from");
    } else if (r > 0) {
        loop_io_set(run->out_io, 0); /* its exit follows */
    }
}

static void on_exit_status(struct kube_exec_run *run, int status)
{
    struct kube_exec_result got = {0};
    struct err err;

    if (WIFSIGNALED(status) || WEXITSTATUS(status) != 0) {
        AUTO(str)
        char *why = WIFSIGNALED(status)
                        ? xasprintf("was ended by signal %d", WTERMSIG(status))
                        : xasprintf("ended with exit status %d", WEXITSTATUS(status));
        fail(run, -EIO, why);
        return;
    }
    int r = kube_exec_parse(buf_str(&run->output), run->output.len, run->api_version, &got, &err);
    if (r < 0) {
        err_wrap(&err, "what credential plugin '%s' prints", run->command);
        finish(run, r, NULL, &err);
        return;
    }
    finish(run, 0, &got, NULL);
}

static void on_exited(void *arg, int events, int error)
{
    struct kube_exec_run *run = arg;
    int status = 0;

    (void)events;
    (void)error;
    kill(-run->pid,
         SIGKILL); /* children that it left behind; the pid is ours until it is waited for */
    if (waitpid(run->pid, &status, WNOHANG) != run->pid) {
        return;
    }
    run->pid = 0;
    int r = pull(run);
    if (r < 0) {
        fail(run, r, r == -EMSGSIZE ? "prints too much" : "cannot be read from");
        return;
    }
    on_exit_status(run, status);
}

static void on_timeout(void *arg)
{
    fail(arg, -ETIMEDOUT, "takes too long");
}

static int spawn(struct kube_exec_run *run, const struct kube_config *config, int out)
{
    AUTO(str) char *info = exec_info(config);
    char **env = make_env(config->exec->env, info);
    char **argv = make_argv(config->exec);
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none, defaults;

    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE); /* which the loop ignores */
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, out, 1);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &defaults);
    posix_spawnattr_setpgroup(&attr, 0);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                        POSIX_SPAWN_SETPGROUP);
    int r = posix_spawnp(&run->pid, config->exec->command, &files, &attr, argv, env);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attr);
    free(env);
    free(argv);
    if (r != 0) {
        run->pid = 0;
    }
    return -r;
}

static int start(struct kube_exec_run *run, const struct kube_config *config, struct err *err)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0) {
        return err_set(err, -errno, "pipe");
    }
    run->out = ends[0];
    fcntl(run->out, F_SETFL, O_NONBLOCK);
    int r = spawn(run, config, ends[1]);
    close(ends[1]);
    if (r < 0) {
        const char *hint = config->exec->install_hint;
        return err_set(err, r, "start credential plugin '%s'%s%s%s", run->command,
                       hint != NULL ? " (" : "", hint != NULL ? hint : "", hint != NULL ? ")" : "");
    }
    run->pidfd = (int)syscall(SYS_pidfd_open, run->pid, 0);
    if (run->pidfd < 0) {
        return err_set(err, -errno, "pidfd of credential plugin");
    }
    if ((r = loop_io_new(run->loop, run->pidfd, on_exited, run, &run->exit_io, err)) < 0 ||
        (r = loop_io_new(run->loop, run->out, on_output, run, &run->out_io, err)) < 0) {
        return r;
    }
    loop_io_set(run->exit_io, LOOP_READ);
    loop_io_set(run->out_io, LOOP_READ);
    return 0;
}

int kube_exec_start(struct loop *loop, const struct kube_config *config, kube_exec_fn on_done,
                    void *arg, struct kube_exec_run **ret, struct err *err)
{
    struct kube_exec_run *run = xcalloc(1, sizeof(*run));

    run->loop = loop;
    run->pidfd = run->out = -1;
    run->on_done = on_done;
    run->arg = arg;
    run->command = xstrdup(config->exec->command);
    run->api_version = xstrdup(config->exec->api_version);
    buf_init(&run->output, OUTPUT_MAX);
    run->timer = loop_timer_new(loop, on_timeout, run);
    int r = start(run, config, err);
    if (r < 0) {
        run_free(run);
        return r;
    }
    loop_timer_start(run->timer, EXEC_TIMEOUT_MS, 0);
    *ret = run;
    return 0;
}
