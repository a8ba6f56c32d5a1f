#include "controller/pool/local_main.h"

#include "common/config.h"
#include "common/log.h"
#include "common/secret.h"
#include "controller/pool/local_control.h"
#include "controller/pool/local_run.h"
#include "controller/pool/local_status.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TABLE_MAX ((size_t)1 << 20)
#define RUNTIME_DIR_MAX 80

/* Behind the table of options. */
static const char manual[] =
    "\n"
    "commands\n"
    "  local            runs a pool until SIGTERM or Ctrl-C, which drain the devices and end\n"
    "                   everything in order; a second one hurries\n"
    "  local status     shows the pool that runs: is it available and if not why, its instances,\n"
    "                   programs, what does not work. -o json for programs\n"
    "  local check      says all that is wrong with a pool, changes nothing\n"
    "\n"
    "the pool\n"
    "  With -f, a file that holds a VPNPool (examples/pool.yaml); saving it, or SIGHUP, applies "
    "it.\n"
    "  Without, the variables that open-balena-vpn reads, such as VPN_PORT and "
    "VPN_INSTANCE_COUNT.\n"
    "\n"
    "environment\n"
    "  BALENA_API_HOST            the balena API over https (or API_HOST)\n"
    "  BALENA_API_INTERNAL_HOST   the same over http; wins (or API_INTERNAL_HOST)\n"
    "  VPN_SERVICE_API_KEY        key of the VPN service\n"
    "  VPN_SERVICE_API_KEY_PREVIOUS\n"
    "                             the one before, while some still have it\n"
    "  VPN_GUEST_API_KEY          key for callers without credentials\n"
    "  ROOT_CA                    base64 PEM, one more CA to trust for calls to the API\n"
    "  MONITOR_SECRET_TOKEN       password of the metrics on spec.local.httpPort\n"
    "\n"
    "signals\n"
    "  TERM, INT  end in order   HUP  read the pool again   USR2  debug lines on and off\n"
    "  KILL       what runs goes on; the next `local` takes it over and no device notices\n"
    "\n"
    "files\n"
    "  RUNTIME-DIR/controller.sock   what `status` asks; also GET /metrics\n"
    "  RUNTIME-DIR/controller.json   what runs; haproxy.cfg: what haproxy runs with\n"
    "  STATE-DIR/POOL.json           service instances that the API must still be told about\n"
    "\n"
    "exit status\n"
    "  0 in order   1 it failed while running, or nothing runs   2 bad settings or pool\n"
    "\n"
    "examples\n"
    "  vpn-controller local check -f pool.yaml && vpn-controller local -f pool.yaml\n"
    "  vpn-controller local status -o json | jq .unavailable\n";

struct options {
    char *file, *output, *runtime_dir, *state_dir, *service_key, *previous_key, *log_format,
        *log_level;
};

static void options_clear(struct options *o)
{
    free(o->file);
    free(o->output);
    free(o->runtime_dir);
    free(o->state_dir);
    secret_free(o->service_key);
    secret_free(o->previous_key);
    free(o->log_format);
    free(o->log_level);
}

static int load(struct options *o, int argc, char **argv, struct err *err)
{
    const struct config_option options[] = {
        {.name = "file",
         .kind = CONFIG_STR,
         .target = &o->file,
         .help = "the pool (also -f); without it, the original service's variables"},
        {.name = "output",
         .kind = CONFIG_STR,
         .target = &o->output,
         .fallback = "table",
         .help = "of status (also -o): table or json"},
        {.name = "runtime-dir",
         .kind = CONFIG_STR,
         .target = &o->runtime_dir,
         .fallback = "/run/openvpn",
         .help = "sockets and what runs"},
        {.name = "state-dir",
         .kind = CONFIG_STR,
         .target = &o->state_dir,
         .fallback = "/var/lib/openbalena-vpn",
         .help = "what must outlive a reboot"},
        {.env = "VPN_SERVICE_API_KEY",
         .kind = CONFIG_STR,
         .target = &o->service_key,
         .help = "key of the VPN service"},
        {.env = "VPN_SERVICE_API_KEY_PREVIOUS",
         .kind = CONFIG_STR,
         .target = &o->previous_key,
         .help = "the one before, while some still have it"},
        {.name = "log-format",
         .env = "LOG_FORMAT",
         .kind = CONFIG_STR,
         .target = &o->log_format,
         .fallback = "human",
         .help = "human or json"},
        {.name = "log-level",
         .env = "LOG_LEVEL",
         .kind = CONFIG_STR,
         .target = &o->log_level,
         .fallback = "info",
         .help = "debug, info, warn or error"},
    };

    return config_load("vpn-controller local [status|check]",
                       "runs a pool on this machine; shows one that runs; checks a pool file",
                       options, ARRAY_LEN(options), argc, argv, NULL, err);
}

/* Others are told these paths. Sockets of the runtime directory have them in 108 bytes, of which
 * haproxy wants some for itself while it takes a socket over; its file holds no odd bytes. */
static int check_folders(const struct options *o, struct err *err)
{
    const char *const folders[][2] = {{"--runtime-dir", o->runtime_dir},
                                      {"--state-dir", o->state_dir}};

    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        if (folders[i][1][0] != '/') {
            return err_text(err, -EINVAL, "%s: '%.64s' does not begin with '/'", folders[i][0],
                            folders[i][1]);
        }
    }
    if (strlen(o->runtime_dir) > RUNTIME_DIR_MAX) {
        return err_text(err, -EINVAL,
                        "--runtime-dir: '%.32s...' has %zu bytes; the sockets in it leave room for "
                        "%d",
                        o->runtime_dir, strlen(o->runtime_dir), RUNTIME_DIR_MAX);
    }
    for (const char *p = o->runtime_dir; *p != '\0'; p++) {
        if (*p <= ' ' || *p >= 0x7f || strchr("\"'\\#$", *p) != NULL) {
            return err_text(err, -EINVAL,
                            "--runtime-dir: '%.84s' holds a blank, a quote or another byte that "
                            "haproxy's file can not have in a path",
                            o->runtime_dir);
        }
    }
    return 0;
}

static struct local_settings settings_of(const struct options *o)
{
    return (struct local_settings){
        .file = o->file,
        .runtime_dir = o->runtime_dir,
        .state_dir = o->state_dir,
        .keys = {o->service_key, o->previous_key},
    };
}

static int run(const struct options *o)
{
    struct local_settings settings = settings_of(o);

    return local_run(&settings);
}

static void print_verdict(const struct pool_object *pool)
{
    printf("pool '%s' is fine: %u %s, devices at port %u, callers at port %u\n", pool->name,
           pool->replicas, pool->replicas == 1 ? "replica" : "replicas", pool->haproxy.port,
           pool->connect_proxy.port);
}

/* A file is checked where it is written, which may not be where it runs; variables are. */
static int check_api(const struct local_settings *settings)
{
    AUTO(str) char *url = NULL;
    AUTO(str) char *ca = NULL;
    struct err err;
    int r = local_load_api(settings, &url, &ca, &err);

    if (r < 0) {
        fprintf(stderr, "%s%s\n", settings->file != NULL ? "warning: " : "environment: ", err.text);
    }
    return settings->file != NULL ? 0 : r;
}

static int check(const struct options *o)
{
    struct local_settings settings = settings_of(o);
    struct local_findings findings;
    struct local_paths paths;
    struct pool_object pool = {0};
    struct env_pem pem = {0};

    local_paths_init(&paths, o->runtime_dir, o->state_dir);
    local_findings_init(&findings);
    int r = local_load_pool(&settings, &paths, &pool, &pem, &findings);
    local_findings_print(&findings);
    r = check_api(&settings) < 0 ? -EINVAL : r;
    if (r == 0) {
        print_verdict(&pool);
    }
    pool_object_clear(&pool);
    env_pem_clear(&pem);
    local_findings_clear(&findings);
    local_paths_clear(&paths);
    return r < 0 ? 2 : 0;
}

static int print_table(const char *json)
{
    struct buf table;
    struct err err;

    buf_init(&table, TABLE_MAX);
    int r = local_status_table(json, strlen(json), clock_realtime_ms(), &table, &err);
    if (r < 0) {
        fprintf(stderr, "vpn-controller: %s\n", err.text);
    } else {
        fputs(buf_str(&table), stdout);
    }
    buf_clear(&table);
    return r < 0 ? 1 : 0;
}

static int status(const struct options *o)
{
    AUTO(str) char *socket = xasprintf("%s/controller.sock", o->runtime_dir);
    AUTO(str) char *json = NULL;
    struct err err;
    bool as_json = strcmp(o->output, "json") == 0;

    if (!as_json && strcmp(o->output, "table") != 0) {
        fprintf(stderr, "vpn-controller: --output '%.32s' is not table or json\n", o->output);
        return 2;
    }
    int r = local_control_ask(socket, &json, &err);
    if (r == -ECONNREFUSED || r == -ENOENT) {
        fprintf(stderr, "vpn-controller: no controller runs in %s\n", o->runtime_dir);
        return 1;
    }
    if (r < 0) {
        fprintf(stderr, "vpn-controller: the controller in %s does not answer: %s\n",
                o->runtime_dir, err.text);
        return 1;
    }
    if (as_json) {
        printf("%s\n", json);
        return 0;
    }
    return print_table(json);
}

/* "-f" and "-o" are what people type. */
static void lengthen(int argc, char **argv)
{
    static char file[] = "--file", output[] = "--output";

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-f") == 0) {
            argv[i] = file;
        } else if (strcmp(argv[i], "-o") == 0) {
            argv[i] = output;
        }
    }
}

static void say_wrong(bool running, const char *text)
{
    if (running) {
        log_error(text, NULL);
    } else {
        fprintf(stderr, "vpn-controller: %s\n", text);
    }
}

static bool asks_for_help(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            return true;
        }
    }
    return false;
}

int local_main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*fn)(const struct options *o);
    } commands[] = {{"status", status}, {"check", check}};
    int (*command)(const struct options *o) = run;
    struct options o = {0};
    struct err err;

    for (size_t i = 0; argc > 1 && command == run && i < ARRAY_LEN(commands); i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            command = commands[i].fn;
            argc--;
            argv++;
        }
    }
    lengthen(argc, argv);
    log_open_early("vpn-controller");
    int r = load(&o, argc, argv, &err);
    if (r > 0 && asks_for_help(argc, argv)) {
        fputs(manual, stdout);
    }
    if (r == 0) {
        r = log_open("vpn-controller", o.log_format, o.log_level, &err);
    }
    if (r == 0 && command != status) { /* that only looks for what is there */
        r = check_folders(&o, &err);
    }
    if (r < 0) {
        say_wrong(command == run, err.text);
    }
    int exit_status = r < 0 ? 2 : r > 0 ? 0 : command(&o);
    options_clear(&o);
    return exit_status;
}
