#include "controller/pool/instance.h"

#include "common/json.h"
#include "common/log.h"
#include "controller/pool/instance_priv.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define RECORD_FILE_MAX ((size_t)65536)

void instance_save(struct instance *i)
{
    i->host->save(i->host->arg);
}

/* Each status of the sidecar's comes here: what could not be written is tried again. */
static void learn_service_id(struct instance *i, int64_t service_id)
{
    struct err err;

    if (service_id == 0 || (service_id == i->record.service_id && i->unsaved[0] == '\0')) {
        return;
    }
    i->record.service_id = service_id;
    bool told = i->unsaved[0] != '\0';
    i->unsaved[0] = '\0';
    if (burials_live(i->host->burials, i->record.index, i->record.epoch, service_id, &err) < 0) {
        snprintf(i->unsaved, sizeof(i->unsaved), "%s", err.text);
        if (!told) {
            log_error("a service instance is not on disk", "why", err.text, NULL);
        }
    }
    instance_save(i);
}

static void on_status(void *arg)
{
    struct instance *i = arg;
    const struct sidecar_status *s = instance_status(i);

    if (s != NULL) {
        learn_service_id(i, s->service_id);
        if (s->link == SIDECAR_LINK_LIVE) {
            i->link_down_ms = 0;
        } else if (i->link_down_ms == 0) {
            i->link_down_ms = clock_monotonic_ms();
        }
    }
    i->host->on_change(i->host->arg);
}

/* --- life --- */

static struct instance *instance_alloc(const struct instance_host *host,
                                       const struct local_instance *record)
{
    struct instance *i = xcalloc(1, sizeof(*i));
    AUTO(str) char *socket = local_instance_path(host->paths, PATH_SIDECAR, record->index);

    i->host = host;
    i->record = *record;
    instance_programs_open(i);
    i->client = sidecar_client_new(host->loop, host->http, socket, on_status, i);
    return i;
}

struct instance *instance_new(const struct instance_host *host, uint32_t index, const char *epoch)
{
    struct local_instance record = {
        .index = index, .phase = INDEX_STARTING, .phase_since_ms = clock_monotonic_ms()};

    snprintf(record.epoch, sizeof(record.epoch), "%s", epoch);
    return instance_alloc(host, &record);
}

static void drain(struct instance *i)
{
    const struct pool_drain *d = &i->host->pool->drain;

    sidecar_client_drain(i->client, d->rate_per_minute, d->timeout_s);
}

struct instance *instance_adopt(const struct instance_host *host,
                                const struct local_instance *record, bool *running)
{
    struct instance *i = instance_alloc(host, record);
    bool openvpn = keeper_adopt(i->openvpn, &record->openvpn);
    bool sidecar = keeper_adopt(i->sidecar, &record->sidecar);

    i->record.openvpn = keeper_record(i->openvpn);
    i->record.sidecar = keeper_record(i->sidecar);
    if (openvpn) {
        instance_output_open(i);
        i->link_down_ms = clock_monotonic_ms();
    }
    if (sidecar) {
        sidecar_client_poll(i->client);
    }
    if (record->phase == INDEX_DRAINING) {
        drain(i);
    }
    *running = openvpn || sidecar;
    return i;
}

void instance_close(struct instance *i)
{
    if (i != NULL) {
        sidecar_client_close(i->client);
        keeper_close(i->openvpn);
        keeper_close(i->sidecar);
        local_output_close(i->output);
        free(i);
    }
}

const struct local_instance *instance_record(const struct instance *i)
{
    return &i->record;
}

/* --- what the planner says --- */

static void enter(struct instance *i, enum index_phase phase, int64_t now_ms)
{
    if (i->record.phase != phase) {
        i->record.phase = phase;
        i->record.phase_since_ms = now_ms;
    }
    instance_save(i);
}

struct record { /* of a sidecar, in its own file */
    char epoch[LOCAL_EPOCH_MAX + 1];
    int64_t service_id;
};

static bool read_record(const struct instance_host *host, uint32_t index, struct record *ret)
{
    AUTO(str) char *path = local_instance_path(host->paths, PATH_RECORD, index);
    AUTO(str) char *text = NULL;
    AUTO(json) cJSON *root = NULL;
    const char *epoch = "";
    size_t len = 0;

    if (file_read(path, RECORD_FILE_MAX, &text, &len, NULL) < 0 ||
        json_parse(text, len, &root, NULL) < 0 || json_str(root, "epoch", &epoch, NULL) < 0 ||
        json_int(root, "serviceId", 1, (int64_t)1 << 52, &ret->service_id, NULL) < 0 ||
        strlen(epoch) > LOCAL_EPOCH_MAX) {
        return false;
    }
    snprintf(ret->epoch, sizeof(ret->epoch), "%s", epoch);
    return true;
}

/* The sidecar may have registered after it was last asked. */
void instance_learn_record(struct instance *i)
{
    struct record r;

    if (read_record(i->host, i->record.index, &r) && strcmp(r.epoch, i->record.epoch) == 0) {
        learn_service_id(i, r.service_id);
    }
}

/* In order: OpenVPN first, so that the sidecar sees its clients go and reports them. */
static void go_on_terminating(struct instance *i)
{
    if (keeper_state(i->openvpn) != KEEPER_IDLE) {
        if (keeper_state(i->openvpn) != KEEPER_STOPPING) {
            keeper_stop(i->openvpn, OPENVPN_GRACE_MS);
        }
    } else if (keeper_state(i->sidecar) == KEEPER_RUNNING) {
        keeper_stop(i->sidecar, SIDECAR_GRACE_MS);
    }
}

void instance_carry_out(struct instance *i, const struct plan_action *action, int64_t now_ms)
{
    switch (action->kind) {
    case PLAN_START_OPENVPN:
        if (keeper_state(i->openvpn) == KEEPER_IDLE) {
            i->openvpn_tried = true;
            keeper_start(i->openvpn);
        }
        break;
    case PLAN_START_SIDECAR:
        if (now_ms >= i->sidecar_not_before_ms && keeper_state(i->sidecar) == KEEPER_IDLE) {
            keeper_start(i->sidecar);
        }
        break;
    case PLAN_KILL_OPENVPN:
        keeper_kill(i->openvpn, action->reason);
        break;
    case PLAN_KILL_SIDECAR:
        keeper_kill(i->sidecar, action->reason);
        break;
    case PLAN_SERVE:
    case PLAN_UNSERVE:
        i->record.serving = action->kind == PLAN_SERVE;
        enter(i, action->kind == PLAN_SERVE ? INDEX_READY : i->record.phase, now_ms);
        break;
    case PLAN_DRAIN:
        enter(i, INDEX_DRAINING, now_ms);
        drain(i);
        break;
    case PLAN_TERMINATE:
    case PLAN_GIVE_UP:
        enter(i, INDEX_TERMINATING, now_ms);
        go_on_terminating(i);
        break;
    case PLAN_BURY:
        instance_learn_record(i);
        enter(i, INDEX_BURYING, now_ms);
        burials_gone(i->host->burials, i->record.index, i->record.epoch);
        break;
    case PLAN_RESERVE:
    case PLAN_FREE:
        assert(!"its owner's");
    }
}

void instance_tick(struct instance *i, int64_t now_ms)
{
    bool ready = instance_is_ready(i);

    i->ready_ms = !ready ? 0 : i->ready_ms == 0 ? now_ms : i->ready_ms;
    if (ready && now_ms - i->ready_ms >= PLAN_HEALTHY_MS) {
        i->sidecar_failures = 0;
        if (i->record.failures > 0) {
            i->record.failures = 0;
            instance_save(i);
        }
    }
    if (i->record.phase == INDEX_TERMINATING) {
        go_on_terminating(i);
    }
}

bool instance_refresh_sidecar(struct instance *i)
{
    struct args now = {0};
    char revision[17];

    if (keeper_state(i->sidecar) != KEEPER_RUNNING || !instance_may_live(i) ||
        local_sidecar_args(i->host->pool, i->host->paths, i->record.index, i->record.epoch,
                           i->host->register_address, &now, NULL) < 0) {
        args_clear(&now);
        return false;
    }
    args_revision(&now, revision);
    args_clear(&now);
    if (strcmp(revision, i->record.sidecar_revision) == 0) {
        return false;
    }
    log_info("the sidecar takes over new settings", "index", NUM(i->record.index), NULL);
    i->sidecar_asked = true;
    keeper_stop(i->sidecar, SIDECAR_GRACE_MS);
    return true;
}

void instance_remove_files(const struct instance *i)
{
    for (int what = 0; what < INSTANCE_PATHS; what++) {
        AUTO(str)
        char *path = local_instance_path(i->host->paths, (enum instance_path)what, i->record.index);
        unlink(path);
    }
}

void instance_remove_leftovers(const struct instance_host *host, uint32_t index)
{
    struct record r;
    bool known = read_record(host, index, &r);
    struct instance *i = instance_new(host, index, known ? r.epoch : "");

    if (known) {
        learn_service_id(i, r.service_id); /* now it is one of those that are buried */
    }
    instance_remove_files(i);
    instance_close(i);
}

bool instance_server(const struct instance *i, struct server *ret)
{
    enum index_phase phase = i->record.phase;

    if (pool_is_udp(i->host->pool) ||
        !(phase == INDEX_READY || phase == INDEX_DRAINING ||
          (phase == INDEX_TERMINATING && keeper_state(i->openvpn) != KEEPER_IDLE))) {
        return false;
    }
    *ret = (struct server){
        .mode = phase == INDEX_READY && i->record.serving ? SERVER_READY : SERVER_DRAIN,
    };
    snprintf(ret->name, sizeof(ret->name), "vpn%u", i->record.index);
    snprintf(ret->address, sizeof(ret->address), "127.0.0.1:%u",
             i->host->pool->local.base_port + i->record.index);
    return true;
}
