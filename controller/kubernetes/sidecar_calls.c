#include "controller/kubernetes/sidecar_calls.h"

#include "common/hashmap.h"
#include "common/log.h"
#include "common/secret.h"
#include "controller/kubernetes/pod_render.h"
#include "controller/pool/sidecar_client.h"

#include <stdio.h>
#include <string.h>

#define ANSWER_MS 3000
#define ASK_MS 1000
#define DRAIN_RETRY_MS 1000
#define DRAIN_AGAIN_MS 5000 /* after it was accepted: the state service says so within that */
#define STALE_MS 10000

struct sidecar { /* one that was asked something */
    struct sidecar_calls *owner;
    char *epoch, *pool;
    struct http_call *drain, *status;
    int64_t drain_not_before_ms, ask_not_before_ms; /* monotonic */
    bool accepted;
    bool told; /* that it refuses or does not answer */
    bool known;
    int64_t heard_ms;
    struct instance_report report;
};

struct sidecar_calls {
    struct loop *loop;
    struct http_client *http;
    char token[SECRET_TOKEN_MAX + 1];
    struct hashmap sidecars; /* by epoch */
    void (*on_change)(void *arg, const char *pool);
    void *arg;
};

/* NULL: too many. */
static struct sidecar *find_or_add(struct sidecar_calls *c, const struct sidecar_where *where)
{
    struct sidecar *s = hashmap_get(&c->sidecars, where->epoch);

    if (s == NULL && c->sidecars.count < SIDECAR_CALLS_MAX) {
        s = xcalloc(1, sizeof(*s));
        s->owner = c;
        s->epoch = xstrdup(where->epoch);
        s->pool = xstrdup(where->pool);
        hashmap_put(&c->sidecars, s->epoch, s);
    }
    return s;
}

static void sidecar_free(struct sidecar *s)
{
    http_call_cancel(s->drain);
    http_call_cancel(s->status);
    free(s->epoch);
    free(s->pool);
    free(s);
}

static char *url_of(const char *ip, const char *path)
{
    return xasprintf(strchr(ip, ':') != NULL ? "http://[%s]:%d%s" : "http://%s:%d%s", ip,
                     POD_CONTROL_PORT, path);
}

/* --- drain --- */

static void on_drain(void *arg, int result, const struct http_response *res, const struct err *err)
{
    struct sidecar *s = arg;
    bool ok = result == 0 && res->status == 202;

    s->drain = NULL;
    s->accepted |= ok;
    s->drain_not_before_ms = clock_monotonic_ms() + (ok ? DRAIN_AGAIN_MS : DRAIN_RETRY_MS);
    if (!ok && !s->told) {
        log_warn("a sidecar was not told to drain; trying again", "pool", s->pool, "epoch",
                 s->epoch, "why",
                 result < 0           ? err->text
                 : res->status == 401 ? SECRET_REFUSED
                                      : "its answer is not 202",
                 NULL);
    }
    s->told = !ok;
    s->owner->on_change(s->owner->arg, s->pool);
}

void sidecar_calls_drain(struct sidecar_calls *c, const struct sidecar_where *where,
                         uint32_t rate_per_minute, uint32_t timeout_s)
{
    struct sidecar *s = find_or_add(c, where);

    if (s == NULL || s->drain != NULL || clock_monotonic_ms() < s->drain_not_before_ms) {
        return;
    }
    AUTO(str) char *url = url_of(where->ip, "/v1/drain");
    AUTO(str)
    char *body =
        xasprintf("{\"ratePerMinute\":%u,\"timeoutSeconds\":%u}", rate_per_minute, timeout_s);
    struct http_request request = {
        .method = "POST",
        .url = url,
        .bearer = c->token,
        .body = body,
        .body_len = strlen(body),
        .timeout_ms = ANSWER_MS,
        .on_done = on_drain,
        .arg = s,
    };
    http_client_send(c->http, &request, &s->drain, NULL); /* else the next round does */
}

bool sidecar_calls_drain_accepted(const struct sidecar_calls *c, const char *epoch)
{
    const struct sidecar *s = hashmap_get(&c->sidecars, epoch);

    return s != NULL && s->accepted;
}

/* --- status --- */

static enum instance_phase phase_of(enum sidecar_phase phase)
{
    static const enum instance_phase phases[SIDECAR_PHASES] = {
        [SIDECAR_STARTING] = INSTANCE_STARTING,
        [SIDECAR_READY] = INSTANCE_READY,
        [SIDECAR_DRAINING] = INSTANCE_DRAINING,
        [SIDECAR_DRAINED] = INSTANCE_DRAINED,
    };

    return phases[phase];
}

static void on_status(void *arg, int result, const struct http_response *res, const struct err *err)
{
    struct sidecar *s = arg;
    struct sidecar_status status;
    struct err why;

    s->status = NULL;
    if (result < 0 || res->status != 200 ||
        sidecar_status_parse(res->body, res->body_len, &status, &why) < 0 ||
        strcmp(status.epoch, s->epoch) != 0) {
        return;
    }
    s->known = true;
    s->heard_ms = clock_monotonic_ms();
    s->report = (struct instance_report){.phase = phase_of(status.phase),
                                         .sessions = status.sessions,
                                         .service_id = status.service_id};
    s->owner->on_change(s->owner->arg, s->pool);
}

void sidecar_calls_ask(struct sidecar_calls *c, const struct sidecar_where *where)
{
    struct sidecar *s = find_or_add(c, where);
    int64_t now = clock_monotonic_ms();

    if (s == NULL || s->status != NULL || now < s->ask_not_before_ms) {
        return;
    }
    AUTO(str) char *url = url_of(where->ip, "/v1/status");
    struct http_request request = {
        .method = "GET", .url = url, .timeout_ms = ANSWER_MS, .on_done = on_status, .arg = s};
    s->ask_not_before_ms = now + ASK_MS;
    http_client_send(c->http, &request, &s->status, NULL);
}

bool sidecar_calls_report(const struct sidecar_calls *c, const char *epoch,
                          struct instance_report *ret)
{
    const struct sidecar *s = hashmap_get(&c->sidecars, epoch);

    if (s == NULL || !s->known || clock_monotonic_ms() - s->heard_ms > STALE_MS) {
        return false;
    }
    *ret = s->report;
    return true;
}

/* --- life --- */

struct sidecar_calls *sidecar_calls_new(struct loop *loop, struct http_client *http,
                                        const struct service_keys *keys,
                                        void (*on_change)(void *arg, const char *pool), void *arg)
{
    struct sidecar_calls *c = xcalloc(1, sizeof(*c));

    secret_token(keys, SECRET_CONTROL, c->token);
    hashmap_init(&c->sidecars);
    c->loop = loop;
    c->http = http;
    c->on_change = on_change;
    c->arg = arg;
    return c;
}

void sidecar_calls_forget(struct sidecar_calls *c, const char *epoch)
{
    struct sidecar *s = hashmap_remove(&c->sidecars, epoch);

    if (s != NULL) {
        sidecar_free(s);
    }
}

void sidecar_calls_close(struct sidecar_calls *c)
{
    if (c == NULL) {
        return;
    }
    for (struct hashmap_iter i = {.map = &c->sidecars}; hashmap_next(&i);) {
        sidecar_free(i.value);
    }
    hashmap_clear(&c->sidecars);
    secret_wipe(c->token, sizeof(c->token));
    free(c);
}
