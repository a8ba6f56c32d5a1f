/* kube-probe: the Kubernetes client (controller/kube) as a program, for tests and for hands:
 *     kube-probe [OPTIONS] watch GROUP/VERSION/PLURAL   follows it until SIGTERM
 *     kube-probe [OPTIONS] list GROUP/VERSION/PLURAL    once, live
 *     kube-probe [OPTIONS] get PATH                     one request
 *     kube-probe [OPTIONS] apply GROUP/VERSION/PLURAL   the JSON on standard input, server-side
 *     kube-probe [OPTIONS] lease NAME                   takes and holds it until SIGTERM
 *     kube-probe [OPTIONS] event REASON NOTE            says it --count times
 * SIGUSR1: a line with what a watch holds, and the metrics.
 * It prints one JSON object a line on standard output. "v1/pods" is the core group. */
#include "common/config.h"
#include "common/log.h"
#include "common/metrics.h"
#include "controller/kube/kube_event.h"
#include "controller/kube/kube_list.h"
#include "controller/kube/kube_store.h"
#include "controller/kube/lease.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static struct {
    struct loop *loop;
    struct kube_client *client;
    struct kube_store *store;
    struct kube_list *list;
    struct lease *lease;
    struct kube_event_writer *events;
    struct loop_signal *term, *usr1;
    struct kube_resource resource;
    char *group; /* what resource points into */
    const char *ns;
    int status;
    /* options */
    char *kubeconfig, *context, *ns_option, *selector, *identity;
    bool no_watch_list;
    int64_t page, reread_ms, resync_ms, count, duration_s, renew_ms, retry_ms;
} probe;

static void print(cJSON *line)
{
    char *text = cJSON_PrintUnformatted(line);

    printf("%s\n", text);
    fflush(stdout);
    cJSON_free(text);
    cJSON_Delete(line);
}

static cJSON *line(const char *type)
{
    cJSON *object = cJSON_CreateObject();

    cJSON_AddStringToObject(object, "type", type);
    return object;
}

static void print_text(const char *type, const char *key, const char *value)
{
    cJSON *l = line(type);

    cJSON_AddStringToObject(l, key, value);
    print(l);
}

static void print_object(const char *type, const struct kube_object *object)
{
    cJSON *l = line(type);

    cJSON_AddStringToObject(l, "name", object->name);
    cJSON_AddStringToObject(l, "uid", object->uid);
    cJSON_AddStringToObject(l, "version", object->resource_version);
    print(l);
}

/* --- watch --- */

/* Nothing of the object is needed but what the store itself keeps. */
static void *keep_nothing(void *arg, cJSON *object)
{
    (void)object;
    return arg;
}

static void on_add(void *arg, const struct kube_object *object)
{
    (void)arg;
    print_object("add", object);
}

static void on_update(void *arg, const struct kube_object *object, const void *before)
{
    (void)arg;
    (void)before;
    print_object("update", object);
}

static void on_delete(void *arg, const struct kube_object *object)
{
    (void)arg;
    print_object("delete", object);
}

static void on_synced(void *arg)
{
    cJSON *l = line("synced");

    (void)arg;
    cJSON_AddNumberToObject(l, "count", (double)kube_store_count(probe.store));
    print(l);
}

static void on_resync(void *arg)
{
    (void)arg;
    print(line("resync"));
}

static int start_watch(struct err *err)
{
    struct kube_store_options options = {
        .resource = &probe.resource,
        .ns = probe.ns,
        .label_selector = probe.selector,
        .page = (uint32_t)probe.page,
        .resync_ms = (uint32_t)probe.resync_ms,
        .no_watch_list = probe.no_watch_list,
        .keep = keep_nothing,
        .on_add = on_add,
        .on_update = on_update,
        .on_delete = on_delete,
        .on_synced = on_synced,
        .on_resync = on_resync,
        .arg = &probe,
    };

    return kube_store_open(probe.client, &options, &probe.store, err);
}

/* --- list --- */

static bool on_item(void *arg, cJSON *object)
{
    const cJSON *metadata = cJSON_GetObjectItemCaseSensitive(object, "metadata");

    (void)arg;
    print_text("item", "name", cJSON_GetObjectItemCaseSensitive(metadata, "name")->valuestring);
    return true;
}

static void on_listed(void *arg, const struct kube_answer *answer, const char *version)
{
    (void)arg;
    probe.list = NULL;
    cJSON *l = line("listed");
    cJSON_AddStringToObject(l, "outcome", kube_outcome_name(answer->outcome));
    cJSON_AddStringToObject(l, "version", version);
    cJSON_AddStringToObject(l, "text", answer->text);
    print(l);
    probe.status = answer->outcome == KUBE_OK ? 0 : 1;
    loop_stop(probe.loop);
}

static int start_list(struct err *err)
{
    struct kube_list_options options = {
        .resource = &probe.resource,
        .ns = probe.ns,
        .label_selector = probe.selector,
        .page = (uint32_t)probe.page,
        .on_item = on_item,
        .on_done = on_listed,
    };

    return kube_list_start(probe.client, &options, &probe.list, err);
}

/* --- one request --- */

static void on_answer(void *arg, struct kube_answer *answer)
{
    cJSON *l = line("answer");

    (void)arg;
    cJSON_AddStringToObject(l, "outcome", kube_outcome_name(answer->outcome));
    cJSON_AddNumberToObject(l, "status", answer->status);
    cJSON_AddStringToObject(l, "reason", answer->reason);
    cJSON_AddStringToObject(l, "text", answer->text);
    if (answer->object != NULL) {
        cJSON_AddItemToObject(l, "object", MOVE(answer->object));
    }
    print(l);
    probe.status = answer->outcome == KUBE_OK ? 0 : 1;
    loop_stop(probe.loop);
}

static int start_get(const char *path, struct err *err)
{
    struct kube_request request = {.method = "GET", .path = path, .on_done = on_answer};

    return kube_client_send(probe.client, &request, NULL, err);
}

/* Server-side apply of the JSON on standard input. */
static int start_apply(struct err *err)
{
    static char text[1 << 20];
    AUTO(json) cJSON *object = NULL;
    size_t len = fread(text, 1, sizeof(text), stdin);
    const char *name = "";
    const cJSON *metadata = NULL;
    int r = json_parse(text, len, &object, err);

    if (r < 0 || (r = json_object(object, "metadata", &metadata, err)) < 0 ||
        (r = json_str(metadata, "name", &name, err)) < 0) {
        return r;
    }
    return kube_apply(probe.client, &probe.resource, probe.ns, name, NULL, "kube-probe", true,
                      object, on_answer, NULL, NULL, err);
}

/* --- lease --- */

static void on_started(void *arg)
{
    (void)arg;
    print(line("started"));
}

static void on_stopped(void *arg, const char *why)
{
    (void)arg;
    print_text("stopped", "why", why);
    probe.status = 1;
    loop_stop(probe.loop);
}

static void on_leader(void *arg, const char *identity)
{
    (void)arg;
    print_text("leader", "identity", identity);
}

static int start_lease(const char *name, struct err *err)
{
    struct lease_options options = {
        .client = probe.client,
        .ns = probe.ns,
        .name = name,
        .identity = probe.identity,
        .duration_s = (uint32_t)probe.duration_s,
        .renew_deadline_ms = (uint32_t)probe.renew_ms,
        .retry_ms = (uint32_t)probe.retry_ms,
        .on_started = on_started,
        .on_stopped = on_stopped,
        .on_leader = on_leader,
    };

    return lease_open(probe.loop, &options, &probe.lease, err);
}

/* --- events --- */

static void on_flushed(void *arg)
{
    (void)arg;
    print(line("flushed"));
    loop_stop(probe.loop);
}

static void on_first_out(void *arg)
{
    loop_timer_close(*(struct loop_timer **)arg);
    kube_event_flush(probe.events, on_flushed, NULL);
}

/* A series' count is told once its Event is known to be there: not in the same breath. */
static int start_events(const char *reason, const char *note)
{
    static struct loop_timer *pause;
    struct kube_event_options options = {
        .client = probe.client, .controller = "openbalena.io/kube-probe", .instance = "probe"};
    struct kube_event_about about = {
        .api_version = "v1", .kind = "Pod", .ns = probe.ns, .name = "probe", .uid = "none"};

    probe.events = kube_event_writer_new(probe.loop, &options);
    for (int64_t i = 0; i < probe.count; i++) {
        kube_event(probe.events, &about, KUBE_EVENT_NORMAL, reason, "Probe", "%s", note);
    }
    pause = loop_timer_new(probe.loop, on_first_out, &pause);
    loop_timer_start(pause, 1000, 0);
    return 0;
}

/* --- the program --- */

static void on_released(void *arg)
{
    (void)arg;
    print(line("released"));
    loop_stop(probe.loop);
}

static void on_term(void *arg)
{
    (void)arg;
    if (probe.lease != NULL) {
        lease_release(probe.lease, on_released, NULL);
    } else {
        loop_stop(probe.loop);
    }
}

/* What the store holds, and the metrics. */
static void on_usr1(void *arg)
{
    AUTO(buf) struct buf text;
    cJSON *l = line("state");
    cJSON *names = cJSON_AddArrayToObject(l, "names");

    (void)arg;
    buf_init(&text, 1 << 20);
    (void)metrics_render(&text);
    cJSON_AddStringToObject(l, "metrics", buf_str(&text));
    if (probe.store != NULL) {
        for (struct kube_store_iter i = {.store = probe.store}; kube_store_next(&i);) {
            cJSON_AddItemToArray(names, cJSON_CreateString(i.object->name));
        }
        cJSON_AddBoolToObject(l, "following", kube_store_following(probe.store));
    }
    print(l);
}

static int parse_resource(const char *text, struct err *err)
{
    probe.group = xstrdup(text);
    char *plural = strrchr(probe.group, '/');
    if (plural == NULL) {
        return err_text(err, -EINVAL, "'%s' is not GROUP/VERSION/PLURAL", text);
    }
    *plural++ = '\0';
    char *version = strchr(probe.group, '/');
    if (version != NULL) {
        *version++ = '\0';
        probe.resource = (struct kube_resource){probe.group, version, plural};
    } else {
        probe.resource = (struct kube_resource){"", probe.group, plural};
    }
    return 0;
}

static int start(char **words, struct err *err)
{
    const char *command = words[0] != NULL ? words[0] : "";
    const char *what = words[0] != NULL && words[1] != NULL ? words[1] : "";
    bool takes_resource = strcmp(command, "watch") == 0 || strcmp(command, "list") == 0 ||
                          strcmp(command, "apply") == 0;

    if (takes_resource) {
        int r = parse_resource(what, err);
        if (r < 0) {
            return r;
        }
        return command[0] == 'w'   ? start_watch(err)
               : command[0] == 'l' ? start_list(err)
                                   : start_apply(err);
    }
    if (strcmp(command, "get") == 0) {
        return start_get(what, err);
    }
    if (strcmp(command, "lease") == 0) {
        return start_lease(what, err);
    }
    if (strcmp(command, "event") == 0) {
        return start_events(what, words[1] != NULL && words[2] != NULL ? words[2] : "");
    }
    return err_text(err, -EINVAL, "unknown command '%s'", command);
}

static int connect(struct err *err)
{
    AUTO(kube_config) struct kube_config *config = NULL;
    int r = kube_config_load(probe.kubeconfig, probe.context, &config, err);

    if (r < 0) {
        return r;
    }
    struct kube_client_options options = {
        .config = config,
        .user_agent = "kube-probe",
        .reread_ms = (uint32_t)probe.reread_ms,
    };
    r = kube_client_new(probe.loop, &options, &probe.client, err);
    if (r == 0) {
        probe.ns = probe.ns_option != NULL ? probe.ns_option : kube_client_namespace(probe.client);
    }
    return r;
}

static int begin(char **words, struct err *err)
{
    int r = loop_new(&probe.loop, err);

    if (r < 0 || (r = loop_signal_new(probe.loop, SIGTERM, on_term, NULL, &probe.term, err)) < 0 ||
        (r = loop_signal_new(probe.loop, SIGUSR1, on_usr1, NULL, &probe.usr1, err)) < 0 ||
        (r = connect(err)) < 0) {
        return r;
    }
    return start(words, err);
}

static void end(void)
{
    kube_list_cancel(probe.list);
    kube_store_close(probe.store);
    lease_close(probe.lease);
    kube_event_writer_close(probe.events);
    kube_client_close(probe.client);
    loop_signal_close(probe.term);
    loop_signal_close(probe.usr1);
    loop_free(probe.loop);
    free(probe.group);
    free(probe.kubeconfig);
    free(probe.context);
    free(probe.ns_option);
    free(probe.selector);
    free(probe.identity);
}

static const struct config_option options[] = {
    {.name = "kubeconfig", .kind = CONFIG_STR, .target = &probe.kubeconfig, .help = "file"},
    {.name = "context", .kind = CONFIG_STR, .target = &probe.context, .help = "of it"},
    {.name = "namespace", .kind = CONFIG_STR, .target = &probe.ns_option, .help = "else its own"},
    {.name = "selector", .kind = CONFIG_STR, .target = &probe.selector, .help = "of labels"},
    {.name = "identity",
     .kind = CONFIG_STR,
     .target = &probe.identity,
     .fallback = "probe",
     .help = "lease"},
    {.name = "page", .kind = CONFIG_INT, .target = &probe.page, .fallback = "500", .help = "list"},
    {.name = "count", .kind = CONFIG_INT, .target = &probe.count, .fallback = "1", .help = "event"},
    {.name = "reread-ms", .kind = CONFIG_INT, .target = &probe.reread_ms, .help = "credentials"},
    {.name = "resync-ms", .kind = CONFIG_INT, .target = &probe.resync_ms, .help = "watch"},
    {.name = "duration-seconds",
     .kind = CONFIG_INT,
     .target = &probe.duration_s,
     .fallback = "0",
     .help = "lease"},
    {.name = "renew-ms", .kind = CONFIG_INT, .target = &probe.renew_ms, .help = "lease"},
    {.name = "retry-ms", .kind = CONFIG_INT, .target = &probe.retry_ms, .help = "lease"},
    {.name = "no-watch-list",
     .kind = CONFIG_BOOL,
     .target = &probe.no_watch_list,
     .help = "list and watch"},
};

int main(int argc, char **argv)
{
    struct err err;
    int rest = argc;
    int r = config_load("kube-probe", "the Kubernetes client by hand", options, ARRAY_LEN(options),
                        argc, argv, &rest, &err);

    log_init("kube-probe", LOG_HUMAN, getenv("DEBUG") != NULL ? LOG_DEBUG : LOG_INFO);
    if (r == 1) {
        return 0;
    }
    if (r < 0 || begin(argv + rest, &err) < 0) {
        log_error(err.text, NULL);
        return 2;
    }
    loop_run(probe.loop);
    end();
    return probe.status;
}
