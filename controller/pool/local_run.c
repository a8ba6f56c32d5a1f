#include "controller/pool/local_run.h"

#include "common/log.h"
#include "controller/pool/drive_local.h"
#include "controller/pool/env_pool.h"
#include "controller/pool/local_control.h"
#include "controller/pool/local_state.h"
#include "controller/pool/pool_watch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

struct run {
    const struct local_settings *settings;
    struct loop *loop;
    struct local_paths paths;
    struct local_tools tools;
    int lock, namespace_lock;
    char *api_url, *api_ca;
    struct balena_api *api;
    struct drive_local *drive;
    struct local_control *control;
    struct pool_watch *watch;
    struct loop_signal *term, *interrupt, *hangup, *debug;
    char *text;        /* of the pool file as it was last read */
    char revision[17]; /* of the certificates and all that OpenVPN runs with, then */
};

/* --- the pool --- */

static void print_lines(const struct pool_errors *e)
{
    fputs(buf_str(&e->text), stderr);
    if (e->text.len > 0 && e->text.data[e->text.len - 1] != '\n') {
        fputc('\n', stderr);
    }
}

static int write_pem(const char *dir, const char *name, const char *pem, struct err *err)
{
    AUTO(str) char *path = xasprintf("%s/%s", dir, name);

    return pem != NULL ? file_replace(path, pem, 0600, err) : 0;
}

static int make_folder(const char *path, mode_t mode, struct err *err)
{
    AUTO(str) char *copy = xstrdup(path);

    for (char *p = copy + 1; *p != '\0'; p++) {
        if (*p == '/') {
            *p = '\0';
            if (mkdir(copy, 0755) != 0 && errno != EEXIST) {
                return err_set(err, -errno, "make folder '%s'", copy);
            }
            *p = '/';
        }
    }
    if (mkdir(copy, mode) != 0 && errno != EEXIST) {
        return err_set(err, -errno, "make folder '%s'", copy);
    }
    return 0;
}

static int write_pems(const char *runtime_dir, const char *dir, const struct env_pem *pem,
                      struct err *err)
{
    int r = make_folder(runtime_dir, 0755, err);

    if (r < 0 || (r = make_folder(dir, 0700, err)) < 0 ||
        (r = write_pem(dir, "ca.crt", pem->ca, err)) < 0 ||
        (r = write_pem(dir, "server.crt", pem->cert, err)) < 0 ||
        (r = write_pem(dir, "server.key", pem->key, err)) < 0) {
        return r;
    }
    return write_pem(dir, "dh.pem", pem->dh, err);
}

static int load_from_environment(const struct local_settings *s, bool write,
                                 struct pool_object *ret, struct pool_errors *errors)
{
    AUTO(str) char *dir = xasprintf("%s/tls", s->runtime_dir);
    struct env_pem pem = {0};
    struct env_notes notes = {0};
    struct err err;

    buf_init(&notes.text, 65536);
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int r = env_pool_load(dir, cores > 0 ? (uint32_t)cores : 1, ret, &pem, &notes, errors);
    fputs(buf_str(&notes.text), stderr);
    if (r == 0 && write && (r = write_pems(s->runtime_dir, dir, &pem, &err)) < 0) {
        buf_printf(&errors->text, "%s\n", err.text);
        pool_object_clear(ret);
    }
    env_pem_clear(&pem);
    buf_clear(&notes.text);
    return r;
}

/* Without writing, the certificates of the environment are not where the check would look. */
static int check_machine(const char *file, bool from_env, bool write, struct pool_object *pool,
                         struct pool_errors *errors)
{
    struct pool_errors warnings;
    int r = 0;

    pool_errors_init(&warnings);
    if (!from_env || write) {
        r = pool_object_check_local(file, pool, errors, &warnings);
    }
    print_lines(&warnings);
    pool_errors_clear(&warnings);
    if (r < 0) {
        pool_object_clear(pool);
    }
    return r;
}

static int load(const struct local_settings *s, bool write, struct pool_object *ret,
                struct pool_errors *errors)
{
    int r = s->file != NULL ? pool_object_load(s->file, ret, errors)
                            : load_from_environment(s, write, ret, errors);

    if (r == 0) {
        r = check_machine(s->file != NULL ? s->file : "environment", s->file == NULL, write, ret,
                          errors);
    }
    return r < 0 ? -EINVAL : 0;
}

int local_load_pool(const struct local_settings *settings, bool write, struct pool_object *ret)
{
    struct pool_errors errors;

    pool_errors_init(&errors);
    int r = load(settings, write, ret, &errors);
    print_lines(&errors);
    pool_errors_clear(&errors);
    return r;
}

/* --- reload --- */

static void remember(struct run *run)
{
    size_t len;

    free(run->text);
    run->text = NULL;
    if (run->settings->file != NULL) {
        (void)file_read(run->settings->file, POOL_FILE_MAX, &run->text, &len, NULL);
    }
    pool_object_instance_hash(drive_local_pool(run->drive), run->revision);
}

static bool is_unchanged(const struct run *run)
{
    AUTO(str) char *text = NULL;
    char revision[17];
    size_t len;

    pool_object_instance_hash(drive_local_pool(run->drive), revision);
    return file_read(run->settings->file, POOL_FILE_MAX, &text, &len, NULL) == 0 &&
           run->text != NULL && strcmp(text, run->text) == 0 &&
           strcmp(revision, run->revision) == 0;
}

static void refuse(struct run *run, const char *why)
{
    AUTO(str) char *notice = xasprintf("not applied: %s", why);

    log_error("the pool file was not applied; nothing has changed", "why", why, NULL);
    drive_local_set_notice(run->drive, notice);
}

/* Caller frees. */
static char *first_line(const struct pool_errors *e)
{
    const char *text = buf_str(&e->text);
    int len = (int)strcspn(text, "\n");

    return e->count > 1 ? xasprintf("%.*s (and %zu more)", len, text, e->count - 1)
                        : xstrndup(text, (size_t)len);
}

static void reload(struct run *run)
{
    struct pool_object pool = {0};
    struct pool_errors errors;
    struct err err;

    pool_errors_init(&errors);
    if (load(run->settings, true, &pool, &errors) < 0) {
        print_lines(&errors);
        AUTO(str) char *first = first_line(&errors);
        refuse(run, first);
    } else if (drive_local_apply(run->drive, &pool, &err) < 0) {
        refuse(run, err.text);
        pool_object_clear(&pool);
    } else {
        log_info("the pool file was applied", NULL);
        drive_local_set_notice(run->drive, NULL);
    }
    pool_errors_clear(&errors);
    remember(run);
}

static void on_folder(void *arg)
{
    struct run *run = arg;

    if (!is_unchanged(run)) {
        log_info("the pool file has changed", "file", run->settings->file, NULL);
        reload(run);
    }
}

static void on_hangup(void *arg)
{
    log_info("SIGHUP: reading the settings again", NULL);
    reload(arg);
}

/* --- what this machine must have --- */

static bool has_net_admin(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {0};

    return syscall(SYS_capget, &header, data) == 0 &&
           (data[CAP_NET_ADMIN / 32].effective & (1U << (CAP_NET_ADMIN % 32))) != 0;
}

static int check_rights(struct err *err)
{
    if (!has_net_admin()) {
        return err_text(err, -EPERM,
                        "the right to manage networks is missing (CAP_NET_ADMIN): run as root, or "
                        "give it to the container (cap_add: [NET_ADMIN])");
    }
    AUTO(fd) int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return err_set(err, -errno,
                       "/dev/net/tun is needed (modprobe tun; in a container: devices: "
                       "[/dev/net/tun])");
    }
    return 0;
}

/* OpenVPN has a descriptor a device, and inherits our limit. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* Interfaces, the firewall table and ports belong to the network namespace, so it has one
 * controller, whatever its folder. An abstract socket is the lock: the kernel lets go of it with
 * its holder. */
static int take_namespace(struct run *run, struct err *err)
{
    static const char name[] = "\0openbalena-vpn-controller";
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof(name) - 1);

    memcpy(address.sun_path, name, sizeof(name) - 1);
    run->namespace_lock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (run->namespace_lock < 0) {
        return err_set(err, -errno, "socket");
    }
    if (bind(run->namespace_lock, (struct sockaddr *)&address, len) < 0) {
        return errno == EADDRINUSE
                   ? err_text(err, -EBUSY, "another vpn-controller runs in this network namespace")
                   : err_set(err, -errno, "take the network namespace's lock");
    }
    return 0;
}

/* Whoever had the file before may have removed it while we waited: then it is not the lock. */
static int take_lock(struct run *run, struct err *err)
{
    struct stat ours, theirs;

    for (;;) {
        run->lock = open(run->paths.lock_file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (run->lock < 0) {
            return err_set(err, -errno, "open '%s'", run->paths.lock_file);
        }
        if (flock(run->lock, LOCK_EX | LOCK_NB) != 0) {
            return err_text(err, -EBUSY, "another vpn-controller runs in %s",
                            run->paths.runtime_dir);
        }
        if (fstat(run->lock, &ours) == 0 && stat(run->paths.lock_file, &theirs) == 0 &&
            ours.st_ino == theirs.st_ino) {
            return 0;
        }
        close(run->lock);
        run->lock = -1;
    }
}

static int find_api(struct run *run, struct err *err)
{
    int r = balena_api_url_from_env(&run->api_url, err);

    if (r == 0 && run->api_url == NULL) {
        r = err_text(err, -EINVAL,
                     "no balena API is named: set BALENA_API_HOST (https), or "
                     "BALENA_API_INTERNAL_HOST (http)");
    }
    if (r == 0 && run->settings->service_key == NULL) {
        r = err_text(err, -EINVAL, "VPN_SERVICE_API_KEY is not set: the key of the VPN service");
    }
    return r < 0 ? r : balena_api_ca_from_env(&run->api_ca, err);
}

/* --- life --- */

static void on_stopped(void *arg)
{
    struct run *run = arg;

    loop_stop(run->loop);
}

static void on_end(void *arg)
{
    struct run *run = arg;

    drive_local_stop(run->drive);
}

static void on_debug(void *arg)
{
    log_toggle_debug();
}

static int open_signals(struct run *run, struct err *err)
{
    int r = loop_signal_new(run->loop, SIGTERM, on_end, run, &run->term, err);

    if (r == 0) {
        r = loop_signal_new(run->loop, SIGINT, on_end, run, &run->interrupt, err);
    }
    if (r == 0) {
        r = loop_signal_new(run->loop, SIGHUP, on_hangup, run, &run->hangup, err);
    }
    if (r == 0) {
        r = loop_signal_new(run->loop, SIGUSR2, on_debug, run, &run->debug, err);
    }
    return r;
}

static int open_drive(struct run *run, struct pool_object *pool, struct err *err)
{
    struct balena_api_options api = {
        .base_url = run->api_url, .service_key = run->settings->service_key, .ca_pem = run->api_ca};
    struct drive_local_options options = {.paths = &run->paths,
                                          .tools = &run->tools,
                                          .service_key = run->settings->service_key,
                                          .on_stopped = on_stopped,
                                          .arg = run};
    int r = balena_api_new(run->loop, &api, &run->api, err);

    if (r == 0) {
        options.api = run->api;
        r = drive_local_open(run->loop, &options, pool, &run->drive, err);
    }
    if (r == 0) {
        r = local_control_open(run->loop, run->paths.control_socket, run->drive, &run->control,
                               err);
    }
    if (r == 0 && run->settings->file != NULL) {
        r = pool_watch_open(run->loop, run->settings->file, on_folder, run, &run->watch, err);
    }
    return r < 0 ? r : open_signals(run, err);
}

static int open_all(struct run *run, struct pool_object *pool, struct err *err)
{
    int r = local_tools_find(&run->tools, err);

    if (r < 0 || (r = make_folder(run->paths.runtime_dir, 0755, err)) < 0 ||
        (r = make_folder(run->paths.state_dir, 0700, err)) < 0 || (r = take_lock(run, err)) < 0 ||
        (r = take_namespace(run, err)) < 0 || (r = loop_new(&run->loop, err)) < 0) {
        return r;
    }
    return open_drive(run, pool, err);
}

static void remove_tls(const struct run *run)
{
    static const char *const names[] = {"ca.crt", "server.crt", "server.key", "dh.pem"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        AUTO(str) char *path = xasprintf("%s/%s", run->paths.tls_dir, names[i]);
        unlink(path);
    }
    rmdir(run->paths.tls_dir);
}

static void close_all(struct run *run)
{
    loop_signal_close(run->term);
    loop_signal_close(run->interrupt);
    loop_signal_close(run->hangup);
    loop_signal_close(run->debug);
    pool_watch_close(run->watch);
    local_control_close(run->control);
    drive_local_close(run->drive);
    if (run->api != NULL) {
        balena_api_close(run->api);
    }
    loop_free(run->loop);
    local_tools_clear(&run->tools);
    local_paths_clear(&run->paths);
    if (run->namespace_lock >= 0) {
        close(run->namespace_lock);
    }
    if (run->lock >= 0) {
        close(run->lock);
    }
    free(run->text);
    free(run->api_url);
    free(run->api_ca);
}

static int print_error(const struct err *err, int status)
{
    log_error(err->text, NULL);
    return status;
}

static int run_loop(struct run *run)
{
    log_info("the pool runs", "pool", drive_local_pool(run->drive)->name, "replicas",
             NUM(drive_local_pool(run->drive)->replicas), "devices_port",
             NUM(drive_local_pool(run->drive)->haproxy.port), "api", run->api_url, NULL);
    remember(run);
    loop_run(run->loop);
    if (drive_local_failed(run->drive) != NULL) {
        log_error("the pool can not run here", "why", drive_local_failed(run->drive), NULL);
        return 1;
    }
    if (run->settings->file == NULL) {
        remove_tls(run);
    }
    unlink(run->paths.lock_file);
    log_info("everything has ended", NULL);
    return 0;
}

int local_run(const struct local_settings *settings)
{
    struct run run = {.settings = settings, .lock = -1, .namespace_lock = -1};
    struct pool_object pool = {0};
    struct err err;
    int status;

    local_paths_init(&run.paths, settings->runtime_dir, settings->state_dir);
    if (find_api(&run, &err) < 0) {
        status = print_error(&err, 2);
    } else if (check_rights(&err) < 0) {
        status = print_error(&err, 1);
    } else if (local_load_pool(settings, true, &pool) < 0) {
        status = 2;
    } else {
        raise_descriptor_limit();
        status = open_all(&run, &pool, &err) < 0 ? print_error(&err, 1) : run_loop(&run);
    }
    pool_object_clear(&pool);
    close_all(&run);
    return status;
}
