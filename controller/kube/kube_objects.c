#include "controller/kube/kube_objects.h"

#include "controller/kube/kube_watch_event.h"

#include <errno.h>
#include <string.h>

struct entry {
    struct kube_object object; /* the first member: what callers hold */
    unsigned round;
};

static void drop(const struct kube_objects *o, void *kept)
{
    if (o->options->keep == NULL) {
        cJSON_Delete(kept);
    } else if (o->options->drop != NULL) {
        o->options->drop(o->options->arg, kept);
    }
}

/* The contents of object, which is left empty: whoever called frees that. */
static cJSON *take_over(cJSON *object)
{
    cJSON *metadata = cJSON_GetObjectItemCaseSensitive(object, "metadata");
    cJSON *taken = cJSON_CreateObject();

    cJSON_DeleteItemFromObjectCaseSensitive(metadata, "managedFields");
    if (taken == NULL) {
        abort(); /* out of memory, as in xmalloc() */
    }
    taken->child = object->child;
    object->child = NULL;
    return taken;
}

static void *keep(const struct kube_objects *o, cJSON *object)
{
    if (o->options->keep == NULL) {
        return take_over(object);
    }
    void *kept = o->options->keep(o->options->arg, object);
    return kept == object ? take_over(object) : kept;
}

static void entry_free(const struct kube_objects *o, struct entry *e)
{
    drop(o, e->object.kept);
    free((char *)e->object.name);
    free((char *)e->object.uid);
    free((char *)e->object.resource_version);
    free(e);
}

void kube_objects_init(struct kube_objects *o, const struct kube_store_options *options,
                       const bool *closed)
{
    *o = (struct kube_objects){.options = options, .closed = closed};
    hashmap_init(&o->names);
}

void kube_objects_clear(struct kube_objects *o)
{
    for (struct hashmap_iter i = {.map = &o->names}; hashmap_next(&i);) {
        entry_free(o, i.value);
    }
    hashmap_clear(&o->names);
}

const struct kube_object *kube_objects_get(const struct kube_objects *o, const char *name)
{
    return hashmap_get(&o->names, name);
}

/* --- changes --- */

static void tell_gone(struct kube_objects *o, struct entry *e)
{
    hashmap_remove(&o->names, e->object.name);
    if (!*o->closed && o->options->on_delete != NULL) {
        o->options->on_delete(o->options->arg, &e->object);
    }
    entry_free(o, e);
}

static void add(struct kube_objects *o, const struct kube_object *new, void *kept)
{
    if (o->names.count >= o->options->max_objects) {
        o->left_out++;
        drop(o, kept);
        return;
    }
    struct entry *e = xcalloc(1, sizeof(*e));
    *e = (struct entry){
        .object = {.name = new->name,
                   .uid = new->uid,
                   .resource_version = new->resource_version,
                   .kept = kept},
        .round = o->round,
    };
    e->object.name = xstrdup(new->name);
    e->object.uid = xstrdup(new->uid);
    e->object.resource_version = xstrdup(new->resource_version);
    hashmap_put(&o->names, e->object.name, e);
    if (o->options->on_add != NULL) {
        o->options->on_add(o->options->arg, &e->object);
    }
}

static void update(struct kube_objects *o, struct entry *e, const char *version, void *kept)
{
    void *before = e->object.kept;

    free((char *)e->object.resource_version);
    e->object.resource_version = xstrdup(version);
    e->object.kept = kept;
    if (o->options->on_update != NULL) {
        o->options->on_update(o->options->arg, &e->object, before);
    }
    drop(o, before);
}

/* name and the others are copies: keep() may take apart what they pointed into. */
static void put(struct kube_objects *o, const struct kube_object *new, cJSON *object)
{
    struct entry *e = hashmap_get(&o->names, new->name);

    if (e != NULL && strcmp(e->object.uid, new->uid) != 0) {
        tell_gone(o, e);
        e = NULL;
    }
    if (e != NULL) {
        e->round = o->round;
    }
    if (*o->closed ||
        (e != NULL && strcmp(e->object.resource_version, new->resource_version) == 0)) {
        return;
    }
    void *kept = keep(o, object);
    if (kept == NULL && e != NULL) {
        tell_gone(o, e);
    } else if (kept != NULL && e != NULL) {
        update(o, e, new->resource_version, kept);
    } else if (kept != NULL) {
        add(o, new, kept);
    }
}

struct identity {
    char *name, *uid, *version;
};

static int read_identity(const cJSON *object, struct identity *ret, struct err *err)
{
    const char *name, *uid, *version;
    int r = kube_object_read(object, &name, &uid, &version, err);

    if (r < 0) {
        return r;
    }
    if (name[0] == '\0' || version[0] == '\0') {
        return err_text(err, -EPROTO, "object without name or resourceVersion");
    }
    *ret = (struct identity){xstrdup(name), xstrdup(uid), xstrdup(version)};
    return 0;
}

static void identity_clear(struct identity *i)
{
    free(i->name);
    free(i->uid);
    free(i->version);
}

int kube_objects_put(struct kube_objects *o, cJSON *object, struct err *err)
{
    struct identity i = {0};
    int r = read_identity(object, &i, err);

    if (r < 0) {
        return r;
    }
    const struct kube_object new = {.name = i.name, .uid = i.uid, .resource_version = i.version};
    put(o, &new, object);
    identity_clear(&i);
    return 0;
}

int kube_objects_remove(struct kube_objects *o, cJSON *object, struct err *err)
{
    struct identity i = {0};
    int r = read_identity(object, &i, err);

    if (r < 0) {
        return r;
    }
    struct entry *e = hashmap_get(&o->names, i.name);
    if (e != NULL && strcmp(e->object.uid, i.uid) == 0) {
        void *kept = keep(o, object);
        if (kept != NULL) {
            drop(o, e->object.kept);
            e->object.kept = kept;
        }
        tell_gone(o, e);
    }
    identity_clear(&i);
    return 0;
}

void kube_objects_round(struct kube_objects *o)
{
    o->round++;
    o->left_out = 0;
}

void kube_objects_sweep(struct kube_objects *o)
{
    for (struct hashmap_iter i = {.map = &o->names}; !*o->closed && hashmap_next(&i);) {
        struct entry *e = i.value;
        if (e->round != o->round) {
            tell_gone(o, e);
        }
    }
}
