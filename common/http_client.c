#include "common/http_client.h"

#include "common/buf.h"
#include "common/curl_loop.h"
#include "common/http_ca.h"
#include "common/http_check.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

#define DEFAULT_IN_FLIGHT 256
#define DEFAULT_QUEUED 65536
#define DEFAULT_RESPONSE ((size_t)1 << 20)
#define DEFAULT_CONNECT_MS 5000
#define KEPT_CONNECTIONS_MAX 64L

enum call_state {
    CALL_QUEUED, /* in client->queue: no easy handle is in the multi */
    CALL_ON_WIRE,
    CALL_DOOMED, /* cancelled inside one of curl's callbacks: removed when that has returned */
    CALL_ENDED,  /* its on_done is running */
};

struct http_call {
    struct http_client *client;
    enum call_state state;
    CURL *easy;
    struct curl_slist *headers;
    struct loop_timer *timer; /* the nearer of the two deadlines */
    int64_t deadline_ms;      /* of the whole call; 0: none */
    uint32_t idle_timeout_ms; /* 0: none */
    int64_t last_byte_ms;
    int broken;    /* why our own callback ended the transfer: negative errno, or 0 */
    bool answered; /* a byte of an answer came */
    bool has_head; /* and the empty line behind its headers */
    bool retried;
    bool says_retry_after;
    struct buf body;
    char *what; /* "GET http://host/path": for error texts */
    char curl_says[CURL_ERROR_SIZE];
    void (*on_done)(void *arg, int result, const struct http_response *res, const struct err *err);
    bool (*on_body)(void *arg, int status, const char *bytes, size_t len);
    void *arg;
    struct http_call *prev, *next; /* of the list that its state names */
};

struct call_list {
    struct http_call *first, *last;
    size_t count;
};

struct http_client {
    struct loop *loop;
    struct curl_loop curl;
    struct call_list queue;
    struct call_list on_wire;
    size_t doomed; /* calls in on_wire to be removed */
    unsigned busy; /* depth of our frames that still need the client */
    bool closed;
    char *ca_path; /* NULL: the system's bundle */
    int ca_fd;     /* what ca_path names, if we wrote it; else -1 */
    size_t max_in_flight;
    size_t max_queued;
    size_t max_response;
    uint32_t connect_timeout_ms;
};

static void settle(struct http_client *client);
static void start_queued(struct http_client *client);

static void list_push(struct call_list *list, struct http_call *call)
{
    call->prev = list->last;
    call->next = NULL;
    if (list->last != NULL) {
        list->last->next = call;
    } else {
        list->first = call;
    }
    list->last = call;
    list->count++;
}

static void list_remove(struct call_list *list, struct http_call *call)
{
    if (call->prev != NULL) {
        call->prev->next = call->next;
    } else {
        list->first = call->next;
    }
    if (call->next != NULL) {
        call->next->prev = call->prev;
    } else {
        list->last = call->prev;
    }
    list->count--;
}

/* --- a call --- */

static void call_free(struct http_call *call)
{
    loop_timer_close(call->timer);
    curl_easy_cleanup(call->easy);
    curl_slist_free_all(call->headers);
    buf_clear(&call->body);
    free(call->what);
    free(call);
}

/* Takes the call from its list and from curl. Not while curl is on the stack. */
static void call_detach(struct http_call *call)
{
    struct http_client *client = call->client;

    if (call->state == CALL_QUEUED) {
        list_remove(&client->queue, call);
    } else if (call->state != CALL_ENDED) {
        if (call->state == CALL_DOOMED) {
            client->doomed--;
        }
        curl_multi_remove_handle(client->curl.multi, call->easy);
        list_remove(&client->on_wire, call);
    }
    call->state = CALL_ENDED;
    loop_timer_stop(call->timer);
}

/* The end of a call that was not cancelled. */
static void call_end(struct http_call *call, int result, const struct http_response *res,
                     const struct err *err)
{
    call->on_done(call->arg, result, res, err);
    call_free(call);
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
    call_detach(call);
    call_free(call);
    if (!client->curl.in_curl) {
        start_queued(client);
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

static void call_start(struct http_call *call)
{
    struct http_client *client = call->client;

    call->state = CALL_ON_WIRE;
    call->last_byte_ms = clock_monotonic_ms();
    list_push(&client->on_wire, call);
    CURLMcode code = curl_multi_add_handle(client->curl.multi, call->easy);
    assert(code == CURLM_OK); /* fails for a handle that is in use or a nested call only */
    (void)code;
}

static void call_retry(struct http_call *call)
{
    struct http_client *client = call->client;

    curl_multi_remove_handle(client->curl.multi, call->easy);
    list_remove(&client->on_wire, call);
    call->retried = true;
    curl_easy_setopt(call->easy, CURLOPT_FRESH_CONNECT, 1L);
    call_start(call);
}

static void call_finished(struct http_call *call, CURLcode code)
{
    if (call->state == CALL_DOOMED) {
        call_detach(call);
        call_free(call);
        return;
    }
    if (died_unseen(call, code)) {
        call_retry(call);
        return;
    }
    /* What is asked of the easy handle is asked before or after its removal alike. */
    call_detach(call);
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

static void call_arm(struct http_call *call)
{
    int64_t at = nearest_deadline(call);

    if (at > 0) {
        int64_t now = clock_monotonic_ms();
        loop_timer_start(call->timer, at > now ? (uint64_t)(at - now) : 0, 0);
    }
}

static void on_call_timer(void *arg)
{
    struct http_call *call = arg;
    struct http_client *client = call->client;
    int64_t now = clock_monotonic_ms();

    if (now < nearest_deadline(call)) { /* bytes came meanwhile */
        call_arm(call);
        return;
    }
    bool whole = call->deadline_ms > 0 && now >= call->deadline_ms;
    client->busy++;
    call_detach(call);
    report_failure(call, -ETIMEDOUT, whole ? "timed out" : "no byte came for too long");
    settle(client);
}

/* --- the client's turn: what has ended is reported, what waits is started --- */

static void sweep_doomed(struct http_client *client)
{
    for (struct http_call *call = client->on_wire.first; call != NULL && client->doomed > 0;) {
        struct http_call *next = call->next;
        if (call->state == CALL_DOOMED) {
            call_detach(call);
            call_free(call);
        }
        call = next;
    }
}

static void report_finished(struct http_client *client)
{
    int left;
    CURLMsg *msg;

    while (!client->closed && (msg = curl_multi_info_read(client->curl.multi, &left)) != NULL) {
        if (msg->msg == CURLMSG_DONE) {
            struct http_call *call;
            curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **)&call);
            call_finished(call, msg->data.result);
        }
    }
}

static void start_queued(struct http_client *client)
{
    while (!client->closed && client->on_wire.count < client->max_in_flight &&
           client->queue.first != NULL) {
        struct http_call *call = client->queue.first;
        list_remove(&client->queue, call);
        call_start(call);
        call_arm(call);
    }
}

static void drop_all(struct call_list *list)
{
    while (list->first != NULL) {
        struct http_call *call = list->first;
        call_detach(call);
        call_free(call);
    }
}

static void client_free(struct http_client *client)
{
    drop_all(&client->queue);
    drop_all(&client->on_wire);
    curl_loop_close(&client->curl);
    if (client->ca_fd >= 0) {
        close(client->ca_fd);
    }
    free(client->ca_path);
    free(client);
}

/* Ends a frame that did client->busy++. Only the outermost one works: it is entered with curl and
 * all on_done callbacks off the stack. */
static void settle(struct http_client *client)
{
    if (client->busy == 1) {
        sweep_doomed(client);
        report_finished(client);
        start_queued(client);
    }
    client->busy--;
    if (client->busy == 0 && client->closed) {
        client_free(client);
    }
}

/* --- what curl hands us of an answer --- */

static size_t on_curl_header(char *line, size_t size, size_t count, void *arg)
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

static size_t on_curl_body(char *bytes, size_t size, size_t count, void *arg)
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

/* --- making a request --- */

static bool curl_takes(const char *url)
{
    CURLU *parsed = curl_url();
    CURLUcode code = curl_url_set(parsed, CURLUPART_URL, url, 0);

    curl_url_cleanup(parsed);
    return code == CURLUE_OK;
}

static int check_request(const struct http_request *request, struct err *err)
{
    if (!http_is_token(request->method)) {
        return err_text(err, -EINVAL, "bad method");
    }
    if (!http_is_url(request->url) || !curl_takes(request->url)) {
        return err_text(err, -EINVAL, "bad URL");
    }
    if (request->unix_socket != NULL &&
        strlen(request->unix_socket) >= sizeof(((struct sockaddr_un *)NULL)->sun_path)) {
        return err_text(err, -EINVAL, "path of unix socket is too long");
    }
    if (request->bearer != NULL && !http_is_bearer(request->bearer)) {
        return err_text(err, -EINVAL, "bearer token is not printable ASCII");
    }
    if (request->content_type != NULL && !http_is_value(request->content_type)) {
        return err_text(err, -EINVAL, "bad content type");
    }
    return http_check_headers(request->headers, err);
}

static void add_header(struct http_call *call, const char *line)
{
    struct curl_slist *list = curl_slist_append(call->headers, line);

    if (list == NULL) {
        abort(); /* out of memory, as in xmalloc() */
    }
    call->headers = list;
}

static void set_headers(struct http_call *call, const struct http_request *request)
{
    if (request->bearer != NULL) {
        AUTO(str) char *line = xasprintf("Authorization: Bearer %s", request->bearer);
        add_header(call, line);
    }
    if (request->body != NULL) {
        const char *type =
            request->content_type != NULL ? request->content_type : "application/json";
        AUTO(str) char *line = xasprintf("Content-Type: %s", type);
        add_header(call, line);
    } else {
        add_header(call, "Content-Type:"); /* curl's own for a POST says: a form */
    }
    add_header(call, "Expect:"); /* no round trip before a long body */
    for (const char *const *h = request->headers; h != NULL && *h != NULL; h++) {
        add_header(call, *h);
    }
    curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->headers);
}

static void set_method(struct http_call *call, const struct http_request *request)
{
    bool is_post = strcmp(request->method, "POST") == 0;

    if (request->body != NULL || is_post) {
        curl_easy_setopt(call->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_len);
        curl_easy_setopt(call->easy, CURLOPT_COPYPOSTFIELDS,
                         request->body != NULL ? request->body : "");
    } else if (strcmp(request->method, "HEAD") == 0) {
        curl_easy_setopt(call->easy, CURLOPT_NOBODY, 1L);
        return;
    }
    if (!is_post) {
        curl_easy_setopt(call->easy, CURLOPT_CUSTOMREQUEST, request->method);
    }
}

static void set_connection(struct http_call *call, const struct http_request *request)
{
    const struct http_client *client = call->client;
    CURL *easy = call->easy;

    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    if (strncmp(request->url, "https:", 6) == 0) {
        /* One handshake, then see whether it can be shared. Plain HTTP never can: there the wait
         * would only put a burst of calls behind the first one's connect. */
        curl_easy_setopt(easy, CURLOPT_PIPEWAIT, 1L);
    }
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, 30L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, 10L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)client->connect_timeout_ms);
    /* A cancelled call's name look-up ends by itself in its thread: do not wait for it here. */
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, request->unix_socket);
    /* With a directory beside the file curl would read all certificates anew for each connection
     * instead of keeping them parsed. */
    curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    if (client->ca_path != NULL) {
        curl_easy_setopt(easy, CURLOPT_CAINFO, client->ca_path);
    }
}

static void set_callbacks(struct http_call *call)
{
    CURL *easy = call->easy;

    curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->curl_says);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_curl_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_curl_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
}

static struct http_call *call_new(struct http_client *client, const struct http_request *request)
{
    struct http_call *call = xcalloc(1, sizeof(*call));

    call->client = client;
    call->easy = curl_easy_init();
    if (call->easy == NULL) {
        abort(); /* out of memory, as in xmalloc() */
    }
    call->timer = loop_timer_new(client->loop, on_call_timer, call);
    call->deadline_ms =
        request->timeout_ms > 0 ? clock_monotonic_ms() + (int64_t)request->timeout_ms : 0;
    call->idle_timeout_ms = request->idle_timeout_ms;
    call->on_done = request->on_done;
    call->on_body = request->on_body;
    call->arg = request->arg;
    call->what =
        xasprintf("%s %.*s", request->method, (int)strcspn(request->url, "?#"), request->url);
    buf_init(&call->body, client->max_response);
    set_callbacks(call);
    set_connection(call, request);
    set_headers(call, request);
    set_method(call, request);
    return call;
}

int http_client_send(struct http_client *client, const struct http_request *request,
                     struct http_call **ret, struct err *err)
{
    int r = check_request(request, err);

    if (r < 0) {
        return r;
    }
    if (client->closed) {
        return err_text(err, -EINVAL, "client is closed");
    }
    if (client->queue.count >= client->max_queued) {
        return err_text(err, -EBUSY, "%zu requests wait already", client->queue.count);
    }
    struct http_call *call = call_new(client, request);
    if (curl_easy_setopt(call->easy, CURLOPT_URL, request->url) != CURLE_OK) {
        call_free(call);
        return err_text(err, -EINVAL, "bad URL");
    }
    list_push(&client->queue, call);
    call_arm(call);
    if (!client->curl.in_curl) {
        start_queued(client);
    }
    if (ret != NULL) {
        *ret = call;
    }
    return 0;
}

size_t http_client_in_flight(const struct http_client *client)
{
    return client->queue.count + client->on_wire.count - client->doomed;
}

/* --- the client --- */

static void global_init(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

static void on_turn(void *arg)
{
    struct http_client *client = arg;

    client->busy++;
    settle(client);
}

static void keep_connections(struct http_client *client)
{
    long max = KEPT_CONNECTIONS_MAX;

    if (client->max_in_flight < (size_t)max) {
        max = (long)client->max_in_flight;
    }
    curl_multi_setopt(client->curl.multi, CURLMOPT_MAXCONNECTS, max);
}

static const char *system_bundle(void)
{
    char *path = NULL;
    CURL *easy = curl_easy_init();

    if (easy != NULL) {
        curl_easy_getinfo(easy, CURLINFO_CAINFO, &path); /* a literal of curl's build */
        curl_easy_cleanup(easy);
    }
    return path != NULL ? path : "/etc/ssl/certs/ca-certificates.crt";
}

/* A file rather than a blob: a blob would stand for the system's bundle, and curl keeps the parsed
 * certificates of files only. */
static int trust(struct http_client *client, const struct http_client_options *options,
                 struct err *err)
{
    if (options->ca_file != NULL) {
        client->ca_path = xstrdup(options->ca_file);
    } else if (options->ca_pem != NULL) {
        int r = http_ca_bundle(system_bundle(), options->ca_pem, &client->ca_fd, err);
        if (r < 0) {
            return r;
        }
        client->ca_path = xasprintf("/proc/self/fd/%d", client->ca_fd);
    }
    return 0;
}

int http_client_new(struct loop *loop, const struct http_client_options *options,
                    struct http_client **ret, struct err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, global_init);
    struct http_client *client = xcalloc(1, sizeof(*client));
    client->loop = loop;
    client->ca_fd = -1;
    client->max_in_flight = options->max_in_flight > 0 ? options->max_in_flight : DEFAULT_IN_FLIGHT;
    client->max_queued = options->max_queued > 0 ? options->max_queued : DEFAULT_QUEUED;
    client->max_response = options->max_response > 0 ? options->max_response : DEFAULT_RESPONSE;
    client->connect_timeout_ms =
        options->connect_timeout_ms > 0 ? options->connect_timeout_ms : DEFAULT_CONNECT_MS;
    curl_loop_open(&client->curl, loop, on_turn, client);
    keep_connections(client);
    int r = trust(client, options, err);
    if (r < 0) {
        client_free(client);
        return r;
    }
    *ret = client;
    return 0;
}

void http_client_close(struct http_client *client)
{
    if (client == NULL || client->closed) {
        return;
    }
    client->closed = true;
    for (struct http_call *call = client->on_wire.first; call != NULL; call = call->next) {
        if (call->state == CALL_ON_WIRE) { /* curl may be about to hand us more of it */
            call->state = CALL_DOOMED;
            client->doomed++;
        }
    }
    if (client->busy == 0 && !client->curl.in_curl) {
        client_free(client);
    }
}

char *http_url_escape(const char *text)
{
    static const char hex[] = "0123456789ABCDEF";
    char *escaped = xmalloc(strlen(text) * 3 + 1);
    char *to = escaped;

    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (isalnum(c) || strchr("-._~", c) != NULL) {
            *to++ = (char)c;
        } else {
            *to++ = '%';
            *to++ = hex[c >> 4];
            *to++ = hex[c & 15];
        }
    }
    *to = '\0';
    return escaped;
}
