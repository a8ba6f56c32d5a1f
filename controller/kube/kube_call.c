/* The life of a request:
 *     THROTTLED -> CREDENTIALS -> SENT -> (its end)
 *         ^                         |
 *         +------- PAUSED <---------+   429 or 5xx that said when to come again
 * A 401 with credentials that may be renewed goes from SENT back to CREDENTIALS, once. Every state
 * ends by a timer: its own, the plugin's or http_client's. */
#include "common/buf.h"
#include "controller/kube/kube_answer.h"
#include "controller/kube/kube_client_priv.h"
#include "controller/kube/kube_material.h"
#include "controller/kube/kube_metrics.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TIMEOUT_MS (30 * 1000)
#define CALLS_MAX 8192
#define RETRIES_MAX 10
#define RETRY_AFTER_MAX_S 60          /* a longer wait is for the caller to decide */
#define REFUSAL_MAX ((size_t)1 << 20) /* bytes of a Status in answer to a stream's request */

enum call_state { CALL_THROTTLED, CALL_CREDENTIALS, CALL_SENT, CALL_PAUSED };

struct kube_call {
    struct kube_client *client;
    enum call_state state;
    char *method, *path, *query, *content_type;
    char *body;
    uint32_t timeout_ms, idle_timeout_ms;
    bool urgent;
    bool replayable;
    bool refused;  /* by a 401, once already */
    bool streamed; /* a piece was handed over */
    unsigned retries;
    struct loop_timer *timer;     /* THROTTLED, PAUSED: its end. CREDENTIALS: its limit */
    struct kube_channel *channel; /* SENT */
    struct http_call *http;       /* SENT */
    char *token;                  /* SENT: with which one; NULL: none */
    unsigned generation;          /* SENT: and with which certificates */
    int64_t sent_ms;
    struct buf refusal; /* the body of a stream's answer that is not 2xx */
    void (*on_done)(void *arg, struct kube_answer *answer);
    bool (*on_body)(void *arg, const char *bytes, size_t len);
    void *arg;
    struct kube_call *prev, *next;
};

static void call_throttle(struct kube_call *call);

/* --- its end --- */

static void call_unlink(struct kube_call *call)
{
    struct kube_client *c = call->client;

    *(call->prev != NULL ? &call->prev->next : &c->first) = call->next;
    *(call->next != NULL ? &call->next->prev : &c->last) = call->prev;
    c->count--;
}

static void call_leave_channel(struct kube_call *call)
{
    struct kube_channel *channel = call->channel;

    call->channel = NULL;
    call->http = NULL;
    if (channel != NULL) {
        kube_channel_release(channel);
    }
}

static void call_free(struct kube_call *call)
{
    call_unlink(call);
    loop_timer_close(call->timer);
    buf_clear(&call->refusal);
    free(call->method);
    free(call->path);
    free(call->query);
    free(call->content_type);
    free(call->body);
    kube_secret_free(call->token);
    free(call);
}

void kube_call_cancel(struct kube_call *call)
{
    if (call != NULL) {
        http_call_cancel(call->http);
        call_leave_channel(call);
        call_free(call);
    }
}

static void call_end(struct kube_call *call, struct kube_answer_parts *parts)
{
    void (*on_done)(void *arg, struct kube_answer *answer) = call->on_done;
    void *arg = call->arg;

    call_free(call);
    on_done(arg, &parts->answer);
    kube_answer_clear(parts);
}

static char *what_of(const struct kube_call *call)
{
    return xasprintf("%s %s", call->method, call->path);
}

static void call_fail(struct kube_call *call, int result, const char *why)
{
    struct kube_answer_parts parts;
    AUTO(str) char *what = what_of(call);

    kube_answer_fail(&parts, what, result, why);
    call_end(call, &parts);
}

/* --- metrics --- */

static void count(const struct kube_call *call, const char *code)
{
    AUTO(str) char *host = kube_label(call->client->host);
    AUTO(str)
    char *labels = xasprintf("code=\"%s\",method=\"%s\",host=\"%s\"", code, call->method, host);

    metric_inc(kube_metric(METRIC_COUNTER, "rest_client_requests_total",
                           "Requests to the API server, by answer.", labels));
}

static void observe(const struct kube_call *call)
{
    static const double bounds[] = {0.005, 0.025, 0.1, 0.25, 0.5,  1.0,
                                    2.0,   4.0,   8.0, 15.0, 30.0, 60.0};
    AUTO(str) char *host = kube_label(call->client->host);
    AUTO(str) char *labels = xasprintf("verb=\"%s\",host=\"%s\"", call->method, host);

    metric_observe(kube_histogram("rest_client_request_duration_seconds",
                                  "Seconds from a request to the API server to its answer.", labels,
                                  bounds, ARRAY_LEN(bounds)),
                   (double)(clock_monotonic_ms() - call->sent_ms) / 1000);
}

static void count_answer(const struct kube_call *call, int status)
{
    char code[8];

    snprintf(code, sizeof(code), "%d", status);
    count(call, code);
    if (call->on_body == NULL) { /* a watch lasts as long as it lasts */
        observe(call);
    }
}

/* --- what comes back --- */

/* A server that told many to come again does not get them all at once. */
static void call_pause(struct kube_call *call, int seconds)
{
    int64_t turn_ms = bucket_reserve(&call->client->retries, clock_monotonic_ms());

    call->state = CALL_PAUSED;
    call->retries++;
    loop_timer_start(call->timer, (uint64_t)((seconds > 0 ? seconds : 1) * 1000 + turn_ms), 0);
}

static bool comes_again(const struct kube_call *call, const struct kube_answer *answer)
{
    return answer->outcome == KUBE_BUSY && answer->retry_after_s >= 0 &&
           answer->retry_after_s <= RETRY_AFTER_MAX_S && call->replayable &&
           call->retries < RETRIES_MAX && !call->streamed;
}

static bool may_renew(struct kube_call *call, int status)
{
    return status == 401 && !call->refused &&
           kube_credentials_refused(call->client->credentials, call->token, call->generation);
}

static void call_answered(struct kube_call *call, int status, const char *body, size_t len,
                          int retry_after_s)
{
    struct kube_answer_parts parts;
    AUTO(str) char *what = what_of(call);
    cJSON *object = NULL;
    struct err err;

    if (may_renew(call, status)) {
        call->refused = true;
        call_throttle(call);
        return;
    }
    int r = len > 0 ? json_parse(body, len, &object, &err) : 0;
    if (r < 0 && status >= 200 && status < 300) {
        kube_answer_fail(&parts, what, r, err.text);
        call_end(call, &parts);
        return;
    }
    kube_answer_make(&parts, what, status, object, body, retry_after_s);
    if (comes_again(call, &parts.answer)) {
        call_pause(call, parts.answer.retry_after_s);
        kube_answer_clear(&parts);
        return;
    }
    call_end(call, &parts);
}

/* http_client names the request as well, by its URL: once is enough. */
static const char *reason_in(const struct kube_call *call, const char *text)
{
    AUTO(str)
    char *named = xasprintf("%s %s%s: ", call->method, call->client->config->server, call->path);
    size_t len = strlen(named);

    return strncmp(text, named, len) == 0 ? text + len : text;
}

static void on_http(void *arg, int result, const struct http_response *res, const struct err *err)
{
    struct kube_call *call = arg;
    struct kube_client *c = call->client;

    if (result == -ETIMEDOUT) {
        kube_client_retire(c, call->channel);
    }
    call_leave_channel(call);
    if (result < 0) {
        if (result != -ECANCELED && result != -EMSGSIZE) {
            kube_client_heard(c, false);
        }
        count(call, "<error>");
        call_fail(call, result, reason_in(call, err->text));
        return;
    }
    kube_client_heard(c, true);
    count_answer(call, res->status);
    if (call->on_body == NULL) {
        call_answered(call, res->status, res->body, res->body_len, res->retry_after_s);
    } else if (res->status >= 200 && res->status < 300) {
        call_answered(call, res->status, "", 0, -1);
    } else {
        call_answered(call, res->status, buf_str(&call->refusal), call->refusal.len,
                      res->retry_after_s);
    }
}

static bool on_http_body(void *arg, int status, const char *bytes, size_t len)
{
    struct kube_call *call = arg;

    if (status < 200 || status >= 300) {
        (void)buf_append(&call->refusal, bytes, len); /* too long is a refusal all the same */
        return true;
    }
    if (!call->streamed) {
        kube_client_heard(call->client, true);
    }
    call->streamed = true;
    return call->on_body(call->arg, bytes, len);
}

/* --- its way to the wire --- */

static int call_post(struct kube_call *call, struct err *err)
{
    struct kube_client *c = call->client;
    AUTO(str)
    char *url = xasprintf("%s%s%s%s", c->config->server, call->path, call->query != NULL ? "?" : "",
                          call->query != NULL ? call->query : "");
    const char *const headers[] = {c->user_agent, "Accept: application/json", NULL};
    struct http_request request = {
        .method = call->method,
        .url = url,
        .bearer = call->token,
        .headers = headers,
        .body = call->body,
        .body_len = call->body != NULL ? strlen(call->body) : 0,
        .content_type = call->content_type,
        .timeout_ms = call->timeout_ms,
        .idle_timeout_ms = call->idle_timeout_ms,
        .on_done = on_http,
        .on_body = call->on_body != NULL ? on_http_body : NULL,
        .arg = call,
    };
    int r = kube_client_channel(c, call->urgent, &call->channel, err);

    if (r < 0) {
        return r;
    }
    call->channel->calls++;
    call->generation = call->channel->generation;
    call->sent_ms = clock_monotonic_ms();
    call->state = CALL_SENT;
    buf_truncate(&call->refusal, 0);
    return http_client_send(call->channel->http, &request, &call->http, err);
}

static void call_send(struct kube_call *call)
{
    struct kube_client *c = call->client;
    struct err err;
    int r = kube_credentials_refresh(c->credentials, &err);

    if (r == -EAGAIN) {
        call->state = CALL_CREDENTIALS;
        loop_timer_start(call->timer, TIMEOUT_MS * 2, 0);
        return;
    }
    loop_timer_stop(call->timer);
    if (r == 0) {
        const char *token = kube_credentials_token(c->credentials);
        kube_secret_free(call->token);
        call->token = token != NULL ? xstrdup(token) : NULL;
        r = call_post(call, &err);
    }
    if (r < 0) {
        call_leave_channel(call);
        count(call, "<error>");
        call_fail(call, r, err.text);
    }
}

static void call_throttle(struct kube_call *call)
{
    int64_t wait = call->urgent ? 0 : bucket_reserve(&call->client->bucket, clock_monotonic_ms());

    call->state = CALL_THROTTLED;
    loop_timer_start(call->timer, (uint64_t)wait, 0);
}

static void on_timer(void *arg)
{
    struct kube_call *call = arg;

    switch (call->state) {
    case CALL_THROTTLED:
        call_send(call);
        break;
    case CALL_CREDENTIALS:
        call_fail(call, -ETIMEDOUT, "credentials are not there in time");
        break;
    case CALL_PAUSED:
        call_throttle(call);
        break;
    case CALL_SENT:
        break;
    }
}

/* Through the timer: one that ends here may end others, so the list is not walked while they run.
 */
void kube_calls_resume(struct kube_client *c)
{
    for (struct kube_call *call = c->first; call != NULL; call = call->next) {
        if (call->state == CALL_CREDENTIALS) {
            call->state = CALL_THROTTLED;
            loop_timer_start(call->timer, 0, 0);
        }
    }
}

/* --- making one --- */

static char *copy(const char *text)
{
    return text != NULL ? xstrdup(text) : NULL;
}

static bool is_replayable(const struct kube_request *request)
{
    bool is_json_patch =
        request->content_type != NULL && strcmp(request->content_type, KUBE_JSON_PATCH) == 0;

    return !request->once && strcmp(request->method, "POST") != 0 && !is_json_patch;
}

static bool is_printable(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text <= ' ' || *text > '~') {
            return false;
        }
    }
    return true;
}

static int check(const struct kube_client *c, const struct kube_request *request, struct err *err)
{
    if (request->path[0] != '/' || !is_printable(request->path) ||
        (request->query != NULL && !is_printable(request->query))) {
        return err_text(err, -EINVAL, "bad path or query");
    }
    return c->count < CALLS_MAX ? 0 : err_text(err, -EBUSY, "%zu requests wait already", c->count);
}

static void call_link(struct kube_call *call)
{
    struct kube_client *c = call->client;

    call->prev = c->last;
    *(c->last != NULL ? &c->last->next : &c->first) = call;
    c->last = call;
    c->count++;
}

int kube_client_send(struct kube_client *c, const struct kube_request *request,
                     struct kube_call **ret, struct err *err)
{
    int r = check(c, request, err);

    if (r < 0) {
        return r;
    }
    struct kube_call *call = xcalloc(1, sizeof(*call));
    *call = (struct kube_call){
        .client = c,
        .method = xstrdup(request->method),
        .path = xstrdup(request->path),
        .query = copy(request->query),
        .content_type = copy(request->content_type),
        .body = copy(request->body),
        .timeout_ms =
            request->timeout_ms > 0 || request->on_body != NULL ? request->timeout_ms : TIMEOUT_MS,
        .idle_timeout_ms = request->on_body != NULL ? request->idle_timeout_ms : 0,
        .urgent = request->urgent,
        .replayable = is_replayable(request),
        .on_done = request->on_done,
        .on_body = request->on_body,
        .arg = request->arg,
    };
    buf_init(&call->refusal, REFUSAL_MAX);
    call->timer = loop_timer_new(c->loop, on_timer, call);
    call_link(call);
    call_throttle(call);
    if (ret != NULL) {
        *ret = call;
    }
    return 0;
}

int kube_apply(struct kube_client *c, const struct kube_resource *resource, const char *ns,
               const char *name, const char *subresource, const char *field_manager, bool force,
               const cJSON *object, void (*on_done)(void *arg, struct kube_answer *answer),
               void *arg, struct kube_call **ret, struct err *err)
{
    AUTO(str) char *path = kube_path(resource, ns, name, subresource);
    AUTO(str) char *manager = http_url_escape(field_manager);
    AUTO(str)
    char *query = xasprintf("fieldManager=%s&force=%s", manager, force ? "true" : "false");
    char *body = cJSON_PrintUnformatted(object);
    struct kube_request request = {
        .method = "PATCH",
        .path = path,
        .query = query,
        .body = body,
        .content_type = KUBE_APPLY_PATCH,
        .on_done = on_done,
        .arg = arg,
    };
    int r = kube_client_send(c, &request, ret, err);

    cJSON_free(body);
    return r;
}
