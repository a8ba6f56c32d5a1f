#include "controller/kubernetes/replicas.h"

#include "common/log.h"

#include <stdio.h>
#include <string.h>

#define FAILED_AGAIN_MS 1000
#define URL_MAX 80

struct replicas {
    struct loop *loop;
    char *host, *port;
    char urls[REPLICAS_MAX][URL_MAX];
    size_t count;
    struct loop_resolve *resolve;
    struct loop_timer *timer;
    bool told; /* that it cannot be found */
    loop_fn on_change;
    void *arg;
};

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

static bool has_ipv4(const char *const *addresses, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strchr(addresses[i], ':') == NULL) {
            return true;
        }
    }
    return false;
}

static void take(struct replicas *r, const char *const *addresses, size_t count)
{
    static char urls[REPLICAS_MAX][URL_MAX];
    bool only4 = has_ipv4(addresses, count);
    size_t taken = 0;

    memset(urls, 0, sizeof(urls));
    for (size_t i = 0; i < count && taken < REPLICAS_MAX; i++) {
        bool is6 = strchr(addresses[i], ':') != NULL;
        if (!is6 || !only4) {
            snprintf(urls[taken++], URL_MAX, is6 ? "http://[%s]:%s" : "http://%s:%s", addresses[i],
                     r->port);
        }
    }
    qsort(urls, taken, URL_MAX, by_text);
    if (taken != r->count || memcmp(urls, r->urls, taken * URL_MAX) != 0) {
        memcpy(r->urls, urls, sizeof(urls));
        r->count = taken;
        r->on_change(r->arg);
    }
}

static void on_resolved(void *arg, int result, const char *const *addresses, size_t count)
{
    struct replicas *r = arg;

    r->resolve = NULL;
    loop_timer_start(r->timer, result == 0 ? REPLICAS_LOOKUP_MS : FAILED_AGAIN_MS, 0);
    if (result < 0 && !r->told) {
        log_warn("a name has no address", "name", r->host, NULL);
    }
    r->told = result < 0;
    take(r, addresses, result == 0 ? count : 0);
}

static void on_timer(void *arg)
{
    struct replicas *r = arg;

    r->resolve = loop_resolve_start(r->loop, r->host, on_resolved, r);
}

struct replicas *replicas_new(struct loop *loop, const char *name, loop_fn on_change, void *arg)
{
    const char *colon = strrchr(name, ':');
    size_t host_len = colon != NULL ? (size_t)(colon - name) : 0;
    bool brackets = host_len > 2 && name[0] == '[' && name[host_len - 1] == ']';

    if (host_len == 0 || colon[1] == '\0' || strspn(colon + 1, "0123456789") != strlen(colon + 1) ||
        strlen(colon + 1) > 5) {
        return NULL;
    }
    struct replicas *r = xcalloc(1, sizeof(*r));
    r->loop = loop;
    r->host = brackets ? xstrndup(name + 1, host_len - 2) : xstrndup(name, host_len);
    r->port = xstrdup(colon + 1);
    r->on_change = on_change;
    r->arg = arg;
    r->timer = loop_timer_new(loop, on_timer, r);
    loop_timer_start(r->timer, 0, 0);
    return r;
}

void replicas_close(struct replicas *r)
{
    if (r != NULL) {
        if (r->resolve != NULL) {
            loop_resolve_cancel(r->resolve);
        }
        loop_timer_close(r->timer);
        free(r->host);
        free(r->port);
        free(r);
    }
}

size_t replicas_count(const struct replicas *r)
{
    return r->count;
}

const char *replicas_url(const struct replicas *r, size_t i)
{
    return r->urls[i];
}
