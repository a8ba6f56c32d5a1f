#include "controller/pool/local_control.h"

#include "common/http_client.h"
#include "common/http_server.h"
#include "common/metrics.h"
#include "controller/pool/sidecar_metrics.h"

#include <errno.h>
#include <libgen.h>
#include <string.h>

#define ASK_MS 5000
#define METRICS_MAX ((size_t)1 << 20)

struct local_control {
    const struct drive_local *drive;
    struct http_server *server;
    char *path;
    struct sidecar_metrics *sidecars;
    struct http_route routes[4];
};

static void on_status(void *arg, struct http_exchange *x, const struct http_server_request *request)
{
    struct local_control *c = arg;
    AUTO(str) char *text = drive_local_status(c->drive);

    http_reply(x, 200, "application/json", text, strlen(text), NULL);
}

static void on_metrics(void *arg, struct http_exchange *x,
                       const struct http_server_request *request)
{
    struct buf text;

    buf_init(&text, METRICS_MAX);
    int r = metrics_render(&text);
    http_reply(x, r == 0 ? 200 : 500, METRICS_CONTENT_TYPE, buf_str(&text), text.len, NULL);
    buf_clear(&text);
}

static void on_sidecars(void *arg, struct http_exchange *x,
                        const struct http_server_request *request)
{
    sidecar_metrics_answer(((struct local_control *)arg)->sidecars, x);
}

static void on_health(void *arg, struct http_exchange *x, const struct http_server_request *request)
{
    http_reply(x, 200, NULL, "ok\n", 3, NULL);
}

int local_control_open(struct loop *loop, const char *socket_path, const struct drive_local *drive,
                       struct local_control **ret, struct err *err)
{
    struct local_control *c = xcalloc(1, sizeof(*c));
    AUTO(str) char *address = xasprintf("unix:%s", socket_path);

    *c = (struct local_control){
        .drive = drive,
        .path = xstrdup(socket_path),
        .routes =
            {
                {.method = "GET", .path = "/v1/status", .handler = on_status, .arg = c},
                {.method = "GET", .path = "/metrics", .handler = on_metrics, .arg = c},
                {.method = "GET", .path = "/metrics/sidecars", .handler = on_sidecars, .arg = c},
                {.method = "GET", .path = "/healthz", .handler = on_health, .arg = c},
            },
    };
    struct http_listen_options options = {
        .address = address,
        .unix_mode = 0666, /* read only, no secrets; haproxy serves /metrics */
        .max_connections = 32,
        .routes = c->routes,
        .route_count = ARRAY_LEN(c->routes)};
    int r = http_server_new(loop, &c->server, err);
    if (r == 0) {
        AUTO(str) char *folder = xstrdup(socket_path);
        r = sidecar_metrics_new(loop, dirname(folder), &c->sidecars, err);
    }
    if (r == 0) {
        r = http_server_listen(c->server, &options, err);
    }
    if (r < 0) {
        local_control_close(c);
        return r;
    }
    *ret = c;
    return 0;
}

void local_control_close(struct local_control *c)
{
    if (c != NULL) {
        sidecar_metrics_close(c->sidecars);
        http_server_close(c->server);
        unlink(c->path);
        free(c->path);
        free(c);
    }
}

/* --- the other end --- */

struct question {
    struct loop *loop;
    int result;
    char *text;
    struct err *err;
};

static void on_answer(void *arg, int result, const struct http_response *res, const struct err *err)
{
    struct question *q = arg;

    q->result = result;
    if (result < 0) {
        if (q->err != NULL) {
            *q->err = *err;
        }
    } else if (res->status != 200) {
        q->result = err_text(q->err, -EPROTO, "the controller answered %d", res->status);
    } else {
        q->text = xstrdup(res->body);
    }
    loop_stop(q->loop);
}

int local_control_ask(const char *socket_path, char **ret, struct err *err)
{
    struct http_client_options options = {.max_response = (size_t)4 << 20};
    struct question q = {.err = err};
    struct http_client *client = NULL;
    struct http_request request = {.method = "GET",
                                   .url = "http://controller/v1/status",
                                   .unix_socket = socket_path,
                                   .timeout_ms = ASK_MS,
                                   .on_done = on_answer,
                                   .arg = &q};
    int r = loop_new(&q.loop, err);

    if (r < 0) {
        return r;
    }
    r = http_client_new(q.loop, &options, &client, err);
    if (r == 0) {
        r = http_client_send(client, &request, NULL, err);
    }
    if (r == 0) {
        loop_run(q.loop);
        r = q.result;
    }
    http_client_close(client);
    loop_free(q.loop);
    *ret = q.text;
    return r;
}
