#include "controller/kube/kube_exec.h"

#include "common/buf.h"

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
    AUTO(str) char *info = kube_exec_info(config);
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
