#include "sidecar-proxy/session/control.h"

#include "common/json.h"
#include "common/metrics.h"
#include "common/secret.h"
#include "common/subnet.h"

#include <errno.h>
#include <string.h>

#define METRICS_MAX ((size_t)4 << 20)
#define DRAIN_BODY_MAX 1024
#define JSON_TYPE "application/json"

#define CONTROL_ROUTES 6

struct control {
    struct control_options o;
    struct secrets tokens;
    struct http_server *server;
    struct http_route trusting[CONTROL_ROUTES]; /* of unix sockets */
    struct http_route guarded[CONTROL_ROUTES];  /* of TCP */
    struct http_route nss_routes[1];
};

static void reply_json(struct http_exchange *x, int status, const struct buf *body)
{
    http_reply(x, status, JSON_TYPE, buf_str(body), body->len, NULL);
}

static void reply_text(struct http_exchange *x, int status, const char *text)
{
    http_reply(x, status, NULL, text, strlen(text), NULL);
}

static void put_text(struct buf *out, const char *key, const char *text)
{
    AUTO(str) char *quoted = json_quote(text);

    buf_printf(out, "\"%s\":%s,", key, quoted);
}

void control_format_status(struct buf *out, const struct control_status *s)
{
    buf_append_str(out, "{");
    put_text(out, "pool", s->pool);
    buf_printf(out, "\"index\":%lld,", (long long)s->index);
    put_text(out, "epoch", s->epoch);
    if (s->service_id > 0) {
        buf_printf(out, "\"serviceId\":%lld,", (long long)s->service_id);
    } else {
        buf_append_str(out, "\"serviceId\":null,");
    }
    put_text(out, "link", s->link);
    put_text(out, "phase", s->phase);
    buf_printf(out, "\"sessions\":%zu,\"openvpnPid\":%d,\"apiSane\":%s,", s->sessions,
               s->openvpn_pid, s->api_sane ? "true" : "false");
    if (s->api_why != NULL && s->api_why[0] != '\0') {
        put_text(out, "apiWhy", s->api_why);
    }
    buf_printf(out, "\"unreported\":%zu}\n", s->unreported);
}

static void on_status(void *arg, struct http_exchange *x, const struct http_server_request *request)
{
    struct control *c = arg;
    struct control_status s = c->o.status(c->o.arg);
    AUTO(buf) struct buf out;

    buf_init(&out, 8192);
    control_format_status(&out, &s);
    reply_json(x, 200, &out);
}

static int optional(const cJSON *tree, const char *key, int64_t min, int64_t max, int64_t *ret,
                    struct err *err)
{
    int r = json_int(tree, key, min, max, ret, err);

    return r == -ENOENT ? 0 : r;
}

int control_parse_drain(const char *body, size_t len, struct control_drain *d, struct err *err)
{
    AUTO(json) cJSON *tree = NULL;
    struct control_drain found = *d;

    if (len == 0) {
        return 0;
    }
    int r = json_parse(body, len, &tree, err);
    if (r == 0 && !cJSON_IsObject(tree)) {
        r = err_text(err, -EPROTO, "not an object");
    }
    if (r == 0) {
        r = optional(tree, "ratePerMinute", 1, 1000000, &found.rate_per_minute, err);
    }
    if (r == 0) {
        r = optional(tree, "timeoutSeconds", 0, 86400, &found.timeout_s, err);
    }
    if (r < 0) {
        return -EPROTO;
    }
    *d = found;
    return 0;
}

static void on_drain(void *arg, struct http_exchange *x, const struct http_server_request *request)
{
    struct control *c = arg;
    struct control_drain d = c->o.drain_default;
    struct err err = {0};

    if (control_parse_drain(request->body, request->body_len, &d, &err) < 0) {
        reply_text(x, 400, err.text);
        return;
    }
    c->o.drain(c->o.arg, &d);
    AUTO(str)
    char *figures = xasprintf("{\"ratePerMinute\":%lld,\"timeoutSeconds\":%lld}\n",
                              (long long)d.rate_per_minute, (long long)d.timeout_s);
    http_reply(x, 202, JSON_TYPE, figures, strlen(figures), NULL);
}

static void on_guarded_drain(void *arg, struct http_exchange *x,
                             const struct http_server_request *request)
{
    const struct control *c = arg;

    if (!secret_bearer_is(request->authorization, &c->tokens)) {
        http_reply(x, 401, NULL, "a token is needed\n", 18, "WWW-Authenticate: Bearer");
        return;
    }
    on_drain(arg, x, request);
}

static const struct session *session_of(const struct control *c, const char *uuid)
{
    return uuid_valid_str(uuid) ? sessions_find(c->o.sessions, uuid) : NULL;
}

static void on_device(void *arg, struct http_exchange *x, const struct http_server_request *request)
{
    const struct session *s = session_of(arg, request->tail);
    AUTO(buf) struct buf out;

    buf_init(&out, 512);
    if (s == NULL) {
        http_reply(x, 404, JSON_TYPE, "{\"error\":\"offline\"}\n", 20, NULL);
        return;
    }
    buf_printf(&out, "{\"uuid\":\"%s\",\"address\":\"%s\",\"session\":\"%s\",\"since\":%lld}\n",
               s->uuid, address_format(s->address).text, session_id_format(s->id).text,
               (long long)s->since_ms);
    reply_json(x, 200, &out);
}

static void on_address(void *arg, struct http_exchange *x,
                       const struct http_server_request *request)
{
    const struct session *s = session_of(arg, request->tail);
    AUTO(buf) struct buf out;

    buf_init(&out, 64);
    if (s == NULL) {
        reply_text(x, 404, "offline\n");
        return;
    }
    buf_printf(&out, "%s\n", address_format(s->address).text);
    reply_text(x, 200, buf_str(&out));
}

static void on_healthz(void *arg, struct http_exchange *x,
                       const struct http_server_request *request)
{
    reply_text(x, 200, "ok\n");
}

static void on_readyz(void *arg, struct http_exchange *x, const struct http_server_request *request)
{
    struct control *c = arg;
    struct control_status s = c->o.status(c->o.arg);

    if (s.not_ready != NULL) {
        AUTO(str) char *text = xasprintf("not ready: %s\n", s.not_ready);
        reply_text(x, 503, text);
        return;
    }
    reply_text(x, 200, "ok\n");
}

static void on_metrics(void *arg, struct http_exchange *x,
                       const struct http_server_request *request)
{
    AUTO(buf) struct buf out;

    buf_init(&out, METRICS_MAX);
    if (metrics_render(&out) < 0) {
        reply_text(x, 500, "too many metrics\n");
        return;
    }
    http_reply(x, 200, METRICS_CONTENT_TYPE, buf_str(&out), out.len, NULL);
}

static void make_routes(struct control *c, http_handler drain, struct http_route *ret)
{
    const struct http_route routes[CONTROL_ROUTES] = {
        {.method = "GET", .path = "/v1/status", .handler = on_status},
        {.method = "POST", .path = "/v1/drain", .handler = drain, .max_body_bytes = DRAIN_BODY_MAX},
        {.method = "GET", .path = "/v1/devices/*", .handler = on_device},
        {.method = "GET", .path = "/healthz", .handler = on_healthz},
        {.method = "GET", .path = "/readyz", .handler = on_readyz},
        {.method = "GET", .path = "/metrics", .handler = on_metrics},
    };

    memcpy(ret, routes, sizeof(routes));
    for (size_t i = 0; i < CONTROL_ROUTES; i++) {
        ret[i].arg = c;
    }
}

/* 0660: in a Pod OpenVPN's container, which asks for a drain when it is to end, shares no more than
 * a group with ours. */
static int listen_at(struct control *c, const char *address, struct err *err)
{
    bool is_unix = strncmp(address, "unix:", 5) == 0;
    const struct http_listen_options options = {
        .address = address,
        .unix_mode = 0660,
        .routes = is_unix ? c->trusting : c->guarded,
        .route_count = CONTROL_ROUTES,
    };

    return http_server_listen(c->server, &options, err);
}

static int listen_control(struct control *c, struct err *err)
{
    AUTO(str) char *list = xstrdup(c->o.listen);
    size_t count = 0;
    int r = 0;

    for (char *rest = list, *address; r == 0 && (address = strsep(&rest, ",")) != NULL;) {
        r = count++ < CONTROL_LISTENERS_MAX
                ? listen_at(c, address, err)
                : err_text(err, -E2BIG, "more than %d listeners", CONTROL_LISTENERS_MAX);
    }
    return r < 0 ? err_wrap(err, "--control") : 0;
}

static int listen_nss(struct control *c, struct err *err)
{
    const struct http_listen_options options = {.address = c->o.nss,
                                                .unix_mode = 0666,
                                                .routes = c->nss_routes,
                                                .route_count = ARRAY_LEN(c->nss_routes)};

    return c->o.nss != NULL ? http_server_listen(c->server, &options, err) : 0;
}

static int listen_all(struct control *c, struct err *err)
{
    make_routes(c, on_drain, c->trusting);
    make_routes(c, on_guarded_drain, c->guarded);
    c->nss_routes[0] = (struct http_route){
        .method = "GET", .path = "/v1/address/*", .handler = on_address, .arg = c};
    int r = listen_control(c, err);
    return r == 0 ? listen_nss(c, err) : r;
}

int control_open(const struct control_options *options, struct control **ret, struct err *err)
{
    struct control *c = xcalloc(1, sizeof(*c));

    c->o = *options;
    secrets_derive(&c->o.keys, SECRET_CONTROL, &c->tokens);
    int r = http_server_new(c->o.loop, &c->server, err);
    if (r == 0) {
        r = listen_all(c, err);
    }
    if (r < 0) {
        control_close(c);
        return r;
    }
    *ret = c;
    return 0;
}

void control_close(struct control *c)
{
    if (c != NULL) {
        http_server_close(c->server);
        secret_wipe(&c->tokens, sizeof(c->tokens));
        free(c);
    }
}
