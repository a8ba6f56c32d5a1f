#include "sidecar-proxy/proxy/ask.h"

#include "common/secret.h"

#include <string.h>
#include <time.h>

void mailbox_init(struct mailbox *box, void (*ring)(void *arg), void *ring_arg)
{
    pthread_mutex_init(&box->lock, NULL);
    box->first = NULL;
    box->last = &box->first;
    box->ring = ring;
    box->ring_arg = ring_arg;
}

void mailbox_clear(struct mailbox *box)
{
    pthread_mutex_destroy(&box->lock);
}

void mailbox_put(struct mailbox *box, struct letter *letter)
{
    letter->next = NULL;
    pthread_mutex_lock(&box->lock);
    bool was_empty = box->first == NULL;
    *box->last = letter;
    box->last = &letter->next;
    pthread_mutex_unlock(&box->lock);
    if (was_empty) {
        box->ring(box->ring_arg);
    }
}

struct letter *mailbox_take(struct mailbox *box)
{
    pthread_mutex_lock(&box->lock);
    struct letter *first = box->first;
    box->first = NULL;
    box->last = &box->first;
    pthread_mutex_unlock(&box->lock);
    return first;
}

struct ask *ask_new(void)
{
    struct ask *ask = xcalloc(1, sizeof(*ask));

    ask->letter = (struct letter){NULL, ask, LETTER_ASK};
    ask->cancel = (struct letter){NULL, ask, LETTER_CANCEL};
    return ask;
}

void ask_free(struct ask *ask)
{
    if (ask == NULL) {
        return;
    }
    if (ask->key != NULL) {
        secret_wipe(ask->key, strlen(ask->key));
        free(ask->key);
    }
    free(ask->via);
    free(ask);
}

int64_t ask_clock_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}
