#include "tests/unit/session/fakes.h"

#include "common/buf.h"
#include "sidecar-proxy/management/link.h"
#include "sidecar-proxy/session/list.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

/* --- the loop --- */

struct wait {
    struct loop *loop;
    fake_condition condition;
    void *arg;
    bool met;
    int64_t until_ms;
};

static void on_look(void *arg)
{
    struct wait *w = arg;

    w->met = w->condition(w->arg);
    if (w->met || clock_monotonic_ms() > w->until_ms) {
        loop_stop(w->loop);
    }
}

void fake_run_until(struct loop *loop, fake_condition condition, void *arg)
{
    struct wait w = {loop, condition, arg, false, clock_monotonic_ms() + 10000};
    struct loop_timer *timer = loop_timer_new(loop, on_look, &w);

    loop_timer_start(timer, 0, 1);
    loop_run(loop);
    loop_timer_close(timer);
    assert_true(w.met);
}

static bool third_time(void *arg)
{
    return ++*(int *)arg >= 3;
}

void fake_settle(struct loop *loop)
{
    int times = 0;

    fake_run_until(loop, third_time, &times);
}

uint16_t fake_free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    AUTO(fd) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (const struct sockaddr *)&at, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    return ntohs(at.sin_port);
}

/* --- the balena API --- */

struct api_call {
    char *text;
    bool heartbeat;
    api_done_fn on_done;
    void *arg;
    struct list in_calls;
};

static struct list calls = {&calls, &calls};
static bool sane = true;
static size_t cancelled;
static loop_fn on_change;
static void *on_change_arg;
bool fake_api_heartbeats;

struct balena_api *fake_api(void)
{
    static char api;

    return (struct balena_api *)&api;
}

static struct api_call *call_at(struct list *at)
{
    return CONTAINER_OF(at, struct api_call, in_calls);
}

static void forget(struct api_call *call)
{
    list_remove(&call->in_calls);
    free(call->text);
    free(call);
}

void fake_api_reset(void)
{
    LIST_EACH(at, &calls)
    {
        forget(call_at(at));
    }
    sane = true;
    cancelled = 0;
    on_change = NULL;
    fake_api_heartbeats = false;
}

static struct api_call *waiting(void)
{
    LIST_EACH(at, &calls)
    {
        if (!call_at(at)->heartbeat || fake_api_heartbeats) {
            return call_at(at);
        }
    }
    return NULL;
}

const char *fake_api_waiting(void)
{
    return waiting() != NULL ? waiting()->text : "";
}

size_t fake_api_waiting_count(void)
{
    size_t n = 0;

    LIST_EACH(at, &calls)
    {
        n += !call_at(at)->heartbeat || fake_api_heartbeats;
    }
    return n;
}

static void answer(const struct api_result *result)
{
    struct api_call *call = waiting();

    assert_non_null(call);
    api_done_fn on_done = call->on_done;
    void *arg = call->arg;
    forget(call);
    on_done(arg, result);
}

void fake_api_answer(enum api_answer a)
{
    answer(&(struct api_result){.answer = a, .why = a == API_UNKNOWN ? "fake" : NULL});
}

void fake_api_answer_id(int64_t id)
{
    answer(&(struct api_result){.answer = API_YES, .id = id});
}

void fake_api_answer_list(const char *const *uuids, size_t count)
{
    answer(&(struct api_result){.answer = API_YES, .uuids = uuids, .uuid_count = count});
}

size_t fake_api_cancelled(void)
{
    return cancelled;
}

void fake_api_set_sane(bool is)
{
    sane = is;
    if (on_change != NULL) {
        on_change(on_change_arg);
    }
}

static struct api_call *add(char *text, api_done_fn on_done, void *arg)
{
    struct api_call *call = xcalloc(1, sizeof(*call));

    *call = (struct api_call){.text = text, .on_done = on_done, .arg = arg};
    list_append(&calls, &call->in_calls);
    return call;
}

struct api_call *api_device_auth(struct balena_api *api, const char *uuid, const char *key,
                                 api_done_fn on_done, void *arg)
{
    return add(xasprintf("auth %s %s", uuid, key), on_done, arg);
}

struct api_call *api_report(struct balena_api *api, bool connected, int64_t service_id,
                            const char *const *uuids, size_t count, api_done_fn on_done, void *arg)
{
    struct buf text;

    buf_init(&text, 1 << 20);
    buf_printf(&text, "%s %lld", connected ? "connect" : "disconnect", (long long)service_id);
    for (size_t i = 0; i < count; i++) {
        buf_printf(&text, "%s%s", i == 0 ? " " : ",", uuids[i]);
    }
    return add(buf_take(&text), on_done, arg);
}

struct api_call *api_register(struct balena_api *api, const char *address, api_done_fn on_done,
                              void *arg)
{
    return add(xasprintf("register %s", address != NULL ? address : "-"), on_done, arg);
}

struct api_call *api_heartbeat(struct balena_api *api, int64_t service_id, api_done_fn on_done,
                               void *arg)
{
    struct api_call *call = add(xasprintf("heartbeat %lld", (long long)service_id), on_done, arg);

    call->heartbeat = true;
    return call;
}

struct api_call *api_list_devices(struct balena_api *api, int64_t service_id, api_done_fn on_done,
                                  void *arg)
{
    return add(xasprintf("list %lld", (long long)service_id), on_done, arg);
}

void api_call_cancel(struct api_call *call)
{
    if (call != NULL) {
        cancelled++;
        forget(call);
    }
}

bool balena_api_sane(const struct balena_api *api)
{
    return sane;
}

const char *balena_api_why(const struct balena_api *api)
{
    return sane ? "" : "it answered 503";
}

void balena_api_watch(struct balena_api *api, loop_fn fn, void *arg)
{
    on_change = fn;
    on_change_arg = arg;
}

/* --- the link --- */

static struct buf commands = {.max = 1 << 20};
bool fake_link_live = true;

struct link *fake_link(void)
{
    static char link;

    return (struct link *)&link;
}

const char *fake_link_take(void)
{
    static char text[4096];

    snprintf(text, sizeof(text), "%s", buf_str(&commands));
    buf_clear(&commands);
    return text;
}

bool link_allow(struct link *link, uint64_t cid, uint64_t kid)
{
    buf_printf(&commands, "allow %d %d\n", (int)cid, (int)kid);
    return fake_link_live;
}

bool link_deny(struct link *link, uint64_t cid, uint64_t kid, const char *log_text,
               const char *client_text)
{
    buf_printf(&commands, "deny %d %d\n", (int)cid, (int)kid);
    return fake_link_live;
}

bool link_deny_temp(struct link *link, uint64_t cid, uint64_t kid, unsigned backoff_s,
                    const char *text)
{
    assert_in_range(backoff_s, 1, 120);
    buf_printf(&commands, "temp %d %d%s\n", (int)cid, (int)kid, backoff_s == 60 ? " 60" : "");
    return fake_link_live;
}

bool link_kill(struct link *link, uint64_t cid)
{
    if (fake_link_live) {
        buf_printf(&commands, "kill %d\n", (int)cid);
    }
    return fake_link_live;
}
