/* What a pool on this machine is like, as JSON. */
#include "controller/pool/drive_local_priv.h"

#include <cjson/cJSON.h>
#include <string.h>

static void put_number(cJSON *o, const char *key, int64_t value)
{
    cJSON_AddNumberToObject(o, key, (double)value);
}

static void put_text_or_null(cJSON *o, const char *key, const char *text)
{
    if (text != NULL && text[0] != '\0') {
        cJSON_AddStringToObject(o, key, text);
    } else {
        cJSON_AddNullToObject(o, key);
    }
}

static void put_sidecar(cJSON *o, const struct sidecar_status *s)
{
    if (s == NULL) {
        cJSON_AddNullToObject(o, "sessions");
        cJSON_AddNullToObject(o, "link");
        return;
    }
    put_number(o, "sessions", s->sessions);
    cJSON_AddStringToObject(o, "link", sidecar_link_name(s->link));
    cJSON_AddStringToObject(o, "sidecarPhase", sidecar_phase_name(s->phase));
    cJSON_AddBoolToObject(o, "apiSane", s->api_sane);
    put_number(o, "unreported", s->unreported);
}

static void put_instance(const struct drive_local *d, cJSON *list, const struct instance *i)
{
    const struct local_instance *r = instance_record(i);
    struct subnet_block block;
    cJSON *o = cJSON_CreateObject();

    cJSON_AddItemToArray(list, o);
    put_number(o, "index", r->index);
    cJSON_AddStringToObject(o, "epoch", r->epoch);
    if (subnet_block(d->pool.network.base, d->pool.network.instance_prefix_len, r->index, &block,
                     NULL) == 0) {
        cJSON_AddStringToObject(o, "subnet", subnet_format(block.subnet).text);
    }
    put_number(o, "port",
               pool_is_udp(&d->pool) ? d->pool.haproxy.port : d->pool.local.base_port + r->index);
    cJSON_AddStringToObject(o, "phase", index_phase_name(r->phase));
    cJSON_AddBoolToObject(o, "serving", r->serving);
    cJSON_AddBoolToObject(o, "current", strcmp(r->revision, d->revision) == 0);
    put_sidecar(o, instance_status(i));
    put_number(o, "pid", r->openvpn.id.pid);
    put_number(o, "sidecarPid", r->sidecar.id.pid);
    put_number(o, "startedAt", r->openvpn.started_at_ms);
    put_number(o, "restarts", r->openvpn.restarts);
    put_number(o, "sidecarRestarts", r->sidecar.restarts);
    put_number(o, "failures", r->failures);
    char why[ERR_TEXT_MAX];
    instance_why(i, why);
    put_text_or_null(o, "why", why);
    if (r->service_id > 0) {
        put_number(o, "serviceId", r->service_id);
    } else {
        cJSON_AddNullToObject(o, "serviceId");
    }
}

static void put_program(const struct drive_local *d, cJSON *list, enum local_program which)
{
    static const char *const states[KEEPER_STATES] = {
        [KEEPER_IDLE] = "not running",
        [KEEPER_RUNNING] = "running",
        [KEEPER_WAITING] = "waiting for its next start",
        [KEEPER_STOPPING] = "stopping",
    };
    const struct local_program_record *r = local_programs_record(d->programs, which);
    cJSON *o = cJSON_CreateObject();

    cJSON_AddItemToArray(list, o);
    cJSON_AddStringToObject(o, "name", local_program_names[which]);
    cJSON_AddStringToObject(o, "state", states[local_programs_state(d->programs, which)]);
    put_number(o, "pid", r->process.id.pid);
    put_number(o, "startedAt", r->process.started_at_ms);
    put_number(o, "restarts", r->process.restarts);
    cJSON_AddBoolToObject(o, "serving", drive_local_program_why(d, which) == NULL);
    put_text_or_null(o, "why", drive_local_program_why(d, which));
    put_text_or_null(o, "lastEnd", local_programs_last_end(d->programs, which));
    put_number(o, "finishing", (int64_t)local_programs_retired(d->programs, which));
}

static void put_ports(const struct drive_local *d, cJSON *root)
{
    cJSON *o = cJSON_AddObjectToObject(root, "ports");

    put_number(o, "devices", d->pool.haproxy.port);
    put_number(o, "connectProxy", d->pool.connect_proxy.port);
    put_number(o, "connectProxyMetrics", d->pool.connect_proxy.metrics_port);
    put_number(o, "state", d->pool.state_port);
}

/* Every sidecar has its own view; one that gets through shows that the API is well. */
static bool api_is_sane(const struct drive_local *d)
{
    for (size_t i = 0; i < d->count; i++) {
        const struct sidecar_status *s = instance_status(d->items[i]);
        if (s != NULL && s->api_sane) {
            return true;
        }
    }
    return false;
}

/* As the first one found that has asked. NULL: none has. */
static const char *api_why(const struct drive_local *d)
{
    for (size_t i = 0; i < d->count; i++) {
        const struct sidecar_status *s = instance_status(d->items[i]);
        if (s != NULL && s->api_why[0] != '\0') {
            return s->api_why;
        }
    }
    return NULL;
}

/* The state directory is full or read-only, as one instance found. "": none did. */
static const char *unsaved_service_instance(const struct drive_local *d)
{
    const char *why = "";

    for (size_t i = 0; i < d->count && why[0] == '\0'; i++) {
        why = instance_unsaved(d->items[i]);
    }
    return why;
}

char *drive_local_status(const struct drive_local *d)
{
    cJSON *root = cJSON_CreateObject();

    cJSON_AddStringToObject(root, "pool", d->pool.name);
    put_number(root, "replicas", d->pool.replicas);
    put_number(root, "ready", d->plan.ready);
    cJSON_AddBoolToObject(root, "available", d->available);
    put_text_or_null(root, "unavailable", d->unavailable);
    cJSON_AddBoolToObject(root, "progressing", !d->begun || d->plan.progressing);
    cJSON_AddBoolToObject(root, "stopping", d->stopping);
    cJSON *instances = cJSON_AddArrayToObject(root, "instances");
    for (size_t i = 0; i < d->count; i++) {
        put_instance(d, instances, d->items[i]);
    }
    cJSON *programs = cJSON_AddArrayToObject(root, "programs");
    for (int p = 0; p < LOCAL_PROGRAMS; p++) {
        put_program(d, programs, (enum local_program)p);
    }
    put_ports(d, root);
    cJSON_AddBoolToObject(root, "apiSane", api_is_sane(d));
    put_text_or_null(root, "apiWhy", api_is_sane(d) ? NULL : api_why(d));
    put_number(root, "burialsPending", (int64_t)burials_count_pending(d->burials));
    put_text_or_null(root, "burialsWhy", burials_why(d->burials));
    put_text_or_null(root, "serversWhy", d->members != NULL ? members_why(d->members) : NULL);
    put_text_or_null(root, "firewallWhy",
                     wall_is_without_limits(d->wall) ? "bandwidth limits are not available here"
                                                     : wall_why(d->wall));
    put_text_or_null(root, "degraded", d->plan.degraded);
    put_text_or_null(root, "stateFileWhy", d->unsaved[0] != '\0' ? d->unsaved : d->unrefreshed);
    put_text_or_null(root, "certificatesWhy", d->uncertified);
    put_text_or_null(root, "stateDirWhy", unsaved_service_instance(d));
    put_text_or_null(root, "notice", d->notice);
    char *text = cJSON_PrintUnformatted(root);
    if (text == NULL) {
        abort(); /* out of memory */
    }
    cJSON_Delete(root);
    return text;
}
