#include "controller/pool/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define PROCESS_NAME_MAX 15 /* TASK_COMM_LEN without the NUL */
#define CMDLINE_MAX 65536
#define WORDS_MAX 512

struct process {
    struct loop *loop;
    struct process_id id;
    bool child;
    int pidfd;
    int gate; /* writing end: a byte lets a held child go, closing it ends it; -1: released */
    struct loop_io *io;
    struct loop_timer *kill_timer;
    bool told;          /* SIGTERM was sent */
    int64_t kill_at_ms; /* 0: never */
    process_exit_fn on_exit;
    void *arg;
};

/* --- who is it? --- */

static int read_file(const char *path, char *out, size_t size)
{
    AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t len = 0;

    if (fd < 0) {
        return -errno;
    }
    while (len < size - 1) {
        ssize_t n = read(fd, out + len, size - 1 - len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return -errno;
        }
        if (n == 0) {
            break;
        }
        len += (size_t)n;
    }
    out[len] = '\0';
    return (int)len;
}

int process_look(pid_t pid, struct process_id *ret, char name[16])
{
    char path[32], text[1024], state;
    unsigned long long start;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    if (pid <= 0 || read_file(path, text, sizeof(text)) < 0) {
        return -ESRCH;
    }
    char *open_paren = strchr(text, '(');
    char *close_paren = strrchr(text, ')'); /* the name may hold one itself */
    if (open_paren == NULL || close_paren == NULL || close_paren < open_paren) {
        return -ESRCH;
    }
    if (sscanf(close_paren + 1,
               " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
               &state, &start) != 2 ||
        state == 'Z' || state == 'X') {
        return -ESRCH;
    }
    if (name != NULL) {
        snprintf(name, PROCESS_NAME_MAX + 1, "%.*s", (int)(close_paren - open_paren - 1),
                 open_paren + 1);
    }
    *ret = (struct process_id){.pid = pid, .start = start};
    return 0;
}

/* Of its files, which anybody may look at: the kernel numbers each namespace's anew. */
static bool shares_network_files(pid_t pid)
{
    char path[48];
    struct stat theirs, ours;

    snprintf(path, sizeof(path), "/proc/%d/net/dev", (int)pid);
    return stat(path, &theirs) == 0 && stat("/proc/self/net/dev", &ours) == 0 &&
           theirs.st_dev == ours.st_dev && theirs.st_ino == ours.st_ino;
}

/* Another container's programs may well have the same paths. Ports and tuns are what is shared, so
 * it is the network that counts. Its name is not for all to read: of a process that has become
 * another user only with the right to trace. */
static bool shares_network(pid_t pid)
{
    char path[48], theirs[64], ours[64];

    snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
    ssize_t their_len = readlink(path, theirs, sizeof(theirs));
    ssize_t our_len = readlink("/proc/self/ns/net", ours, sizeof(ours));
    if (their_len < 0) {
        return shares_network_files(pid);
    }
    return their_len == our_len && memcmp(theirs, ours, (size_t)our_len) == 0;
}

struct words { /* of a command line */
    char text[CMDLINE_MAX];
    char *items[WORDS_MAX + 1]; /* NULL-terminated */
};

static bool read_words(pid_t pid, struct words *ret)
{
    char path[32];
    size_t count = 0;

    snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
    int len = read_file(path, ret->text, sizeof(ret->text));
    for (int at = 0; at < len && count < WORDS_MAX; at += (int)strlen(ret->text + at) + 1) {
        ret->items[count++] = ret->text + at;
    }
    ret->items[count] = NULL;
    return count > 0;
}

size_t process_scan(const char *name, process_match_fn match, void *arg, struct process_id **ret)
{
    struct words *words = xmalloc(sizeof(*words));
    DIR *dir = opendir("/proc");
    struct process_id *found = NULL, id;
    size_t count = 0;
    char comm[16];

    for (struct dirent *e = NULL; dir != NULL && (e = readdir(dir)) != NULL;) {
        pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);
        if (process_look(pid, &id, comm) == 0 && strncmp(comm, name, PROCESS_NAME_MAX) == 0 &&
            shares_network(pid) && read_words(pid, words) && match(arg, words->items)) {
            found = xrealloc(found, (count + 1) * sizeof(*found));
            found[count++] = id;
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
    free(words);
    *ret = found;
    return count;
}

struct boot_id process_boot_id(void)
{
    struct boot_id id;

    if (read_file("/proc/sys/kernel/random/boot_id", id.text, sizeof(id.text)) < 0) {
        id.text[0] = '\0';
    }
    id.text[strcspn(id.text, "\n")] = '\0';
    return id;
}

struct process_end_text process_end_text(const struct process_end *end)
{
    struct process_end_text t;

    if (!end->known) {
        snprintf(t.text, sizeof(t.text), "gone");
    } else if (end->signaled) {
        snprintf(t.text, sizeof(t.text), "signal %d (%s)", end->code, strsignal(end->code));
    } else {
        snprintf(t.text, sizeof(t.text), "exit status %d", end->code);
    }
    return t;
}

/* --- its end --- */

static void process_free(struct process *p)
{
    loop_io_close(p->io);
    loop_timer_close(p->kill_timer);
    if (p->gate >= 0) {
        close(p->gate);
    }
    if (p->pidfd >= 0) {
        close(p->pidfd);
    }
    free(p);
}

/* The pidfd is readable: the process has ended. Only its parent can ask how. */
static void on_pidfd(void *arg, int events, int error)
{
    struct process *p = arg;
    struct process_end end = {0};
    siginfo_t info = {0};

    if (p->child && waitid(P_PIDFD, (id_t)p->pidfd, &info, WEXITED | WNOHANG) == 0 &&
        info.si_pid != 0) {
        end.known = true;
        end.signaled = info.si_code != CLD_EXITED;
        end.code = info.si_status;
    }
    process_exit_fn on_exit = p->on_exit;
    void *on_exit_arg = p->arg;
    process_free(p);
    on_exit(on_exit_arg, &end);
}

static void on_kill_time(void *arg)
{
    process_signal(arg, SIGKILL);
}

static struct process *process_alloc(struct loop *loop, process_exit_fn on_exit, void *arg)
{
    struct process *p = xcalloc(1, sizeof(*p));

    p->loop = loop;
    p->pidfd = -1;
    p->gate = -1;
    p->on_exit = on_exit;
    p->arg = arg;
    return p;
}

static int watch(struct process *p, struct err *err)
{
    p->pidfd = (int)syscall(SYS_pidfd_open, p->id.pid, 0);
    if (p->pidfd < 0) {
        return err_set(err, -errno, "pidfd of process %d", (int)p->id.pid);
    }
    int r = loop_io_new(p->loop, p->pidfd, on_pidfd, p, &p->io, err);
    if (r < 0) {
        return r;
    }
    p->kill_timer = loop_timer_new(p->loop, on_kill_time, p);
    loop_io_set(p->io, LOOP_READ);
    return 0;
}

/* --- start --- */

struct identity { /* looked up before fork: getpwnam is not for a child of a threaded process */
    bool change;
    uid_t uid;
    gid_t gid;
};

static int find_identity(const char *user, struct identity *ret, struct err *err)
{
    *ret = (struct identity){.change = false};
    if (user == NULL || geteuid() != 0) {
        return 0;
    }
    struct passwd *pw = getpwnam(user);
    if (pw == NULL) {
        return err_text(err, -ENOENT, "no user '%s' on this machine", user);
    }
    *ret = (struct identity){.change = true, .uid = pw->pw_uid, .gid = pw->pw_gid};
    return 0;
}

static void say_and_exit(const char *program, const char *what)
{
    char text[256];
    int len = snprintf(text, sizeof(text), "%s '%.160s': errno %d\n", what, program, errno);
    ssize_t ignored = write(STDERR_FILENO, text, (size_t)len);

    (void)ignored;
    _exit(127);
}

/* Our programs may be where only root may look, as in a clone below /root: until exec, which takes
 * it away, whoever we become may look there as well. Where we may not ourselves, exec says so. */
static void keep_search(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3];

    if (syscall(SYS_capget, &header, caps) == 0) {
        caps[0].effective =
            caps[0].permitted & (1U << CAP_DAC_READ_SEARCH | 1U << CAP_DAC_OVERRIDE);
        (void)syscall(SYS_capset, &header, caps);
    }
}

static bool change_identity(const struct identity *identity)
{
    prctl(PR_SET_KEEPCAPS, 1);
    if (setgroups(0, NULL) != 0 || setgid(identity->gid) != 0 || setuid(identity->uid) != 0) {
        return false;
    }
    keep_search();
    return true;
}

/* Between fork and exec: async-signal-safe calls only. */
static void become(const struct process_spec *spec, const struct identity *identity, int gate)
{
    sigset_t none;
    char byte;

    sigemptyset(&none);
    setsid();
    for (int s = 1; s < NSIG; s++) {
        signal(s, SIG_DFL);
    }
    sigprocmask(SIG_SETMASK, &none, NULL);
    int in = spec->stdin_fd >= 0 ? spec->stdin_fd : open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (in < 0 || dup2(in, STDIN_FILENO) < 0 ||
        (spec->output_fd >= 0 &&
         (dup2(spec->output_fd, STDOUT_FILENO) < 0 || dup2(spec->output_fd, STDERR_FILENO) < 0))) {
        say_and_exit(spec->program, "descriptors for");
    }
    if (read(gate, &byte, 1) != 1) {
        _exit(126); /* our parent died or changed its mind */
    }
    close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
    if (identity->change && !change_identity(identity)) {
        say_and_exit(spec->program, "change of user for");
    }
    execve(spec->program, spec->argv, spec->envp);
    say_and_exit(spec->program, "exec");
}

/* Ends a child that could not be watched. */
static void abandon(struct process *p)
{
    if (p->gate >= 0) {
        close(p->gate);
        p->gate = -1;
    }
    waitpid(p->id.pid, NULL, 0);
    process_free(p);
}

int process_hold(struct loop *loop, const struct process_spec *spec, process_exit_fn on_exit,
                 void *arg, struct process **ret, struct err *err)
{
    struct identity identity;
    int gate[2];
    int r = find_identity(spec->user, &identity, err);

    if (r < 0) {
        return err_wrap(err, "start '%s'", spec->program);
    }
    if (pipe2(gate, O_CLOEXEC) != 0) {
        return err_set(err, -errno, "start '%s'", spec->program);
    }
    pid_t pid = fork();
    if (pid == 0) {
        close(gate[1]);
        become(spec, &identity, gate[0]);
    }
    int fork_errno = errno;
    close(gate[0]);
    if (pid < 0) {
        close(gate[1]);
        return err_set(err, -fork_errno, "start '%s'", spec->program);
    }
    struct process *p = process_alloc(loop, on_exit, arg);
    p->child = true;
    p->gate = gate[1];
    p->id.pid = pid;
    if (process_look(pid, &p->id, NULL) != 0) {
        r = err_text(err, -ESRCH, "start '%s': its /proc entry is missing", spec->program);
    } else {
        r = watch(p, err);
    }
    if (r < 0) {
        abandon(p);
        return r;
    }
    *ret = p;
    return 0;
}

void process_release(struct process *p)
{
    if (p->gate >= 0) {
        ssize_t ignored = write(p->gate, "", 1);
        (void)ignored; /* it has died: on_exit says so */
        close(p->gate);
        p->gate = -1;
    }
}

int process_adopt(struct loop *loop, struct process_id id, const char *name,
                  process_exit_fn on_exit, void *arg, struct process **ret, struct err *err)
{
    struct process *p = process_alloc(loop, on_exit, arg);
    struct process_id now;
    char comm[16];

    p->id = id;
    int r = id.pid > 0 ? watch(p, err) : err_text(err, -ESRCH, "no process");
    /* Looked at after the pidfd was opened: what is true now stays true of it. */
    if (r == 0 && (process_look(id.pid, &now, comm) != 0 || now.start != id.start ||
                   strncmp(comm, name, PROCESS_NAME_MAX) != 0)) {
        r = err_text(err, -ESRCH, "process %d is not the %s that was started", (int)id.pid, name);
    }
    if (r < 0) {
        process_free(p);
        return r;
    }
    siginfo_t info = {0};
    p->child = waitid(P_PIDFD, (id_t)p->pidfd, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
    *ret = p;
    return 0;
}

struct process_id process_id(const struct process *p)
{
    return p->id;
}

void process_signal(struct process *p, int signum)
{
    syscall(SYS_pidfd_send_signal, p->pidfd, signum, NULL, 0); /* fails only when it has ended */
}

void process_await(struct process *p, uint32_t grace_ms)
{
    int64_t kill_at = clock_monotonic_ms() + grace_ms;

    if (p->kill_at_ms == 0 || kill_at < p->kill_at_ms) {
        p->kill_at_ms = kill_at;
        loop_timer_start(p->kill_timer, grace_ms, 1000);
    }
}

void process_stop(struct process *p, uint32_t grace_ms)
{
    if (!p->told) {
        p->told = true;
        process_signal(p, SIGTERM);
    }
    process_await(p, grace_ms);
}

void process_close(struct process *p)
{
    if (p != NULL) {
        process_free(p);
    }
}

/* --- where programs are --- */

static bool is_program(const char *path)
{
    return access(path, X_OK) == 0;
}

static char *beside(const char *name)
{
    char self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (len <= 0) {
        return NULL;
    }
    self[len] = '\0';
    char *slash = strrchr(self, '/');
    if (slash == NULL) {
        return NULL;
    }
    *slash = '\0';
    return xasprintf("%s/%s", self, name);
}

int process_find_program(const char *name, bool beside_us, char **ret, struct err *err)
{
    if (beside_us) {
        AUTO(str) char *path = beside(name);
        if (path != NULL && is_program(path)) {
            *ret = MOVE(path);
            return 0;
        }
    }
    const char *env = getenv("PATH");
    AUTO(str) char *dirs = xasprintf("%s:/usr/sbin:/sbin", env != NULL ? env : "/usr/bin:/bin");
    for (char *save = NULL, *dir = strtok_r(dirs, ":", &save); dir != NULL;
         dir = strtok_r(NULL, ":", &save)) {
        AUTO(str) char *path = xasprintf("%s/%s", dir, name);
        if (is_program(path)) {
            *ret = MOVE(path);
            return 0;
        }
    }
    return err_text(err, -ENOENT, "program '%s' is not installed (looked %sin %s:/usr/sbin:/sbin)",
                    name, beside_us ? "beside vpn-controller and " : "",
                    env != NULL ? env : "PATH");
}
