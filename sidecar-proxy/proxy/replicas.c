#include "sidecar-proxy/proxy/replicas.h"

#include "common/log.h"
#include "common/metrics.h"
#include "sidecar-proxy/proxy/address.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TEXT_MAX 64 /* "[...]:65535", with the NUL */
#define HOST_MAX 255

struct name {
    struct replicas *replicas;
    char *host;
    uint16_t port;
    struct loop_resolve *call; /* NULL: no look-up is under way */
    char (*texts)[TEXT_MAX];   /* owned */
    size_t count;
    bool failing; /* said so in the log */
};

struct replicas {
    struct loop *loop;
    struct loop_timer *timer;
    struct name names[REPLICAS_NAMES_MAX];
    size_t name_count;
    size_t numeric; /* names that are addresses: nothing to look up */
};

static struct metric addresses = {
    .name = "vpn_proxy_state_addresses",
    .help = "Addresses of the state service.",
    .kind = METRIC_GAUGE,
};

static void set_addresses(struct name *n, const char *const *hosts, size_t count)
{
    free(n->texts);
    n->count = count < REPLICAS_MAX / 2 ? count : REPLICAS_MAX / 2;
    n->texts = xcalloc(n->count, TEXT_MAX);
    for (size_t i = 0; i < n->count; i++) {
        bool v6 = strchr(hosts[i], ':') != NULL;
        snprintf(n->texts[i], TEXT_MAX, v6 ? "[%.45s]:%u" : "%.45s:%u", hosts[i], n->port);
    }
    metric_set(&addresses, (int64_t)replicas_count(n->replicas));
}

static void on_resolved(void *arg, int result, const char *const *hosts, size_t count)
{
    struct name *n = arg;

    n->call = NULL;
    if (result == 0 && count > 0) {
        set_addresses(n, hosts, count);
    } else if (!n->failing) {
        log_warn("the state service's name has no address", "name", n->host, NULL);
    }
    n->failing = result < 0 || count == 0;
}

void replicas_look(struct replicas *r)
{
    for (size_t i = 0; i < r->name_count; i++) {
        struct name *n = &r->names[i];
        struct address numeric;
        if (n->call == NULL && address_of(n->host, 0, &numeric) < 0) {
            n->call = loop_resolve_start(r->loop, n->host, on_resolved, n);
        }
    }
}

static void on_timer(void *arg)
{
    replicas_look(arg);
}

/* The host without its brackets, -EINVAL. */
static int split(const char *text, size_t len, struct name *n)
{
    const char *colon = memrchr(text, ':', len);
    char *end = NULL;

    if (colon == NULL || colon == text || memchr(text, '/', len) != NULL ||
        (size_t)(colon - text) > HOST_MAX || colon + 1 == text + len || colon[1] < '0' ||
        colon[1] > '9') {
        return -EINVAL;
    }
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (end != text + len || port == 0 || port > 65535) {
        return -EINVAL;
    }
    bool brackets = text[0] == '[' && colon[-1] == ']';
    n->port = (uint16_t)port;
    n->host = xstrndup(text + brackets, (size_t)(colon - text) - 2 * (size_t)brackets);
    return 0;
}

static int add_name(struct replicas *r, const char *text, size_t len, struct err *err)
{
    struct address numeric;

    if (r->name_count == REPLICAS_NAMES_MAX) {
        return err_text(err, -EINVAL, "more than %d state services", REPLICAS_NAMES_MAX);
    }
    struct name *n = &r->names[r->name_count];
    n->replicas = r;
    if (split(text, len, n) < 0) {
        return err_text(err, -EINVAL, "state service '%.*s' is no host:port", (int)len, text);
    }
    r->name_count++;
    if (address_of(n->host, 0, &numeric) == 0) {
        const char *const one[] = {n->host};
        set_addresses(n, one, 1);
        r->numeric++;
    }
    return 0;
}

static int add_names(struct replicas *r, const char *list, struct err *err)
{
    int result = 0;

    for (const char *at = list; result == 0; at++) {
        size_t len = strcspn(at, ",");
        result = add_name(r, at, len, err);
        at += len;
        if (*at == '\0') {
            break;
        }
    }
    return result;
}

int replicas_new(struct loop *loop, const char *list, struct replicas **ret, struct err *err)
{
    struct replicas *r = xcalloc(1, sizeof(*r));

    metrics_register(&addresses);
    r->loop = loop;
    r->timer = loop_timer_new(loop, on_timer, r);
    int result = add_names(r, list, err);
    if (result < 0) {
        replicas_close(r);
        return result;
    }
    if (r->numeric < r->name_count) {
        replicas_look(r);
        loop_timer_start(r->timer, REPLICAS_LOOK_MS, REPLICAS_LOOK_MS);
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
        if (r->names[i].call != NULL) {
            loop_resolve_cancel(r->names[i].call);
        }
        free(r->names[i].host);
        free(r->names[i].texts);
    }
    loop_timer_close(r->timer);
    free(r);
}

size_t replicas_count(const struct replicas *r)
{
    size_t count = 0;

    for (size_t i = 0; i < r->name_count; i++) {
        count += r->names[i].count;
    }
    return count < REPLICAS_MAX ? count : REPLICAS_MAX;
}

const char *replicas_at(const struct replicas *r, size_t at)
{
    size_t i = 0;

    while (at >= r->names[i].count) {
        at -= r->names[i].count;
        i++;
    }
    return r->names[i].texts[at];
}
