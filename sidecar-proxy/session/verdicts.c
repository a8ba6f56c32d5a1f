#include "sidecar-proxy/session/verdicts.h"

#include <stdio.h>
#include <string.h>

void verdicts_init(struct verdicts *v, const char *service_key, size_t max)
{
    secret_derive(service_key, SECRET_VERDICT, v->secret);
    dict_init(&v->by_fingerprint, max > 0 ? max : 1);
    list_init(&v->in_order);
}

static struct verdict *entry_of(struct list *at)
{
    return CONTAINER_OF(at, struct verdict, in_order);
}

static void forget(struct verdicts *v, struct verdict *entry)
{
    dict_remove(&v->by_fingerprint, &entry->by_fingerprint);
    list_remove(&entry->in_order);
    free(entry);
}

void verdicts_clear(struct verdicts *v)
{
    LIST_EACH(at, &v->in_order)
    {
        forget(v, entry_of(at));
    }
    dict_clear(&v->by_fingerprint);
    secret_wipe(v->secret, sizeof(v->secret));
}

struct fingerprint verdicts_fingerprint(const struct verdicts *v, const char *uuid, const char *key)
{
    AUTO(str) char *text = xasprintf("%s\n%s", uuid, key);
    uint8_t hash[SECRET_BYTES];
    struct fingerprint f;

    secret_hmac(v->secret, text, strlen(text), hash);
    secret_wipe(text, strlen(text));
    secret_hex(hash, f.text);
    return f;
}

static struct verdict *lookup(const struct verdicts *v, const struct fingerprint *f)
{
    struct dict_node *node = dict_find(&v->by_fingerprint, f->text, SECRET_HEX_LEN);

    return node != NULL ? CONTAINER_OF(node, struct verdict, by_fingerprint) : NULL;
}

static struct verdict *entry_new(struct verdicts *v, const char *uuid, const struct fingerprint *f)
{
    if (v->by_fingerprint.count == v->by_fingerprint.max) {
        forget(v, entry_of(v->in_order.next));
    }
    struct verdict *entry = xcalloc(1, sizeof(*entry));
    entry->fingerprint = *f;
    snprintf(entry->uuid, sizeof(entry->uuid), "%s", uuid);
    list_init(&entry->in_order);
    dict_add(&v->by_fingerprint, &entry->by_fingerprint, entry->fingerprint.text, SECRET_HEX_LEN);
    return entry;
}

const struct verdict *verdicts_add(struct verdicts *v, const char *uuid,
                                   const struct fingerprint *f, int64_t at_ms, int64_t now_mono_ms)
{
    struct verdict *entry = lookup(v, f);

    if (entry == NULL) {
        entry = entry_new(v, uuid, f);
    }
    entry->at_ms = at_ms;
    entry->at_mono_ms = now_mono_ms;
    list_remove(&entry->in_order);
    list_append(&v->in_order, &entry->in_order);
    return entry;
}

const struct verdict *verdicts_find(const struct verdicts *v, const struct fingerprint *f,
                                    int64_t now_mono_ms, int64_t max_age_ms)
{
    const struct verdict *entry = lookup(v, f);

    return entry != NULL && now_mono_ms - entry->at_mono_ms < max_age_ms ? entry : NULL;
}

void verdicts_remove(struct verdicts *v, const struct fingerprint *f)
{
    struct verdict *entry = lookup(v, f);

    if (entry != NULL) {
        forget(v, entry);
    }
}

void verdicts_expire(struct verdicts *v, int64_t now_mono_ms, int64_t max_age_ms)
{
    LIST_EACH(at, &v->in_order)
    {
        if (now_mono_ms - entry_of(at)->at_mono_ms < max_age_ms) {
            return;
        }
        forget(v, entry_of(at));
    }
}

size_t verdicts_count(const struct verdicts *v)
{
    return v->by_fingerprint.count;
}

const struct verdict *verdicts_at(struct list *at)
{
    return entry_of(at);
}
