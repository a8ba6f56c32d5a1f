#include "controller/kube/kube_items.h"

#include <errno.h>
#include <string.h>

#define DEPTH_MAX 200
#define KEPT_BYTES (64 * 1024)

void kube_items_init(struct kube_items *k, size_t max_object_bytes)
{
    *k = (struct kube_items){0};
    buf_init(&k->value, max_object_bytes);
}

void kube_items_clear(struct kube_items *k)
{
    buf_clear(&k->value);
}

static bool key_is(const struct kube_items *k, const char *name)
{
    return strlen(name) == k->key_len && memcmp(k->key, name, k->key_len) == 0;
}

static int hand_over(struct kube_items *k, const struct kube_items_to *to, struct err *err)
{
    cJSON *object = NULL;
    int r = json_parse(buf_str(&k->value), k->value.len, &object, err);

    if (r == 0) {
        r = k->in_items ? to->on_item(to->arg, object, err) : to->on_metadata(to->arg, object, err);
        cJSON_Delete(object);
    }
    if (k->value.cap > KEPT_BYTES) {
        buf_clear(&k->value);
    } else {
        buf_truncate(&k->value, 0);
    }
    k->gather = 0;
    return r;
}

/* Does what begins with c at the current depth have to be gathered? */
static bool is_wanted(const struct kube_items *k, char c)
{
    return c == '{' && ((k->in_items && k->depth == 2) ||
                        (!k->in_items && k->depth == 1 && key_is(k, "metadata")));
}

static int on_open(struct kube_items *k, char c, struct err *err)
{
    if ((k->depth == 0 && (c != '{' || k->ended)) || k->depth == DEPTH_MAX) {
        return err_text(err, -EPROTO, "answer is no list of objects");
    }
    if (k->depth == 2 && k->in_items && c != '{') {
        return err_text(err, -EPROTO, "an item of the list is no object");
    }
    if (k->gather == 0 && is_wanted(k, c)) {
        k->gather = k->depth + 1;
    }
    k->depth++;
    if (k->depth == 1) {
        k->is_key = true;
    } else if (k->depth == 2 && c == '[' && key_is(k, "items")) {
        k->in_items = true;
    }
    return 0;
}

/* Returns 1 when the value that is gathered is complete with this bracket. */
static int on_close(struct kube_items *k, struct err *err)
{
    if (k->depth == 0) {
        return err_text(err, -EPROTO, "answer is no list of objects");
    }
    bool complete = k->gather == k->depth;
    k->depth--;
    if (k->depth == 1 && !complete) {
        k->in_items = false;
    } else if (k->depth == 0) {
        k->ended = true;
    }
    return complete ? 1 : 0;
}

static void in_string(struct kube_items *k, char c)
{
    bool is_key = k->depth == 1 && k->is_key;

    if (k->escaped) {
        k->escaped = false;
    } else if (c == '\\') {
        k->escaped = true;
    } else if (c == '"') {
        k->in_string = false;
        return;
    }
    if (is_key && k->key_len < sizeof(k->key)) {
        k->key[k->key_len++] = c;
    }
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Outside of strings and brackets: what separates the list's members and items. */
static int on_other(struct kube_items *k, char c, struct err *err)
{
    if (c == '"') {
        k->in_string = true;
        k->key_len = k->depth == 1 && k->is_key ? 0 : k->key_len;
    }
    if ((k->depth == 0 && !is_blank(c)) ||
        (k->depth == 2 && k->in_items && c != ',' && !is_blank(c))) {
        return err_text(err, -EPROTO, "answer is no list of objects");
    }
    if (k->depth == 1 && c == ':') {
        k->is_key = false;
    } else if (k->depth == 1 && c == ',') {
        k->is_key = true;
    }
    return 0;
}

/* > 0: with this byte the gathered value is complete. */
static int step(struct kube_items *k, char c, struct err *err)
{
    if (k->in_string) {
        in_string(k, c);
        return 0;
    }
    if (c == '{' || c == '[') {
        return on_open(k, c, err);
    }
    if (c == '}' || c == ']') {
        return on_close(k, err);
    }
    return on_other(k, c, err);
}

static int keep(struct kube_items *k, const char *from, const char *to, struct err *err)
{
    if (buf_append(&k->value, from, (size_t)(to - from)) < 0) {
        return err_text(err, -EMSGSIZE, "an object of the list is over %zu bytes", k->value.max);
    }
    return 0;
}

int kube_items_feed(struct kube_items *k, const char *bytes, size_t len,
                    const struct kube_items_to *to, struct err *err)
{
    const char *end = bytes + len;
    const char *from = bytes; /* of what is gathered, within these bytes */

    for (const char *at = bytes; at < end; at++) {
        bool gathered = k->gather != 0;
        int r = step(k, *at, err);
        if (r < 0) {
            return r;
        }
        if (!gathered && k->gather != 0) {
            from = at;
        }
        if (r > 0 && ((r = keep(k, from, at + 1, err)) < 0 || (r = hand_over(k, to, err)) < 0)) {
            return r;
        }
    }
    return k->gather != 0 ? keep(k, from, end, err) : 0;
}

int kube_items_end(const struct kube_items *k, struct err *err)
{
    return k->ended ? 0 : err_text(err, -EPROTO, "the list ends in the middle");
}
