#include "controller/pool/instance.h"

#include "common/json.h"
#include "common/log.h"
#include "controller/pool/local_output.h"
#include "controller/pool/openvpn_args.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SIDECAR_SILENT_MS 10000 /* a sidecar that says nothing for so long hangs */
#define LINK_DOWN_MS 30000      /* and so does an OpenVPN that its sidecar can not reach */
#define OPENVPN_GRACE_MS 3000   /* it disconnects its clients in a tenth of a second */
#define SIDECAR_GRACE_MS 11500  /* it reports for up to 10 s */
#define RECORD_FILE_MAX ((size_t)65536)

struct instance {
    const struct instance_host *host;
    struct local_instance record;
    struct keeper *openvpn, *sidecar;
    struct local_output *output; /* of OpenVPN; NULL: there could be no pipe, it prints to ours */
    struct sidecar_client *client;
    struct openvpn_args openvpn_args; /* during a start only */
    struct args sidecar_args;         /* during a start only */
    bool openvpn_tried;               /* a start was asked for and has not come about yet */
    int64_t link_down_ms;             /* since when OpenVPN can not be reached, 0: it can */
    int64_t ready_ms;                 /* since when it is ready, 0: it is not */
    uint32_t sidecar_failures;        /* ends in a row that nobody asked for */
    bool sidecar_asked;               /* this end was asked for: new settings */
    int64_t sidecar_not_before_ms;
    char unsaved[ERR_TEXT_MAX]; /* why its service instance is not on disk; "": it is */
};

static void save(struct instance *i)
{
    struct err err;

    if (i->host->save(i->host->arg, &err) < 0) {
        log_error("state is not on disk", "why", err.text, NULL);
    }
}

static bool may_live(const struct instance *i)
{
    return i->record.phase == INDEX_STARTING || i->record.phase == INDEX_READY;
}

/* --- OpenVPN --- */

static void open_output(struct instance *i)
{
    AUTO(str) char *path = local_instance_path(i->host->paths, PATH_OUTPUT, i->record.index);
    struct err err;

    if (i->output == NULL && local_output_open(i->host->loop, path, local_tool_names[TOOL_OPENVPN],
                                               i->record.index, &i->output, &err) < 0) {
        log_warn("what OpenVPN prints goes straight to the log", "index", NUM(i->record.index),
                 "why", err.text, NULL);
    }
}

static const char *openvpn_complaint(void *arg)
{
    struct instance *i = arg;

    return i->output != NULL ? local_output_complaint(i->output) : NULL;
}

static int openvpn_command(void *arg, struct keeper_command *ret, struct err *err)
{
    struct instance *i = arg;
    const struct pool_object *pool = i->host->pool;
    AUTO(str)
    char *management = local_instance_path(i->host->paths, PATH_MANAGEMENT, i->record.index);
    AUTO(str) char *status = local_instance_path(i->host->paths, PATH_STATUS, i->record.index);
    struct openvpn_paths paths = {
        .program = i->host->tools->paths[TOOL_OPENVPN],
        .management = management,
        .status_file = status,
        .ca_file = pool->openvpn.tls.ca_file,
        .cert_file = pool->openvpn.tls.cert_file,
        .key_file = pool->openvpn.tls.key_file,
        .dh_file = pool->openvpn.tls.dh_file,
        .management_user = geteuid() == 0 ? "root" : NULL,
        .listen_address = pool_is_udp(pool) ? NULL : "127.0.0.1",
        .port = pool_is_udp(pool) ? pool->haproxy.port
                                  : (uint16_t)(pool->local.base_port + i->record.index),
    };
    int r = local_instance_ports_check(pool, TOOL_OPENVPN, i->record.index, err);

    if (r < 0 ||
        (r = openvpn_args_make(pool, i->record.index, &paths, &i->openvpn_args, err)) < 0) {
        return r;
    }
    open_output(i);
    if (i->output != NULL) {
        (void)local_output_complaint(i->output); /* of an earlier life */
        ret->output_fd = local_output_fd(i->output);
    }
    assert(i->openvpn_args.count < KEEPER_ARGS_MAX);
    memcpy(ret->argv, i->openvpn_args.argv, i->openvpn_args.count * sizeof(char *));
    ret->program = i->host->tools->paths[TOOL_OPENVPN];
    ret->envp = i->host->tools->env[TOOL_OPENVPN];
    pool_object_instance_hash(pool, i->record.revision);
    return 0;
}

static void openvpn_started(void *arg)
{
    struct instance *i = arg;

    openvpn_args_clear(&i->openvpn_args);
}

/* An end that nobody asked for; the planner waits with the next start. */
static void count_failure(struct instance *i)
{
    i->record.failures++;
    i->record.not_before_ms = clock_monotonic_ms() + plan_backoff_ms(i->record.failures);
    log_warn("OpenVPN ended", "index", NUM(i->record.index), "how", keeper_last_end(i->openvpn),
             "failures", NUM(i->record.failures), NULL);
}

static int openvpn_record(void *arg, struct err *err)
{
    struct instance *i = arg;
    bool ran = i->record.openvpn.id.pid != 0;

    i->record.openvpn = keeper_record(i->openvpn);
    if (i->record.openvpn.id.pid != 0) {
        i->openvpn_tried = false;
        i->link_down_ms = clock_monotonic_ms();
    } else if (ran && may_live(i)) {
        count_failure(i);
    }
    return i->host->save(i->host->arg, err);
}

static void on_openvpn(void *arg)
{
    struct instance *i = arg;

    if (i->openvpn_tried && keeper_state(i->openvpn) == KEEPER_IDLE) { /* not even started */
        i->openvpn_tried = false;
        count_failure(i);
        save(i);
    }
    sidecar_client_poll(i->client);
    i->host->on_change(i->host->arg);
}

/* --- sidecar --- */

static int sidecar_command(void *arg, struct keeper_command *ret, struct err *err)
{
    struct instance *i = arg;
    int r = local_instance_ports_check(i->host->pool, TOOL_SIDECAR, i->record.index, err);

    if (r < 0 ||
        (r = local_sidecar_args(i->host->pool, i->host->paths, i->record.index, i->record.epoch,
                                i->host->register_address, &i->sidecar_args, err)) < 0) {
        return r;
    }
    memcpy(ret->argv, i->sidecar_args.items, i->sidecar_args.count * sizeof(char *));
    ret->program = i->host->tools->paths[TOOL_SIDECAR];
    ret->envp = i->host->tools->env[TOOL_SIDECAR];
    args_revision(&i->sidecar_args, i->record.sidecar_revision);
    return 0;
}

static void sidecar_started(void *arg)
{
    struct instance *i = arg;

    args_clear(&i->sidecar_args);
}

static int sidecar_record(void *arg, struct err *err)
{
    struct instance *i = arg;

    i->record.sidecar = keeper_record(i->sidecar);
    return i->host->save(i->host->arg, err);
}

static void on_sidecar(void *arg)
{
    struct instance *i = arg;

    sidecar_client_reset(i->client);
    if (keeper_state(i->sidecar) == KEEPER_RUNNING) {
        sidecar_client_poll(i->client);
    } else if (i->sidecar_asked) {
        i->sidecar_asked = false;
    } else if (may_live(i)) {
        /* The first start follows at once: devices wait. */
        i->sidecar_not_before_ms = clock_monotonic_ms() + plan_backoff_ms(i->sidecar_failures++);
        log_warn("sidecar ended", "index", NUM(i->record.index), "how", keeper_last_end(i->sidecar),
                 NULL);
    }
    i->host->on_change(i->host->arg);
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
    save(i);
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
    struct keeper_options openvpn = {.name = local_tool_names[TOOL_OPENVPN],
                                     .index = record->index,
                                     .once = true,
                                     .command = openvpn_command,
                                     .record = openvpn_record,
                                     .started = openvpn_started,
                                     .complaint = openvpn_complaint,
                                     .on_change = on_openvpn,
                                     .arg = i};
    struct keeper_options sidecar = {.name = local_tool_names[TOOL_SIDECAR],
                                     .index = record->index,
                                     .once = true,
                                     .command = sidecar_command,
                                     .record = sidecar_record,
                                     .started = sidecar_started,
                                     .on_change = on_sidecar,
                                     .arg = i};

    i->host = host;
    i->record = *record;
    i->openvpn = keeper_new(host->loop, &openvpn);
    i->sidecar = keeper_new(host->loop, &sidecar);
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
        open_output(i);
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

/* An answer of another epoch's sidecar, one that is just ending, says nothing about this one. */
const struct sidecar_status *instance_status(const struct instance *i)
{
    const struct sidecar_status *s = sidecar_client_status(i->client);

    return s != NULL && keeper_state(i->sidecar) == KEEPER_RUNNING &&
                   strcmp(s->epoch, i->record.epoch) == 0
               ? s
               : NULL;
}

bool instance_sidecar_answers(const struct instance *i)
{
    return instance_status(i) != NULL &&
           sidecar_client_silent_ms(i->client) < SIDECAR_SILENT_MS / 2;
}

/* --- what the planner sees --- */

static enum observed_process observe_openvpn(const struct instance *i, int64_t now_ms)
{
    if (keeper_state(i->openvpn) == KEEPER_IDLE) {
        return PROCESS_ABSENT;
    }
    bool unreachable = instance_sidecar_answers(i) && i->link_down_ms != 0 &&
                       now_ms - i->link_down_ms > LINK_DOWN_MS;
    return unreachable ? PROCESS_HUNG : PROCESS_RUNNING;
}

static enum observed_process observe_sidecar(const struct instance *i)
{
    if (keeper_state(i->sidecar) == KEEPER_IDLE) {
        return PROCESS_ABSENT;
    }
    return sidecar_client_silent_ms(i->client) > SIDECAR_SILENT_MS ? PROCESS_HUNG : PROCESS_RUNNING;
}

static bool is_ready(const struct instance *i)
{
    const struct sidecar_status *s = instance_status(i);

    return s != NULL && instance_sidecar_answers(i) && s->phase == SIDECAR_READY &&
           s->link == SIDECAR_LINK_LIVE && keeper_state(i->openvpn) == KEEPER_RUNNING;
}

void instance_observe(const struct instance *i, int64_t now_ms, const char *current_revision,
                      struct observed_index *ret)
{
    const struct sidecar_status *s = instance_status(i);
    const struct local_instance *r = &i->record;

    *ret = (struct observed_index){
        .index = r->index,
        .phase = r->phase,
        .phase_since_ms = r->phase_since_ms,
        .openvpn = observe_openvpn(i, now_ms),
        .sidecar = observe_sidecar(i),
        .ready = is_ready(i),
        .drained = s != NULL && s->phase == SIDECAR_DRAINED,
        .current = r->revision[0] == '\0' || strcmp(r->revision, current_revision) == 0,
        .buried = !burials_pending(i->host->burials, r->index, r->epoch),
        .sessions = s != NULL ? s->sessions : 0,
        .failures = r->failures,
        .not_before_ms = r->not_before_ms,
        .leaving_for_good = r->phase >= INDEX_DRAINING,
        .linked = s != NULL && s->link == SIDECAR_LINK_LIVE,
        .sidecar_not_before_ms = i->sidecar_not_before_ms,
    };
}

/* --- for people --- */

void instance_why(const struct instance *i, char ret[ERR_TEXT_MAX])
{
    const char *openvpn = keeper_last_end(i->openvpn), *sidecar = keeper_last_end(i->sidecar);

    ret[0] = '\0';
    if (!may_live(i) || is_ready(i)) {
        return;
    }
    if (keeper_state(i->openvpn) == KEEPER_IDLE && openvpn[0] != '\0') {
        snprintf(ret, ERR_TEXT_MAX, "OpenVPN: %.480s", openvpn);
    } else if (keeper_state(i->sidecar) == KEEPER_IDLE && sidecar[0] != '\0') {
        snprintf(ret, ERR_TEXT_MAX, "vpn-sidecar: %.480s", sidecar);
    } else if (observe_openvpn(i, clock_monotonic_ms()) == PROCESS_HUNG) {
        snprintf(ret, ERR_TEXT_MAX, "OpenVPN does not answer its sidecar");
    } else if (observe_sidecar(i) == PROCESS_HUNG) {
        snprintf(ret, ERR_TEXT_MAX, "vpn-sidecar does not answer");
    }
}

const char *instance_unsaved(const struct instance *i)
{
    return i->unsaved;
}

/* --- what the planner says --- */

static void enter(struct instance *i, enum index_phase phase, int64_t now_ms)
{
    if (i->record.phase != phase) {
        i->record.phase = phase;
        i->record.phase_since_ms = now_ms;
    }
    save(i);
}

/* The sidecar may have registered after it was last asked. */
void instance_learn_record(struct instance *i)
{
    AUTO(str) char *path = local_instance_path(i->host->paths, PATH_RECORD, i->record.index);
    AUTO(str) char *text = NULL;
    AUTO(json) cJSON *root = NULL;
    const char *epoch = "";
    int64_t id = 0;
    size_t len = 0;

    if (file_read(path, RECORD_FILE_MAX, &text, &len, NULL) == 0 &&
        json_parse(text, len, &root, NULL) == 0 && json_str(root, "epoch", &epoch, NULL) == 0 &&
        strcmp(epoch, i->record.epoch) == 0 &&
        json_int(root, "serviceId", 1, (int64_t)1 << 52, &id, NULL) == 0) {
        learn_service_id(i, id);
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
        keeper_kill(i->openvpn);
        break;
    case PLAN_KILL_SIDECAR:
        keeper_kill(i->sidecar);
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
    bool ready = is_ready(i);

    i->ready_ms = !ready ? 0 : i->ready_ms == 0 ? now_ms : i->ready_ms;
    if (ready && now_ms - i->ready_ms >= PLAN_HEALTHY_MS) {
        i->sidecar_failures = 0;
        if (i->record.failures > 0) {
            i->record.failures = 0;
            save(i);
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

    if (keeper_state(i->sidecar) != KEEPER_RUNNING || !may_live(i) ||
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
