#include "tests/unit/kube/fake_api.h"

#include <stdlib.h>

struct fake_api api;

void fake_api_open(void)
{
    api = (struct fake_api){0};
    api.listener = raw_listen(api.address);
}

static void request_clear(void)
{
    free(api.request.target);
    free(api.request.head);
    free(api.request.body);
    api.request = (struct fake_request){0};
}

void fake_api_close(void)
{
    request_clear();
    for (size_t i = 0; i < api.count; i++) {
        if (api.connections[i].fd >= 0) {
            raw_close(&api.connections[i]);
        }
    }
    close(api.listener);
}

static size_t body_length(const char *head)
{
    const char *line = strcasestr(head, "\r\nContent-Length:");

    return line != NULL ? strtoul(line + 17, NULL, 10) : 0;
}

static bool take_from(struct raw *r)
{
    char target[4096] = "";

    raw_pull(r);
    const char *text = buf_str(&r->in);
    const char *end = strstr(text, "\r\n\r\n");
    if (end == NULL) {
        return false;
    }
    size_t head_len = (size_t)(end - text) + 4;
    size_t body_len = body_length(text);
    if (r->in.len < head_len + body_len) {
        return false;
    }
    request_clear();
    assert_int_equal(sscanf(text, "%15s %4095s HTTP/1.1", api.request.method, target), 2);
    api.request.connection = r;
    api.request.target = xstrdup(target);
    api.request.head = xstrndup(text, head_len);
    api.request.body = xstrndup(text + head_len, body_len);
    buf_consume(&r->in, head_len + body_len);
    return true;
}

static void accept_all(void)
{
    while (api.count < FAKE_CONNECTIONS && raw_accept(api.listener, &api.connections[api.count])) {
        api.count++;
    }
}

bool fake_api_poll(void)
{
    accept_all();
    for (size_t i = 0; i < api.count; i++) {
        if (api.connections[i].fd >= 0 && take_from(&api.connections[i])) {
            return true;
        }
    }
    return false;
}

void fake_api_take(const char *file, int line)
{
    while (!fake_api_poll()) {
        net_step(file, line, "a request");
    }
}

bool fake_request_has(const char *parameter)
{
    const char *at = strchr(api.request.target, '?');
    size_t len = strlen(parameter);

    while (at != NULL) {
        at++;
        if (strncmp(at, parameter, len) == 0 && (at[len] == '&' || at[len] == '\0')) {
            return true;
        }
        at = strchr(at, '&');
    }
    return false;
}

void fake_answer(int status, const char *headers, const char *body)
{
    AUTO(str)
    char *text = xasprintf("HTTP/1.1 %d X\r\nContent-Type: application/json\r\n"
                           "Content-Length: %zu\r\n%s\r\n%s",
                           status, strlen(body), headers, body);

    raw_send(api.request.connection, text);
}

void fake_answer_cut(int status, const char *body)
{
    AUTO(str)
    char *text = xasprintf("HTTP/1.1 %d X\r\nContent-Type: application/json\r\n"
                           "Content-Length: %zu\r\n\r\n%s",
                           status, strlen(body) + 50, body);

    raw_send(api.request.connection, text);
    fake_drop();
}

void fake_stream(void)
{
    raw_send(api.request.connection, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                                     "Transfer-Encoding: chunked\r\n\r\n");
}

void fake_chunk(const void *bytes, size_t len)
{
    AUTO(str) char *size = xasprintf("%zx\r\n", len);

    raw_send(api.request.connection, size);
    raw_send_bytes(api.request.connection, bytes, len);
    raw_send(api.request.connection, "\r\n");
}

void fake_stream_end(void)
{
    raw_send(api.request.connection, "0\r\n\r\n");
}

void fake_drop(void)
{
    raw_close(api.request.connection);
    api.request.connection->fd = -1;
}

struct kube_config *fake_config(const char *token)
{
    struct kube_config *config = xcalloc(1, sizeof(*config));

    config->server = xasprintf("http://%s", api.address);
    config->ns = xstrdup("vpn");
    config->origin = xstrdup("fake");
    config->token.data = token != NULL ? xstrdup(token) : NULL;
    return config;
}
