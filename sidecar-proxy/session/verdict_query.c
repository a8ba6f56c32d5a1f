#include "sidecar-proxy/session/verdict_query.h"

#include "common/http_client.h"
#include "common/json.h"
#include "common/secret.h"

#include <string.h>

#define VERDICT_QUERY_IN_FLIGHT 64
#define VERDICT_QUERY_QUEUED 4096

struct verdict_asker {
    struct loop *loop;
    struct http_client *http;
    const struct replicas *states;
    char token[SECRET_TOKEN_MAX + 1];
    struct list queries;
};

struct ask {
    struct verdict_query *query;
    struct http_call *call;
};

struct verdict_query {
    struct list in_asker;
    struct ask asks[REPLICAS_MAX];
    size_t count;
    struct loop_timer *done; /* hands the result over in the loop's next round */
    int64_t at_ms;
    verdict_query_fn on_done;
    void *arg;
};

int verdict_asker_new(struct loop *loop, const struct replicas *states,
                      const struct service_keys *keys, struct verdict_asker **ret, struct err *err)
{
    struct verdict_asker *a = xcalloc(1, sizeof(*a));
    struct http_client_options options = {
        .max_in_flight = VERDICT_QUERY_IN_FLIGHT,
        .max_queued = VERDICT_QUERY_QUEUED,
        .max_response = 1024,
        .connect_timeout_ms = VERDICT_QUERY_TIMEOUT_MS,
    };

    int r = http_client_new(loop, &options, &a->http, err);
    if (r < 0) {
        free(a);
        return r;
    }
    a->loop = loop;
    list_init(&a->queries);
    a->states = states;
    secret_token(keys, SECRET_STATE, a->token);
    *ret = a;
    return 0;
}

void verdict_asker_close(struct verdict_asker *a)
{
    if (a == NULL) {
        return;
    }
    LIST_EACH(at, &a->queries)
    {
        verdict_query_cancel(CONTAINER_OF(at, struct verdict_query, in_asker));
    }
    http_client_close(a->http);
    secret_wipe(a->token, sizeof(a->token));
    free(a);
}

static void on_decided(void *arg)
{
    struct verdict_query *q = arg;
    verdict_query_fn on_done = q->on_done;
    void *user = q->arg;
    int64_t at_ms = q->at_ms;

    verdict_query_cancel(q);
    on_done(user, at_ms);
}

static size_t still_asked(const struct verdict_query *q)
{
    size_t n = 0;

    for (size_t i = 0; i < q->count; i++) {
        n += q->asks[i].call != NULL;
    }
    return n;
}

static int64_t vouched_at(const struct http_response *res)
{
    AUTO(json) cJSON *tree = NULL;
    int64_t at_ms = 0;

    if (res->status != 200 || json_parse(res->body, res->body_len, &tree, NULL) < 0 ||
        json_int(tree, "at", 1, INT64_C(1) << 53, &at_ms, NULL) < 0) {
        return 0;
    }
    return at_ms;
}

static void on_answer(void *arg, int result, const struct http_response *res, const struct err *err)
{
    struct ask *ask = arg;
    struct verdict_query *q = ask->query;
    int64_t at_ms = result == 0 ? vouched_at(res) : 0;

    ask->call = NULL;
    q->at_ms = at_ms > q->at_ms ? at_ms : q->at_ms;
    if (q->at_ms > 0 || still_asked(q) == 0) {
        loop_timer_start(q->done, 0, 0);
    }
}

static void ask_one(struct verdict_asker *a, struct verdict_query *q, const char *at,
                    const char *uuid, const struct fingerprint *f)
{
    AUTO(str) char *url = xasprintf("http://%s/v1/verdicts/%s/%s", at, uuid, f->text);
    struct ask *ask = &q->asks[q->count++];
    struct http_request request = {
        .method = "GET",
        .url = url,
        .bearer = a->token,
        .timeout_ms = VERDICT_QUERY_TIMEOUT_MS,
        .on_done = on_answer,
        .arg = ask,
    };

    ask->query = q;
    if (http_client_send(a->http, &request, &ask->call, NULL) < 0) {
        ask->call = NULL;
    }
}

struct verdict_query *verdict_query_start(struct verdict_asker *a, const char *uuid,
                                          const struct fingerprint *f, verdict_query_fn on_done,
                                          void *arg)
{
    struct verdict_query *q = xcalloc(1, sizeof(*q));

    q->done = loop_timer_new(a->loop, on_decided, q);
    q->on_done = on_done;
    q->arg = arg;
    list_append(&a->queries, &q->in_asker);
    for (size_t i = 0; i < replicas_count(a->states); i++) {
        ask_one(a, q, replicas_at(a->states, i)->text, uuid, f);
    }
    if (still_asked(q) == 0) {
        loop_timer_start(q->done, 0, 0);
    }
    return q;
}

void verdict_query_cancel(struct verdict_query *q)
{
    if (q == NULL) {
        return;
    }
    for (size_t i = 0; i < q->count; i++) {
        if (q->asks[i].call != NULL) {
            http_call_cancel(q->asks[i].call);
        }
    }
    loop_timer_close(q->done);
    list_remove(&q->in_asker);
    free(q);
}
