#include "sidecar-proxy/proxy/gate.h"

#include "common/hashmap.h"

struct gate_call { /* one question to the API, and who waits for its answer */
    struct gate *gate;
    struct access_key key; /* the map's too */
    struct api_call *api_call;
    struct loop_timer *grace_timer; /* NULL: there is no earlier yes to fall back on */
    struct gate_wait waits;         /* head of a ring */
};

struct gate {
    struct loop *loop;
    struct balena_api *api;
    char *guest_key;
    struct access_cache *cache;
    struct hashmap calls;
    void (*on_verdict)(void *arg, struct gate_wait *wait, const struct verdict *verdict);
    void *arg;
};

struct gate *gate_new(struct loop *loop, const struct gate_options *options)
{
    struct gate *gate = xcalloc(1, sizeof(*gate));

    *gate = (struct gate){
        .loop = loop,
        .api = options->api,
        .guest_key = options->guest_key != NULL ? xstrdup(options->guest_key) : NULL,
        .cache = access_cache_new(GATE_CACHE_MAX, options->cache_ms, options->grace_ms),
        .on_verdict = options->on_verdict,
        .arg = options->arg,
    };
    hashmap_init(&gate->calls);
    return gate;
}

static void call_free(struct gate_call *call)
{
    hashmap_remove(&call->gate->calls, call->key.text);
    loop_timer_close(call->grace_timer);
    api_call_cancel(call->api_call);
    free(call);
}

void gate_free(struct gate *gate)
{
    if (gate == NULL) {
        return;
    }
    for (struct hashmap_iter i = {.map = &gate->calls}; hashmap_next(&i);) {
        call_free(i.value);
    }
    hashmap_clear(&gate->calls);
    access_cache_free(gate->cache);
    free(gate->guest_key);
    free(gate);
}

const char *gate_key(const struct gate *gate, const char *caller_key)
{
    return caller_key != NULL ? caller_key : gate->guest_key;
}

static void wait_leave(struct gate_wait *wait)
{
    wait->prev->next = wait->next;
    wait->next->prev = wait->prev;
    wait->call = NULL;
}

static void wait_join(struct gate_call *call, struct gate_wait *wait)
{
    wait->call = call;
    wait->next = &call->waits;
    wait->prev = call->waits.prev;
    wait->prev->next = wait;
    call->waits.prev = wait;
}

/* Ends the call: its first caller is told the source, the others that they shared it. The call
 * leaves the table first, so that a new question is a new call. */
static void call_end(struct gate_call *call, struct verdict verdict)
{
    struct gate *gate = call->gate;
    enum decision_source source = verdict.source;

    hashmap_remove(&gate->calls, call->key.text);
    for (bool first = true; call->waits.next != &call->waits; first = false) {
        struct gate_wait *wait = call->waits.next;
        wait_leave(wait);
        verdict.source = source == DECIDED_BY_API && !first ? DECIDED_BY_SHARING : source;
        gate->on_verdict(gate->arg, wait, &verdict);
    }
    loop_timer_close(call->grace_timer);
    api_call_cancel(call->api_call);
    free(call);
}

static bool grace(struct gate_call *call, struct verdict *verdict)
{
    *verdict = (struct verdict){.kind = VERDICT_ALLOWED, .source = DECIDED_BY_GRACE};
    return access_cache_grace(call->gate->cache, &call->key, clock_monotonic_ms(),
                              &verdict->device_id);
}

static void on_api_done(void *arg, const struct api_result *result)
{
    struct gate_call *call = arg;
    struct verdict verdict = {.source = DECIDED_BY_API, .why = result->why};
    int64_t now_ms = clock_monotonic_ms();

    call->api_call = NULL;
    if (result->answer == API_YES) {
        verdict.kind = VERDICT_ALLOWED;
        verdict.device_id = result->id;
        access_cache_put(call->gate->cache, &call->key, true, result->id, now_ms);
    } else if (result->answer == API_NO) {
        verdict.kind = VERDICT_REFUSED;
        access_cache_put(call->gate->cache, &call->key, false, 0, now_ms);
    } else if (!grace(call, &verdict)) {
        verdict = (struct verdict){
            .kind = VERDICT_NO_ANSWER,
            .source = DECIDED_BY_API,
            .why = result->why,
        };
    }
    call_end(call, verdict);
}

static void on_grace(void *arg)
{
    struct gate_call *call = arg;
    struct verdict verdict;

    if (grace(call, &verdict)) {
        call_end(call, verdict);
    }
}

static struct gate_call *call_start(struct gate *gate, const struct access_key *key,
                                    const struct ask *ask)
{
    struct gate_call *call = xcalloc(1, sizeof(*call));
    int64_t device_id = 0;

    call->gate = gate;
    call->key = *key;
    call->waits.next = call->waits.prev = &call->waits;
    hashmap_put(&gate->calls, call->key.text, call);
    if (access_cache_grace(gate->cache, key, clock_monotonic_ms(), &device_id)) {
        call->grace_timer = loop_timer_new(gate->loop, on_grace, call);
        loop_timer_start(call->grace_timer, GATE_GRACE_AFTER_MS, 0);
    }
    call->api_call =
        api_can_access(gate->api, ask->uuid, ask->port, gate_key(gate, ask->key),
                       ask->traceparent[0] != '\0' ? ask->traceparent : NULL, on_api_done, call);
    return call;
}

static bool decided(struct gate *gate, const struct access_key *key, struct verdict *now)
{
    *now = (struct verdict){.source = DECIDED_BY_CACHE};
    switch (access_cache_find(gate->cache, key, clock_monotonic_ms(), &now->device_id)) {
    case ACCESS_YES:
        now->kind = VERDICT_ALLOWED;
        return true;
    case ACCESS_NO:
        now->kind = VERDICT_REFUSED;
        return true;
    case ACCESS_MISS:
        break;
    }
    return false;
}

bool gate_knows(struct gate *gate, const struct ask *ask, struct verdict *now)
{
    struct access_key key;

    access_key_of(gate->cache, ask->uuid, ask->port, ask->key, &key);
    return decided(gate, &key, now);
}

bool gate_ask(struct gate *gate, struct gate_wait *wait, const struct ask *ask, struct verdict *now)
{
    struct access_key key;

    access_key_of(gate->cache, ask->uuid, ask->port, ask->key, &key);
    if (decided(gate, &key, now)) { /* since the thread looked */
        return true;
    }
    struct gate_call *call = hashmap_get(&gate->calls, key.text);
    wait_join(call != NULL ? call : call_start(gate, &key, ask), wait);
    return false;
}

void gate_cancel(struct gate *gate, struct gate_wait *wait)
{
    struct gate_call *call = wait->call;

    (void)gate;
    if (call == NULL) {
        return;
    }
    wait_leave(wait);
    if (call->waits.next == &call->waits) { /* nobody wants to know any more */
        call_free(call);
    }
}

size_t gate_cached(const struct gate *gate)
{
    return access_cache_count(gate->cache);
}
