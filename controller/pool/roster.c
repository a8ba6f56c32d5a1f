#include "controller/pool/roster.h"

#include "common/log.h"
#include "common/secret.h"

#include <stdio.h>
#include <string.h>

#define RETRY_MS 500
#define REPEAT_MS 15000
#define ANSWER_MS 2000

struct roster {
    struct loop *loop;
    struct http_client *http;
    char token[SECRET_TOKEN_MAX + 1];
    char url[64];
    char *text; /* wanted; NULL: not told yet */
    struct http_call *call;
    bool changed; /* while the call was under way */
    bool accepted;
    struct loop_timer *timer;
};

static void on_done(void *arg, int result, const struct http_response *res, const struct err *err)
{
    struct roster *r = arg;

    r->call = NULL;
    r->accepted = result == 0 && res->status == 204 && !r->changed;
    if (result == 0 && res->status != 204) {
        log_warn("the state service refused the list of instances", "status", NUM(res->status),
                 "why", res->status == 401 ? SECRET_REFUSED : "it is no 204", NULL);
    }
    loop_timer_start(r->timer, r->changed ? 0 : r->accepted ? REPEAT_MS : RETRY_MS, 0);
}

static void on_timer(void *arg)
{
    struct roster *r = arg;
    struct http_request request = {
        .method = "PUT",
        .url = r->url,
        .bearer = r->token,
        .body = r->text,
        .body_len = r->text != NULL ? strlen(r->text) : 0,
        .timeout_ms = ANSWER_MS,
        .on_done = on_done,
        .arg = r,
    };

    if (r->text == NULL || r->call != NULL) {
        return;
    }
    r->changed = false;
    if (http_client_send(r->http, &request, &r->call, NULL) < 0) {
        loop_timer_start(r->timer, RETRY_MS, 0);
    }
}

struct roster *roster_new(struct loop *loop, struct http_client *http,
                          const struct service_keys *keys)
{
    struct roster *r = xcalloc(1, sizeof(*r));

    r->loop = loop;
    r->http = http;
    secret_token(keys, SECRET_STATE, r->token);
    r->timer = loop_timer_new(loop, on_timer, r);
    return r;
}

void roster_close(struct roster *r)
{
    if (r != NULL) {
        if (r->call != NULL) {
            http_call_cancel(r->call);
        }
        loop_timer_close(r->timer);
        secret_wipe(r->token, sizeof(r->token));
        free(r->text);
        free(r);
    }
}

void roster_again(struct roster *r)
{
    r->changed = true;
    r->accepted = false;
    if (r->call == NULL) {
        loop_timer_start(r->timer, 0, 0);
    }
}

void roster_set(struct roster *r, uint16_t state_port, const char *text)
{
    char url[sizeof(r->url)];

    snprintf(url, sizeof(url), "http://127.0.0.1:%u/v1/expected", state_port);
    if (r->text != NULL && strcmp(r->text, text) == 0 && strcmp(r->url, url) == 0) {
        return;
    }
    free(r->text);
    r->text = xstrdup(text);
    memcpy(r->url, url, sizeof(r->url));
    roster_again(r);
}

bool roster_accepted(const struct roster *r)
{
    return r->accepted;
}
