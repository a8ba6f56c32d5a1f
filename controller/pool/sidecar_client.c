#include "controller/pool/sidecar_client.h"

#include "common/json.h"
#include "common/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define POLL_MS 1000
#define POLL_CHANGING_MS 200 /* while it is on its way to ready or drained: somebody waits */
#define ANSWER_MS 2000

struct sidecar_client {
    struct loop *loop;
    struct http_client *http;
    char *path;
    struct http_call *status_call, *drain_call;
    struct loop_timer *timer;
    struct sidecar_status status;
    bool known;
    int64_t silent_since_ms; /* when it was asked what it has not answered; 0: nothing; monotonic */
    bool drain;
    uint32_t drain_rate, drain_timeout_s;
    loop_fn on_status;
    void *arg;
};

static const char *const link_names[SIDECAR_LINKS] = {
    [SIDECAR_LINK_CONNECTING] = "connecting", [SIDECAR_LINK_GREETING] = "greeting",
    [SIDECAR_LINK_RESYNC] = "resync",         [SIDECAR_LINK_LIVE] = "live",
    [SIDECAR_LINK_WAITING] = "waiting",
};

static const char *const phase_names[SIDECAR_PHASES] = {
    [SIDECAR_STARTING] = "starting",
    [SIDECAR_READY] = "ready",
    [SIDECAR_DRAINING] = "draining",
    [SIDECAR_DRAINED] = "drained",
};

const char *sidecar_link_name(enum sidecar_link link)
{
    return link_names[link];
}

const char *sidecar_phase_name(enum sidecar_phase phase)
{
    return phase_names[phase];
}

/* --- the answer --- */

static int get_word(const cJSON *o, const char *key, const char *const *words, size_t count,
                    unsigned *ret, struct err *err)
{
    const char *text = NULL;
    int r = json_str(o, key, &text, err);

    for (size_t i = 0; r == 0 && i < count; i++) {
        if (strcmp(text, words[i]) == 0) {
            *ret = (unsigned)i;
            return 0;
        }
    }
    return r < 0 ? r : err_text(err, -EPROTO, "'%s' is '%.32s'", key, text);
}

static int get_epoch(const cJSON *o, struct sidecar_status *ret, struct err *err)
{
    const char *text = NULL;
    int r = json_str(o, "epoch", &text, err);

    if (r == 0 && strlen(text) >= sizeof(ret->epoch)) {
        r = err_text(err, -EPROTO, "'epoch' is too long");
    }
    if (r == 0) {
        strcpy(ret->epoch, text);
    }
    return r;
}

static int get_all(const cJSON *o, struct sidecar_status *s, struct err *err)
{
    unsigned link = 0, phase = 0;
    int64_t pid = 0, sessions = 0, unreported = 0;
    int r;

    if ((r = get_epoch(o, s, err)) < 0 ||
        (r = get_word(o, "link", link_names, SIDECAR_LINKS, &link, err)) < 0 ||
        (r = get_word(o, "phase", phase_names, SIDECAR_PHASES, &phase, err)) < 0 ||
        (r = json_int(o, "sessions", 0, UINT32_MAX, &sessions, err)) < 0 ||
        (r = json_bool(o, "apiSane", &s->api_sane, err)) < 0 ||
        (r = json_int(o, "unreported", 0, UINT32_MAX, &unreported, err)) < 0) {
        return r;
    }
    r = json_int(o, "serviceId", 1, (int64_t)1 << 52, &s->service_id, err);
    if (r == 0 || r == -ENOENT) { /* null until it is registered */
        r = json_int(o, "openvpnPid", 0, INT32_MAX, &pid, err);
    }
    if (r < 0 && r != -ENOENT) {
        return r;
    }
    const char *api_why = "";
    (void)json_str(o, "apiWhy", &api_why, NULL);
    snprintf(s->api_why, sizeof(s->api_why), "%s", api_why);
    s->link = (enum sidecar_link)link;
    s->phase = (enum sidecar_phase)phase;
    s->sessions = (uint32_t)sessions;
    s->unreported = (uint32_t)unreported;
    s->openvpn_pid = (int32_t)pid;
    return 0;
}

int sidecar_status_parse(const char *text, size_t len, struct sidecar_status *ret, struct err *err)
{
    AUTO(json) cJSON *root = NULL;
    struct sidecar_status s = {0};
    int r = json_parse(text, len, &root, err);

    if (r == 0) {
        r = get_all(root, &s, err);
    }
    if (r == 0) {
        *ret = s;
    }
    return r == -ENOENT ? -EPROTO : r;
}

/* --- asking --- */

static void send_drain(struct sidecar_client *c);

static void on_answer(void *arg, int result, const struct http_response *res,
                      const struct err *http_err)
{
    struct sidecar_client *c = arg;
    struct err err;

    c->status_call = NULL;
    if (result == 0 && res->status == 200) {
        if (sidecar_status_parse(res->body, res->body_len, &c->status, &err) == 0) {
            c->known = true;
            c->silent_since_ms = 0;
        } else {
            log_warn("a sidecar's status is no status", "socket", c->path, "why", err.text, NULL);
        }
    }
    if (c->drain && c->known && c->status.phase < SIDECAR_DRAINING) {
        send_drain(c);
    }
    bool steady = c->known && c->status.phase == SIDECAR_READY && !c->drain;
    loop_timer_start(c->timer, steady ? POLL_MS : POLL_CHANGING_MS, 0);
    c->on_status(c->arg);
}

static void on_poll(void *arg)
{
    struct sidecar_client *c = arg;
    struct http_request request = {
        .method = "GET",
        .url = "http://sidecar/v1/status",
        .unix_socket = c->path,
        .timeout_ms = ANSWER_MS,
        .on_done = on_answer,
        .arg = c,
    };

    if (c->silent_since_ms == 0) {
        c->silent_since_ms = clock_monotonic_ms();
    }
    if (c->status_call == NULL && http_client_send(c->http, &request, &c->status_call, NULL) < 0) {
        loop_timer_start(c->timer, POLL_MS, 0); /* its queue is full */
    }
}

static void on_drain_answer(void *arg, int result, const struct http_response *res,
                            const struct err *err)
{
    struct sidecar_client *c = arg;

    c->drain_call = NULL;
    if (result < 0 || res->status != 202) {
        log_warn("a sidecar was not told to drain; trying again", "socket", c->path, "why",
                 result < 0 ? err->text : "its answer is not 202", NULL);
    }
}

static void send_drain(struct sidecar_client *c)
{
    AUTO(str)
    char *body = xasprintf("{\"ratePerMinute\":%u,\"timeoutSeconds\":%u}", c->drain_rate,
                           c->drain_timeout_s);
    struct http_request request = {
        .method = "POST",
        .url = "http://sidecar/v1/drain",
        .unix_socket = c->path,
        .body = body,
        .body_len = strlen(body),
        .timeout_ms = ANSWER_MS,
        .on_done = on_drain_answer,
        .arg = c,
    };

    if (c->drain_call == NULL) {
        http_client_send(c->http, &request, &c->drain_call, NULL); /* the next poll repeats it */
    }
}

struct sidecar_client *sidecar_client_new(struct loop *loop, struct http_client *http,
                                          const char *socket_path, loop_fn on_status, void *arg)
{
    struct sidecar_client *c = xcalloc(1, sizeof(*c));

    c->loop = loop;
    c->http = http;
    c->path = xstrdup(socket_path);
    c->on_status = on_status;
    c->arg = arg;
    c->silent_since_ms = clock_monotonic_ms();
    c->timer = loop_timer_new(loop, on_poll, c);
    return c;
}

void sidecar_client_close(struct sidecar_client *c)
{
    if (c != NULL) {
        if (c->status_call != NULL) {
            http_call_cancel(c->status_call);
        }
        if (c->drain_call != NULL) {
            http_call_cancel(c->drain_call);
        }
        loop_timer_close(c->timer);
        free(c->path);
        free(c);
    }
}

void sidecar_client_poll(struct sidecar_client *c)
{
    loop_timer_start(c->timer, 0, 0);
}

void sidecar_client_reset(struct sidecar_client *c)
{
    c->known = false;
    c->silent_since_ms = clock_monotonic_ms();
}

const struct sidecar_status *sidecar_client_status(const struct sidecar_client *c)
{
    return c->known ? &c->status : NULL;
}

int64_t sidecar_client_silent_ms(const struct sidecar_client *c)
{
    return c->silent_since_ms == 0 ? 0 : clock_monotonic_ms() - c->silent_since_ms;
}

void sidecar_client_drain(struct sidecar_client *c, uint32_t rate_per_minute, uint32_t timeout_s)
{
    c->drain = true;
    c->drain_rate = rate_per_minute;
    c->drain_timeout_s = timeout_s;
    send_drain(c);
}
