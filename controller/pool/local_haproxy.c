#include "controller/pool/local_haproxy.h"

#include "controller/balancer/haproxy_config.h"
#include "controller/pool/ask_program.h"
#include "controller/pool/object_rules.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>

#define WORDS_MAX 8192

/* haproxy does not start when it may not open as many descriptors as its maximum needs. */
uint32_t local_haproxy_connections(uint32_t wanted)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_max == RLIM_INFINITY) {
        return wanted;
    }
    uint32_t most = haproxy_config_connections(limit.rlim_max);
    return most < wanted ? most : wanted;
}

int local_haproxy_render(const struct pool_object *pool, const struct local_paths *paths,
                         const char *user, struct buf *ret, struct err *err)
{
    struct haproxy_config config = {
        .port = pool->haproxy.port,
        .max_connections = local_haproxy_connections(pool->haproxy.max_connections),
        .idle_timeout_s = pool->haproxy.idle_timeout_s,
        .threads = pool->haproxy.threads,
        .cpu_map = pool->haproxy.cpu_map,
        .proxy_protocol = pool->haproxy.proxy_protocol,
        .ipv6 = access("/proc/net/if_inet6", F_OK) == 0,
        .runtime_socket = paths->haproxy_socket,
        .user = user,
        .http_port = pool->local.http_port,
        .metrics = getenv("MONITOR_SECRET_TOKEN") != NULL,
        .state_port = pool->state_port,
        .connect_proxy_metrics_port = pool->connect_proxy.metrics_port,
        .controller_socket = paths->control_socket,
    };

    return haproxy_config_render(&config, ret, err);
}

/* --- haproxy -c --- */

/* True: haproxy refuses config, words is what it says. What it would be given it need not know to
 * read its file. */
static bool refuses(const char *program, const char *config, char words[WORDS_MAX])
{
    char *const argv[] = {(char[]){"haproxy"}, (char[]){"-c"}, (char[]){"-f"},
                          (char[]){"/proc/self/fd/0"}, NULL};
    char *const envp[] = {(char[]){"MONITOR_SECRET_TOKEN=x"}, NULL};

    return ask_program(program, argv, envp, config, words, WORDS_MAX) != 0;
}

/* --- what it says --- */

/* Which field a line of haproxy's is about. */
static const char *field_of(const char *words)
{
    static const struct {
        const char *word, *field;
    } fields[] = {
        {"cpu-map", "spec.haproxy.cpuMap"},
        {"nbthread", "spec.haproxy.threads"},
        {"maxconn", "spec.haproxy.maxConnections"},
        {"timeout", "spec.haproxy.idleTimeoutSeconds"},
    };

    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        if (strstr(words, fields[i].word) != NULL) {
            return fields[i].field;
        }
    }
    return "spec.haproxy";
}

/* "[ALERT] (4711) : config : parsing [/proc/self/fd/0:6] : 'cpu-map' ...": from the last part that
 * is not about where we put its file. */
static const char *own_words(const char *line)
{
    const char *place = strstr(line, "[/proc/self/fd/0:");
    const char *end = place != NULL ? strstr(place, "] : ") : NULL;

    return end != NULL ? end + 4 : line;
}

static void say(struct faults *faults, const struct pool_object *pool, char *words)
{
    for (char *save = NULL, *line = strtok_r(words, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save)) {
        if (strncmp(line, "[ALERT]", 7) == 0 && strstr(line, "[/proc/self/fd/0:") != NULL) {
            object_fault(faults, pool->origin, field_of(line), "haproxy refuses it: %s",
                         own_words(line));
        }
    }
    if (faults->count == 0) {
        object_fault(faults, pool->origin, "spec.haproxy", "haproxy refuses it, see haproxy -c -f");
    }
}

int local_haproxy_check(const char *file, const struct pool_object *pool,
                        const struct local_paths *paths, struct pool_errors *errors)
{
    AUTO(str) char *program = NULL;
    AUTO(buf) struct buf config;
    AUTO(faults) struct faults faults;
    char words[WORDS_MAX];
    struct err err;

    faults_init(&faults, file);
    faults.name_of = pool->name_of;
    buf_init(&config, HAPROXY_FILE_MAX);
    if (pool_is_udp(pool) ||
        process_find_program(local_tool_names[TOOL_HAPROXY], false, &program, NULL) < 0) {
        return 0;
    }
    if (local_haproxy_render(pool, paths, NULL, &config, &err) < 0) {
        object_fault(&faults, pool->origin, "spec.haproxy", "%s", err.text);
    } else if (refuses(program, buf_str(&config), words)) {
        say(&faults, pool, words);
    }
    int r = faults.count > 0 ? -EINVAL : 0;
    faults_write(&faults, errors);
    return r;
}
