#include "common/http_client_priv.h"

#include "common/http_check.h"

#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define UNACKNOWLEDGED_MAX_MS 30000

static bool curl_takes(const char *url)
{
    CURLU *parsed = curl_url();
    CURLUcode code = curl_url_set(parsed, CURLUPART_URL, url, 0);

    curl_url_cleanup(parsed);
    return code == CURLUE_OK;
}

int http_request_check(const struct http_request *request, struct err *err)
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

static void add_line(struct curl_slist **list, const char *line)
{
    struct curl_slist *longer = curl_slist_append(*list, line);

    if (longer == NULL) {
        abort(); /* out of memory, as in xmalloc() */
    }
    *list = longer;
}

static void set_headers(struct http_call *call, const struct http_request *request)
{
    if (request->bearer != NULL) {
        AUTO(str) char *line = xasprintf("Authorization: Bearer %s", request->bearer);
        add_line(&call->headers, line);
    }
    if (request->body != NULL) {
        const char *type =
            request->content_type != NULL ? request->content_type : "application/json";
        AUTO(str) char *line = xasprintf("Content-Type: %s", type);
        add_line(&call->headers, line);
    } else {
        add_line(&call->headers, "Content-Type:"); /* curl's own for a POST says: a form */
    }
    add_line(&call->headers, "Expect:"); /* no round trip before a long body */
    for (const char *const *h = request->headers; h != NULL && *h != NULL; h++) {
        add_line(&call->headers, *h);
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

/* Keepalive probes are sent on idle connections only: a request on a path that went dead would
 * wait for TCP's retransmissions, a quarter of an hour. No harm where it can not be set. */
static int on_socket(void *arg, curl_socket_t fd, curlsocktype purpose)
{
    unsigned ms = UNACKNOWLEDGED_MAX_MS;

    (void)arg;
    if (purpose == CURLSOCKTYPE_IPCXN) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
    }
    return CURL_SOCKOPT_OK;
}

static void set_proxy(CURL *easy, const char *url)
{
    curl_easy_setopt(easy, CURLOPT_PROXY, url); /* "": not the environment's either */
    if (strncmp(url, "socks5://", 9) == 0) {
        AUTO(str) char *by_name = xasprintf("socks5h://%s", url + 9);
        curl_easy_setopt(easy, CURLOPT_PROXY, by_name);
    }
}

static void set_connection(struct http_call *call, const struct http_request *request)
{
    const struct http_client *client = call->client;
    CURL *easy = call->easy;

    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    set_proxy(easy, client->proxy_url);
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
    curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, on_socket);
    http_tls_apply(&client->tls, easy);
}

static void set_callbacks(struct http_call *call)
{
    CURL *easy = call->easy;

    curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->curl_says);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, http_call_on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, http_call_on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
}

static struct http_call *call_make(struct http_client *client, const struct http_request *request)
{
    struct http_call *call = xcalloc(1, sizeof(*call));

    call->client = client;
    call->easy = curl_easy_init();
    if (call->easy == NULL) {
        abort(); /* out of memory, as in xmalloc() */
    }
    call->timer = loop_timer_new(client->loop, http_call_on_timer, call);
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

static int set_url(struct http_call *call, const char *original)
{
    const char *name = call->client->tls.name;
    AUTO(str) char *url = NULL;
    AUTO(str) char *host = NULL;
    AUTO(str) char *to = NULL;

    if (name == NULL) {
        return curl_easy_setopt(call->easy, CURLOPT_URL, original) == CURLE_OK ? 0 : -EINVAL;
    }
    if (http_tls_rename(name, original, &url, &host, &to) < 0) {
        return -EINVAL;
    }
    add_line(&call->headers, host);
    add_line(&call->connect_to, to);
    curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->headers);
    curl_easy_setopt(call->easy, CURLOPT_CONNECT_TO, call->connect_to);
    return curl_easy_setopt(call->easy, CURLOPT_URL, url) == CURLE_OK ? 0 : -EINVAL;
}

int http_call_new(struct http_client *client, const struct http_request *request,
                  struct http_call **ret, struct err *err)
{
    struct http_call *call = call_make(client, request);

    if (set_url(call, request->url) < 0) {
        http_call_free(call);
        return err_text(err, -EINVAL, "bad URL");
    }
    *ret = call;
    return 0;
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
