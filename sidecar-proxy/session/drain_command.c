#include "sidecar-proxy/session/drain_command.h"

#include "common/buf.h"
#include "common/endpoint.h"
#include "common/http_client.h"
#include "common/json.h"
#include "common/secret.h"
#include "sidecar-proxy/session/control.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define CALL_MS 3000
#define LOOK_MS 200 /* between looks */
#define UNIX_PREFIX "unix:"

struct drain_command {
    struct drain_command_options o;
    struct http_client *http;
    struct loop_timer *next; /* the next call; none is under way while it runs */
    char *socket;            /* path, or NULL: TCP */
    char *base;              /* URL */
    char *body;              /* of the question */
    char token[SECRET_TOKEN_MAX + 1];
    bool asked;          /* the sidecar has said that it drains */
    int64_t by_ms;       /* end of our patience; 0: it has not said so yet */
    int64_t answered_ms; /* when it last answered */
    int64_t sessions;    /* as it last said */
};

static void end(struct drain_command *d, enum drain_command_end how, const char *text)
{
    void (*on_end)(void *arg, enum drain_command_end end, const char *text) = d->o.on_end;
    void *arg = d->o.arg;

    http_client_close(d->http);
    loop_timer_close(d->next);
    free(d->socket);
    free(d->base);
    free(d->body);
    secret_wipe(d->token, sizeof(d->token));
    free(d);
    on_end(arg, how, text);
}

/* Goes on unless the time is over: for those who are left, or for who does not answer. */
static void go_on(struct drain_command *d, const char *why)
{
    int64_t now_ms = clock_monotonic_ms();
    uint32_t silence_ms = d->o.silence_ms > 0 ? d->o.silence_ms : DRAIN_COMMAND_SILENCE_MS;

    if (d->by_ms != 0 && now_ms >= d->by_ms) {
        AUTO(str) char *text = xasprintf("%lld devices are left", (long long)d->sessions);
        end(d, DRAIN_COMMAND_TIME_OVER, text);
    } else if (now_ms - d->answered_ms >= silence_ms) {
        AUTO(str) char *text = xasprintf("no sidecar answers: %s", why);
        end(d, DRAIN_COMMAND_REFUSED, text);
    } else {
        loop_timer_start(d->next, LOOK_MS, 0);
    }
}

static void on_accepted(struct drain_command *d, const struct http_response *res)
{
    uint32_t margin_ms = d->o.margin_ms > 0 ? d->o.margin_ms : DRAIN_COMMAND_MARGIN_MS;
    AUTO(json) cJSON *tree = NULL;
    int64_t timeout_s = 0;

    if (json_parse(res->body, res->body_len, &tree, NULL) == 0) {
        (void)json_int(tree, "timeoutSeconds", 0, 86400, &timeout_s, NULL);
    }
    if (d->by_ms == 0) { /* asked again, it is still the same drain */
        d->by_ms = d->answered_ms + timeout_s * 1000 + margin_ms;
    }
    d->asked = true;
    loop_timer_start(d->next, 0, 0);
}

static void on_drain(void *arg, int result, const struct http_response *res, const struct err *err)
{
    struct drain_command *d = arg;

    if (result < 0) {
        go_on(d, err->text);
        return;
    }
    d->answered_ms = clock_monotonic_ms();
    if (res->status == 202) {
        on_accepted(d, res);
    } else {
        AUTO(str) char *text = xasprintf("the sidecar answers %d: %.200s", res->status, res->body);
        end(d, DRAIN_COMMAND_REFUSED, text);
    }
}

static void on_status(void *arg, int result, const struct http_response *res, const struct err *err)
{
    struct drain_command *d = arg;
    AUTO(json) cJSON *tree = NULL;
    const char *phase = "";

    if (result < 0 || res->status != 200) {
        go_on(d, result < 0 ? err->text : "no status");
        return;
    }
    d->answered_ms = clock_monotonic_ms();
    if (json_parse(res->body, res->body_len, &tree, NULL) == 0) {
        (void)json_str(tree, "phase", &phase, NULL);
        (void)json_int(tree, "sessions", 0, INT64_C(1) << 32, &d->sessions, NULL);
    }
    if (strcmp(phase, "drained") == 0) {
        end(d, DRAIN_COMMAND_EMPTY, "nobody is left");
        return;
    }
    d->asked = strcmp(phase, "draining") == 0; /* else a new one that knows of no drain */
    go_on(d, "");
}

static void on_next(void *arg)
{
    struct drain_command *d = arg;
    AUTO(str) char *url = xasprintf("%s%s", d->base, d->asked ? "/v1/status" : "/v1/drain");
    const struct http_request request = {
        .method = d->asked ? "GET" : "POST",
        .url = url,
        .unix_socket = d->socket,
        .bearer = d->token[0] != '\0' ? d->token : NULL,
        .body = d->asked ? NULL : d->body,
        .body_len = d->asked ? 0 : strlen(d->body),
        .timeout_ms = CALL_MS,
        .on_done = d->asked ? on_status : on_drain,
        .arg = d,
    };
    struct err err = {0};

    if (http_client_send(d->http, &request, NULL, &err) < 0) {
        go_on(d, err.text);
    }
}

static char *format_body(int64_t rate_per_minute, int64_t timeout_s)
{
    struct buf out;

    buf_init(&out, 128);
    buf_append_str(&out, "{");
    if (rate_per_minute > 0) {
        buf_printf(&out, "\"ratePerMinute\":%lld", (long long)rate_per_minute);
    }
    if (timeout_s >= 0) {
        buf_printf(&out, "%s\"timeoutSeconds\":%lld", out.len > 1 ? "," : "", (long long)timeout_s);
    }
    buf_append_str(&out, "}");
    return buf_take(&out);
}

static int read_control(struct drain_command *d, const char *control, struct err *err)
{
    struct endpoint at;

    if (strncmp(control, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0) {
        d->socket = xstrdup(control + strlen(UNIX_PREFIX));
        d->base = xstrdup("http://localhost");
        return 0;
    }
    int r = endpoint_parse(control, &at, err);
    if (r == 0) {
        d->base = endpoint_url(&at);
    }
    return r < 0 ? err_wrap(err, "--control") : 0;
}

int drain_command_open(const struct drain_command_options *options, struct drain_command **ret,
                       struct err *err)
{
    struct drain_command *d = xcalloc(1, sizeof(*d));
    int r = read_control(d, options->control, err);

    if (r == 0) {
        r = http_client_new(options->loop, &(struct http_client_options){0}, &d->http, err);
    }
    if (r < 0) {
        free(d->socket);
        free(d->base);
        free(d);
        return r;
    }
    d->o = *options;
    if (d->socket == NULL && options->keys.key != NULL) {
        secret_token(&options->keys, SECRET_CONTROL, d->token);
    }
    d->body = format_body(options->rate_per_minute, options->timeout_s);
    d->answered_ms = clock_monotonic_ms();
    d->next = loop_timer_new(options->loop, on_next, d);
    loop_timer_start(d->next, 0, 0);
    *ret = d;
    return 0;
}
