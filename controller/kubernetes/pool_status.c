#include "controller/kubernetes/pool_status.h"

#include "controller/kube/kube_time.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

static const char *const phase_names[] = {
    [INDEX_FREE] = "Free",         [INDEX_STARTING] = "Starting",       [INDEX_READY] = "Ready",
    [INDEX_DRAINING] = "Draining", [INDEX_TERMINATING] = "Terminating", [INDEX_BURYING] = "Burying",
};

static const char *const condition_names[POOL_CONDITIONS] = {
    [POOL_AVAILABLE] = "Available",
    [POOL_PROGRESSING] = "Progressing",
    [POOL_DEGRADED] = "Degraded",
};

void pool_status_init(struct pool_status *s)
{
    *s = (struct pool_status){.count = 0};
}

void pool_status_clear(struct pool_status *s)
{
    free(s->instances);
    free(s->burials);
    pool_status_init(s);
}

/* --- the table of instances, in order of index --- */

static size_t place_of(const struct pool_status *s, uint32_t index)
{
    size_t low = 0, high = s->count;

    while (low < high) {
        size_t middle = (low + high) / 2;
        if (s->instances[middle].index < index) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct pool_instance *pool_status_find(const struct pool_status *s, uint32_t index)
{
    size_t at = place_of(s, index);

    return at < s->count && s->instances[at].index == index ? &s->instances[at] : NULL;
}

static void forget_freed(struct pool_status *s, uint32_t index)
{
    for (size_t i = 0; i < s->freed_count; i++) {
        if (s->freed[i].index == index) {
            memmove(&s->freed[i], &s->freed[i + 1], (s->freed_count - i - 1) * sizeof(s->freed[0]));
            s->freed_count--;
            return;
        }
    }
}

struct pool_instance *pool_status_add(struct pool_status *s, uint32_t index, int64_t now_ms)
{
    size_t at = place_of(s, index);

    assert(index >= 1 && index <= PLAN_INDEX_MAX && pool_status_find(s, index) == NULL);
    if (s->count == s->room) {
        s->room = s->room == 0 ? 8 : s->room * 2;
        s->instances = xrealloc(s->instances, s->room * sizeof(s->instances[0]));
    }
    memmove(&s->instances[at + 1], &s->instances[at], (s->count - at) * sizeof(s->instances[0]));
    s->count++;
    s->instances[at] = (struct pool_instance){.index = index};
    pool_instance_enter(&s->instances[at], INDEX_STARTING, "Reserved", now_ms);
    forget_freed(s, index);
    return &s->instances[at];
}

void pool_status_remove(struct pool_status *s, uint32_t index, int64_t now_ms)
{
    size_t at = place_of(s, index);

    assert(at < s->count && s->instances[at].index == index);
    memmove(&s->instances[at], &s->instances[at + 1], (--s->count - at) * sizeof(s->instances[0]));
    forget_freed(s, index);
    s->freed[s->freed_count++] = (struct freed_index){.index = index, .freed_ms = now_ms};
}

void pool_instance_enter(struct pool_instance *i, enum index_phase phase, const char *reason,
                         int64_t now_ms)
{
    if (i->phase != phase) {
        i->phase = phase;
        i->since_ms = now_ms;
        snprintf(i->reason, sizeof(i->reason), "%s", reason);
    }
}

void pool_status_condition(struct pool_status *s, enum pool_condition_type type, bool yes,
                           const char *reason, const char *message, int64_t now_ms)
{
    struct pool_condition *c = &s->conditions[type];

    if (!c->known || c->yes != yes) {
        c->since_ms = now_ms;
    }
    c->known = true;
    c->yes = yes;
    c->observed_generation = s->observed_generation;
    snprintf(c->reason, sizeof(c->reason), "%s", reason);
    snprintf(c->message, sizeof(c->message), "%s", message);
}

void pool_reason(const char *words, char ret[POD_REASON_MAX + 1])
{
    size_t len = 0;
    bool begins = true;

    for (const char *p = words; *p != '\0' && len < POD_REASON_MAX; p++) {
        if (isalnum((unsigned char)*p)) {
            ret[len++] = begins ? (char)toupper((unsigned char)*p) : *p;
        }
        begins = !isalnum((unsigned char)*p);
    }
    ret[len] = '\0';
}

/* --- reading --- */

static bool word_of(const char *text, const char *const *words, size_t count, size_t *ret)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(text, words[i]) == 0) {
            *ret = i;
            return true;
        }
    }
    return false;
}

static void read_text(const cJSON *o, const char *key, char *ret, size_t size)
{
    const char *text = "";

    json_str(o, key, &text, NULL);
    snprintf(ret, size, "%s", text);
}

static int64_t read_number(const cJSON *o, const char *key, int64_t max)
{
    int64_t n = 0;

    return json_int(o, key, 0, max, &n, NULL) == 0 ? n : 0;
}

static int64_t read_time(const cJSON *o, const char *key)
{
    const char *text = "";
    int64_t ms = 0;

    json_str(o, key, &text, NULL);
    return kube_time_parse(text, &ms) == 0 ? ms : 0;
}

static bool read_instance(const cJSON *o, struct pool_status *s)
{
    int64_t index = 0;
    size_t phase = 0;
    const char *name = "";

    json_str(o, "phase", &name, NULL);
    if (json_int(o, "index", 1, PLAN_INDEX_MAX, &index, NULL) < 0 ||
        pool_status_find(s, (uint32_t)index) != NULL ||
        !word_of(name, phase_names, ARRAY_LEN(phase_names), &phase) || phase == INDEX_FREE) {
        return false;
    }
    struct pool_instance *i = pool_status_add(s, (uint32_t)index, 0);
    i->phase = (enum index_phase)phase;
    i->since_ms = read_time(o, "since");
    i->not_before_ms = read_time(o, "notBefore");
    i->sessions = (uint32_t)read_number(o, "sessions", UINT32_MAX);
    i->service_id = read_number(o, "serviceId", (int64_t)1 << 52);
    i->failures = (uint32_t)read_number(o, "failures", UINT32_MAX);
    read_text(o, "uid", i->uid, sizeof(i->uid));
    read_text(o, "node", i->node, sizeof(i->node));
    read_text(o, "reason", i->reason, sizeof(i->reason));
    json_bool(o, "lost", &i->lost, NULL);
    return true;
}

static bool read_freed(const cJSON *o, struct pool_status *s)
{
    int64_t index = 0;

    if (json_int(o, "index", 1, PLAN_INDEX_MAX, &index, NULL) < 0 ||
        pool_status_find(s, (uint32_t)index) != NULL) {
        return false;
    }
    forget_freed(s, (uint32_t)index);
    s->freed[s->freed_count++] =
        (struct freed_index){.index = (uint32_t)index, .freed_ms = read_time(o, "at")};
    return true;
}

static bool read_burial(const cJSON *o, struct pool_status *s)
{
    struct pool_burial b = {.index = (uint32_t)read_number(o, "index", PLAN_INDEX_MAX),
                            .service_id = read_number(o, "serviceId", (int64_t)1 << 52)};

    read_text(o, "epoch", b.epoch, sizeof(b.epoch));
    if (b.index == 0 || b.service_id == 0 || b.epoch[0] == '\0' ||
        s->burial_count == POOL_BURIALS_MAX) {
        return false;
    }
    s->burials = xrealloc(s->burials, (s->burial_count + 1) * sizeof(s->burials[0]));
    s->burials[s->burial_count++] = b;
    return true;
}

static bool read_condition(const cJSON *o, struct pool_status *s)
{
    const char *type = "", *status = "";
    size_t which = 0;

    json_str(o, "type", &type, NULL);
    json_str(o, "status", &status, NULL);
    if (!word_of(type, condition_names, POOL_CONDITIONS, &which)) {
        return false;
    }
    struct pool_condition *c = &s->conditions[which];
    c->known = true;
    c->yes = strcmp(status, "True") == 0;
    c->since_ms = read_time(o, "lastTransitionTime");
    c->observed_generation = read_number(o, "observedGeneration", INT64_C(1) << 52);
    read_text(o, "reason", c->reason, sizeof(c->reason));
    read_text(o, "message", c->message, sizeof(c->message));
    return true;
}

static void read_list(const cJSON *status, const char *key,
                      bool (*read)(const cJSON *o, struct pool_status *s), struct pool_status *s,
                      size_t *ignored)
{
    const cJSON *item;

    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(status, key))
    {
        *ignored += !read(item, s);
    }
}

void pool_status_read(const cJSON *status, struct pool_status *ret, size_t *ignored)
{
    pool_status_init(ret);
    *ignored = 0;
    ret->observed_generation = read_number(status, "observedGeneration", INT64_C(1) << 52);
    ret->replicas = (uint32_t)read_number(status, "replicas", UINT32_MAX);
    ret->ready = (uint32_t)read_number(status, "ready", UINT32_MAX);
    ret->draining = (uint32_t)read_number(status, "draining", UINT32_MAX);
    ret->sessions = (uint32_t)read_number(status, "sessions", UINT32_MAX);
    ret->capacity = (uint32_t)read_number(status, "capacity", UINT32_MAX);
    read_list(status, "instances", read_instance, ret, ignored);
    read_list(status, "freed", read_freed, ret, ignored);
    read_list(status, "burials", read_burial, ret, ignored);
    read_list(status, "conditions", read_condition, ret, ignored);
}

/* --- writing --- */

static void put_number(cJSON *o, const char *key, int64_t n)
{
    cJSON_AddNumberToObject(o, key, (double)n);
}

static void put_time(cJSON *o, const char *key, int64_t ms)
{
    if (ms > 0) {
        cJSON_AddStringToObject(o, key, kube_time_micro(ms).text);
    }
}

static void put_text(cJSON *o, const char *key, const char *text)
{
    if (text[0] != '\0') {
        cJSON_AddStringToObject(o, key, text);
    }
}

static void put_instance(cJSON *list, const struct pool_instance *i, const char *name,
                         const struct pool_network *network)
{
    cJSON *o = cJSON_CreateObject();
    AUTO(str) char *pod = xasprintf("%s-%u", name, i->index);
    struct subnet_block block;

    cJSON_AddItemToArray(list, o);
    put_number(o, "index", i->index);
    if (network != NULL &&
        subnet_block(network->base, network->instance_prefix_len, i->index, &block, NULL) == 0) {
        put_text(o, "subnet", subnet_format(block.subnet).text);
    }
    put_text(o, "pod", pod);
    put_text(o, "uid", i->uid);
    put_text(o, "node", i->node);
    put_text(o, "phase", phase_names[i->phase]);
    put_time(o, "since", i->since_ms);
    put_number(o, "sessions", i->sessions);
    if (i->service_id != 0) {
        put_number(o, "serviceId", i->service_id);
    }
    put_number(o, "failures", i->failures);
    put_time(o, "notBefore", i->not_before_ms);
    put_text(o, "reason", i->reason);
    if (i->lost) {
        cJSON_AddTrueToObject(o, "lost");
    }
}

static void put_lists(cJSON *o, const struct pool_status *s)
{
    cJSON *freed = cJSON_AddArrayToObject(o, "freed");
    cJSON *burials = cJSON_AddArrayToObject(o, "burials");

    for (size_t i = 0; i < s->freed_count; i++) {
        cJSON *item = cJSON_CreateObject();
        cJSON_AddItemToArray(freed, item);
        put_number(item, "index", s->freed[i].index);
        put_time(item, "at", s->freed[i].freed_ms);
    }
    for (size_t i = 0; i < s->burial_count; i++) {
        cJSON *item = cJSON_CreateObject();
        cJSON_AddItemToArray(burials, item);
        put_number(item, "index", s->burials[i].index);
        put_text(item, "epoch", s->burials[i].epoch);
        put_number(item, "serviceId", s->burials[i].service_id);
    }
}

static void put_conditions(cJSON *o, const struct pool_status *s)
{
    cJSON *list = cJSON_AddArrayToObject(o, "conditions");

    for (size_t i = 0; i < POOL_CONDITIONS; i++) {
        const struct pool_condition *c = &s->conditions[i];
        if (!c->known) {
            continue;
        }
        cJSON *item = cJSON_CreateObject();
        cJSON_AddItemToArray(list, item);
        cJSON_AddStringToObject(item, "type", condition_names[i]);
        cJSON_AddStringToObject(item, "status", c->yes ? "True" : "False");
        cJSON_AddStringToObject(item, "reason", c->reason);
        cJSON_AddStringToObject(item, "message", c->message);
        /* To the second, as everyone's. */
        cJSON_AddStringToObject(item, "lastTransitionTime", kube_time_second(c->since_ms).text);
        put_number(item, "observedGeneration", c->observed_generation);
    }
}

cJSON *pool_status_make(const struct pool_status *s, const char *name,
                        const struct pool_network *network)
{
    cJSON *o = cJSON_CreateObject();
    AUTO(str) char *selector = xasprintf("%s=%s", POD_LABEL_POOL, name);

    put_number(o, "observedGeneration", s->observed_generation);
    put_number(o, "replicas", s->replicas);
    put_number(o, "ready", s->ready);
    put_number(o, "draining", s->draining);
    put_number(o, "sessions", s->sessions);
    put_text(o, "selector", selector);
    put_number(o, "capacity", s->capacity);
    cJSON *instances = cJSON_AddArrayToObject(o, "instances");
    for (size_t i = 0; i < s->count; i++) {
        put_instance(instances, &s->instances[i], name, network);
    }
    put_lists(o, s);
    put_conditions(o, s);
    return o;
}

char *pool_status_gist(const struct pool_status *s)
{
    struct pool_status quiet = *s;
    struct pool_instance *instances = xcalloc(s->count + 1, sizeof(*instances));

    for (size_t i = 0; i < s->count; i++) {
        instances[i] = s->instances[i];
        instances[i].sessions = 0;
    }
    quiet.instances = instances;
    quiet.sessions = 0;
    AUTO(json) cJSON *o = pool_status_make(&quiet, "", NULL);
    char *text = cJSON_PrintUnformatted(o);
    free(instances);
    if (text == NULL) {
        abort(); /* out of memory */
    }
    return text;
}
