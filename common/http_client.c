#include "common/http_client_priv.h"

#include <errno.h>
#include <pthread.h>

#define DEFAULT_IN_FLIGHT 256
#define DEFAULT_QUEUED 65536
#define DEFAULT_RESPONSE ((size_t)1 << 20)
#define DEFAULT_CONNECT_MS 5000
#define KEPT_CONNECTIONS_MAX 64L

void call_list_push(struct call_list *list, struct http_call *call)
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

void call_list_remove(struct call_list *list, struct http_call *call)
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

/* --- the client's turn: what has ended is reported, what waits is started --- */

static void sweep_doomed(struct http_client *client)
{
    for (struct http_call *call = client->on_wire.first; call != NULL && client->doomed > 0;) {
        struct http_call *next = call->next;
        if (call->state == CALL_DOOMED) {
            http_call_detach(call);
            http_call_free(call);
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
            http_call_finished(call, msg->data.result);
        }
    }
}

void http_client_start_queued(struct http_client *client)
{
    while (!client->closed && client->on_wire.count < client->max_in_flight &&
           client->queue.first != NULL) {
        struct http_call *call = client->queue.first;
        call_list_remove(&client->queue, call);
        http_call_start(call);
        http_call_arm(call);
    }
}

static void drop_all(struct call_list *list)
{
    while (list->first != NULL) {
        struct http_call *call = list->first;
        http_call_detach(call);
        http_call_free(call);
    }
}

static void client_free(struct http_client *client)
{
    drop_all(&client->queue);
    drop_all(&client->on_wire);
    curl_loop_close(&client->curl);
    http_tls_clear(&client->tls);
    free(client->proxy_url);
    free(client);
}

void http_client_settle(struct http_client *client)
{
    if (client->busy == 1) {
        sweep_doomed(client);
        report_finished(client);
        http_client_start_queued(client);
    }
    client->busy--;
    if (client->busy == 0 && client->closed) {
        client_free(client);
    }
}

int http_client_send(struct http_client *client, const struct http_request *request,
                     struct http_call **ret, struct err *err)
{
    int r = http_request_check(request, err);

    if (r < 0) {
        return r;
    }
    if (client->closed) {
        return err_text(err, -EINVAL, "client is closed");
    }
    if (client->queue.count >= client->max_queued) {
        return err_text(err, -EBUSY, "%zu requests wait already", client->queue.count);
    }
    struct http_call *call;
    r = http_call_new(client, request, &call, err);
    if (r < 0) {
        return r;
    }
    call_list_push(&client->queue, call);
    http_call_arm(call);
    if (!client->curl.in_curl) {
        http_client_start_queued(client);
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
    http_client_settle(client);
}

static void keep_connections(struct http_client *client)
{
    long max = KEPT_CONNECTIONS_MAX;

    if (client->max_in_flight < (size_t)max) {
        max = (long)client->max_in_flight;
    }
    curl_multi_setopt(client->curl.multi, CURLMOPT_MAXCONNECTS, max);
}

int http_client_new(struct loop *loop, const struct http_client_options *options,
                    struct http_client **ret, struct err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, global_init);
    struct http_client *client = xcalloc(1, sizeof(*client));
    client->loop = loop;
    client->proxy_url = xstrdup(options->proxy_url != NULL ? options->proxy_url : "");
    client->max_in_flight = options->max_in_flight > 0 ? options->max_in_flight : DEFAULT_IN_FLIGHT;
    client->max_queued = options->max_queued > 0 ? options->max_queued : DEFAULT_QUEUED;
    client->max_response = options->max_response > 0 ? options->max_response : DEFAULT_RESPONSE;
    client->connect_timeout_ms =
        options->connect_timeout_ms > 0 ? options->connect_timeout_ms : DEFAULT_CONNECT_MS;
    curl_loop_open(&client->curl, loop, on_turn, client);
    keep_connections(client);
    int r = http_tls_init(&client->tls, options, err);
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
