/* An instance's two programs: how they start, and what follows from their ends. */
#include "common/log.h"
#include "controller/pool/instance_priv.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* --- OpenVPN --- */

void instance_output_open(struct instance *i)
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
    instance_output_open(i);
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
    log_warn(keeper_was_started(i->openvpn) ? "OpenVPN ended" : "OpenVPN cannot be started",
             "index", NUM(i->record.index), "how", keeper_last_end(i->openvpn), "failures",
             NUM(i->record.failures), NULL);
}

static void openvpn_record(void *arg)
{
    struct instance *i = arg;
    bool ran = i->record.openvpn.id.pid != 0;

    i->record.openvpn = keeper_record(i->openvpn);
    if (i->record.openvpn.id.pid != 0) {
        i->openvpn_tried = false;
        i->link_down_ms = clock_monotonic_ms();
    } else if (ran && instance_may_live(i)) {
        count_failure(i);
    }
    instance_save(i);
}

static void on_openvpn(void *arg)
{
    struct instance *i = arg;

    if (i->openvpn_tried && keeper_state(i->openvpn) == KEEPER_IDLE) { /* not even started */
        i->openvpn_tried = false;
        count_failure(i);
        instance_save(i);
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

static void sidecar_record(void *arg)
{
    struct instance *i = arg;

    i->record.sidecar = keeper_record(i->sidecar);
    instance_save(i);
}

static void on_sidecar(void *arg)
{
    struct instance *i = arg;

    sidecar_client_reset(i->client);
    if (keeper_state(i->sidecar) == KEEPER_RUNNING) {
        sidecar_client_poll(i->client);
    } else if (i->sidecar_asked) {
        i->sidecar_asked = false;
    } else if (instance_may_live(i)) {
        /* The first start follows at once: devices wait. */
        i->sidecar_not_before_ms = clock_monotonic_ms() + plan_backoff_ms(i->sidecar_failures++);
        log_warn(keeper_was_started(i->sidecar) ? "sidecar ended" : "sidecar cannot be started",
                 "index", NUM(i->record.index), "how", keeper_last_end(i->sidecar), NULL);
    }
    i->host->on_change(i->host->arg);
}

void instance_programs_open(struct instance *i)
{
    struct keeper_options openvpn = {.name = local_tool_names[TOOL_OPENVPN],
                                     .index = i->record.index,
                                     .once = true,
                                     .command = openvpn_command,
                                     .record = openvpn_record,
                                     .started = openvpn_started,
                                     .complaint = openvpn_complaint,
                                     .on_change = on_openvpn,
                                     .arg = i};
    struct keeper_options sidecar = {.name = local_tool_names[TOOL_SIDECAR],
                                     .index = i->record.index,
                                     .once = true,
                                     .command = sidecar_command,
                                     .record = sidecar_record,
                                     .started = sidecar_started,
                                     .on_change = on_sidecar,
                                     .arg = i};

    i->openvpn = keeper_new(i->host->loop, &openvpn);
    i->sidecar = keeper_new(i->host->loop, &sidecar);
}
