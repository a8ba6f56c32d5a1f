#include "controller/pool/local_run.h"

#include "common/log.h"
#include "controller/pool/drive_local.h"
#include "controller/pool/local_control.h"
#include "controller/pool/local_machine.h"
#include "controller/pool/local_state.h"
#include "controller/pool/local_strays.h"
#include "controller/pool/local_tls.h"
#include "controller/pool/pool_watch.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

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

/* Nothing is written before all of it is known to be good. */
static int load_and_apply(struct run *run, struct local_findings *findings, struct err *err)
{
    struct pool_object pool = {0};
    struct env_pem pem = {0};
    const char *file = run->settings->file != NULL ? run->settings->file : "environment";
    int r = local_load_pool(run->settings, &run->paths, &pool, &pem, findings);

    if (r == 0) {
        r = pool_object_check_change(file, drive_local_pool(run->drive), &pool, &findings->errors);
    }
    if (r < 0) {
        pool_object_clear(&pool);
        env_pem_clear(&pem);
        AUTO(str) char *first = first_line(&findings->errors);
        return err_text(err, r, "%s", first);
    }
    r = local_tls_write(&run->paths, &pem, err);
    if (r == 0) {
        r = drive_local_apply(run->drive, &pool, err);
    }
    pool_object_clear(&pool);
    env_pem_clear(&pem);
    return r;
}

static void reload(struct run *run)
{
    struct local_findings findings;
    struct err err;

    local_findings_init(&findings);
    int r = load_and_apply(run, &findings, &err);
    local_findings_log(&findings);
    if (r < 0) {
        refuse(run, err.text);
    } else {
        log_info("the pool file was applied", NULL);
        drive_local_set_notice(run->drive, NULL);
    }
    local_findings_clear(&findings);
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

/* Before anything is there that a signal would leave behind. They are told once the loop runs. */
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

static int open_drive(struct run *run, struct pool_object *pool, const struct env_pem *pem,
                      struct err *err)
{
    struct balena_api_options api = {
        .base_url = run->api_url, .service_key = run->settings->keys.key, .ca_pem = run->api_ca};
    struct drive_local_options options = {.paths = &run->paths,
                                          .tools = &run->tools,
                                          .keys = run->settings->keys,
                                          .certificates = pem,
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
    return r;
}

static int take_machine(struct run *run, struct err *err)
{
    int r = local_tools_find(&run->tools, err);

    if (r < 0 || (r = local_make_folder(run->paths.runtime_dir, 0755, err)) < 0 ||
        (r = local_make_folder(run->paths.state_dir, 0700, err)) < 0 ||
        (r = local_lock_folder(run->paths.lock_file, &run->lock, err)) < 0 ||
        (r = local_lock_namespace(&run->namespace_lock, err)) < 0) {
        return r;
    }
    return local_strays_check_alone(&run->paths, err);
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

/* Only who has it may. */
static void remove_lock(const struct run *run)
{
    if (run->lock >= 0) {
        unlink(run->paths.lock_file);
    }
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
        remove_lock(run);
        return 1;
    }
    if (run->settings->file == NULL) {
        local_tls_remove(&run->paths);
    }
    remove_lock(run);
    log_info("everything has ended", NULL);
    return 0;
}

/* *pool is empty when it was taken over. */
static int run_pool(struct run *run, struct pool_object *pool, const struct env_pem *pem)
{
    struct err err;

    local_raise_descriptor_limit();
    if (take_machine(run, &err) < 0 || open_drive(run, pool, pem, &err) < 0) {
        remove_lock(run);
        return print_error(&err, 1);
    }
    return run_loop(run);
}

static int load_and_run(struct run *run)
{
    struct pool_object pool = {0};
    struct env_pem pem = {0};
    struct local_findings findings;

    local_findings_init(&findings);
    int r = local_load_pool(run->settings, &run->paths, &pool, &pem, &findings);
    local_findings_log(&findings);
    local_findings_clear(&findings);
    int status = r < 0 ? 2 : run_pool(run, &pool, &pem);
    pool_object_clear(&pool);
    env_pem_clear(&pem);
    return status;
}

int local_run(const struct local_settings *settings)
{
    struct run run = {.settings = settings, .lock = -1, .namespace_lock = -1};
    struct err err;
    int status;

    local_paths_init(&run.paths, settings->runtime_dir, settings->state_dir);
    if (local_load_api(settings, &run.api_url, &run.api_ca, &err) < 0) {
        status = print_error(&err, 2);
    } else if (local_check_rights(&err) < 0) {
        status = print_error(&err, 1);
    } else if (loop_new(&run.loop, &err) < 0 || open_signals(&run, &err) < 0) {
        status = print_error(&err, 1);
    } else {
        status = load_and_run(&run);
    }
    close_all(&run);
    return status;
}
