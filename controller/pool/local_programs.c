#include "controller/pool/local_programs.h"

#include "common/log.h"
#include "controller/pool/local_haproxy.h"
#include "controller/pool/local_output.h"
#include "controller/pool/local_strays.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define RETIRED_MAX 16   /* that may finish: one more ends the oldest */
#define RETIRED_SLOTS 64 /* with those that are on their way out */
#define STATE_GRACE_MS 5000
#define FINISH_MORE_MS 5000 /* than its own deadline */

struct program {
    struct local_programs *owner;
    enum local_program which;
    struct keeper *keeper;
    struct local_program_record record;
    struct args args; /* during a start only */
    char wanted[17];  /* revision of what it would be started with now */
    bool replace;     /* being stopped for another start */
};

struct retired { /* a predecessor that finishes what it has */
    struct local_programs *owner;
    enum local_program which;
    struct process *process; /* NULL: free slot */
    uint64_t number;         /* the oldest has the lowest */
    bool ending;             /* it may not finish */
};

struct local_programs {
    const struct local_programs_host *host;
    struct program items[LOCAL_PROGRAMS];
    struct retired retired[RETIRED_SLOTS];
    uint64_t retired_ever;
    struct local_output *output; /* of haproxy; NULL: there could be no pipe, it prints to ours */
    pid_t haproxy_old;           /* to take the sockets from at the next start; 0: none */
    bool stopping;
};

static const enum local_tool tools[LOCAL_PROGRAMS] = {
    [LOCAL_HAPROXY] = TOOL_HAPROXY,
    [LOCAL_STATE] = TOOL_STATE,
    [LOCAL_CONNECT_PROXY] = TOOL_CONNECT_PROXY,
};

/* --- settings --- */

static void make_args(const struct local_programs *p, enum local_program which,
                      const char *self_addresses, struct args *ret)
{
    switch (which) {
    case LOCAL_HAPROXY:
        local_haproxy_args(p->host->paths, p->haproxy_old, ret);
        break;
    case LOCAL_STATE:
        local_state_args(p->host->pool, p->host->paths, ret);
        break;
    case LOCAL_CONNECT_PROXY:
        local_connect_proxy_args(p->host->pool, p->host->paths, self_addresses, ret);
        break;
    case LOCAL_PROGRAMS:
        break;
    }
}

/* The machine's addresses come and go with containers and links: no reason to replace a proxy. */
static const char *lasting_addresses(const struct local_programs *p)
{
    return p->host->pool->local.register_interface != NULL ? p->host->self_addresses : "";
}

static void warn_of_descriptors(const struct local_programs *p)
{
    uint32_t wanted = p->host->pool->haproxy.max_connections;
    uint32_t most = local_haproxy_connections(wanted);

    if (most < wanted) {
        log_warn("haproxy may open too few descriptors for as many connections (ulimit -n)",
                 "wanted", NUM(wanted), "connections", NUM(most), NULL);
    }
}

/* haproxy's settings are in its file: written here, and only where it holds others: a controller
 * that adopts on a full disk needs no room. The only thing that can fail, so it comes first: then
 * nothing has changed. */
static int want_haproxy(struct local_programs *p, struct err *err)
{
    const struct local_programs_host *h = p->host;
    struct program *item = &p->items[LOCAL_HAPROXY];
    struct args args = {0};
    AUTO(buf) struct buf text;
    char wanted[17];

    buf_init(&text, HAPROXY_FILE_MAX);
    int r = local_haproxy_render(h->pool, h->paths, h->tools->user, &text, err);
    args_add(&args, buf_str(&text));
    args_revision(&args, wanted);
    args_clear(&args);
    if (r < 0 ||
        (strcmp(wanted, item->wanted) == 0 && access(h->paths->haproxy_config, F_OK) == 0)) {
        return r;
    }
    if (!file_holds(h->paths->haproxy_config, buf_str(&text))) {
        r = file_replace(h->paths->haproxy_config, buf_str(&text), 0600, err);
    }
    if (r == 0) {
        memcpy(item->wanted, wanted, sizeof(wanted));
        warn_of_descriptors(p);
    }
    return r;
}

static int find_wanted(struct local_programs *p, struct err *err)
{
    int r = pool_is_udp(p->host->pool) ? 0 : want_haproxy(p, err);

    for (int w = LOCAL_HAPROXY + 1; r == 0 && w < LOCAL_PROGRAMS; w++) {
        struct args args = {0};
        make_args(p, (enum local_program)w, lasting_addresses(p), &args);
        args_revision(&args, p->items[w].wanted);
        args_clear(&args);
    }
    return r;
}

/* --- one program --- */

/* haproxy's; ours speak as we do. */
static void open_output(struct local_programs *p)
{
    struct err err;

    if (p->output == NULL &&
        local_output_open(p->host->loop, p->host->paths->haproxy_output,
                          local_program_names[LOCAL_HAPROXY], 0, &p->output, &err) < 0) {
        log_warn("what haproxy prints goes straight to the log", "why", err.text, NULL);
    }
}

static const char *complaint(void *arg)
{
    const struct program *item = arg;
    struct local_output *output = item->owner->output;

    return item->which == LOCAL_HAPROXY && output != NULL ? local_output_complaint(output) : NULL;
}

static void lead_output(struct local_programs *p, struct keeper_command *ret)
{
    open_output(p);
    if (p->output != NULL) {
        (void)local_output_complaint(p->output); /* of an earlier life */
        ret->output_fd = local_output_fd(p->output);
    }
}

/* One that finishes behind it may still have the port: then the successor finds out by itself. */
static int check_ports(struct program *item, struct err *err)
{
    struct local_programs *p = item->owner;

    return local_programs_retired(p, item->which) > 0
               ? 0
               : local_program_ports_check(p->host->pool, item->which, err);
}

static int on_command(void *arg, struct keeper_command *ret, struct err *err)
{
    struct program *item = arg;
    struct local_programs *p = item->owner;
    const struct local_tools *t = p->host->tools;
    int r = check_ports(item, err);

    if (r < 0) {
        return r;
    }
    if (item->which == LOCAL_HAPROXY) {
        lead_output(p, ret);
    }
    make_args(p, item->which, p->host->self_addresses, &item->args);
    memcpy(ret->argv, item->args.items, item->args.count * sizeof(char *));
    ret->program = t->paths[tools[item->which]];
    ret->envp = t->env[tools[item->which]];
    ret->user = item->which == LOCAL_HAPROXY ? NULL : t->user; /* haproxy changes by itself */
    memcpy(item->record.revision, item->wanted, sizeof(item->wanted));
    return 0;
}

static void on_started(void *arg)
{
    struct program *item = arg;

    args_clear(&item->args);
    if (item->which == LOCAL_HAPROXY) {
        item->owner->haproxy_old = 0;
    }
}

static void on_record(void *arg)
{
    struct program *item = arg;

    item->record.process = keeper_record(item->keeper);
    item->owner->host->save(item->owner->host->arg);
}

static void on_change(void *arg)
{
    struct program *item = arg;

    if (item->replace && keeper_state(item->keeper) == KEEPER_IDLE) {
        item->replace = false;
        keeper_start(item->keeper);
    }
    item->owner->host->on_change(item->owner->host->arg, item->which);
}

struct local_programs *local_programs_new(const struct local_programs_host *host)
{
    struct local_programs *p = xcalloc(1, sizeof(*p));

    p->host = host;
    for (int w = 0; w < LOCAL_PROGRAMS; w++) {
        struct keeper_options options = {.name = local_program_names[w],
                                         .command = on_command,
                                         .record = on_record,
                                         .started = on_started,
                                         .complaint = complaint,
                                         .on_change = on_change,
                                         .arg = &p->items[w]};
        p->items[w].owner = p;
        p->items[w].which = (enum local_program)w;
        p->items[w].keeper = keeper_new(host->loop, &options);
    }
    return p;
}

void local_programs_close(struct local_programs *p)
{
    if (p != NULL) {
        for (int w = 0; w < LOCAL_PROGRAMS; w++) {
            keeper_close(p->items[w].keeper);
        }
        for (size_t i = 0; i < RETIRED_SLOTS; i++) {
            process_close(p->retired[i].process);
        }
        local_output_close(p->output);
        free(p);
    }
}

/* --- predecessors --- */

static void on_retired_end(void *arg, const struct process_end *end)
{
    struct retired *r = arg;

    r->process = NULL;
    log_info("the one before has finished", "what", local_program_names[r->which], NULL);
    r->owner->host->on_change(r->owner->host->arg, r->which);
}

static void end_oldest(struct local_programs *p)
{
    struct retired *oldest = NULL;
    size_t count = 0;

    for (size_t i = 0; i < RETIRED_SLOTS; i++) {
        struct retired *r = &p->retired[i];
        if (r->process != NULL && !r->ending) {
            count++;
            oldest = oldest == NULL || r->number < oldest->number ? r : oldest;
        }
    }
    if (count > RETIRED_MAX) {
        oldest->ending = true;
        process_stop(oldest->process, 0);
    }
}

/* Watches it. NULL: it is gone. */
static struct retired *retire(struct local_programs *p, enum local_program which,
                              struct process_id id)
{
    struct retired *r = p->retired;
    struct err err;

    while (r < p->retired + RETIRED_SLOTS && r->process != NULL) {
        r++;
    }
    if (r == p->retired + RETIRED_SLOTS) {
        return NULL;
    }
    *r = (struct retired){.owner = p, .which = which, .number = p->retired_ever++};
    if (process_adopt(p->host->loop, id, local_program_names[which], on_retired_end, r, &r->process,
                      &err) < 0) {
        return NULL;
    }
    end_oldest(p);
    return r;
}

/* A second SIGTERM ends a connect-proxy at once, with the tunnels that it finishes. haproxy's
 * SIGUSR1 may come twice. */
static void end_other(struct retired *r, const struct local_programs_before *before)
{
    uint32_t finish_ms = r->owner->host->pool->drain.timeout_s * 1000 + FINISH_MORE_MS;

    if (r->which == LOCAL_HAPROXY && before->instances) {
        process_signal(r->process, SIGUSR1);
    } else if (r->which == LOCAL_CONNECT_PROXY && before->known) {
        process_await(r->process, finish_ms);
    } else {
        process_stop(r->process, r->which == LOCAL_CONNECT_PROXY ? finish_ms : STATE_GRACE_MS);
    }
}

static void end_others(struct local_programs *p, enum local_program which,
                       const struct local_programs_before *before)
{
    struct process_id *found;
    size_t count = local_strays_find(p->host->paths, tools[which], &found);

    for (size_t i = 0; i < count; i++) {
        struct retired *r = found[i].pid != p->items[which].record.process.id.pid
                                ? retire(p, which, found[i])
                                : NULL;
        if (r != NULL) {
            log_info("found one that an earlier controller left", "what",
                     local_program_names[which], "pid", NUM(found[i].pid), NULL);
            end_other(r, before);
        }
    }
    free(found);
}

void local_programs_end_others(struct local_programs *p, const struct local_programs_before *before)
{
    for (int w = 0; w < LOCAL_PROGRAMS; w++) {
        end_others(p, (enum local_program)w, before);
    }
}

void local_programs_adopt(struct local_programs *p, const struct local_program_record *records)
{
    for (int w = 0; w < LOCAL_PROGRAMS; w++) {
        struct program *item = &p->items[w];
        if (keeper_adopt(item->keeper, &records[w].process)) {
            item->record = records[w];
            log_info("goes on running", "what", local_program_names[w], "pid",
                     NUM(records[w].process.id.pid), NULL);
        }
    }
    if (p->items[LOCAL_HAPROXY].record.process.id.pid != 0) {
        open_output(p);
    }
}

/* --- replacement --- */

static void replace(struct local_programs *p, struct program *item)
{
    log_info("takes over new settings", "what", local_program_names[item->which], NULL);
    if (item->which == LOCAL_STATE || item->record.process.id.pid == 0) {
        item->replace = true;
        keeper_stop(item->keeper, STATE_GRACE_MS);
        return;
    }
    struct process_id old = keeper_forget(item->keeper);
    struct retired *r = retire(p, item->which, old);
    if (item->which == LOCAL_HAPROXY) {
        p->haproxy_old = r != NULL ? old.pid : 0;
    } else if (r != NULL) {
        process_signal(r->process, SIGTERM);
    }
    keeper_start(item->keeper);
}

int local_programs_refresh(struct local_programs *p, struct err *err)
{
    int r = find_wanted(p, err);

    if (r < 0 || p->stopping) {
        return r;
    }
    for (int w = 0; w < LOCAL_PROGRAMS; w++) {
        struct program *item = &p->items[w];
        if (w == LOCAL_HAPROXY && pool_is_udp(p->host->pool)) {
            keeper_stop(item->keeper, 0);
        } else if (keeper_state(item->keeper) == KEEPER_IDLE) {
            keeper_start(item->keeper);
        } else if (keeper_state(item->keeper) == KEEPER_RUNNING &&
                   strcmp(item->wanted, item->record.revision) != 0) {
            replace(p, item);
        }
    }
    return 0;
}

void local_programs_stop(struct local_programs *p, enum local_program which, uint32_t grace_ms)
{
    p->stopping = true;
    p->items[which].replace = false;
    keeper_stop(p->items[which].keeper, grace_ms);
    for (size_t i = 0; i < RETIRED_SLOTS; i++) {
        if (p->retired[i].process != NULL && p->retired[i].which == which) {
            process_stop(p->retired[i].process, grace_ms);
        }
    }
}

void local_programs_kill(struct local_programs *p, enum local_program which)
{
    keeper_kill(p->items[which].keeper, "does not answer");
}

bool local_programs_stopped(const struct local_programs *p, enum local_program which)
{
    return keeper_state(p->items[which].keeper) == KEEPER_IDLE &&
           local_programs_retired(p, which) == 0;
}

void local_programs_remove_files(struct local_programs *p)
{
    unlink(p->host->paths->haproxy_config);
    unlink(p->host->paths->haproxy_socket);
    unlink(p->host->paths->haproxy_output);
}

const struct local_program_record *local_programs_record(const struct local_programs *p,
                                                         enum local_program which)
{
    return &p->items[which].record;
}

enum keeper_state local_programs_state(const struct local_programs *p, enum local_program which)
{
    return keeper_state(p->items[which].keeper);
}

const char *local_programs_last_end(const struct local_programs *p, enum local_program which)
{
    return keeper_last_end(p->items[which].keeper);
}

size_t local_programs_retired(const struct local_programs *p, enum local_program which)
{
    size_t count = 0;

    for (size_t i = 0; i < RETIRED_SLOTS; i++) {
        count += p->retired[i].process != NULL && p->retired[i].which == which;
    }
    return count;
}
