#include "common/replicas.h"

#include "common/log.h"
#include "common/metrics.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

struct name {
    struct replicas *replicas;
    struct endpoint at;
    struct loop_resolve *call; /* NULL: no look-up is under way */
    struct replica *found;     /* owned */
    size_t count;
    bool numeric; /* nothing to look up */
    bool known;   /* looked up with success, ever */
    bool failing; /* said so in the log */
};

struct replicas {
    struct loop *loop;
    struct loop_timer *timer;
    struct name names[REPLICAS_NAMES_MAX];
    size_t name_count;
    loop_fn on_change; /* or NULL */
    void *arg;
};

static struct metric addresses = {
    .name = "vpn_state_addresses",
    .help = "Addresses of the state service.",
    .kind = METRIC_GAUGE,
};

static bool is_v6(const char *address)
{
    return strchr(address, ':') != NULL;
}

static bool is_numeric(const char *host)
{
    unsigned char bytes[sizeof(struct in6_addr)];

    return inet_pton(is_v6(host) ? AF_INET6 : AF_INET, host, bytes) == 1;
}

static struct replica make(const struct name *n, const char *address)
{
    struct replica r = {.port = n->at.port, .host = n->at.host};

    snprintf(r.address, sizeof(r.address), "%.47s", address);
    snprintf(r.text, sizeof(r.text), is_v6(address) ? "[%.46s]:%u" : "%.46s:%u", address, r.port);
    return r;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(((const struct replica *)a)->text, ((const struct replica *)b)->text);
}

/* Of one family. Caller frees. */
static struct replica *collect(const struct name *n, const char *const *hosts, size_t count,
                               size_t *found)
{
    struct replica *all = xcalloc(count, sizeof(*all));
    bool v6 = true;

    for (size_t i = 0; i < count; i++) {
        v6 = v6 && is_v6(hosts[i]);
    }
    *found = 0;
    for (size_t i = 0; i < count && *found < REPLICAS_MAX; i++) {
        if (is_v6(hosts[i]) == v6) {
            all[(*found)++] = make(n, hosts[i]);
        }
    }
    qsort(all, *found, sizeof(*all), by_text);
    return all;
}

static bool are_same(const struct name *n, const struct replica *all, size_t count)
{
    if (n->count != count) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (by_text(&n->found[i], &all[i]) != 0) {
            return false;
        }
    }
    return true;
}

/* Have they changed? */
static bool set_found(struct name *n, const char *const *hosts, size_t count)
{
    size_t found = 0;
    struct replica *all = collect(n, hosts, count, &found);

    n->known = true;
    if (are_same(n, all, found)) {
        free(all);
        return false;
    }
    free(n->found);
    n->found = all;
    n->count = found;
    metric_set(&addresses, (int64_t)replicas_count(n->replicas));
    return true;
}

static void on_resolved(void *arg, int result, const char *const *hosts, size_t count)
{
    struct name *n = arg;
    struct replicas *r = n->replicas;
    bool failed = result < 0 || count == 0;

    n->call = NULL;
    if (failed && !n->failing) {
        log_warn("name not found", "name", n->at.host, "addresses_kept", NUM((long long)n->count),
                 NULL);
    }
    n->failing = failed;
    if (failed || !set_found(n, hosts, count)) {
        return;
    }
    log_info("name found", "name", n->at.host, "addresses", NUM((long long)n->count), NULL);
    if (r->on_change != NULL) {
        r->on_change(r->arg);
    }
}

void replicas_look(struct replicas *r)
{
    for (size_t i = 0; i < r->name_count; i++) {
        struct name *n = &r->names[i];
        if (!n->numeric && n->call == NULL) {
            n->call = loop_resolve_start(r->loop, n->at.host, on_resolved, n);
        }
    }
}

static void on_timer(void *arg)
{
    replicas_look(arg);
}

/* Are there names to be looked up? */
static bool add_names(struct replicas *r, const struct endpoint *list, size_t count)
{
    bool names = false;

    for (size_t i = 0; i < count; i++) {
        struct name *n = &r->names[r->name_count++];
        *n = (struct name){.replicas = r, .at = list[i], .numeric = is_numeric(list[i].host)};
        names = names || !n->numeric;
        if (n->numeric) {
            const char *const one[] = {n->at.host};
            set_found(n, one, 1);
        }
    }
    return names;
}

int replicas_new(struct loop *loop, const char *list, struct replicas **ret, struct err *err)
{
    struct endpoint names[REPLICAS_NAMES_MAX];
    size_t count = 0;
    int result = endpoint_parse_list(list, names, REPLICAS_NAMES_MAX, &count, err);

    if (result < 0) {
        return result;
    }
    struct replicas *r = xcalloc(1, sizeof(*r));
    metrics_register(&addresses);
    r->loop = loop;
    r->timer = loop_timer_new(loop, on_timer, r);
    if (add_names(r, names, count)) {
        loop_timer_start(r->timer, 0, REPLICAS_LOOK_MS);
    }
    *ret = r;
    return 0;
}

void replicas_close(struct replicas *r)
{
    if (r == NULL) {
        return;
    }
    for (size_t i = 0; i < r->name_count; i++) {
        loop_resolve_cancel(r->names[i].call);
        free(r->names[i].found);
    }
    loop_timer_close(r->timer);
    free(r);
}

void replicas_watch(struct replicas *r, loop_fn on_change, void *arg)
{
    r->on_change = on_change;
    r->arg = arg;
}

size_t replicas_count(const struct replicas *r)
{
    size_t count = 0;

    for (size_t i = 0; i < r->name_count; i++) {
        count += r->names[i].count;
    }
    return count < REPLICAS_MAX ? count : REPLICAS_MAX;
}

const struct replica *replicas_at(const struct replicas *r, size_t at)
{
    size_t i = 0;

    while (at >= r->names[i].count) {
        at -= r->names[i].count;
        i++;
    }
    return &r->names[i].found[at];
}

bool replicas_none(const struct replicas *r)
{
    return r->name_count == 0;
}

bool replicas_known(const struct replicas *r)
{
    for (size_t i = 0; i < r->name_count; i++) {
        if (!r->names[i].known) {
            return false;
        }
    }
    return true;
}
