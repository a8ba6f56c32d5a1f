#include "common/http_client_priv.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

void http_call_free(struct http_call *call)
{
    loop_timer_close(call->timer);
    curl_easy_cleanup(call->easy);
    curl_slist_free_all(call->headers);
    curl_slist_free_all(call->connect_to);
    buf_clear(&call->body);
    free(call->what);
    free(call);
}

void http_call_detach(struct http_call *call)
{
    struct http_client *client = call->client;

    if (call->state == CALL_QUEUED) {
        call_list_remove(&client->queue, call);
    } else if (call->state != CALL_ENDED) {
        if (call->state == CALL_DOOMED) {
            client->doomed--;
        }
        curl_multi_remove_handle(client->curl.multi, call->easy);
        call_list_remove(&client->on_wire, call);
    }
    call->state = CALL_ENDED;
    loop_timer_stop(call->timer);
}

/* The end of a call that was not cancelled. */
static void call_end(struct http_call *call, int result, const struct http_response *res,
                     const struct err *err)
{
    call->on_done(call->arg, result, res, err);
    http_call_free(call);
}

void http_call_cancel(struct http_call *call)
{
    if (call == NULL || call->state == CALL_DOOMED || call->state == CALL_ENDED) {
        return;
    }
    if (call->client->curl.in_curl && call->state == CALL_ON_WIRE) {
        call->state = CALL_DOOMED;
        call->client->doomed++;
        return;
    }
    struct http_client *client = call->client;
    http_call_detach(call);
    http_call_free(call);
    if (!client->curl.in_curl) {
        http_client_start_queued(client);
    }
}

static int errno_of_connect(struct http_call *call)
{
    long code = 0;

    curl_easy_getinfo(call->easy, CURLINFO_OS_ERRNO, &code);
    return code == ETIMEDOUT ? -ETIMEDOUT : -ECONNREFUSED;
}

static int errno_of(struct http_call *call, CURLcode code)
{
    switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
        return -ETIMEDOUT;
    case CURLE_COULDNT_CONNECT:
        return errno_of_connect(call);
    case CURLE_COULDNT_RESOLVE_HOST:
        return -EHOSTUNREACH;
    case CURLE_WRITE_ERROR:
        return call->broken != 0 ? call->broken : -EIO;
    case CURLE_UNSUPPORTED_PROTOCOL: /* not HTTP at all: "HTTP/0.9" */
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
        return -EPROTO;
    default:
        return -EIO;
    }
}

static int retry_after(struct http_call *call)
{
    curl_off_t seconds = 0;

    if (!call->says_retry_after ||
        curl_easy_getinfo(call->easy, CURLINFO_RETRY_AFTER, &seconds) != CURLE_OK) {
        return -1;
    }
    return seconds > INT32_MAX ? INT32_MAX : (int)seconds;
}

static void report_answer(struct http_call *call)
{
    long status = 0;
    char *content_type = NULL;

    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(call->easy, CURLINFO_CONTENT_TYPE, &content_type);
    struct http_response res = {
        .status = (int)status,
        .body = buf_str(&call->body),
        .body_len = call->body.len,
        .content_type = content_type != NULL ? content_type : "",
        .retry_after_s = retry_after(call),
    };
    call_end(call, 0, &res, NULL);
}

static void report_failure(struct http_call *call, int result, const char *why)
{
    struct err err;

    err_text(&err, result, "%s: %s", call->what, why);
    call_end(call, result, NULL, &err);
}

/* Did a kept connection turn out to be dead before a byte of the answer came? Then the request was
 * not seen by the peer as far as anyone can tell. curl itself sends most of these again; what is
 * left are those that died while a long body was being written. */
static bool died_unseen(struct http_call *call, CURLcode code)
{
    long connects = 1;

    curl_easy_getinfo(call->easy, CURLINFO_NUM_CONNECTS, &connects);
    return !call->retried && !call->answered && connects == 0 &&
           (code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR || code == CURLE_GOT_NOTHING);
}

void http_call_start(struct http_call *call)
{
    struct http_client *client = call->client;

    call->state = CALL_ON_WIRE;
    call->last_byte_ms = clock_monotonic_ms();
    call_list_push(&client->on_wire, call);
    CURLMcode code = curl_multi_add_handle(client->curl.multi, call->easy);
    assert(code == CURLM_OK); /* fails for a handle that is in use or a nested call only */
    (void)code;
}

static void call_retry(struct http_call *call)
{
    struct http_client *client = call->client;

    curl_multi_remove_handle(client->curl.multi, call->easy);
    call_list_remove(&client->on_wire, call);
    call->retried = true;
    curl_easy_setopt(call->easy, CURLOPT_FRESH_CONNECT, 1L);
    http_call_start(call);
}

void http_call_finished(struct http_call *call, CURLcode code)
{
    if (call->state == CALL_DOOMED) {
        http_call_detach(call);
        http_call_free(call);
        return;
    }
    if (died_unseen(call, code)) {
        call_retry(call);
        return;
    }
    /* What is asked of the easy handle is asked before or after its removal alike. */
    http_call_detach(call);
    if (code == CURLE_OK && call->has_head) {
        report_answer(call);
        return;
    }
    if (code == CURLE_OK) { /* curl makes an answer without a body of a head that was cut */
        report_failure(call, -EIO, "connection was closed within the answer's head");
        return;
    }
    const char *why = call->curl_says[0] != '\0' ? call->curl_says : curl_easy_strerror(code);
    if (call->broken == -EMSGSIZE) {
        why = "answer is too long";
    } else if (call->broken == -ECANCELED) {
        why = "ended by its reader";
    }
    report_failure(call, errno_of(call, code), why);
}

static int64_t nearest_deadline(const struct http_call *call)
{
    int64_t at = call->deadline_ms;

    if (call->idle_timeout_ms > 0 && call->state == CALL_ON_WIRE) {
        int64_t idle_at = call->last_byte_ms + call->idle_timeout_ms;
        at = at == 0 || idle_at < at ? idle_at : at;
    }
    return at;
}

void http_call_arm(struct http_call *call)
{
    int64_t at = nearest_deadline(call);

    if (at > 0) {
        int64_t now = clock_monotonic_ms();
        loop_timer_start(call->timer, at > now ? (uint64_t)(at - now) : 0, 0);
    }
}

void http_call_on_timer(void *arg)
{
    struct http_call *call = arg;
    struct http_client *client = call->client;
    int64_t now = clock_monotonic_ms();

    if (now < nearest_deadline(call)) { /* bytes came meanwhile */
        http_call_arm(call);
        return;
    }
    bool whole = call->deadline_ms > 0 && now >= call->deadline_ms;
    client->busy++;
    http_call_detach(call);
    report_failure(call, -ETIMEDOUT, whole ? "timed out" : "no byte came for too long");
    http_client_settle(client);
}

/* --- what curl hands us of an answer --- */

size_t http_call_on_header(char *line, size_t size, size_t count, void *arg)
{
    struct http_call *call = arg;
    size_t len = size * count;

    if (call->state == CALL_DOOMED) {
        return 0;
    }
    call->answered = true;
    call->last_byte_ms = clock_monotonic_ms();
    if (len > 5 && strncasecmp(line, "HTTP/", 5) == 0) { /* the head after an interim answer */
        call->says_retry_after = false;
        call->has_head = false;
    } else if (line[0] == '\r' || line[0] == '\n') {
        call->has_head = true;
    } else if (len > 12 && strncasecmp(line, "Retry-After:", 12) == 0) {
        call->says_retry_after = true;
    }
    return len;
}

size_t http_call_on_body(char *bytes, size_t size, size_t count, void *arg)
{
    struct http_call *call = arg;
    size_t len = size * count;
    long status = 0;

    if (call->state == CALL_DOOMED) {
        return 0;
    }
    call->last_byte_ms = clock_monotonic_ms();
    if (call->on_body == NULL) {
        call->broken = buf_append(&call->body, bytes, len);
        return call->broken == 0 ? len : 0;
    }
    if (len == 0) {
        return 0;
    }
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    bool go_on = call->on_body(call->arg, (int)status, bytes, len);
    if (call->state == CALL_DOOMED) {
        return 0;
    }
    call->broken = go_on ? 0 : -ECANCELED;
    return go_on ? len : 0;
}
