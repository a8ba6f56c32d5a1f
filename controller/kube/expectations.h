/* expectations: what we did that our view of the cluster does not show yet. Without them a
 * controller whose watch is late makes each Pod twice. Keyed by name, not counted: the names are
 * ours to choose, so a Pod that somebody else makes or deletes cannot satisfy one. Pure; the time
 * comes in.
 *
 *     expectations_create(&e, name, now);       BEFORE the call: the event may overtake the answer
 *     kube_client_send(... POST ...);
 *     KUBE_EXISTS, KUBE_INVALID, KUBE_DENIED: expectations_forget(&e, name)   it was surely not
 * done KUBE_UNREACHABLE: leave it               who knows: the watch will tell, or it becomes
 * overdue on_add, on_update: expectations_saw_create(&e, name) on_delete, or with a
 * deletionTimestamp: expectations_saw_delete(&e, name, uid)
 *
 * A look at the pool begins with expectations_check():
 *     EXPECT_MET: act.
 *     EXPECT_WAITING: the view lacks what expectations_has() tells; act on neither of those names.
 *     EXPECT_OVERDUE: never act on belief. LIST live (kube_list.h), compare, expectations_clear().
 */
#pragma once

#include "common/hashmap.h"

#define EXPECTATIONS_OVERDUE_MS (30 * 1000) /* of the oldest */

enum expectation { EXPECT_NONE, EXPECT_CREATE, EXPECT_DELETE };
enum expect_state { EXPECT_MET, EXPECT_WAITING, EXPECT_OVERDUE };

struct expectations {
    struct hashmap names; /* to struct expected, private */
    size_t max;
    int64_t overdue_ms;
};

void expectations_init(struct expectations *e, size_t max, int64_t overdue_ms); /* 0: the default */
void expectations_clear(struct expectations *e); /* forgets all; can be used again */

/* -EBUSY: max are open; do not act. A later one of the same name replaces the earlier. */
int expectations_create(struct expectations *e, const char *name, int64_t now_ms);
/* uid: of the object that is to go; another one under the same name is not it. */
int expectations_delete(struct expectations *e, const char *name, const char *uid, int64_t now_ms);
void expectations_forget(struct expectations *e, const char *name);
/* Returns whether that was waited for. */
bool expectations_saw_create(struct expectations *e, const char *name);
bool expectations_saw_delete(struct expectations *e, const char *name, const char *uid);

enum expectation expectations_has(const struct expectations *e, const char *name);
size_t expectations_count(const struct expectations *e);
enum expect_state expectations_check(const struct expectations *e, int64_t now_ms);
/* ms until expectations_check() says EXPECT_OVERDUE; -1: nothing is waited for. */
int64_t expectations_due_in_ms(const struct expectations *e, int64_t now_ms);
