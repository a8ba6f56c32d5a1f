/* WRITE: the status, at the resourceVersion that it was read at. */
#include "common/log.h"
#include "controller/kubernetes/pool_run_priv.h"

#include <string.h>

static char *text_of(cJSON *o)
{
    char *text = cJSON_PrintUnformatted(o);

    if (text == NULL) {
        abort(); /* out of memory */
    }
    return text;
}

static const struct pool_network *network_of(const struct pool_run *run)
{
    return run->spec_ok ? &run->spec.network : NULL;
}

static char *whole(const struct pool_run *run)
{
    AUTO(json) cJSON *o = pool_status_make(&run->status, run->name, network_of(run));

    return text_of(o);
}

/* A merge patch: what is not in it stays, and lists are replaced. All of our fields are in it. */
static char *patch_of(const struct pool_run *run)
{
    AUTO(json) cJSON *o = cJSON_CreateObject();

    cJSON_AddStringToObject(cJSON_AddObjectToObject(o, "metadata"), "resourceVersion",
                            run->resource_version);
    cJSON_AddItemToObject(o, "status", pool_status_make(&run->status, run->name, network_of(run)));
    return text_of(o);
}

static void on_written(struct run_call *c, struct kube_answer *answer)
{
    struct pool_run *run = c->run;
    const char *version = "";

    switch (answer->outcome) {
    case KUBE_OK:
        json_str(cJSON_GetObjectItemCaseSensitive(answer->object, "metadata"), "resourceVersion",
                 &version, NULL);
        run_version(run, version);
        free(run->written);
        run->written = pool_status_gist(&run->status);
        run->written_ms = clock_realtime_ms();
        break;
    case KUBE_CONFLICT: /* the pool has changed: quietly from the beginning */
        run->must_load = true;
        run->again = true;
        break;
    case KUBE_NOT_FOUND:
        run->deleting = true;
        break;
    default:
        run->must_load = true; /* it may have been written */
        run_call_failed(c, answer);
    }
}

/* Figures that change all the time (sessions) are no reason by themselves, but now and then. */
static bool is_due(struct pool_run *run, const char *all, int64_t now_ms)
{
    AUTO(str) char *gist = pool_status_gist(&run->status);

    if (run->written == NULL || strcmp(gist, run->written) != 0) {
        return true;
    }
    if (run->written_all == NULL || strcmp(all, run->written_all) == 0) {
        return false;
    }
    if (now_ms - run->written_ms >= RUN_SESSIONS_MS) {
        return true;
    }
    run_wake_at(run, run->written_ms + RUN_SESSIONS_MS);
    return false;
}

void run_write(struct pool_run *run, int64_t now_ms)
{
    AUTO(str) char *all = whole(run);

    run->step = RUN_WRITE;
    if (is_due(run, all, now_ms)) {
        AUTO(str) char *path = kube_path(&vpn_pools, run->d->ns, run->name, "status");
        AUTO(str) char *body = patch_of(run);
        struct run_request request = {.method = "PATCH",
                                      .path = path,
                                      .body = body,
                                      .content_type = KUBE_MERGE_PATCH,
                                      .on_answer = on_written};
        run_send(run, &request);
        free(run->written_all);
        run->written_all = MOVE(all);
    } else if (run->written_all == NULL) {
        run->written_all = MOVE(all);
    }
    run_step_ends(run);
}
