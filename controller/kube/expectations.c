#include "controller/kube/expectations.h"

#include <errno.h>
#include <string.h>

struct expected {
    char *name;
    char *uid; /* of EXPECT_DELETE */
    enum expectation what;
    int64_t since_ms;
};

static void expected_free(struct expected *x)
{
    if (x != NULL) {
        free(x->name);
        free(x->uid);
        free(x);
    }
}

void expectations_init(struct expectations *e, size_t max, int64_t overdue_ms)
{
    *e = (struct expectations){.max = max,
                               .overdue_ms = overdue_ms > 0 ? overdue_ms : EXPECTATIONS_OVERDUE_MS};
    hashmap_init(&e->names);
}

void expectations_clear(struct expectations *e)
{
    for (struct hashmap_iter i = {.map = &e->names}; hashmap_next(&i);) {
        expected_free(i.value);
    }
    hashmap_clear(&e->names);
}

static int expect(struct expectations *e, const char *name, const char *uid, enum expectation what,
                  int64_t now_ms)
{
    if (e->names.count >= e->max && hashmap_get(&e->names, name) == NULL) {
        return -EBUSY;
    }
    struct expected *x = xcalloc(1, sizeof(*x));
    *x = (struct expected){
        .name = xstrdup(name), .uid = xstrdup(uid), .what = what, .since_ms = now_ms};
    expected_free(hashmap_put(&e->names, x->name, x));
    return 0;
}

int expectations_create(struct expectations *e, const char *name, int64_t now_ms)
{
    return expect(e, name, "", EXPECT_CREATE, now_ms);
}

int expectations_delete(struct expectations *e, const char *name, const char *uid, int64_t now_ms)
{
    return expect(e, name, uid, EXPECT_DELETE, now_ms);
}

void expectations_forget(struct expectations *e, const char *name)
{
    expected_free(hashmap_remove(&e->names, name));
}

bool expectations_saw_create(struct expectations *e, const char *name)
{
    const struct expected *x = hashmap_get(&e->names, name);

    if (x == NULL || x->what != EXPECT_CREATE) {
        return false;
    }
    expectations_forget(e, name);
    return true;
}

bool expectations_saw_delete(struct expectations *e, const char *name, const char *uid)
{
    const struct expected *x = hashmap_get(&e->names, name);

    if (x == NULL || x->what != EXPECT_DELETE || strcmp(x->uid, uid) != 0) {
        return false;
    }
    expectations_forget(e, name);
    return true;
}

enum expectation expectations_has(const struct expectations *e, const char *name)
{
    const struct expected *x = hashmap_get(&e->names, name);

    return x != NULL ? x->what : EXPECT_NONE;
}

size_t expectations_count(const struct expectations *e)
{
    return e->names.count;
}

static int64_t oldest_ms(const struct expectations *e)
{
    int64_t oldest = INT64_MAX;

    for (struct hashmap_iter i = {.map = &e->names}; hashmap_next(&i);) {
        const struct expected *x = i.value;
        oldest = x->since_ms < oldest ? x->since_ms : oldest;
    }
    return oldest;
}

int64_t expectations_due_in_ms(const struct expectations *e, int64_t now_ms)
{
    if (e->names.count == 0) {
        return -1;
    }
    int64_t due = oldest_ms(e) + e->overdue_ms;
    return due > now_ms ? due - now_ms : 0;
}

enum expect_state expectations_check(const struct expectations *e, int64_t now_ms)
{
    int64_t due = expectations_due_in_ms(e, now_ms);

    if (due < 0) {
        return EXPECT_MET;
    }
    return due == 0 ? EXPECT_OVERDUE : EXPECT_WAITING;
}
