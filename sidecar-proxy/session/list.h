/* list: a doubly linked ring with a head, intrusive. An entry that is in no list points to itself,
 * so removing it twice is harmless. */
#pragma once

#include "common/base.h"

struct list {
    struct list *prev, *next;
};

static inline void list_init(struct list *l)
{
    l->prev = l;
    l->next = l;
}

static inline bool list_empty(const struct list *head)
{
    return head->next == head;
}

static inline void list_append(struct list *head, struct list *entry)
{
    entry->prev = head->prev;
    entry->next = head;
    head->prev->next = entry;
    head->prev = entry;
}

static inline void list_remove(struct list *entry)
{
    entry->prev->next = entry->next;
    entry->next->prev = entry->prev;
    list_init(entry);
}

/* All entries of from, in order, behind those of to. */
static inline void list_move_all(struct list *from, struct list *to)
{
    while (!list_empty(from)) {
        struct list *entry = from->next;
        list_remove(entry);
        list_append(to, entry);
    }
}

/* The entry may be removed in the body, others may not. */
#define LIST_EACH(at, head)                                                   \
    for (struct list *at = (head)->next, *at##_next = at->next; at != (head); \
         at = at##_next, at##_next = at->next)
