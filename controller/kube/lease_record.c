#include "controller/kube/lease_record.h"

#include "controller/kube/kube_time.h"

#include <errno.h>
#include <string.h>

#define GIVEN_UP_DURATION_S 1 /* so that those who do not know "" need not wait either */

static char *copy_text(const cJSON *spec, const char *key)
{
    const char *text = "";

    (void)json_str(spec, key, &text, NULL);
    return xstrdup(text);
}

static int64_t copy_int(const cJSON *spec, const char *key)
{
    int64_t value = 0;

    (void)json_int(spec, key, 0, INT32_MAX, &value, NULL);
    return value;
}

int lease_record_read(const cJSON *lease, struct lease_record *ret, struct err *err)
{
    const cJSON *spec = NULL;
    int r = json_object(lease, "spec", &spec, err);

    if (r < 0 && r != -ENOENT) {
        return r;
    }
    *ret = (struct lease_record){
        .holder = copy_text(spec, "holderIdentity"),
        .duration_s = copy_int(spec, "leaseDurationSeconds"),
        .transitions = copy_int(spec, "leaseTransitions"),
        .renewed = copy_text(spec, "renewTime"),
        .acquired = copy_text(spec, "acquireTime"),
    };
    return 0;
}

void lease_record_clear(struct lease_record *r)
{
    free(r->holder);
    free(r->renewed);
    free(r->acquired);
    *r = (struct lease_record){0};
}

bool lease_record_equal(const struct lease_record *a, const struct lease_record *b)
{
    return a->holder != NULL && b->holder != NULL && strcmp(a->holder, b->holder) == 0 &&
           strcmp(a->renewed, b->renewed) == 0 && strcmp(a->acquired, b->acquired) == 0 &&
           a->duration_s == b->duration_s && a->transitions == b->transitions;
}

static void set(cJSON *spec, const char *key, cJSON *value)
{
    cJSON_DeleteItemFromObjectCaseSensitive(spec, key);
    cJSON_AddItemToObject(spec, key, value);
}

static void set_time(cJSON *spec, const char *key, int64_t unix_ms)
{
    set(spec, key, cJSON_CreateString(kube_time_micro(unix_ms).text));
}

static cJSON *spec_of(cJSON *lease)
{
    cJSON *spec = cJSON_GetObjectItemCaseSensitive(lease, "spec");

    if (!cJSON_IsObject(spec)) {
        set(lease, "spec", cJSON_CreateObject());
        spec = cJSON_GetObjectItemCaseSensitive(lease, "spec");
    }
    return spec;
}

static void set_holder(cJSON *spec, const char *identity, uint32_t duration_s, int64_t unix_ms)
{
    set(spec, "holderIdentity", cJSON_CreateString(identity));
    set(spec, "leaseDurationSeconds", cJSON_CreateNumber(duration_s));
    set_time(spec, "renewTime", unix_ms);
}

cJSON *lease_record_new(const char *name, const char *identity, uint32_t duration_s,
                        int64_t unix_ms)
{
    cJSON *lease = cJSON_CreateObject();

    cJSON_AddStringToObject(lease, "apiVersion", "coordination.k8s.io/v1");
    cJSON_AddStringToObject(lease, "kind", "Lease");
    cJSON_AddStringToObject(cJSON_AddObjectToObject(lease, "metadata"), "name", name);
    cJSON *spec = cJSON_AddObjectToObject(lease, "spec");
    set_holder(spec, identity, duration_s, unix_ms);
    set_time(spec, "acquireTime", unix_ms);
    set(spec, "leaseTransitions", cJSON_CreateNumber(0));
    return lease;
}

void lease_record_take(cJSON *lease, const struct lease_record *was, const char *identity,
                       uint32_t duration_s, int64_t unix_ms)
{
    cJSON *spec = spec_of(lease);

    set_holder(spec, identity, duration_s, unix_ms);
    if (strcmp(was->holder, identity) != 0) {
        set_time(spec, "acquireTime", unix_ms);
        set(spec, "leaseTransitions", cJSON_CreateNumber((double)was->transitions + 1));
    }
}

void lease_record_give_up(cJSON *lease, int64_t unix_ms)
{
    cJSON *spec = spec_of(lease);

    set_holder(spec, "", GIVEN_UP_DURATION_S, unix_ms);
    set_time(spec, "acquireTime", unix_ms);
}
