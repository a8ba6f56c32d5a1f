#include "controller/kubernetes/state_view.h"

#include "common/hashmap.h"
#include "common/log.h"
#include "common/replicas.h"
#include "common/secret.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define POLL_MS 1000
#define ANSWER_MS 2000
#define STALE_MS 10000 /* what was heard before does not count any more */
#define PUT_RETRY_MS 1000
#define PUT_REPEAT_MS 15000

struct known { /* an instance */
    char epoch[POD_UID_MAX + 1];
    struct instance_report report;
    uint64_t round; /* of the answer that had it */
};

struct teller { /* one replica that has to be told */
    struct state_view *owner;
    char *url;
    struct http_call *call;
    int64_t due_ms; /* monotonic */
    bool changed;   /* while the call was under way */
};

struct state_view {
    struct loop *loop;
    struct http_client *http;
    struct replicas *replicas;
    char token[SECRET_TOKEN_MAX + 1];
    struct hashmap known; /* epoch to struct known */
    uint64_t round;
    bool changed; /* by the answer that is being read */
    int64_t heard_ms;
    size_t asks; /* which replica is asked */
    struct http_call *call;
    struct loop_timer *poll, *tell;
    char *expected; /* NULL: not said yet */
    struct teller tellers[REPLICAS_MAX];
    size_t teller_count;
    bool told_silence;
    loop_fn on_change;
    void *arg;
};

/* --- the answer --- */

static enum instance_phase phase_of(const char *text)
{
    static const char *const names[] = {
        [INSTANCE_STARTING] = "starting",
        [INSTANCE_READY] = "ready",
        [INSTANCE_DRAINING] = "draining",
        [INSTANCE_DRAINED] = "drained",
    };

    for (size_t i = INSTANCE_STARTING; i < ARRAY_LEN(names); i++) {
        if (strcmp(text, names[i]) == 0) {
            return (enum instance_phase)i;
        }
    }
    return INSTANCE_UNKNOWN;
}

static bool read_instance(const cJSON *o, const char **epoch, struct instance_report *ret)
{
    const char *phase = "";
    int64_t sessions = 0, service_id = 0;

    if (json_str(o, "epoch", epoch, NULL) < 0 || json_str(o, "phase", &phase, NULL) < 0 ||
        json_int(o, "sessions", 0, UINT32_MAX, &sessions, NULL) < 0) {
        return false;
    }
    json_int(o, "serviceId", 1, (int64_t)1 << 52, &service_id, NULL); /* null until registered */
    *ret = (struct instance_report){
        .phase = phase_of(phase), .sessions = (uint32_t)sessions, .service_id = service_id};
    return true;
}

int state_instances_parse(const char *text, size_t len, bool *ready,
                          void (*on_instance)(void *arg, const char *epoch,
                                              const struct instance_report *report),
                          void *arg, struct err *err)
{
    AUTO(json) cJSON *root = NULL;
    const cJSON *list = NULL, *item;
    bool is_ready = false;
    int r;

    if ((r = json_parse(text, len, &root, err)) < 0 ||
        (r = json_bool(root, "ready", &is_ready, err)) < 0 ||
        (r = json_array(root, "instances", &list, err)) < 0) {
        return r == -ENOENT ? -EPROTO : r;
    }
    cJSON_ArrayForEach(item, list)
    {
        struct instance_report report;
        const char *epoch = "";
        if (read_instance(item, &epoch, &report)) {
            on_instance(arg, epoch, &report);
        }
    }
    *ready = is_ready;
    return 0;
}

/* --- what is known --- */

static void on_instance(void *arg, const char *epoch, const struct instance_report *report)
{
    struct state_view *v = arg;
    struct known *k = hashmap_get(&v->known, epoch);

    if (strlen(epoch) > POD_UID_MAX || (k == NULL && v->known.count >= STATE_VIEW_INSTANCES_MAX)) {
        return;
    }
    if (k == NULL) {
        k = xcalloc(1, sizeof(*k));
        strcpy(k->epoch, epoch);
        hashmap_put(&v->known, k->epoch, k);
        v->changed = true;
    }
    v->changed |= k->report.phase != report->phase || k->report.sessions != report->sessions ||
                  k->report.service_id != report->service_id;
    k->report = *report;
    k->round = v->round;
}

static void forget_others(struct state_view *v)
{
    for (struct hashmap_iter i = {.map = &v->known}; hashmap_next(&i);) {
        struct known *k = i.value;
        if (k->round != v->round) {
            hashmap_remove(&v->known, k->epoch);
            free(k);
            v->changed = true;
        }
    }
}

bool state_view_report(const struct state_view *v, const char *epoch, struct instance_report *ret)
{
    const struct known *k = hashmap_get(&v->known, epoch);

    if (k == NULL || clock_monotonic_ms() - v->heard_ms > STALE_MS) {
        return false;
    }
    *ret = k->report;
    return true;
}

/* --- asking --- */

static bool take_answer(struct state_view *v, const struct http_response *res)
{
    struct err err;
    bool ready = false;

    v->round++;
    v->changed = false;
    int r = state_instances_parse(res->body, res->body_len, &ready, on_instance, v, &err);
    if (r < 0) {
        log_warn("a state service's list of instances is none", "why", err.text, NULL);
        return false;
    }
    v->heard_ms = clock_monotonic_ms();
    if (ready) { /* one that has not heard of all yet adds what it knows, and no more */
        forget_others(v);
    }
    return ready;
}

static void tell_silence(struct state_view *v, bool silent)
{
    if (silent && !v->told_silence) {
        log_warn("no state service answers; sidecars are asked one by one", NULL);
    } else if (!silent && v->told_silence) {
        log_info("the state service answers", NULL);
    }
    v->told_silence = silent;
}

static void on_answer(void *arg, int result, const struct http_response *res, const struct err *err)
{
    struct state_view *v = arg;
    bool answered = result == 0 && res->status == 200;

    v->call = NULL;
    v->changed = false;
    if (!answered || !take_answer(v, res)) {
        v->asks++; /* the next replica, next time */
    }
    tell_silence(v, clock_monotonic_ms() - v->heard_ms > STALE_MS);
    loop_timer_start(v->poll, POLL_MS, 0);
    if (v->changed) {
        v->on_change(v->arg);
    }
}

static void on_poll(void *arg)
{
    struct state_view *v = arg;
    size_t count = replicas_count(v->replicas);

    if (v->call != NULL) {
        return;
    }
    loop_timer_start(v->poll, POLL_MS, 0);
    if (count == 0) {
        return;
    }
    AUTO(str)
    char *url =
        xasprintf("http://%s/v1/instances", replicas_at(v->replicas, v->asks % count)->text);
    struct http_request request = {
        .method = "GET", .url = url, .timeout_ms = ANSWER_MS, .on_done = on_answer, .arg = v};
    http_client_send(v->http, &request, &v->call, NULL); /* else the next poll does */
}

/* --- telling --- */

static void schedule(struct state_view *v)
{
    int64_t now = clock_monotonic_ms(), next = now + PUT_REPEAT_MS;

    if (v->expected == NULL) { /* there is nothing to tell yet */
        return;
    }
    for (size_t i = 0; i < v->teller_count; i++) {
        const struct teller *t = &v->tellers[i];
        if (t->call == NULL && t->due_ms < next) {
            next = t->due_ms;
        }
    }
    loop_timer_start(v->tell, next > now ? (uint64_t)(next - now) : 0, 0);
}

static void on_told(void *arg, int result, const struct http_response *res, const struct err *err)
{
    struct teller *t = arg;
    bool ok = result == 0 && res->status == 204;

    t->call = NULL;
    if (result == 0 && !ok) {
        log_warn("a state service refused the list of instances", "url", t->url, "status",
                 NUM(res->status), "why", res->status == 401 ? SECRET_REFUSED : "it is no 204",
                 NULL);
    }
    t->due_ms = clock_monotonic_ms() + (t->changed ? 0 : ok ? PUT_REPEAT_MS : PUT_RETRY_MS);
    schedule(t->owner);
}

static void tell(struct teller *t)
{
    struct state_view *v = t->owner;
    AUTO(str) char *url = xasprintf("%s/v1/expected", t->url);
    struct http_request request = {
        .method = "PUT",
        .url = url,
        .bearer = v->token,
        .body = v->expected,
        .body_len = strlen(v->expected),
        .timeout_ms = ANSWER_MS,
        .on_done = on_told,
        .arg = t,
    };

    t->changed = false;
    if (http_client_send(v->http, &request, &t->call, NULL) < 0) {
        t->due_ms = clock_monotonic_ms() + PUT_RETRY_MS;
    }
}

static void on_tell(void *arg)
{
    struct state_view *v = arg;
    int64_t now = clock_monotonic_ms();

    for (size_t i = 0; v->expected != NULL && i < v->teller_count; i++) {
        struct teller *t = &v->tellers[i];
        if (t->call == NULL && now >= t->due_ms) {
            tell(t);
        }
    }
    schedule(v);
}

static void drop_tellers(struct state_view *v)
{
    for (size_t i = 0; i < v->teller_count; i++) {
        http_call_cancel(v->tellers[i].call);
        free(v->tellers[i].url);
    }
    v->teller_count = 0;
}

static void on_replicas(void *arg)
{
    struct state_view *v = arg;

    drop_tellers(v);
    v->teller_count = replicas_count(v->replicas);
    for (size_t i = 0; i < v->teller_count; i++) {
        v->tellers[i] = (struct teller){
            .owner = v, .url = xasprintf("http://%s", replicas_at(v->replicas, i)->text)};
    }
    loop_timer_start(v->tell, 0, 0);
    loop_timer_start(v->poll, 0, 0);
}

void state_view_expect(struct state_view *v, const char *text)
{
    if (v->expected != NULL && strcmp(v->expected, text) == 0) {
        return;
    }
    free(v->expected);
    v->expected = xstrdup(text);
    for (size_t i = 0; i < v->teller_count; i++) {
        v->tellers[i].changed = v->tellers[i].call != NULL;
        v->tellers[i].due_ms = 0;
    }
    loop_timer_start(v->tell, 0, 0);
}

/* --- life --- */

struct state_view *state_view_new(struct loop *loop, struct http_client *http, const char *name,
                                  const struct service_keys *keys, loop_fn on_change, void *arg)
{
    struct state_view *v = xcalloc(1, sizeof(*v));

    if (replicas_new(loop, name, &v->replicas, NULL) < 0) {
        free(v);
        return NULL;
    }
    secret_token(keys, SECRET_STATE, v->token);
    hashmap_init(&v->known);
    v->loop = loop;
    v->http = http;
    v->on_change = on_change;
    v->arg = arg;
    v->heard_ms = clock_monotonic_ms();
    v->poll = loop_timer_new(loop, on_poll, v);
    v->tell = loop_timer_new(loop, on_tell, v);
    replicas_watch(v->replicas, on_replicas, v);
    on_replicas(v); /* those that are no names are known already */
    return v;
}

void state_view_close(struct state_view *v)
{
    if (v == NULL) {
        return;
    }
    replicas_close(v->replicas);
    drop_tellers(v);
    http_call_cancel(v->call);
    loop_timer_close(v->poll);
    loop_timer_close(v->tell);
    for (struct hashmap_iter i = {.map = &v->known}; hashmap_next(&i);) {
        free(i.value);
    }
    hashmap_clear(&v->known);
    secret_wipe(v->token, sizeof(v->token));
    free(v->expected);
    free(v);
}
