/* `vpn-controller apply`: looks at the pool, applies the file's, and again a second later while the
 * API server does not answer or does not serve the kind yet. */
#include "controller/apply/apply_main.h"

#include "common/config.h"
#include "controller/apply/apply.h"
#include "controller/kube/kube_client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PAUSE_MS 1000
#define REQUEST_MS 30000 /* then it counts as unanswered */

static const struct kube_resource pools = {"vpn.openbalena.io", "v1alpha1", "vpnpools"};

struct settings {
    char *file, *ns, *kubeconfig, *context;
    struct apply_keep keep;
    int64_t timeout_s;
};

struct apply {
    struct settings settings;
    struct pool_object pool;
    struct loop *loop;
    struct kube_client *client;
    struct loop_timer *pause, *deadline;
    const char *ns;  /* borrowed */
    cJSON *live;     /* as it was before we applied; NULL: there was none */
    char *waits_for; /* why the last attempt was none */
    int status;      /* the program's */
};

static void look(void *arg);

static void finish(struct apply *a, int status)
{
    a->status = status;
    loop_stop(a->loop);
}

static void again_later(struct apply *a, const struct kube_answer *answer)
{
    free(a->waits_for);
    a->waits_for = xstrdup(answer->text);
    loop_timer_start(a->pause, PAUSE_MS, 0);
}

static void fail(struct apply *a, const char *text)
{
    fprintf(stderr, "vpn-controller apply: %s\n", text);
    finish(a, 1);
}

static void on_applied(void *arg, struct kube_answer *answer)
{
    struct apply *a = arg;

    switch (answer->outcome) {
    case KUBE_OK:
        printf("%s/%s %s\n", a->ns, a->pool.name, apply_result(a->live, answer->object));
        finish(a, 0);
        break;
    case KUBE_NOT_FOUND: /* the kind is not served yet, or the namespace is not there */
    case KUBE_CONFLICT:
    case KUBE_EXPIRED:
    case KUBE_EXISTS:
    case KUBE_BUSY:
    case KUBE_UNREACHABLE:
        again_later(a, answer);
        break;
    case KUBE_DENIED:
        fail(a, answer->text);
        break;
    case KUBE_INVALID: /* as a file that makes no sense: trying again does not mend it */
        fail(a, answer->text);
        a->status = 2;
        break;
    }
}

static void apply_now(struct apply *a)
{
    AUTO(json) cJSON *object = NULL;
    struct err err = {0};
    int r = apply_object(&a->pool, a->ns, a->live, a->settings.keep, &object, &err);

    if (r == 0) {
        r = kube_apply(a->client, &pools, a->ns, a->pool.name, NULL, APPLY_FIELD_MANAGER, true,
                       object, on_applied, a, NULL, &err);
    }
    if (r < 0) {
        fail(a, err.text);
    }
}

static void on_looked(void *arg, struct kube_answer *answer)
{
    struct apply *a = arg;

    cJSON_Delete(a->live);
    a->live = NULL;
    if (answer->outcome == KUBE_OK || answer->outcome == KUBE_NOT_FOUND) {
        a->live = answer->outcome == KUBE_OK ? MOVE(answer->object) : NULL;
        apply_now(a);
    } else if (answer->outcome == KUBE_DENIED || answer->outcome == KUBE_INVALID) {
        fail(a, answer->text);
    } else {
        again_later(a, answer);
    }
}

static void look(void *arg)
{
    struct apply *a = arg;
    struct err err = {0};
    AUTO(str) char *path = kube_path(&pools, a->ns, a->pool.name, NULL);
    const struct kube_request request = {
        .method = "GET", .path = path, .timeout_ms = REQUEST_MS, .on_done = on_looked, .arg = a};

    if (kube_client_send(a->client, &request, NULL, &err) < 0) {
        fail(a, err.text);
    }
}

static void on_deadline(void *arg)
{
    struct apply *a = arg;

    fail(a, a->waits_for != NULL ? a->waits_for : "the API server has not answered in time");
}

/* --- setting up --- */

#define STR(field) .kind = CONFIG_STR, .target = &s->field

static int load_options(struct settings *s, int argc, char **argv, struct err *err)
{
    const struct config_option options[] = {
        {.name = "file", STR(file), .required = true, .help = "the pool file; or -f"},
        {.name = "namespace", STR(ns), .help = "default: the cluster's configuration's"},
        {.name = "keep-scale",
         .kind = CONFIG_BOOL,
         .target = &s->keep.scale,
         .help = "spec.replicas stays as the cluster has it"},
        {.name = "keep-image",
         .kind = CONFIG_BOOL,
         .target = &s->keep.image,
         .help = "spec.kubernetes.image stays as the cluster has it"},
        {.name = "kubeconfig",
         STR(kubeconfig),
         .help = "a file; default: KUBECONFIG, else the Pod's service account"},
        {.name = "context", STR(context), .help = "of the kubeconfig; default: its current one"},
        {.name = "timeout-seconds",
         .kind = CONFIG_INT,
         .target = &s->timeout_s,
         .fallback = "120",
         .min = 1,
         .max = 3600,
         .help = "how long to try"},
    };

    return config_load("vpn-controller apply", "makes a pool in a cluster as a file says", options,
                       ARRAY_LEN(options), argc, argv, NULL, err);
}

static int load_pool(const char *file, struct pool_object *ret)
{
    struct pool_errors errors;
    int r = 0;

    pool_errors_init(&errors);
    r = pool_object_load(file, ret, &errors);
    if (r == 0 && pool_object_check_kubernetes(file, ret, &errors) < 0) {
        pool_object_clear(ret);
        r = -EINVAL;
    }
    if (r < 0) {
        fputs(buf_str(&errors.text), stderr);
    }
    pool_errors_clear(&errors);
    return r;
}

static int open_client(struct apply *a, struct err *err)
{
    AUTO(kube_config) struct kube_config *config = NULL;
    int r = kube_config_load(a->settings.kubeconfig, a->settings.context, &config, err);

    if (r == 0) {
        r = loop_new(&a->loop, err);
    }
    if (r < 0) {
        return r;
    }
    const struct kube_client_options options = {.config = config,
                                                .user_agent = "vpn-controller/" VPN_VERSION};
    return kube_client_new(a->loop, &options, &a->client, err);
}

static int run(struct apply *a, struct err *err)
{
    int r = open_client(a, err);

    if (r < 0) {
        return r;
    }
    a->ns = a->settings.ns != NULL ? a->settings.ns : kube_client_namespace(a->client);
    a->pause = loop_timer_new(a->loop, look, a);
    a->deadline = loop_timer_new(a->loop, on_deadline, a);
    loop_timer_start(a->deadline, (uint64_t)a->settings.timeout_s * 1000, 0);
    loop_post(a->loop, look, a);
    loop_run(a->loop);
    loop_timer_close(a->pause);
    loop_timer_close(a->deadline);
    return 0;
}

static void settings_clear(struct settings *s)
{
    free(s->file);
    free(s->ns);
    free(s->kubeconfig);
    free(s->context);
}

/* "-f" is what everyone's fingers know. */
static void spell_out(int argc, char **argv)
{
    static char file[] = "--file";

    for (int i = 1; i < argc; i++) {
        argv[i] = strcmp(argv[i], "-f") == 0 ? file : argv[i];
    }
}

int apply_main(int argc, char **argv)
{
    struct apply a = {.status = 1};
    struct err err = {0};

    spell_out(argc, argv);
    int r = load_options(&a.settings, argc, argv, &err);
    if (r != 0) {
        if (r < 0) {
            fprintf(stderr, "vpn-controller apply: %s\n", err.text);
        }
        settings_clear(&a.settings);
        return r < 0 ? 2 : 0;
    }
    if (load_pool(a.settings.file, &a.pool) < 0) {
        settings_clear(&a.settings);
        return 2;
    }
    r = run(&a, &err);
    if (r < 0) {
        fprintf(stderr, "vpn-controller apply: %s\n", err.text);
    }
    kube_client_close(a.client);
    if (a.loop != NULL) {
        loop_free(a.loop);
    }
    cJSON_Delete(a.live);
    free(a.waits_for);
    pool_object_clear(&a.pool);
    settings_clear(&a.settings);
    return a.status;
}
