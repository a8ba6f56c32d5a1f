/* Who goes and which index comes. */
#include "controller/pool/plan_priv.h"

/* Is a to go rather than b? One that no device would miss first, the newest of equals. */
static bool goes_before(const struct observed_index *a, const struct observed_index *b)
{
    if (a->unscheduled != b->unscheduled) {
        return a->unscheduled;
    }
    if (plan_can_serve(a) != plan_can_serve(b)) {
        return !plan_can_serve(a);
    }
    if (a->marked != b->marked) {
        return a->marked;
    }
    if (a->sessions != b->sessions) {
        return a->sessions < b->sessions;
    }
    return a->index > b->index;
}

const struct observed_index *plan_choose_victim(const struct planner *p, bool outdated_only)
{
    const struct observed_index *best = NULL;

    for (size_t i = 0; i < p->observed->index_count; i++) {
        const struct observed_index *o = &p->observed->indices[i];
        bool fits = outdated_only ? plan_is_outdated(o) : plan_is_live(o);
        if (fits && !p->taken[o->index] && (best == NULL || goes_before(o, best))) {
            best = o;
        }
    }
    return best;
}

enum use { NEVER_USED, FREED, IN_USE };

static void mark_uses(const struct planner *p, uint8_t uses[PLAN_INDEX_MAX + 1])
{
    for (size_t i = 0; i < p->observed->freed_count; i++) {
        uint32_t index = p->observed->freed[i].index;
        if (index <= PLAN_INDEX_MAX) {
            uses[index] = FREED;
        }
    }
    for (size_t i = 0; i < p->observed->index_count; i++) {
        uses[p->observed->indices[i].index] = IN_USE;
    }
    for (size_t i = 0; i < p->observed->occupied_count; i++) {
        uint32_t index = p->observed->occupied[i];
        if (index <= PLAN_INDEX_MAX) {
            uses[index] = IN_USE;
        }
    }
    for (uint32_t index = 1; index <= PLAN_INDEX_MAX; index++) {
        uses[index] = p->taken[index] ? IN_USE : uses[index];
    }
}

/* The least recently freed of those that have rested, or have not. */
static uint32_t choose_freed(const struct planner *p, const uint8_t *uses, bool rested)
{
    for (size_t i = 0; i < p->observed->freed_count; i++) {
        const struct freed_index *f = &p->observed->freed[i];
        if (f->index >= 1 && f->index <= p->desired->capacity && uses[f->index] == FREED &&
            (p->now_ms - f->freed_ms >= PLAN_REST_MS) == rested) {
            return f->index;
        }
    }
    return 0;
}

static uint32_t choose_never_used(const struct planner *p, const uint8_t *uses)
{
    for (uint32_t index = 1; index <= p->desired->capacity; index++) {
        if (uses[index] == NEVER_USED) {
            return index;
        }
    }
    return 0;
}

/* Numbers stay low, but one that has just failed or ended is not tried again while there is
 * another. */
uint32_t plan_choose_index(const struct planner *p)
{
    uint8_t uses[PLAN_INDEX_MAX + 1] = {0};

    mark_uses(p, uses);
    uint32_t index = choose_freed(p, uses, true);
    if (index == 0) {
        index = choose_never_used(p, uses);
    }
    return index != 0 ? index : choose_freed(p, uses, false);
}
