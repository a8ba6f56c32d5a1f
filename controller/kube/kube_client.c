#include "controller/kube/kube_client_priv.h"

#include <errno.h>
#include <string.h>

#define DEFAULT_PER_S 50.0
#define DEFAULT_BURST 100
#define RETRIES_PER_S 10.0
#define RETRY_BURST 10
#define DEFAULT_RESPONSE ((size_t)8 << 20)
#define IN_FLIGHT_MAX 256
#define QUEUED_MAX 16384

/* --- channels --- */

void kube_channel_release(struct kube_channel *channel)
{
    channel->calls--;
    if (channel->retired && channel->calls == 0) {
        http_client_close(channel->http);
        free(channel);
    }
}

static void channel_retire(struct kube_channel **slot)
{
    struct kube_channel *channel = *slot;

    *slot = NULL;
    if (channel != NULL) {
        channel->retired = true;
        channel->calls++;
        kube_channel_release(channel);
    }
}

void kube_client_retire(struct kube_client *c, struct kube_channel *channel)
{
    if (channel == c->normal) {
        channel_retire(&c->normal);
    } else if (channel == c->urgent) {
        channel_retire(&c->urgent);
    }
}

static int channel_new(struct kube_client *c, struct kube_channel **ret, struct err *err)
{
    struct kube_tls tls = kube_credentials_tls(c->credentials);
    struct http_client_options options = {
        .ca_only_pem = tls.ca_pem,
        .cert_pem = tls.cert_pem,
        .key_pem = tls.key_pem,
        .tls_name = c->config->tls_server_name,
        .insecure = c->config->insecure,
        .proxy_url = c->config->proxy_url,
        .max_in_flight = IN_FLIGHT_MAX,
        .max_queued = QUEUED_MAX,
        .max_response = c->max_response,
    };
    struct http_client *http;
    int r = http_client_new(c->loop, &options, &http, err);

    if (r < 0) {
        return r;
    }
    *ret = xcalloc(1, sizeof(**ret));
    **ret = (struct kube_channel){.http = http, .generation = tls.generation};
    return 0;
}

/* With certificates that are no good (one half of a pair was replaced) the old ones go on. */
int kube_client_channel(struct kube_client *c, bool urgent, struct kube_channel **ret,
                        struct err *err)
{
    struct kube_channel **slot = urgent ? &c->urgent : &c->normal;
    unsigned generation = kube_credentials_tls(c->credentials).generation;
    bool is_new =
        *slot == NULL || ((*slot)->generation != generation && c->failed_generation != generation);

    if (is_new) {
        struct kube_channel *channel;
        int r = channel_new(c, &channel, err);
        if (r < 0) {
            c->failed_generation = generation;
        }
        if (r < 0 && *slot == NULL) {
            return r;
        }
        if (r == 0) {
            channel_retire(slot);
            *slot = channel;
        }
    }
    *ret = *slot;
    return 0;
}

/* --- who listens --- */

static void on_wake(void *arg)
{
    struct kube_client *c = arg;
    struct kube_listener *listener = c->listeners;

    for (; listener != NULL; listener = c->next_listener) {
        c->next_listener = listener->next;
        listener->fn(listener->arg);
    }
}

void kube_client_heard(struct kube_client *c, bool answered)
{
    if (answered) {
        c->answered_ms = clock_monotonic_ms();
        if (!c->answers && c->listeners != NULL) {
            loop_timer_start(c->wake, 0, 0);
        }
    }
    c->answers = answered;
}

void kube_client_listen(struct kube_client *c, struct kube_listener *listener)
{
    listener->prev = NULL;
    listener->next = c->listeners;
    if (c->listeners != NULL) {
        c->listeners->prev = listener;
    }
    c->listeners = listener;
}

void kube_client_unlisten(struct kube_client *c, struct kube_listener *listener)
{
    if (c->next_listener == listener) {
        c->next_listener = listener->next;
    }
    if (listener->prev != NULL) {
        listener->prev->next = listener->next;
    } else {
        c->listeners = listener->next;
    }
    if (listener->next != NULL) {
        listener->next->prev = listener->prev;
    }
}

int64_t kube_client_silent_ms(const struct kube_client *c)
{
    return c->answered_ms < 0 ? -1 : clock_monotonic_ms() - c->answered_ms;
}

/* --- the client --- */

static void on_credentials(void *arg)
{
    kube_calls_resume(arg);
}

static char *host_of(const char *server)
{
    const char *start = strstr(server, "://") + 3;

    return xstrndup(start, strcspn(start, "/"));
}

static int prepare(struct kube_client *c, struct err *err)
{
    struct kube_channel *channel;
    int r = kube_credentials_new(c->loop, c->config, c->reread_ms, on_credentials, c,
                                 &c->credentials, err);

    if (r == 0) {
        r = kube_client_channel(c, false, &channel, err);
    }
    return r < 0 ? err_wrap(err, "%s", c->config->origin) : 0;
}

int kube_client_new(struct loop *loop, const struct kube_client_options *options,
                    struct kube_client **ret, struct err *err)
{
    struct kube_client *c = xcalloc(1, sizeof(*c));

    c->loop = loop;
    c->config = kube_config_copy(options->config);
    c->bucket =
        bucket_make(options->requests_per_s > 0 ? options->requests_per_s : DEFAULT_PER_S,
                    options->burst > 0 ? options->burst : DEFAULT_BURST, clock_monotonic_ms());
    c->retries = bucket_make(RETRIES_PER_S, RETRY_BURST, clock_monotonic_ms());
    c->user_agent =
        xasprintf("User-Agent: %s", options->user_agent != NULL ? options->user_agent
                                                                : "openbalena-vpn/" VPN_VERSION);
    c->host = host_of(c->config->server);
    c->max_response = options->max_response > 0 ? options->max_response : DEFAULT_RESPONSE;
    c->reread_ms = options->reread_ms;
    c->failed_generation = UINT32_MAX;
    c->answered_ms = -1;
    c->wake = loop_timer_new(loop, on_wake, c);
    int r = prepare(c, err);
    if (r < 0) {
        kube_client_close(c);
        return r;
    }
    *ret = c;
    return 0;
}

void kube_client_close(struct kube_client *c)
{
    if (c == NULL) {
        return;
    }
    while (c->first != NULL) {
        kube_call_cancel(c->first);
    }
    channel_retire(&c->normal);
    channel_retire(&c->urgent);
    kube_credentials_free(c->credentials);
    loop_timer_close(c->wake);
    kube_config_free(c->config);
    free(c->user_agent);
    free(c->host);
    free(c);
}

struct loop *kube_client_loop(const struct kube_client *c)
{
    return c->loop;
}

const char *kube_client_namespace(const struct kube_client *c)
{
    return c->config->ns;
}
