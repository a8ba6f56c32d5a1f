/* How a pool on this machine begins and ends: what an earlier controller left is adopted or ended.
 */
#include "common/log.h"
#include "common/metrics.h"
#include "controller/balancer/haproxy_config.h"
#include "controller/pool/drive_local_priv.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static bool is_alive(void *arg, uint32_t index, const char *epoch)
{
    struct instance *i = drive_local_find(arg, index);

    return i != NULL && strcmp(instance_record(i)->epoch, epoch) == 0;
}

static bool is_of_this_boot(const struct drive_local *d, const struct local_state *before)
{
    return strcmp(before->boot.text, d->state.boot.text) == 0;
}

/* Whose processes are all gone is over: the API is told, the index is free. */
static void adopt_instances(struct drive_local *d, const struct local_state *before)
{
    struct local_instance record;

    for (size_t n = 0; n < before->instance_count; n++) {
        bool running = false;
        record = before->instances[n];
        int64_t epoch_ms = strtoll(record.epoch, NULL, 10);
        if (!is_of_this_boot(d, before)) {
            record.openvpn.id.pid = record.sidecar.id.pid = 0;
        }
        struct instance *i = instance_adopt(&d->instance_host, &record, &running);
        d->last_epoch_ms = epoch_ms > d->last_epoch_ms ? epoch_ms : d->last_epoch_ms;
        if (running) {
            log_info("goes on running", "index", NUM(record.index), "phase",
                     index_phase_name(record.phase), "openvpn", NUM(record.openvpn.id.pid),
                     "sidecar", NUM(record.sidecar.id.pid), NULL);
            drive_local_insert(d, i);
            continue;
        }
        log_info("its processes are gone", "index", NUM(record.index), NULL);
        instance_learn_record(i);
        instance_remove_files(i);
        instance_close(i);
    }
}

/* What a state file of this boot names. */
static void adopt(struct drive_local *d, const struct local_state *before)
{
    bool same_boot = is_of_this_boot(d, before);

    adopt_instances(d, before);
    if (same_boot && d->count > 0) {
        memcpy(d->state.freed, before->freed, sizeof(before->freed));
        d->state.freed_count = before->freed_count;
        d->state.pool_not_before_ms = before->pool_not_before_ms;
    }
    local_programs_adopt(d->programs, same_boot ? before->programs : d->state.programs);
    d->adopted = true;
}

/* And what it does not. */
static void end_others(struct drive_local *d, const struct local_state *before)
{
    struct local_programs_before programs = {.known = is_of_this_boot(d, before),
                                             .instances = d->count > 0};

    local_programs_end_others(d->programs, &programs);
    (void)drive_local_end_strays(d);
}

/* Is anything there that a controller that ended now would leave alone? */
static bool is_running(const struct drive_local *d)
{
    bool running = d->count > 0;

    for (int p = 0; p < LOCAL_PROGRAMS; p++) {
        running |= local_programs_state(d->programs, (enum local_program)p) == KEEPER_RUNNING;
    }
    return running;
}

/* Nothing begins without its certificates; what runs has those that it began with. */
static int certify(struct drive_local *d, struct err *err)
{
    struct err why;
    int r = drive_local_certify(d, &why);

    if (r < 0 && !is_running(d)) {
        return err_text(err, r, "%s", why.text);
    }
    if (r < 0) {
        log_error("what was adopted goes on with the certificates that it has", "why", why.text,
                  NULL);
    }
    return 0;
}

static void fail(struct drive_local *d, const char *why)
{
    snprintf(d->failed, sizeof(d->failed), "%s", why);
    d->ended = true;
    loop_timer_start(d->stopped_timer, 0, 0);
}

/* Once what is in the way has gone and the wall stands; instances that run already stand behind the
 * wall that is there. */
void drive_local_begin(struct drive_local *d)
{
    struct err err;

    if (d->begun || d->ended || d->strays_left > 0 || (!wall_settled(d->wall) && d->count == 0) ||
        drive_local_end_strays(d)) {
        return;
    }
    drive_local_remove_leftovers(d);
    if (local_programs_refresh(d->programs, &err) < 0) {
        if (!is_running(d)) {
            fail(d, err.text);
            return;
        }
        log_error("what was adopted goes on with its settings", "why", err.text, NULL);
        snprintf(d->unrefreshed, sizeof(d->unrefreshed), "%s", err.text);
    }
    burials_gone_unless(d->burials, is_alive, d); /* now nobody reports under these ids any more */
    d->begun = true;
    d->begun_ms = clock_monotonic_ms();
    drive_local_save(d);
    drive_local_round_soon(d);
}

/* The first run of nft tells whether we can do anything at all. */
static void on_wall(void *arg)
{
    struct drive_local *d = arg;

    if (!d->begun && wall_why(d->wall)[0] != '\0' && d->count == 0) {
        fail(d, wall_why(d->wall));
        return;
    }
    drive_local_begin(d);
    drive_local_round_soon(d);
}

static void on_program(void *arg, enum local_program which)
{
    struct drive_local *d = arg;

    if (which == LOCAL_HAPROXY) {
        if (d->members != NULL) {
            members_sync(d->members);
        }
    } else if (which == LOCAL_STATE) {
        roster_again(d->roster);
    }
    drive_local_round_soon(d);
}

/* --- metrics --- */

static struct phase_gauge {
    struct drive_local *owner;
    enum index_phase phase;
    struct metric metric;
} gauges[INDEX_BURYING + 1];

static double read_count(void *arg)
{
    const struct phase_gauge *g = arg;
    size_t count = 0;

    for (size_t i = 0; g->owner != NULL && i < g->owner->count; i++) {
        count += instance_record(g->owner->items[i])->phase == g->phase;
    }
    return (double)count;
}

static void register_metrics(struct drive_local *d)
{
    for (int p = INDEX_STARTING; p <= INDEX_BURYING; p++) {
        struct phase_gauge *g = &gauges[p];
        bool registered = g->metric.name != NULL;
        g->owner = d;
        g->phase = (enum index_phase)p;
        if (!registered) {
            g->metric = (struct metric){
                .name = "vpn_instances",
                .labels = xasprintf("phase=\"%s\"", index_phase_name(g->phase)),
                .help = "Instances by phase.",
                .kind = METRIC_GAUGE,
                .read = read_count,
                .arg = g,
            };
            metrics_register(&g->metric);
        }
    }
}

/* --- from outside --- */

static void on_stopped_timer(void *arg)
{
    struct drive_local *d = arg;

    d->options.on_stopped(d->options.arg);
}

static void make_hosts(struct drive_local *d)
{
    d->instance_host = (struct instance_host){
        .loop = d->loop,
        .http = d->http,
        .burials = d->burials,
        .pool = &d->pool,
        .paths = d->options.paths,
        .tools = d->options.tools,
        .save = drive_local_save,
        .on_change = drive_local_round_soon,
        .arg = d,
    };
    d->programs_host = (struct local_programs_host){
        .loop = d->loop,
        .pool = &d->pool,
        .paths = d->options.paths,
        .tools = d->options.tools,
        .save = drive_local_save,
        .on_change = on_program,
        .arg = d,
    };
}

/* *ret: what the last controller wrote, or nothing. */
static int load_state(struct drive_local *d, struct local_state *ret, struct err *err)
{
    int r = local_state_load(d->options.paths->state_file, ret, err);

    if (r == -EPROTO || r == -EMSGSIZE || r == -EINVAL) { /* its processes end as strays */
        log_error("the state file is set aside as .bad", "why", err->text, NULL);
        file_set_aside(d->options.paths->state_file);
        r = -ENOENT;
    }
    if (r == -ENOENT) {
        *ret = (struct local_state){0};
        return 0;
    }
    if (r == 0 && strcmp(ret->pool, d->pool.name) != 0 && ret->instance_count > 0 &&
        strcmp(ret->boot.text, d->state.boot.text) == 0) {
        r = err_text(err, -EBUSY, "the instances of pool '%s' are in %s: stop that pool first",
                     ret->pool, d->options.paths->runtime_dir);
    }
    return r;
}

static int open_parts(struct drive_local *d, struct err *err)
{
    AUTO(str) char *burials = xasprintf("%s/%s.json", d->options.paths->state_dir, d->pool.name);
    struct http_client_options http = {.max_in_flight = 64};
    struct members_options members = {
        .socket_path = d->options.paths->haproxy_socket,
        .backend = HAPROXY_BACKEND,
        .on_change = drive_local_round_soon,
        .arg = d,
    };
    int r = http_client_new(d->loop, &http, &d->http, err);

    if (r == 0) {
        r = burials_open(d->loop, burials, d->options.api, drive_local_round_soon, d, &d->burials,
                         err);
    }
    if (r < 0) {
        return r;
    }
    make_hosts(d);
    d->programs = local_programs_new(&d->programs_host);
    d->members = members_new(d->loop, &members);
    d->health = local_health_new(&(struct local_health_options){.loop = d->loop,
                                                                .http = d->http,
                                                                .programs = d->programs,
                                                                .pool = &d->pool,
                                                                .paths = d->options.paths,
                                                                .on_change = drive_local_round_soon,
                                                                .arg = d});
    d->roster = roster_new(d->loop, d->http, &d->options.keys);
    d->wall = wall_new(d->loop, d->options.tools->paths[TOOL_NFT], d->pool.name, on_wall, d);
    return drive_local_find_addresses(d, &d->pool, err);
}

static struct drive_local *alloc(struct loop *loop, const struct drive_local_options *options,
                                 struct pool_object *pool)
{
    struct drive_local *d = xcalloc(1, sizeof(*d));

    d->loop = loop;
    d->options = *options;
    d->pool = *pool;
    *pool = (struct pool_object){0};
    d->servers = xcalloc(1, sizeof(*d->servers));
    d->servers_last = xcalloc(1, sizeof(*d->servers_last));
    d->timer = loop_timer_new(loop, drive_local_round, d);
    d->stopped_timer = loop_timer_new(loop, on_stopped_timer, d);
    d->state.boot = process_boot_id();
    snprintf(d->state.pool, sizeof(d->state.pool), "%s", d->pool.name);
    snprintf(d->unavailable, sizeof(d->unavailable), "it is starting");
    return d;
}

int drive_local_open(struct loop *loop, const struct drive_local_options *options,
                     struct pool_object *pool, struct drive_local **ret, struct err *err)
{
    struct drive_local *d = alloc(loop, options, pool);
    struct local_state *before = xcalloc(1, sizeof(*before));
    int r = load_state(d, before, err);

    if (r == 0) {
        r = open_parts(d, err);
    }
    if (r == 0) {
        adopt(d, before);
        r = certify(d, err);
    }
    if (r == 0) {
        register_metrics(d);
        end_others(d, before);
        drive_local_follow_wall(d);
        *ret = d;
    } else {
        drive_local_close(d);
    }
    free(before);
    return r;
}

void drive_local_close(struct drive_local *d)
{
    if (d == NULL) {
        return;
    }
    for (int p = INDEX_STARTING; p <= INDEX_BURYING; p++) {
        gauges[p].owner = NULL;
    }
    for (size_t i = 0; i < d->count; i++) {
        instance_close(d->items[i]);
    }
    drive_local_forget_strays(d);
    local_health_close(d->health);
    local_programs_close(d->programs);
    members_close(d->members);
    roster_close(d->roster);
    wall_close(d->wall);
    burials_close(d->burials);
    http_client_close(d->http);
    loop_timer_close(d->timer);
    loop_timer_close(d->stopped_timer);
    pool_object_clear(&d->pool);
    free(d->servers);
    free(d->servers_last);
    free(d->self_addresses);
    free(d->notice);
    free(d);
}

const char *drive_local_failed(const struct drive_local *d)
{
    return d->failed[0] != '\0' ? d->failed : NULL;
}
