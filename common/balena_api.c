#include "common/balena_api.h"

#include "common/base64.h"
#include "common/buf.h"
#include "common/json.h"
#include "common/metrics.h"
#include "common/uuid.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define API_DEFAULT_TIMEOUT_MS 8000
#define API_VERIFY_TIMEOUT_MS 4000
#define API_DEFAULT_IN_FLIGHT 32
#define API_RESPONSE_MAX ((size_t)16 << 20) /* a list of 65,536 devices is 6 MB */
#define API_BODY_MAX 524288                 /* the API's own limit */

enum call_kind {
    CALL_AUTH,
    CALL_ACCESS,
    CALL_IS_CONNECTED,
    CALL_FIND_HOST,
    CALL_REPORT_UP,
    CALL_REPORT_DOWN,
    CALL_REGISTER,
    CALL_HEARTBEAT,
    CALL_LIST,
    CALL_VERIFY,
    CALL_KINDS,
};

static const char *const kind_names[CALL_KINDS] = {
    [CALL_AUTH] = "auth",
    [CALL_ACCESS] = "can_access",
    [CALL_IS_CONNECTED] = "is_connected",
    [CALL_FIND_HOST] = "find_host",
    [CALL_REPORT_UP] = "client_connect",
    [CALL_REPORT_DOWN] = "client_disconnect",
    [CALL_REGISTER] = "register",
    [CALL_HEARTBEAT] = "heartbeat",
    [CALL_LIST] = "list",
    [CALL_VERIFY] = "verify",
};

/* A call is in one ring at a time: on the wire, waiting for a verification, or with an answer that
 * is handed over in the loop's next round. */
struct api_call {
    struct balena_api *api;
    enum call_kind kind;
    struct http_call *http;
    int64_t started_ms;
    enum api_answer deferred; /* in the deferred ring only */
    const char *why;
    api_done_fn on_done;
    void *arg;
    struct api_call *prev, *next;
};

struct balena_api {
    struct loop *loop;
    struct http_client *http;
    char *base_url;
    char *service_key;
    uint32_t timeout_ms;
    struct api_call on_wire;  /* heads of rings */
    struct api_call probed;   /* wait for the verification that is on the wire */
    struct api_call unprobed; /* came after that one was begun: wait for the next */
    struct api_call deferred;
    struct loop_timer *deferred_timer;
    struct http_call *probe; /* the verification on the wire */
    bool sane;
    char why[ERR_TEXT_MAX]; /* not; "": it is, or was not asked yet */
    loop_fn on_change;
    void *on_change_arg;
};

static struct metric requests[CALL_KINDS][API_UNKNOWN + 1];
static struct metric durations[CALL_KINDS];

static void register_metrics(void)
{
    static const char *const answers[] = {"yes", "no", "gone", "unknown"};
    static const double buckets[] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};

    if (requests[0][0].name != NULL) {
        return;
    }
    for (size_t k = 0; k < CALL_KINDS; k++) {
        for (size_t a = 0; a <= API_UNKNOWN; a++) {
            requests[k][a].name = "balena_api_requests_total";
            requests[k][a].labels =
                xasprintf("call=\"%s\",answer=\"%s\"", kind_names[k], answers[a]);
            requests[k][a].help = "Calls to the balena API by what was made of the answer.";
            requests[k][a].kind = METRIC_COUNTER;
            metrics_register(&requests[k][a]);
        }
        durations[k].name = "balena_api_request_duration_seconds";
        durations[k].labels = xasprintf("call=\"%s\"", kind_names[k]);
        durations[k].help = "Time of a call to the balena API, verification included.";
        durations[k].kind = METRIC_HISTOGRAM;
        durations[k].bucket_count = ARRAY_LEN(buckets);
        memcpy(durations[k].buckets, buckets, sizeof(buckets));
        metrics_register(&durations[k]);
    }
}

/* --- settings --- */

/* Of "host", "host:port" or "[::1]:port", whatever path follows. */
static bool port_fits(const char *host)
{
    size_t len = strcspn(host, "/");
    const char *colon = memrchr(host, ':', len);

    if (colon == NULL || memchr(colon, ']', len - (size_t)(colon - host)) != NULL) {
        return true;
    }
    size_t digits = strspn(colon + 1, "0123456789");
    int port = digits > 0 && digits <= 5 ? atoi(colon + 1) : 0;
    return colon + 1 + digits == host + len && port >= 1 && port <= 65535;
}

static int check_base_url(const char *source, const char *text, const char *scheme, char **ret,
                          struct err *err)
{
    bool has_scheme = strncmp(text, "http://", 7) == 0 || strncmp(text, "https://", 8) == 0;
    const char *host = has_scheme ? strstr(text, "://") + 3 : text;
    size_t len = strlen(text);

    while (len > 0 && text[len - 1] == '/') {
        len--;
    }
    for (const char *p = host; *p != '\0'; p++) {
        if (*p <= ' ' || *p >= 0x7f || strchr("\"'<>\\^`{|}?#@", *p) != NULL) {
            return err_text(err, -EINVAL, "%s: '%.64s' is not a host, host:port or URL", source,
                            text);
        }
    }
    if (*host == '\0' || *host == '/' || *host == ':' ||
        (!has_scheme && strchr(host, '/') != NULL)) {
        return err_text(err, -EINVAL, "%s: '%.64s' is not a host, host:port or URL", source, text);
    }
    if (!port_fits(host)) {
        return err_text(err, -EINVAL, "%s: '%.64s' has no port of 1 to 65535", source, text);
    }
    *ret = xasprintf("%s%.*s", has_scheme ? "" : scheme, (int)len, text);
    return 0;
}

int balena_api_url_from_env(char **ret, struct err *err)
{
    static const struct {
        const char *name;
        const char *scheme;
    } variables[] = {
        {"BALENA_API_INTERNAL_HOST", "http://"},
        {"API_INTERNAL_HOST", "http://"},
        {"BALENA_API_HOST", "https://"},
        {"API_HOST", "https://"},
    };

    *ret = NULL;
    for (size_t i = 0; i < ARRAY_LEN(variables); i++) {
        const char *value = getenv(variables[i].name);
        if (value != NULL && value[0] != '\0') {
            return check_base_url(variables[i].name, value, variables[i].scheme, ret, err);
        }
    }
    return 0;
}

int balena_api_ca_from_env(char **ret, struct err *err)
{
    const char *value = getenv("ROOT_CA");
    size_t len = 0;

    *ret = NULL;
    if (value == NULL || value[0] == '\0') {
        return 0;
    }
    AUTO(str) char *pem = NULL;
    int r = base64_decode(value, strlen(value), &pem, &len, err);
    if (r < 0) {
        return err_wrap(err, "ROOT_CA");
    }
    if (strlen(pem) != len || strstr(pem, "-----BEGIN CERTIFICATE-----") == NULL) {
        return err_text(err, -EINVAL, "ROOT_CA: no PEM certificate in it");
    }
    *ret = MOVE(pem);
    return 0;
}

/* --- rings --- */

static void ring_init(struct api_call *head)
{
    head->prev = head;
    head->next = head;
}

static bool ring_empty(const struct api_call *head)
{
    return head->next == head;
}

static void ring_remove(struct api_call *call)
{
    call->prev->next = call->next;
    call->next->prev = call->prev;
}

static void ring_append(struct api_call *head, struct api_call *call)
{
    call->prev = head->prev;
    call->next = head;
    head->prev->next = call;
    head->prev = call;
}

static void ring_move_all(struct api_call *from, struct api_call *to)
{
    while (!ring_empty(from)) {
        struct api_call *call = from->next;
        ring_remove(call);
        ring_append(to, call);
    }
}

/* --- life of a call --- */

static struct api_call *call_new(struct balena_api *api, enum call_kind kind, api_done_fn on_done,
                                 void *arg)
{
    struct api_call *call = xcalloc(1, sizeof(*call));

    *call = (struct api_call){
        .api = api,
        .kind = kind,
        .started_ms = clock_monotonic_ms(),
        .on_done = on_done,
        .arg = arg,
    };
    ring_append(&api->on_wire, call);
    return call;
}

static void call_free(struct api_call *call)
{
    ring_remove(call);
    free(call);
}

/* Ends the call: it is freed before on_done, which may start others. */
static void call_done(struct api_call *call, const struct api_result *result)
{
    api_done_fn on_done = call->on_done;
    void *arg = call->arg;

    metric_inc(&requests[call->kind][result->answer]);
    metric_observe(&durations[call->kind],
                   (double)(clock_monotonic_ms() - call->started_ms) / 1000.0);
    call_free(call);
    on_done(arg, result);
}

static void call_unknown(struct api_call *call, bool timed_out, const char *why)
{
    struct api_result result = {.answer = API_UNKNOWN, .timed_out = timed_out, .why = why};

    call_done(call, &result);
}

/* For an answer that is known before anything was sent. why: a literal. */
static void call_defer(struct api_call *call, enum api_answer answer, const char *why)
{
    struct balena_api *api = call->api;

    call->deferred = answer;
    call->why = why;
    ring_remove(call);
    ring_append(&api->deferred, call);
    loop_timer_start(api->deferred_timer, 0, 0);
}

static void on_deferred(void *arg)
{
    struct balena_api *api = arg;
    struct api_call due;

    ring_init(&due);
    ring_move_all(&api->deferred, &due);
    while (!ring_empty(&due)) {
        struct api_call *call = due.next;
        struct api_result result = {.answer = call->deferred, .why = call->why};
        call_done(call, &result);
    }
}

void api_call_cancel(struct api_call *call)
{
    if (call != NULL) {
        if (call->http != NULL) {
            http_call_cancel(call->http);
        }
        call_free(call);
    }
}

static void set_sane(struct balena_api *api, bool sane)
{
    if (api->sane != sane) {
        api->sane = sane;
        if (api->on_change != NULL) {
            loop_post(api->loop, api->on_change, api->on_change_arg);
        }
    }
}

/* Only an ill API refuses our own key; a 4xx of another kind still says that it knew us. */
static void learn_sanity(struct balena_api *api, int result, const struct http_response *res,
                         const struct err *err)
{
    bool sane = result == 0 && res->status != 401 && res->status != 429 && res->status < 500;

    if (sane) {
        api->why[0] = '\0';
    } else if (result == 0) {
        snprintf(api->why, sizeof(api->why), "it answered %d", res->status);
    } else {
        snprintf(api->why, sizeof(api->why), "%s", err != NULL ? err->text : "no answer");
    }
    set_sane(api, sane);
}

/* --- verification: is the API sane, asked now? --- */

static void probe_start(struct balena_api *api);

static void on_probe(void *arg, int result, const struct http_response *res, const struct err *err)
{
    struct balena_api *api = arg;
    bool sane = result == 0 && res->status == 200;
    struct api_call due;

    api->probe = NULL;
    learn_sanity(api, result, res, err);
    ring_init(&due);
    ring_move_all(&api->probed, &due);
    ring_move_all(&api->unprobed, &api->probed);
    if (!ring_empty(&api->probed)) {
        probe_start(api);
    }
    while (!ring_empty(&due)) {
        struct api_call *call = due.next;
        struct api_result verdict = {
            .answer = !sane ? API_UNKNOWN : (call->kind == CALL_VERIFY ? API_YES : API_NO),
            .timed_out = result == -ETIMEDOUT,
            .why = sane ? NULL : "the API refuses our own key or does not answer",
        };
        call_done(call, &verdict);
    }
}

/* A question that our key may always ask, whose answer is an empty list. */
static void probe_start(struct balena_api *api)
{
    AUTO(str)
    char *url =
        xasprintf("%s/v7/device(@id)?$select=id&$filter=is_connected_to_vpn&@id=0", api->base_url);
    struct http_request request = {
        .method = "GET",
        .url = url,
        .bearer = api->service_key,
        .timeout_ms = API_VERIFY_TIMEOUT_MS,
        .on_done = on_probe,
        .arg = api,
    };

    if (http_client_send(api->http, &request, &api->probe, NULL) < 0) {
        api->probe = NULL;
        while (!ring_empty(&api->probed)) {
            call_defer(api->probed.next, API_UNKNOWN, "too many calls are waiting");
        }
    }
}

/* The call ends with the answer of a probe that is begun from now on. */
static void verify(struct api_call *call)
{
    struct balena_api *api = call->api;

    ring_remove(call);
    if (api->probe != NULL) {
        ring_append(&api->unprobed, call);
        return;
    }
    ring_append(&api->probed, call);
    probe_start(api);
}

/* --- answers --- */

static bool own_key(enum call_kind kind)
{
    return kind != CALL_AUTH && kind != CALL_ACCESS && kind != CALL_FIND_HOST;
}

/* The list "d" of an OData answer, NULL: not one. Owned by *tree. */
static const cJSON *odata_list(const struct http_response *res, cJSON **tree)
{
    const cJSON *list = NULL;

    if (json_parse(res->body, res->body_len, tree, NULL) < 0 ||
        json_array(*tree, "d", &list, NULL) < 0) {
        return NULL;
    }
    return list;
}

static void answer_id(struct api_call *call, const cJSON *object)
{
    struct api_result result = {.answer = API_YES};

    if (json_int(object, "id", 1, INT64_C(1) << 53, &result.id, NULL) < 0) {
        call_unknown(call, false, "no id in the answer");
        return;
    }
    call_done(call, &result);
}

static void answer_registered(struct api_call *call, const struct http_response *res)
{
    AUTO(json) cJSON *tree = NULL;

    if (json_parse(res->body, res->body_len, &tree, NULL) < 0) {
        call_unknown(call, false, "no JSON in the answer");
        return;
    }
    answer_id(call, tree);
}

/* One entry: yes. None: no. Anything else is no answer. */
static void answer_from_list(struct api_call *call, const struct http_response *res)
{
    AUTO(json) cJSON *tree = NULL;
    const cJSON *list = odata_list(res, &tree);
    struct api_result result = {.answer = API_NO};

    if (list == NULL || cJSON_GetArraySize(list) > 1) {
        call_unknown(call, false, "no list of one or none in the answer");
        return;
    }
    if (cJSON_GetArraySize(list) == 0) {
        call_done(call, &result);
        return;
    }
    if (call->kind != CALL_FIND_HOST) {
        answer_id(call, cJSON_GetArrayItem(list, 0));
        return;
    }
    if (json_str(cJSON_GetArrayItem(list, 0), "ip_address", &result.address, NULL) < 0) {
        call_unknown(call, false, "no ip_address in the answer");
        return;
    }
    result.answer = API_YES;
    call_done(call, &result);
}

static void answer_devices(struct api_call *call, const struct http_response *res)
{
    AUTO(json) cJSON *tree = NULL;
    const cJSON *list = odata_list(res, &tree);
    const cJSON *entry = NULL;
    struct api_result result = {.answer = API_YES};

    if (list == NULL) {
        call_unknown(call, false, "no list in the answer");
        return;
    }
    const char **uuids = xcalloc((size_t)cJSON_GetArraySize(list), sizeof(*uuids));
    cJSON_ArrayForEach(entry, list)
    {
        const char *uuid = NULL;
        if (json_str(entry, "uuid", &uuid, NULL) == 0 && uuid_valid_str(uuid)) {
            uuids[result.uuid_count++] = uuid;
        }
    }
    result.uuids = uuids;
    call_done(call, &result);
    free(uuids);
}

static void answer_ok(struct api_call *call, const struct http_response *res)
{
    struct api_result result = {.answer = API_YES};

    switch (call->kind) {
    case CALL_ACCESS:
    case CALL_IS_CONNECTED:
    case CALL_FIND_HOST:
        answer_from_list(call, res);
        break;
    case CALL_REGISTER:
        answer_registered(call, res);
        break;
    case CALL_LIST:
        answer_devices(call, res);
        break;
    default:
        call_done(call, &result);
    }
}

static void on_answer(void *arg, int error, const struct http_response *res, const struct err *err)
{
    struct api_call *call = arg;
    char why[64];

    call->http = NULL;
    if (own_key(call->kind)) {
        learn_sanity(call->api, error, res, err);
    }
    if (error < 0) {
        call_unknown(call, error == -ETIMEDOUT, err != NULL ? err->text : "no answer");
        return;
    }
    if (res->status == (call->kind == CALL_REGISTER ? 201 : 200)) {
        answer_ok(call, res);
        return;
    }
    if (res->status == 401 && !own_key(call->kind)) {
        verify(call);
        return;
    }
    if (res->status == 409 && call->kind == CALL_REPORT_UP) {
        struct api_result gone = {.answer = API_GONE};
        call_done(call, &gone);
        return;
    }
    snprintf(why, sizeof(why), "it answered %d", res->status);
    call_unknown(call, false, why);
}

/* --- questions --- */

struct question {
    const char *method;
    const char *url;
    const char *key;
    const char *body;
    const char *traceparent;
};

static bool header_safe(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text <= ' ' || *text >= 0x7f) {
            return false;
        }
    }
    return true;
}

static struct api_call *ask(struct api_call *call, const struct question *q)
{
    struct balena_api *api = call->api;
    AUTO(str) char *trace = NULL;
    const char *headers[2] = {NULL, NULL};

    if (q->traceparent != NULL && q->traceparent[0] != '\0' && header_safe(q->traceparent)) {
        trace = xasprintf("traceparent: %s", q->traceparent);
        headers[0] = trace;
    }
    struct http_request request = {
        .method = q->method,
        .url = q->url,
        .bearer = q->key,
        .headers = headers,
        .body = q->body,
        .body_len = q->body != NULL ? strlen(q->body) : 0,
        .timeout_ms = api->timeout_ms,
        .on_done = on_answer,
        .arg = call,
    };
    if (http_client_send(api->http, &request, &call->http, NULL) < 0) {
        call->http = NULL;
        call_defer(call, API_UNKNOWN, "too many calls are waiting");
    }
    return call;
}

struct api_call *api_device_auth(struct balena_api *api, const char *uuid, const char *key,
                                 api_done_fn on_done, void *arg)
{
    struct api_call *call = call_new(api, CALL_AUTH, on_done, arg);
    AUTO(str) char *url = xasprintf("%s/services/vpn/auth/%s", api->base_url, uuid);

    assert(uuid_valid_str(uuid));
    if (key[0] == '\0' || !header_safe(key)) {
        call_defer(call, API_NO, NULL);
        return call;
    }
    return ask(call, &(struct question){.method = "GET", .url = url, .key = key});
}

struct api_call *api_can_access(struct balena_api *api, const char *uuid, uint16_t port,
                                const char *key, const char *traceparent, api_done_fn on_done,
                                void *arg)
{
    struct api_call *call = call_new(api, CALL_ACCESS, on_done, arg);
    AUTO(str)
    char *url = xasprintf("%s/v7/device(uuid=@uuid)/canAccess?@uuid='%s'", api->base_url, uuid);
    char body[64];

    assert(uuid_valid_str(uuid));
    if (key != NULL && (key[0] == '\0' || !header_safe(key))) {
        call_defer(call, API_NO, NULL);
        return call;
    }
    snprintf(body, sizeof(body), "{\"action\":{\"or\":[\"tunnel-any\",\"tunnel-%u\"]}}", port);
    return ask(
        call,
        &(struct question){
            .method = "POST", .url = url, .key = key, .body = body, .traceparent = traceparent});
}

struct api_call *api_is_connected(struct balena_api *api, int64_t id, const char *traceparent,
                                  api_done_fn on_done, void *arg)
{
    struct api_call *call = call_new(api, CALL_IS_CONNECTED, on_done, arg);
    AUTO(str)
    char *url = xasprintf("%s/v7/device(@id)?$select=id&$filter=is_connected_to_vpn&@id=%lld",
                          api->base_url, (long long)id);

    return ask(call, &(struct question){.method = "GET",
                                        .url = url,
                                        .key = api->service_key,
                                        .traceparent = traceparent});
}

struct api_call *api_find_host(struct balena_api *api, const char *uuid, const char *key,
                               const char *traceparent, api_done_fn on_done, void *arg)
{
    struct api_call *call = call_new(api, CALL_FIND_HOST, on_done, arg);
    AUTO(str)
    char *url = xasprintf("%s/v7/service_instance?$select=id,ip_address&$filter=manages__device/"
                          "any(d:(d/uuid%%20eq%%20'%s')%%20and%%20(d/is_connected_to_vpn))",
                          api->base_url, uuid);

    assert(uuid_valid_str(uuid));
    if (key != NULL && (key[0] == '\0' || !header_safe(key))) {
        call_defer(call, API_NO, NULL);
        return call;
    }
    return ask(call, &(struct question){
                         .method = "GET", .url = url, .key = key, .traceparent = traceparent});
}

struct api_call *api_report(struct balena_api *api, bool connected, int64_t service_id,
                            const char *const *uuids, size_t count, api_done_fn on_done, void *arg)
{
    enum call_kind kind = connected ? CALL_REPORT_UP : CALL_REPORT_DOWN;
    struct api_call *call = call_new(api, kind, on_done, arg);
    AUTO(str)
    char *url =
        xasprintf("%s/services/vpn/client-%s", api->base_url, connected ? "connect" : "disconnect");
    AUTO(buf) struct buf body;

    assert(count > 0 && count <= API_BATCH_MAX);
    buf_init(&body, API_BODY_MAX);
    int r = buf_printf(&body, "{\"serviceId\":%lld,\"uuids\":[", (long long)service_id);
    for (size_t i = 0; i < count && r == 0; i++) {
        assert(uuid_valid_str(uuids[i]));
        r = buf_printf(&body, "%s\"%s\"", i > 0 ? "," : "", uuids[i]);
    }
    if (r == 0) {
        r = buf_printf(&body, "],\"connected\":%s}", connected ? "true" : "false");
    }
    assert(r == 0); /* 8000 of the longest UUIDs fit */
    return ask(call,
               &(struct question){
                   .method = "POST", .url = url, .key = api->service_key, .body = buf_str(&body)});
}

struct api_call *api_register(struct balena_api *api, const char *address, api_done_fn on_done,
                              void *arg)
{
    struct api_call *call = call_new(api, CALL_REGISTER, on_done, arg);
    AUTO(str) char *url = xasprintf("%s/v7/service_instance", api->base_url);
    AUTO(str) char *quoted = address != NULL ? json_quote(address) : NULL;
    AUTO(str)
    char *body = quoted != NULL ? xasprintf("{\"ip_address\":%s}", quoted) : xstrdup("{}");

    return ask(call, &(struct question){
                         .method = "POST", .url = url, .key = api->service_key, .body = body});
}

struct api_call *api_heartbeat(struct balena_api *api, int64_t service_id, api_done_fn on_done,
                               void *arg)
{
    struct api_call *call = call_new(api, CALL_HEARTBEAT, on_done, arg);
    AUTO(str)
    char *url = xasprintf("%s/v7/service_instance(%lld)", api->base_url, (long long)service_id);

    return ask(call, &(struct question){.method = "PATCH",
                                        .url = url,
                                        .key = api->service_key,
                                        .body = "{\"is_alive\":true}"});
}

struct api_call *api_list_devices(struct balena_api *api, int64_t service_id, api_done_fn on_done,
                                  void *arg)
{
    struct api_call *call = call_new(api, CALL_LIST, on_done, arg);
    AUTO(str)
    char *url = xasprintf("%s/v7/device?$select=uuid&$filter=is_managed_by__service_instance"
                          "%%20eq%%20%lld%%20and%%20is_connected_to_vpn",
                          api->base_url, (long long)service_id);

    return ask(call, &(struct question){.method = "GET", .url = url, .key = api->service_key});
}

struct api_call *api_verify_sane(struct balena_api *api, api_done_fn on_done, void *arg)
{
    struct api_call *call = call_new(api, CALL_VERIFY, on_done, arg);

    verify(call);
    return call;
}

/* --- the whole --- */

int balena_api_new(struct loop *loop, const struct balena_api_options *options,
                   struct balena_api **ret, struct err *err)
{
    if (options->service_key == NULL || options->service_key[0] == '\0' ||
        !header_safe(options->service_key)) {
        return err_text(err, -EINVAL, "the VPN service's API key is empty or has odd bytes in it");
    }
    struct balena_api *api = xcalloc(1, sizeof(*api));
    struct http_client_options http = {
        .ca_pem = options->ca_pem,
        .max_in_flight =
            options->max_in_flight > 0 ? options->max_in_flight : API_DEFAULT_IN_FLIGHT,
        .max_response = API_RESPONSE_MAX,
    };
    int r = http_client_new(loop, &http, &api->http, err);
    if (r < 0) {
        free(api);
        return err_wrap(err, "client of the balena API");
    }
    register_metrics();
    api->loop = loop;
    api->base_url = xstrdup(options->base_url);
    api->service_key = xstrdup(options->service_key);
    api->timeout_ms = options->timeout_ms > 0 ? options->timeout_ms : API_DEFAULT_TIMEOUT_MS;
    ring_init(&api->on_wire);
    ring_init(&api->probed);
    ring_init(&api->unprobed);
    ring_init(&api->deferred);
    api->deferred_timer = loop_timer_new(loop, on_deferred, api);
    *ret = api;
    return 0;
}

static void ring_free(struct api_call *head)
{
    while (!ring_empty(head)) {
        call_free(head->next);
    }
}

void balena_api_close(struct balena_api *api)
{
    if (api == NULL) {
        return;
    }
    http_client_close(api->http);
    ring_free(&api->on_wire);
    ring_free(&api->probed);
    ring_free(&api->unprobed);
    ring_free(&api->deferred);
    loop_timer_close(api->deferred_timer);
    free(api->base_url);
    explicit_bzero(api->service_key, strlen(api->service_key));
    free(api->service_key);
    free(api);
}

bool balena_api_sane(const struct balena_api *api)
{
    return api->sane;
}

const char *balena_api_why(const struct balena_api *api)
{
    return api->why;
}

void balena_api_watch(struct balena_api *api, loop_fn on_change, void *arg)
{
    api->on_change = on_change;
    api->on_change_arg = arg;
}
