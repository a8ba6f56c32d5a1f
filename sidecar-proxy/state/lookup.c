#include "sidecar-proxy/state/lookup.h"

#include "common/json.h"
#include "common/log.h"
#include "sidecar-proxy/state/query.h"
#include "sidecar-proxy/state/render.h"
#include "sidecar-proxy/state/service.h"
#include "sidecar-proxy/state/state_metrics.h"
#include "sidecar-proxy/state/stream.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define JSON_TYPE "application/json"
#define ANSWER_MAX (8 * 1024 * 1024) /* bytes; 2,048 instances take under 1 MiB */
#define EXPECTED_MAX 4096            /* instances in a roster */
#define NO_STORE "Cache-Control: no-store"

static void reply_buf(struct http_exchange *x, const struct buf *b, const char *type)
{
    http_reply(x, 200, type, buf_str(b), b->len, NO_STORE);
}

static void reply_text(struct http_exchange *x, int status, const char *json, const char *header)
{
    http_reply(x, status, JSON_TYPE, json, strlen(json), header);
}

static void reply_fault(struct http_exchange *x, const struct err *err)
{
    AUTO(str) char *quoted = json_quote(err->text);
    AUTO(str) char *body = xasprintf("{\"error\":%s}", quoted);

    reply_text(x, 400, body, NULL);
}

static void reply_unknown_device(struct service *s, struct http_exchange *x)
{
    if (service_ready(s)) {
        metric_inc(&state_metrics.lookups_offline);
        reply_text(x, 404, "{\"error\":\"offline\"}", NO_STORE);
    } else {
        metric_inc(&state_metrics.lookups_unready);
        reply_text(x, 503, "{\"error\":\"not all instances have been heard yet\"}",
                   "Retry-After: 1");
    }
}

void lookup_device(void *arg, struct http_exchange *x, const struct http_server_request *request)
{
    struct service *s = arg;
    char uuid[UUID_TEXT_MAX + 1];

    if (!uuid_fold(request->tail, strlen(request->tail), uuid)) {
        metric_inc(&state_metrics.lookups_malformed);
        reply_text(x, 400, "{\"error\":\"malformed UUID\"}", NULL);
        return;
    }
    const struct table_session *session = table_find(s->table, uuid);
    if (session == NULL) {
        reply_unknown_device(s, x);
        return;
    }
    AUTO(buf) struct buf b;
    buf_init(&b, RENDER_LINE_MAX);
    render_session(&b, NULL, session, -1);
    metric_inc(&state_metrics.lookups_online);
    reply_buf(x, &b, JSON_TYPE);
}

/* False: a parameter is there, but is nonsense. */
static bool read_filter(const char *query, struct stream_filter *f)
{
    char text[UUID_TEXT_MAX + 1];

    *f = (struct stream_filter){0};
    query_get(query, "prefix", f->prefix, sizeof(f->prefix));
    return (!query_get(query, "instance", text, sizeof(text)) ||
            query_number(query, "instance", TABLE_INDEX_MAX, &f->index)) &&
           (!query_get(query, "limit", text, sizeof(text)) ||
            query_number(query, "limit", INT32_MAX, &f->limit));
}

void lookup_devices(void *arg, struct http_exchange *x, const struct http_server_request *request)
{
    struct service *s = arg;
    struct stream_filter filter;

    if (!read_filter(request->query, &filter)) {
        reply_text(x, 400, "{\"error\":\"instance and limit are numbers from 1\"}", NULL);
        return;
    }
    streams_list(s->streams, x, &filter);
}

void lookup_watch(void *arg, struct http_exchange *x, const struct http_server_request *request)
{
    struct service *s = arg;

    streams_watch(s->streams, x);
}

static void render_missing(const struct service *s, struct buf *b)
{
    const char *comma = "";

    for (size_t n = 0; n < s->roster.count; n++) {
        const struct roster_entry *e = &s->roster.entries[n];
        if (!roster_heard(e, s->table)) {
            buf_printf(b, "%s{\"index\":%u,\"epoch\":\"%s\"}", comma, e->index, e->epoch);
            comma = ",";
        }
    }
}

void lookup_instances(void *arg, struct http_exchange *x, const struct http_server_request *request)
{
    struct service *s = arg;
    AUTO(buf) struct buf b;

    buf_init(&b, ANSWER_MAX);
    buf_printf(&b, "{\"ready\":%s,\"instances\":[", service_ready(s) ? "true" : "false");
    for (const struct table_instance *i = table_instances(s->table); i != NULL; i = i->next) {
        buf_append_str(&b, i != table_instances(s->table) ? "," : "");
        render_instance(&b, NULL, i, false);
    }
    buf_append_str(&b, "],\"missing\":[");
    render_missing(s, &b);
    buf_append_str(&b, "]}");
    reply_buf(x, &b, JSON_TYPE);
}

/* "{uuid}/{fingerprint}" */
static bool split_verdict(const char *tail, struct verdict *v)
{
    const char *slash = strchr(tail, '/');
    uint8_t bytes[SECRET_BYTES];

    if (slash == NULL || !uuid_valid(tail, (size_t)(slash - tail)) ||
        !secret_from_hex(slash + 1, bytes)) {
        return false;
    }
    memcpy(v->uuid, tail, (size_t)(slash - tail));
    v->uuid[slash - tail] = '\0';
    memcpy(v->fingerprint, slash + 1, SECRET_HEX_LEN + 1);
    return true;
}

void lookup_verdict(void *arg, struct http_exchange *x, const struct http_server_request *request)
{
    struct service *s = arg;
    struct verdict v;
    char body[64];
    int64_t at_ms = 0;

    if (!service_allowed(s, x, request)) {
        return;
    }
    if (!split_verdict(request->tail, &v)) {
        reply_text(x, 400, "{\"error\":\"malformed UUID or fingerprint\"}", NULL);
        return;
    }
    if (!verdicts_get(&s->verdicts, v.uuid, v.fingerprint, service_now(s).unix_ms, &at_ms)) {
        reply_text(x, 404, "{\"error\":\"unknown\"}", NO_STORE);
        return;
    }
    snprintf(body, sizeof(body), "{\"at\":%lld}", (long long)at_ms);
    reply_text(x, 200, body, NO_STORE);
}

static int read_entry(const cJSON *o, struct roster_entry *ret, struct err *err)
{
    const char *epoch = NULL;
    int64_t index = 0;
    int r = json_int(o, "index", 1, TABLE_INDEX_MAX, &index, err);

    r = r < 0 ? r : json_str(o, "epoch", &epoch, err);
    if (r == 0 && !feed_epoch_valid(epoch)) {
        r = err_text(err, -EPROTO, "'epoch' is not one");
    }
    if (r == 0) {
        ret->index = (uint32_t)index;
        memcpy(ret->epoch, epoch, strlen(epoch) + 1);
    }
    return r;
}

/* Caller frees *ret. */
static int read_expected(const char *body, size_t len, struct roster_entry **ret, size_t *count,
                         struct err *err)
{
    AUTO(json) cJSON *o = NULL;
    const cJSON *list = NULL, *at = NULL;
    size_t n = 0;
    int r = json_parse(body, len, &o, err);

    r = r < 0 ? r : json_array(o, "instances", &list, err);
    if (r == 0 && cJSON_GetArraySize(list) > EXPECTED_MAX) {
        r = err_text(err, -EPROTO, "over %d instances", EXPECTED_MAX);
    }
    if (r < 0) {
        return r;
    }
    struct roster_entry *entries = xcalloc((size_t)cJSON_GetArraySize(list), sizeof(*entries));
    cJSON_ArrayForEach(at, list)
    {
        r = r < 0 ? r : read_entry(at, &entries[n++], err);
    }
    if (r < 0) {
        free(entries);
        return err_wrap(err, "instance %zu of the list", n);
    }
    *ret = entries;
    *count = n;
    return 0;
}

void lookup_expected(void *arg, struct http_exchange *x, const struct http_server_request *request)
{
    struct service *s = arg;
    struct roster_entry *entries = NULL;
    size_t count = 0;
    struct err err = {0};

    if (!service_allowed(s, x, request)) {
        return;
    }
    if (read_expected(request->body, request->body_len, &entries, &count, &err) < 0) {
        reply_fault(x, &err);
        return;
    }
    log_debug("the controller's list", "instances", NUM(count), NULL);
    roster_set(&s->roster, entries, count, s->table, service_now(s));
    http_reply(x, 204, NULL, "", 0, NULL);
}

void lookup_recent(void *arg, struct http_exchange *x, const struct http_server_request *request)
{
    struct service *s = arg;
    AUTO(buf) struct buf b;

    buf_init(&b, ANSWER_MAX);
    recent_render(&s->recent, &b);
    reply_buf(x, &b, JSON_TYPE);
}

void lookup_metrics(void *arg, struct http_exchange *x, const struct http_server_request *request)
{
    struct service *s = arg;
    AUTO(buf) struct buf b;

    buf_init(&b, ANSWER_MAX);
    state_metrics_render(s, &b);
    reply_buf(x, &b, METRICS_CONTENT_TYPE);
}

void lookup_healthz(void *arg, struct http_exchange *x, const struct http_server_request *request)
{
    http_reply(x, 200, NULL, "ok\n", 3, NULL);
}

void lookup_readyz(void *arg, struct http_exchange *x, const struct http_server_request *request)
{
    if (service_ready(arg)) {
        http_reply(x, 200, NULL, "ready\n", 6, NULL);
    } else {
        http_reply(x, 503, NULL, "not ready\n", 10, "Retry-After: 1");
    }
}
